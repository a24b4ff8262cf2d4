"""The seven methods of the benchmark: worked examples, laws, and selections equal to those of their formulas written out."""

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from views import ask

from mmal_cli.checking._views import chance, coalitions, make_view
from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError, unknown
from mmal_cli.gradients import kmeans_plus_plus, residual
from mmal_cli.pool import Predictions
from mmal_cli.queries import bald, bmmal, entropy, grace, kcg, varratio

# --- random, entropy, BALD, KCG


def test_random_takes_every_sample_equally_often():
    view, rng, counts = make_view(samples=10), chance(), torch.zeros(200)
    method = plugins.load("queries", "random", "query method", "query")
    for _ in range(2000):
        counts[method.query(view, 3, rng)] += 1
    assert counts[view.unlabelled.index].tolist() == pytest.approx([600] * 10, abs=4 * math.sqrt(2000 * 0.3 * 0.7))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=8))
def test_entropy_is_between_zero_and_log_classes(logits):
    value = float(entropy.entropy(torch.tensor(logits, dtype=torch.float64).log_softmax(dim=0)))
    assert -1e-12 <= value <= math.log(len(logits)) + 1e-12


def test_entropy_asks_for_the_least_certain_first():
    p = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.5, 0.5]])
    view = replace(make_view(samples=4), unlabelled=Predictions(torch.tensor([3, 5, 7, 8]), logits=p.log()))
    assert entropy.query(view, 4, chance()).tolist() == [5, 8, 7, 3]


def test_varratio_asks_for_the_smallest_largest_probability_first():
    p = torch.tensor([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.9, 0.1, 0.0], [0.5, 0.25, 0.25]])
    view = replace(make_view(samples=4), unlabelled=Predictions(torch.tensor([3, 5, 7, 8]), logits=(p + 1e-9).log()))
    assert varratio.query(view, 4, chance()).tolist() == [5, 3, 8, 7]


def test_bald_of_the_worked_examples():
    opposite = torch.tensor([[[1e4, 0.0]], [[0.0, 1e4]]])
    members = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    assert float(bald.mutual_information(opposite)) == pytest.approx(0.693147, abs=1e-6)
    assert float(bald.mutual_information(members)) == pytest.approx(0.101749, abs=1e-6)
    assert float(entropy.entropy(torch.tensor([0.7, 0.3]).log())) == pytest.approx(0.610864, abs=1e-6)
    assert float(entropy.entropy(members).mean()) == pytest.approx(0.509115, abs=1e-6)


def test_bald_of_identical_passes_is_not_below_zero():
    scores = bald.mutual_information(torch.randn(1, 500, 7, generator=chance()).expand(50, -1, -1))
    assert (scores >= 0).all()
    assert scores.max() < 1e-12


@pytest.mark.parametrize(("method", "numbers"), [(entropy, 5), (bald, 20)])
def test_scores_do_not_depend_on_how_much_is_taken_at_once(monkeypatch, method, numbers):
    """numbers: of a sample."""
    view = make_view(samples=101)
    expected = method.query(view, 30, chance())
    for at_once in (1, numbers * 7, numbers * 64):
        monkeypatch.setattr(method, "NUMBERS_AT_ONCE", at_once)
        assert torch.equal(method.query(view, 30, chance()), expected)


def test_kcg_on_a_line():
    pool = Predictions(torch.tensor([3, 4, 6]), embeddings=torch.tensor([[1.0], [2.0], [10.0]]))
    known = Predictions(torch.tensor([0]), embeddings=torch.tensor([[0.0]]))
    assert kcg.query(replace(make_view(), unlabelled=pool, labelled=known), 2, chance()).tolist() == [6, 4]


# --- BADGE, BMMAL, GRACE against their formulas, written out with C x D numbers a sample


def dense_kmeans(g, size, rng):
    picks, nearest = [int((g**2).sum(dim=1).argmax())], torch.full((len(g),), math.inf, dtype=torch.float64)
    while len(picks) < size:
        nearest = torch.minimum(nearest, ((g - g[picks[-1]]) ** 2).sum(dim=1))
        total = nearest.cumsum(dim=0)
        picks.append(int((total <= torch.rand((), generator=rng, dtype=torch.float64) * total[-1]).sum()))
    return picks


def dense_badge(view):
    p = view.unlabelled.logits.double().softmax(dim=1)
    a = p - torch.eye(p.shape[1], dtype=torch.float64)[p.argmax(dim=1)]
    return torch.einsum("nc,nd->ncd", a, view.unlabelled.embeddings.double()).flatten(1)


