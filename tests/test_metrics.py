"""Metrics against scikit-learn's, and calibration on cases known by hand."""

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from mmal_cli.metrics import metrics


def test_metrics_agree_with_scikit_learn():
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(500, 6, generator=rng), torch.randint(0, 5, (500,), generator=rng)
    found, predicted = metrics(logits, labels), logits.argmax(dim=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    recalls = [(predicted[labels == c] == c).double().mean().item() for c in range(5)]
    assert found["balanced_accuracy"] == pytest.approx(sum(recalls) / 5)
    inside = predicted < 5
    assert balanced_accuracy_score(labels[inside], predicted[inside]) == pytest.approx(
        metrics(logits[inside], labels[inside])["balanced_accuracy"]
    )
    assert found["nll"] == pytest.approx(log_loss(labels, logits.double().softmax(dim=1), labels=range(6)))


def test_calibration_error_known_by_hand():
    logits = torch.log(torch.tensor([[0.9, 0.1]] * 10))
    labels = torch.tensor([0] * 6 + [1] * 4)
    assert metrics(logits, labels)["ece"] == pytest.approx(0.3, abs=1e-6)
    assert metrics(logits, torch.tensor([0] * 9 + [1]))["ece"] == pytest.approx(0.0, abs=1e-6)
