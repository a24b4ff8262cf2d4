"""Factorised gradient embeddings against explicit ones, k-means++ and k-centre against plain references, and their laws."""

import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from mmal_cli.core.errors import UserError
from mmal_cli.gradients import draw, finite, k_centre, kmeans_plus_plus, residual
from mmal_cli.nearest import Nearest

# protocol.md, section 10, oracle 5
P = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64)
H = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [3.0, 0.0]], dtype=torch.float64)
NORMS = [0.141421, 1.131371, 1.0, 0.848528]
SQUARED_TO_1 = [1.30, 0.0, 0.68, 2.00]
LAW = [0.326633, 0.0, 0.170854, 0.502513]


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def explicit(a, h):
    """The (n, C D) gradient embeddings that the package never forms."""
    return (a[:, :, None] * h[:, None, :]).flatten(1)


def distances_to(a, h, centre):
    near = Nearest(a, h)
    near.add(centre)
    return near.squared


def naive_k_centre(h, centres, size):
    """One pass over everything for each pick, in the order of the definition."""
    picks = []
    for _ in range(size):
        known = torch.cat([centres, h[picks]])
        nearest = ((h[:, None] - known[None]) ** 2).sum(dim=2).amin(dim=1)
        nearest[picks] = -1
        picks.append(int(nearest.argmax()))
    return picks


matrices = (
    st.integers(1, 12)
    .flatmap(
        lambda n: st.tuples(
            *[st.lists(st.lists(st.integers(-2, 2), min_size=w, max_size=w), min_size=n, max_size=n) for w in (2, 3)],
        )
    )
    .map(lambda pair: tuple(torch.tensor(one, dtype=torch.float64) for one in pair))
)


def test_residual_is_the_gradient_by_the_logits():
    logits = torch.randn(50, 7, generator=chance(), dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logits, logits.argmax(dim=1), reduction="sum"), logits)
    torch.testing.assert_close(residual(logits.detach()), gradient)


def test_residual_takes_the_first_class_on_a_tie():
    assert residual(P.log())[2].tolist() == pytest.approx([-0.5, 0.5])


def test_residual_keeps_confident_samples_in_order():
    gaps = torch.tensor([40.0, 60.0, 100.0, 300.0])  # p - 1 is 0 for all of them
    norms = residual(torch.stack([gaps, torch.zeros(4)], dim=1)).norm(dim=1)
    assert norms.tolist() == pytest.approx((math.sqrt(2) * torch.exp(-gaps.double())).tolist(), rel=1e-12)


def test_residual_rows_sum_to_zero_and_leave_the_logits_alone():
    logits = 30 * torch.randn(20, 4, generator=chance())
    before = logits.clone()
    assert residual(logits).sum(dim=1).abs().max() < 1e-15
    assert residual(logits).dtype == torch.float64
    assert torch.equal(logits, before)


def test_norms_and_distances_of_the_worked_example():
    a = residual(P.log())
    assert explicit(a, H).norm(dim=1).tolist() == pytest.approx(NORMS, abs=1e-6)
    assert Nearest(a, H).norms.sqrt().tolist() == pytest.approx(NORMS, abs=1e-6)
    assert distances_to(a, H, 1).tolist() == pytest.approx(SQUARED_TO_1, abs=1e-12)


def test_first_pick_of_the_worked_example_has_the_largest_norm():
    assert all(kmeans_plus_plus(residual(P.log()), H, 1, chance(seed)).tolist() == [1] for seed in range(5))


def test_second_pick_of_the_worked_example_follows_squared_distance():
    rng, a, picks = chance(), residual(P.log()), 1000
    counts = torch.zeros(4)
    for _ in range(picks):
        counts[kmeans_plus_plus(a, H, 2, rng)[1]] += 1
    for share, p in zip((counts / picks).tolist(), LAW, strict=True):
        assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / picks))


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_factorised_distances_equal_explicit_ones(factors):
    a, h = factors
    g = explicit(a, h)
    for centre in range(len(g)):
        expected = ((g - g[centre]) ** 2).sum(dim=1)
        torch.testing.assert_close(distances_to(a, h, centre), expected)
        assert not distances_to(a, h, centre)[expected == 0].any()


@settings(max_examples=60, deadline=None)
@given(matrices, st.integers(0, 9))
def test_kmeans_plus_plus_picks_each_distinct_gradient_before_any_twice(factors, seed):
    a, h = factors
    g = explicit(a, h)
    distinct = len(g.unique(dim=0))
    picks = kmeans_plus_plus(a, h, len(a), chance(seed)).tolist()
    assert sorted(picks) == list(range(len(a)))
    assert len(g[picks[:distinct]].unique(dim=0)) == distinct