def dense_bmmal(view):
    """Protocol 3.1: by class, [block 1, block 2, ...]; Shapley values as the mean over all orders of the modalities."""
    pool, names = view.unlabelled, view.modalities
    p = {subset: logits.double().softmax(dim=1) for subset, logits in pool.subset_logits.items()}
    full = p[names]
    best = full.argmax(dim=1)
    a = full - torch.eye(full.shape[1], dtype=torch.float64)[best]
    samples = []
    for n in range(len(best)):
        value = {subset: float(p[subset][n, best[n]]) for subset in p}
        d = [abs(one) for one in shapley_by_orders(value, names)]
        phi = [one / sum(d) if sum(d) else 1 / len(d) for one in d]
        blocks = [
            (1 - (max(phi) - phi[m])) * bool(view.present[n, m]) * pool.subset_embeddings[(name,)][n].double()
            for m, name in enumerate(names)
        ]
        samples.append(torch.outer(a[n], torch.cat(blocks)).flatten())
    return torch.stack(samples)


def shapley_by_orders(value, names):
    gains, orders = dict.fromkeys(names, 0.0), list(permutations(names))
    for order in orders:
        for place, name in enumerate(order):
            before = tuple(one for one in names if one in order[:place])
            after = tuple(one for one in names if one in order[: place + 1])
            gains[name] += (value[after] - value[before]) / len(orders)
    return [gains[name] for name in names]


def dense_grace(view):
    """Protocol 4.2 with its defaults, sample by sample."""
    pool, present = view.unlabelled, view.present
    ease = [None] * len(present)
    for n in range(len(present)):
        p = [pool.subset_logits[(name,)][n].double().softmax(dim=0) for m, name in enumerate(view.modalities) if present[n, m]]
        if len(p) >= 2:
            entropies = [float(-(q * q.log()).sum()) for q in [sum(p) / len(p), *p]]
            ease[n] = 1 - (entropies[0] - sum(entropies[1:]) / len(p)) / math.log(len(p))
    complete = sorted(ease[n] for n in range(len(present)) if present[n].all())
    half = len(complete) // 2
    median = (complete[half] + complete[-half - 1]) / 2 if complete else 0.5
    fade = 1 - view.cycle / (view.cycles - 2)
    weight = torch.tensor([1 - fade + fade * (median if one is None else one) for one in ease], dtype=torch.float64)
    return weight[:, None] * dense_badge(view)


DENSE = {"badge": dense_badge, "bmmal": dense_bmmal, "grace": dense_grace}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("modalities", [("a", "b"), ("a", "b", "c")])
@pytest.mark.parametrize("name", DENSE)
def test_factorised_selections_equal_dense_ones(name, modalities, seed):
    view = make_view(samples=120, classes=6, modalities=modalities, absent=0.25, seed=seed, cycle=2)
    picks = dense_kmeans(DENSE[name](view), 60, chance(seed))
    assert ask(name, view, 60, seed) == view.unlabelled.index[picks].tolist()


@pytest.mark.parametrize("name", ["bmmal", "grace"])
def test_with_one_modality_both_are_badge(name):
    view = make_view(samples=80, modalities=("a",))
    assert ask(name, view, 40) == ask("badge", view, 40)


# --- BMMAL


def test_bmmal_of_the_worked_example():
    value = {("a", "b"): 0.9, ("b",): 0.3, ("a",): 0.8, (): 0.1}
    d = bmmal.shapley({subset: torch.tensor([p], dtype=torch.float64) for subset, p in value.items()}, ("a", "b"))
    assert d[0].tolist() == pytest.approx([0.65, 0.15])
    assert bmmal.scales(d)[0].tolist() == pytest.approx([1, 0.375])


def test_bmmal_scales_of_no_contribution_of_absence_and_of_three():
    d = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.2, 0.0], [-0.1, 0.1, 0.1]], dtype=torch.float64)
    expected = torch.tensor([[1, 1, 1], [1, 0.8, 0.4], [1, 1, 1]], dtype=torch.float64)
    torch.testing.assert_close(bmmal.scales(d), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.data())
def test_shapley_values_add_up_and_equal_the_mean_over_orders(modalities, data):
    names = tuple("abcd"[:modalities])
    value = {subset: data.draw(st.floats(0, 1)) for subset in coalitions(names)}
    d = bmmal.shapley({subset: torch.tensor([p], dtype=torch.float64) for subset, p in value.items()}, names)[0].tolist()
    assert d == pytest.approx(shapley_by_orders(value, names), abs=1e-12)
    assert sum(d) == pytest.approx(value[names] - value[()], abs=1e-12)


def test_bmmal_with_scales_of_one_is_badge_on_the_concatenation(monkeypatch):
    view = make_view(samples=80)
    monkeypatch.setattr(bmmal, "scales", torch.ones_like)
    z = torch.cat([view.unlabelled.subset_embeddings[(name,)] for name in view.modalities], dim=1)
    concatenated = replace(view, unlabelled=replace(view.unlabelled, embeddings=z))
    assert ask("bmmal", view, 40) == ask("badge", concatenated, 40)


def test_bmmal_keeps_the_present_block_of_an_incomplete_sample():
    view = make_view(samples=100, absent=0.4)
    h = bmmal.balanced(view)
    for column, name in enumerate(view.modalities):
        alone = view.present[:, column] & (view.present.sum(dim=1) == 1)
        other = 1 - column
        torch.testing.assert_close(
            h[alone, 6 * column : 6 * column + 6], view.unlabelled.subset_embeddings[(name,)][alone].double()
        )
        assert not h[alone, 6 * other : 6 * other + 6].any()
    assert not h[~view.present.any(dim=1)].any()


