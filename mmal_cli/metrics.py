"""How good predictions are: balanced accuracy, accuracy, negative log likelihood, calibration error."""

import torch
from torch import Tensor

BINS = 15  # of the calibration error


def metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """All metrics of (n, C) logits against (n,) labels, in float64.

    balanced_accuracy is the mean recall over the classes that occur in `labels`; nll is in nats; ece is the expected
    calibration error over 15 equal bins of the largest probability (Guo et al. 2017).
    """
    log_p = logits.double().log_softmax(dim=1)
    confidence, predicted = log_p.exp().max(dim=1)
    right = (predicted == labels).double()
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gap = torch.zeros(BINS, dtype=torch.float64, device=labels.device).index_add(0, bins, right - confidence)
    return {
        "balanced_accuracy": balanced_accuracy(predicted, labels, logits.shape[1]),
        "accuracy": right.mean().item(),
        "nll": -log_p.gather(1, labels[:, None]).mean().item(),
        "ece": (gap.abs().sum() / len(labels)).item(),
    }


def balanced_accuracy(predicted: Tensor, labels: Tensor, classes: int) -> float:
    """Mean recall over the classes that occur in `labels`."""
    of_class = torch.bincount(labels, minlength=classes).double()
    hits = torch.bincount(labels[predicted == labels], minlength=classes).double()
    occurs = of_class > 0
    return (hits[occurs] / of_class[occurs]).mean().item()