def test_ties_of_all_the_rest_are_drawn_uniformly_with_a_warning(caplog):
    a, h = torch.tensor([[1.0, -1.0]] * 6), torch.ones(6, 2)
    h[3] = 2.0
    with caplog.at_level(logging.WARNING, logger="mmal"):
        seconds = {tuple(kmeans_plus_plus(a, h, 4, chance(seed)).tolist())[2:] for seed in range(60)}
    assert len(seconds) > 8  # of 12 ordered pairs that the four duplicates left can make
    assert caplog.messages[0] == (
        "the gradients of all 4 samples left equal those of the 2 chosen: drew the other 2 of the query uniformly"
    )


def test_nothing_is_logged_when_a_draw_decides(caplog):
    kmeans_plus_plus(residual(P.log()), H, 4, chance())
    assert not caplog.messages


def test_draw_never_takes_a_zero_weight():
    weights = torch.tensor([0.0, 1e-300, 0.0, 2e-300, 0.0], dtype=torch.float64)
    rng = chance()
    assert {draw(weights, rng) for _ in range(100)} == {1, 3}
    assert draw(torch.zeros(3, dtype=torch.float64), rng) is None


def test_draw_of_a_number_on_a_border_is_the_upper_side(monkeypatch):
    weights = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    for uniform, expected in {0.0: 1, 0.25: 1, 0.5: 3, 0.75: 3}.items():
        monkeypatch.setattr(torch, "rand", lambda *_, u=uniform, **__: torch.tensor([u], dtype=torch.float64))
        assert draw(weights, chance()) == expected


def test_draw_steps_back_to_a_positive_weight_where_rounding_missed_one(monkeypatch):
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0], dtype=torch.float64)
    for missed, expected in {4: 2, 3: 2, 1: 0}.items():
        monkeypatch.setattr(torch, "searchsorted", lambda *_, found=missed, **__: torch.tensor([found]))
        assert draw(weights, chance()) == expected
    monkeypatch.setattr(torch, "searchsorted", lambda *_, **__: torch.tensor([0]))
    assert draw(torch.tensor([0.0, 1.0], dtype=torch.float64), chance()) == 1


def test_one_uniform_number_for_each_pick_but_the_first():
    rng, other = chance(), chance()
    kmeans_plus_plus(torch.randn(50, 4, generator=chance(1)), torch.randn(50, 3, generator=chance(2)), 20, rng)
    for _ in range(19):
        torch.rand((), generator=other, dtype=torch.float64)
    assert torch.equal(rng.get_state(), other.get_state())


def test_k_centre_on_a_line():
    pool, labelled = torch.tensor([[1.0], [2.0], [10.0]]), torch.tensor([[0.0]])
    assert k_centre(pool, labelled, 3, chance()).tolist() == [2, 1, 0]


def test_k_centre_without_labelled_samples_starts_at_random():
    pool = torch.arange(10.0)[:, None]
    starts = {int(k_centre(pool, torch.empty(0, 1), 2, chance(seed))[0]) for seed in range(80)}
    assert starts == set(range(10))


def test_k_centre_takes_duplicates_of_centres_once_and_in_order():
    pool = torch.full((5, 300), 0.1)
    assert k_centre(pool, pool[:1], 5, chance()).tolist() == [0, 1, 2, 3, 4]


@settings(max_examples=60, deadline=None)
@given(matrices, st.data())
def test_k_centre_is_the_plain_greedy_rule(factors, data):
    h = factors[1]
    labelled = data.draw(st.integers(1, len(h)))
    size = data.draw(st.integers(1, len(h)))
    expected = naive_k_centre(h, h[:labelled] + 1, size)
    assert k_centre(h, h[:labelled] + 1, size, chance()).tolist() == expected


def test_k_centre_does_not_depend_on_how_much_goes_at_once(monkeypatch):
    h = torch.randn(300, 8, generator=chance())
    expected = k_centre(h, h[:100] + 0.1, 50, chance())
    assert expected.tolist() == naive_k_centre(h.double(), h[:100].double() + 0.1, 50)
    for at_once in (1, 700, 100_000):
        monkeypatch.setattr("mmal_cli.nearest.AT_ONCE", at_once)
        assert torch.equal(k_centre(h, h[:100] + 0.1, 50, chance()), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_finite_says_what_how_many_and_where(value):
    values = torch.zeros(4, 3)
    values[2, 1] = values[3, 0] = value
    with pytest.raises(UserError) as error:
        finite(values, "logits of a")
    assert str(error.value) == "logits of a: 2 of 12 values are not finite, the first at (2, 1)"
    assert finite(values[:2], "logits of a").shape == (2, 3)
    assert finite(torch.full((9,), 3e38), "logits of a").shape == (9,)  # whose sum is infinite in float32
    assert finite(values[:0], "logits of a").shape == (0, 3)
