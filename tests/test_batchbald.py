"""BatchBALD agrees with entropies that are summed over every label combination, and its estimates come near them."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from views import ask

from mmal_cli.checking._views import chance, make_view
from mmal_cli.core.errors import UserError
from mmal_cli.method import load_method
from mmal_cli.pool import Predictions
from mmal_cli.queries import bald, batchbald


def logits(passes=4, samples=9, classes=3, seed=0):
    return 2 * torch.randn(passes, samples, classes, generator=chance(seed))


def enumerated(passes, picks):
    """Mutual information of the picks' labels and the pass, in nats, from every combination of labels."""
    p = passes.double().softmax(dim=2)
    total = 0.0
    for labels in product(range(p.shape[2]), repeat=len(picks)):
        under = math.prod(p[:, n, c] for n, c in zip(picks, labels, strict=True))
        total -= float(under.mean() * under.mean().log())
    return total - sum(float(torch.special.entr(p[:, n]).sum(dim=1).mean()) for n in picks)


def view_of(passes):
    return replace(make_view(), unlabelled=Predictions(torch.arange(passes.shape[1]) + 100, passes=passes))


@pytest.mark.parametrize("seed", range(5))
def test_picks_are_those_of_enumeration(seed):
    passes, picks = logits(seed=seed), []
    for _ in range(4):
        left = [n for n in range(passes.shape[1]) if n not in picks]
        picks.append(max(left, key=lambda n: enumerated(passes, [*picks, n])))
    found = batchbald.query(view_of(passes), 4, chance()) - 100
    assert found.tolist() == picks
    assert found[0] == bald.query(view_of(passes), 1, chance()) - 100


def test_gains_are_those_of_enumeration():
    passes = logits()
    p = passes.double().softmax(dim=2)
    table = (p[:, 5].T[:, None] * p[:, 2].T).flatten(0, 1)
    before = enumerated(passes, [5, 2]) + sum(float(torch.special.entr(p[:, n]).sum(dim=1).mean()) for n in (5, 2))
    expected = [enumerated(passes, [5, 2, n]) - enumerated(passes, [5, 2]) + before for n in range(passes.shape[1])]
    assert batchbald.gains(passes, table, exact=True).tolist() == pytest.approx(expected, abs=1e-12)


def test_estimates_from_draws_come_near():
    passes, rng = logits(), chance(1)
    p = passes.double().softmax(dim=2)
    table = torch.ones(100_000, 4, dtype=torch.float64)
    for n in (5, 2):
        table = batchbald.drawn(table, p[:, n], rng)
    exact = batchbald.gains(passes, (p[:, 5].T[:, None] * p[:, 2].T).flatten(0, 1), exact=True)
    found = batchbald.gains(passes, table, exact=False)
    assert (found - exact - (found - exact).mean()).abs().max() < 0.01
    assert table.amax(dim=1).eq(1).all()


def test_labels_are_drawn_as_often_as_they_are_likely():
    p = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.1, 0.9]], dtype=torch.float64)
    table = batchbald.drawn(torch.ones(40_000, 2, dtype=torch.float64), p, chance())
    # of a row under pass 0: label 0 leaves (1, 0), label 1 leaves (1, 1/3)
    assert float((table[::2, 1] == 0).double().mean()) == pytest.approx(0.7, abs=0.02)
    assert float((table[1::2, 0] == 0).double().mean()) == pytest.approx(0.9, abs=0.02)


def test_the_same_sample_twice_tells_nothing_new():
    one, two = torch.tensor([4.0, 0.0]), torch.tensor([0.0, 4.0])
    sure = torch.stack([one, one, two, two])[:, None]  # parts the four passes in halves
    other = torch.stack([one, two, one, two])[:, None] / 2  # parts them across, with more noise
    view = view_of(torch.cat([sure, sure, other], dim=1))
    assert bald.query(view, 2, chance()).tolist() == [100, 101]
    assert batchbald.query(view, 2, chance()).tolist() == [100, 102]


def test_how_much_is_taken_at_once_changes_nothing(monkeypatch):
    view = make_view(samples=60)
    expected = ask("batchbald", view, 12, samples=200)
    monkeypatch.setattr(batchbald, "NUMBERS_AT_ONCE", 1)
    assert ask("batchbald", view, 12, samples=200) == expected


def test_a_large_batch_does_not_underflow():
    view = view_of(logits(passes=5, samples=700, classes=10))
    assert len(ask("batchbald", view, 600, samples=50)) == 600


def test_few_samples_are_refused():
    with pytest.raises(UserError, match="option samples of query method batchbald: Input should be greater than or equal to 1"):
        load_method("batchbald", {"samples": 0})