# --- GRACE


def predictions_of_two(p1, p2, present=((True, True),)):
    names = ("a", "b")
    p = {("a",): p1, ("b",): p2}
    logits = {subset: torch.tensor(one, dtype=torch.float64).log() for subset, one in p.items()}
    return replace(
        make_view(samples=1),
        unlabelled=Predictions(torch.arange(len(p1)), subset_logits=logits),
        present=torch.tensor(present),
        modalities=names,
    )


def test_grace_of_the_worked_example():
    ease = grace.ease(predictions_of_two([[0.9, 0.1]], [[0.2, 0.8]]), "jsd")
    assert 1 - float(ease) == pytest.approx(0.275396 / math.log(2), abs=1e-6)
    assert float(ease) == pytest.approx(0.602687, abs=1e-6)
    assert 0.5 + 0.5 * float(ease) == pytest.approx(0.801344, abs=1e-6)


def test_grace_easiness_at_its_ends_and_of_incomplete_samples():
    same, opposite = [1.0 - 1e-9, 1e-9], [1e-9, 1.0 - 1e-9]
    view = predictions_of_two(
        [same] * 4, [same, opposite, same, same], [[True, True], [True, True], [True, False], [False] * 2]
    )
    assert grace.ease(view, "jsd").tolist() == pytest.approx([1, 0, 0.5, 0.5], abs=1e-6)  # 0.5: the median of 0 and 1
    assert grace.ease(view, "agreement").tolist() == [1, 0, 0.5, 0.5]
    lonely = replace(view, present=torch.tensor([[True, False]] * 4))
    assert grace.ease(lonely, "jsd").tolist() == [0.5] * 4


def test_grace_agreement_is_a_share_of_pairs_of_present_modalities():
    view = make_view(samples=200, modalities=("a", "b", "c"), absent=0.2)
    ease = grace.ease(view, "agreement")
    classes = [view.unlabelled.subset_logits[(name,)].argmax(dim=1) for name in view.modalities]
    for n in range(200):
        here = [int(classes[m][n]) for m in range(3) if view.present[n, m]]
        pairs = [here[i] == here[j] for i in range(len(here)) for j in range(i)]
        if pairs:
            assert float(ease[n]) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize("kind", ["jsd", "agreement"])
def test_grace_easiness_is_between_zero_and_one(kind):
    for modalities, absent in [(("a",), 0.3), (("a", "b"), 0.0), (("a", "b"), 1.0), (("a", "b", "c"), 0.5)]:
        view = make_view(modalities=modalities, absent=absent)
        ease = grace.ease(view, kind)
        assert ease.dtype == torch.float64
        assert ((ease >= 0) & (ease <= 1)).all()


def test_grace_schedules():
    assert [grace.strength(t, 6, 0.8, "linear") for t in range(5)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0])
    assert [grace.strength(t, 6, 1, "cosine") for t in range(5)] == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)
    assert [grace.strength(t, 6, 0.8, "constant") for t in range(5)] == [0.8] * 5
    assert grace.strength(0, 2, 0.8, "linear") == 0.8


def test_grace_without_curriculum_or_at_its_end_is_badge():
    view = make_view(samples=80, absent=0.2)
    assert ask("grace", view, 40, lambda0=0.0) == ask("badge", view, 40)
    assert ask("grace", replace(view, cycle=8), 40) == ask("badge", view, 40)
    assert ask("grace", view, 40) != ask("badge", view, 40)


def test_grace_weights_the_gradient():
    view = make_view(samples=80)
    for options in ({"easiness": "agreement"}, {"schedule": "cosine"}, {"lambda0": 0.3}):
        chosen = {"lambda0": 1.0, "schedule": "linear", "easiness": "jsd"} | options
        fade = grace.strength(view.cycle, view.cycles, chosen["lambda0"], chosen["schedule"])
        weight = 1 - fade + fade * grace.ease(view, chosen["easiness"])
        h = weight[:, None] * view.unlabelled.embeddings
        picks = kmeans_plus_plus(residual(view.unlabelled.logits), h, 30, chance())
        assert ask("grace", view, 30, **options) == view.unlabelled.index[picks].tolist()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"schedule": "lineal"}, str(unknown("schedule of grace", "lineal", ["linear", "cosine", "constant"]))),
        ({"easiness": "js"}, str(unknown("easiness of grace", "js", ["jsd", "agreement"]))),
        ({"lambda0": 1.5}, "lambda0 of grace is 1.5, expected a number from 0 to 1"),
        ({"lambda0": float("nan")}, "lambda0 of grace is nan, expected a number from 0 to 1"),
    ],
)
def test_grace_refuses_unknown_options(option, message):
    with pytest.raises(UserError) as error:
        ask("grace", make_view(), 3, **option)
    assert str(error.value) == message
