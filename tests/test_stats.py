"""Statistics of methods over blocks and seeds: known values, formulas, and what must not change them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference
from test_ranks import METHODS, PRINTED

from mmal_cli.analysis import compare, penalty, power, ranks, savings, stats
from mmal_cli.core.errors import UserError

PUBLISHED = np.array([values for regime in PRINTED.values() for values in regime.values()])  # (12, 7)
scores = st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.7])
matrices = st.tuples(st.integers(2, 6), st.integers(3, 6)).flatmap(lambda shape: arrays(float, shape, elements=scores))
differences = arrays(float, st.integers(1, 8), elements=st.sampled_from([-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]))


def test_the_published_means_show_no_difference() -> None:
    found = stats.rank(PUBLISHED)
    chi_squared, p = stats.friedman(found)
    assert (round(chi_squared, 2), round(p, 2)) == (5.06, 0.54)
    critical = stats.critical_difference(*PUBLISHED.shape[::-1])
    assert round(critical, 2) == 2.6
    average = dict(zip(METHODS, found.mean(axis=0), strict=True))
    assert stats.groups(average, critical) == [["kcg", "bmmal", "grace", "random", "badge", "bald", "entropy"]]


@given(matrices)
def test_friedman_is_the_formula_with_ties(found) -> None:
    ranked = stats.rank(found)
    blocks, k = ranked.shape
    ties = sum(
        float((np.unique(row, return_counts=True)[1] ** 3 - np.unique(row, return_counts=True)[1]).sum()) for row in ranked
    )
    chi_squared, p = stats.friedman(ranked)
    if ties == blocks * (k**3 - k):
        assert (chi_squared, p) == (0, 1)
        return
    plain = 12 / (blocks * k * (k + 1)) * float((ranked.sum(axis=0) ** 2).sum()) - 3 * blocks * (k + 1)
    expected = plain / (1 - ties / (blocks * (k**3 - k)))
    assert chi_squared == pytest.approx(expected, abs=1e-9)
    assert p == pytest.approx(reference.chi2.sf(expected, k - 1), abs=1e-9)


def test_friedman_takes_three_methods_and_two_blocks() -> None:
    assert stats.friedman(np.array([[1.0, 2.0]] * 3)) is None
    assert stats.friedman(np.array([[1.0, 2.0, 3.0]])) is None  # else 2, whatever the ranks


@given(st.integers(2, 20))
def test_one_block_has_no_critical_difference(k) -> None:
    assert stats.critical_difference(k, 1) is None
    assert stats.critical_difference(k, 2) * math.sqrt(2) > k - 1  # larger than any two ranks of one block


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (7, 2.949), (10, 3.164)])
def test_nemenyi_uses_the_table_of_demsar(k, q) -> None:
    assert stats.critical_difference(k, 10) == pytest.approx(q * math.sqrt(k * (k + 1) / 60), rel=4e-4)


def test_the_critical_difference_grows_with_methods_and_falls_with_blocks() -> None:
    assert np.all(np.diff([stats.critical_difference(k, 12) for k in range(2, 9)]) > 0)
    assert np.all(np.diff([stats.critical_difference(7, blocks) for blocks in (2, 4, 12, 40)]) < 0)


def test_groups_are_the_longest_runs() -> None:
    average = {"d": 4.0, "a": 1.0, "c": 2.9, "b": 2.0}
    assert stats.groups(average, 2.0) == [["a", "b", "c"], ["c", "d"]]
    assert stats.groups(average, 1.05) == [["a", "b"], ["b", "c"]]
    assert stats.groups(average, 0.5) == []


def test_two_seeds_of_a_coin() -> None:
    assert stats.sign_flips(np.array([0.1, 0.2])) == 0.5
    assert stats.sign_flips(np.array([0.1, -0.2])) == 1
    assert stats.sign_flips(np.array([0.1, 0.2, 0.3, -0.1])) == 6 / 16
    assert stats.sign_flips(np.zeros(3)) == 1


@given(differences, st.floats(0.1, 10))
def test_sign_flips_count(values, factor) -> None:
    p, n = stats.sign_flips(values), len(values)
    assert 2 / 2**n <= p <= 1
    assert stats.smallest_p(n) == 2 / 2**n
    assert p == stats.sign_flips(-values) == stats.sign_flips(values[::-1]) == stats.sign_flips(values * factor)
    if n < 2:
        return
    patterns = reference.permutation_test(
        (values,),
        lambda x, axis: np.round(x.sum(axis=axis), 9),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert p == pytest.approx(patterns.pvalue)


def test_many_pairs_are_drawn() -> None:
    assert stats.sign_flips(np.ones(40)) == stats.smallest_p(40) == 1 / 10_001
    balanced = np.array([1.0, -1.0] * 20)
    assert stats.sign_flips(balanced) == 1
    shifted = np.random.default_rng(0).normal(0.3, 1, 40)
    assert stats.sign_flips(shifted) == pytest.approx(
        reference.ttest_1samp(shifted, 0).pvalue, abs=0.02
    )  # near it for many pairs


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.6, 0.9]) == [1, 1]
    assert stats.holm([0.2]) == [0.2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_only_raises(p) -> None:
    found = stats.holm(p)
    assert all(before <= after <= min(1, before * len(p)) for before, after in zip(p, found, strict=True))
    assert [found[n] for n in np.argsort(p, kind="stable")] == sorted(found)


def test_bootstrap_of_what_never_changes() -> None:
    found = stats.bootstrap([np.array([[0.1, 0.3, 0.2]] * 3)] * 2)
    assert found.low.tolist() == found.high.tolist() == [3, 1, 2]
    assert found.best.tolist() == [0, 1, 0]


def test_bootstrap_shares_ties_and_repeats() -> None:
    found = stats.bootstrap([np.full((2, 3), 0.5)])
    assert found.best == pytest.approx([1 / 3] * 3)
    blocks = [np.random.default_rng(n).normal(size=(n + 1, 4)) for n in range(4)]
    one, other = stats.bootstrap(blocks), stats.bootstrap(blocks)
    assert np.array_equal(one.low, other.low)
    assert np.array_equal(one.best, other.best)
    assert one.best.sum() == pytest.approx(1)


def test_bootstrap_is_that_of_two_blocks() -> None:
    """Two blocks of one seed: the first twice with chance 1/4, both 1/2 (a tie), the second twice 1/4."""
    found = stats.bootstrap([np.array([[2.0, 1.0]]), np.array([[1.0, 2.0]])])
    assert found.best == pytest.approx([0.5, 0.5], abs=0.02)
    assert (found.low.tolist(), found.high.tolist()) == ([1, 1], [2, 2])


def test_bootstrap_resamples_the_seeds_of_all_methods_together() -> None:
    """The first method is better by 0.1 at each seed, less than seeds differ: unpaired seeds would change ranks."""
    base = np.array([0.1, 0.5, 0.9])
    assert stats.bootstrap([np.column_stack([base + 0.1, base])]).best.tolist() == [1, 0]


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(4)))
def test_methods_may_change_places(order) -> None:
    blocks = [np.random.default_rng(n).normal(size=(3, 4)) for n in range(3)]
    plain, other = stats.bootstrap(blocks), stats.bootstrap([block[:, order] for block in blocks])
    assert np.array_equal(plain.low[order], other.low)
    assert np.allclose(plain.best[order], other.best)


def test_the_smallest_difference_has_the_power_that_it_says() -> None:
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(5, 4))
    delta, sd = power.smallest_difference(sample), power.sd_of_differences(sample)
    drawn = rng.normal(delta, sd, size=(5, 40_000))
    assert (reference.ttest_1samp(drawn, 0).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_the_smallest_difference_of_three_seeds() -> None:
    sample = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])  # differences 0, 1, 2: sd 1
    assert power.sd_of_differences(sample) == pytest.approx(1)
    assert power.smallest_difference(sample) == pytest.approx(5.65349 / math.sqrt(3), rel=1e-5)
    assert power.smallest_difference(sample * 10) == pytest.approx(10 * power.smallest_difference(sample))


@given(arrays(float, (4, 3), elements=st.floats(-1, 1)))
def test_the_sd_is_pooled_over_pairs(sample) -> None:
    pairs = [np.var(sample[:, i] - sample[:, j], ddof=1) for i in range(3) for j in range(i)]
    assert power.sd_of_differences(sample) == pytest.approx(math.sqrt(np.mean(pairs)), abs=1e-9)


def test_one_seed_or_one_method_shows_no_difference() -> None:
    assert power.smallest_difference(np.ones((1, 3))) is None
    assert power.smallest_difference(np.ones((3, 1))) is None
    assert power.smallest_difference(np.empty((0, 3))) is None
    assert power.smallest_difference(np.ones((3, 3))) == 0


def test_paired_takes_common_seeds() -> None:
    assert power.paired({"b": {0: 1.0, 2: 2.0}, "a": {2: 3.0, 1: 4.0}}).tolist() == [[3.0, 2.0]]
    assert power.paired({"b": {0: 1.0}, "a": {1: 4.0}}).shape == (0, 2)


def test_a_method_that_is_beaten() -> None:
    a, b = [0.60, 0.62, 0.61], [0.65, 0.66, 0.66]
    found = reference.ttest_rel(a, b)
    assert (round(found.statistic, 1), round(found.pvalue, 6)) == (-14.0, 0.005063)
    curves = np.array([a, b])[:, :, None]  # one cycle
    assert penalty.penalties(curves).tolist() == [[0, 0], [1, 0]]
    assert penalty.loses(penalty.penalties(curves)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("a", "b", "beats"),
    [([0.6, 0.7], [0.5, 0.6], 1), ([0.5, 0.6], [0.5, 0.6], 0), ([0.65, 0.75, 0.3], [0.6, 0.7, 0.25], 1)],
)
def test_equal_differences_need_no_test(a, b, beats) -> None:
    assert penalty.penalties(np.array([a, b])[:, :, None])[0, 1] == beats


def test_one_seed_has_no_penalties() -> None:
    assert penalty.penalties(np.ones((3, 1, 5))) is None


@given(arrays(float, (3, 3, 4), elements=scores))
def test_penalties_are_t_tests(curves) -> None:
    found = penalty.penalties(curves)
    assert (np.diag(found) == 0).all()
    assert (found + found.T <= 1).all()
    for i, j in ((0, 1), (2, 0)):
        wins = 0
        for cycle in range(4):
            z = np.round(curves[i, :, cycle] - curves[j, :, cycle], 10)
            p = float(z[0] == 0) if np.ptp(z) == 0 else reference.ttest_1samp(z, 0).pvalue
            wins += z.mean() > 0 and p < 0.05
        assert found[i, j] == wins / 4


def test_labels_saved_by_hand() -> None:
    labels, random, better = [100, 200, 300], [0.2, 0.4, 0.6], [0.2, 0.6, 0.8]
    assert savings.needed(random, labels, 0.5) == pytest.approx(250)
    assert savings.saved(better, random, labels) == pytest.approx([0, 50, 100])
    assert savings.saved(random, better, labels) == [0, -100, -math.inf]
    assert savings.needed(better, labels, 0.1) == 100  # fewer were not tried


def test_what_was_reached_stays_reached() -> None:
    assert savings.envelope([0.2, 0.5, 0.3]).tolist() == [0.2, 0.5, 0.5]
    assert savings.needed([0.2, 0.5, 0.3], [100, 200, 300], 0.5) == 200


@given(st.lists(scores, min_size=2, max_size=6), st.integers(1, 4))
def test_a_curve_saves_nothing_against_itself(curve, step) -> None:
    labels = [10 + step * n for n in range(len(curve))]
    assert savings.saved(curve, curve, labels) == [0] * len(curve)
    better = savings.saved([value + 0.1 for value in curve], curve, labels)
    assert all(0 <= value < math.inf for value in better)


def block(dataset="share", curves=None, labels=(), factor=1.0, **scores_of) -> ranks.Block:
    found = {qm: dict(enumerate(values)) for qm, values in scores_of.items()}
    return ranks.Block(dataset, "low", True, "b", found, curves or {}, labels, factor)


def test_one_block_of_one_seed_has_no_interval() -> None:
    found = compare.compare([block(random=[0.1], kcg=[0.2], bald=[0.3])], "random")
    assert found.resampled == []
    assert (found.average["kcg"].rank, found.average["kcg"].low, found.average["kcg"].best) == (2, None, None)
    assert (found.friedman, found.critical_difference, found.groups) == (None, None, [])
    assert (found.penalty, found.saved) == (None, [])
    assert found.differences["kcg"].p == found.smallest_p == 1


@pytest.mark.parametrize(("blocks", "seeds"), [(1, 2), (1, 5), (1, 6), (2, 1), (2, 2), (2, 3), (5, 1), (6, 1)])
def test_an_interval_takes_six_pairs(blocks, seeds) -> None:
    values = {qm: [0.1 * n for n in range(seeds)] for qm in ("random", "kcg", "bald")}
    found = compare.compare([block(**values)] * blocks, "random")
    of = found.average["kcg"]
    assert [number is not None for number in (of.low, of.high, of.best)] == [blocks * seeds >= 6] * 3
    assert bool(found.resampled) == (blocks * seeds >= 6)


def coverage(blocks: int, seeds: int, draws: int = 60) -> float:
    """How often intervals hold the expected average rank: 7 methods; effects of method, of method in block, of seed N(0, 1)."""
    rng, held = np.random.default_rng(0), []
    for _ in range(draws):
        effect, spread = rng.normal(size=7), float(blocks > 1)  # one block: this block
        means = effect + spread * rng.normal(size=(2000, 7)) + rng.normal(size=(2000, 7)) / math.sqrt(seeds)
        drawn = [effect + spread * rng.normal(size=7) + rng.normal(size=(seeds, 7)) for _ in range(blocks)]
        found, truth = stats.bootstrap(drawn), stats.rank(means).mean(axis=0)
        held.append((found.low <= truth) & (truth <= found.high))
    return float(np.mean(held))


def test_intervals_of_few_pairs_hold_little(monkeypatch) -> None:
    """Why compare leaves them out (docs/protocol.md, "Statistics")."""
    monkeypatch.setattr(stats, "RESAMPLES", 1000)
    few, enough = [coverage(1, 2), coverage(2, 1)], [coverage(1, 6), coverage(6, 1)]
    assert max(few) < 0.6 < 0.75 < min(enough) < 0.9 < coverage(9, 2)


def test_all_equal() -> None:
    found = compare.compare([block(random=[0.1, 0.2], kcg=[0.1, 0.2], bald=[0.1, 0.2])] * 2, "kcg")
    assert (found.friedman.chi_squared, found.friedman.p) == (0, 1)
    assert {of.rank for of in found.average.values()} == {2}
    assert [of.holm for of in found.differences.values()] == [1, 1]


def test_differences_are_of_the_same_seeds() -> None:
    one = ranks.Block("share", "low", True, "b", {"random": {0: 0.1, 7: 0.5}, "kcg": {7: 0.6, 0: 0.3}})
    found = compare.compare([one, block("missing", random=[0.1], kcg=[0.0])], "random").differences["kcg"]
    assert found.blocks[0].mean == pytest.approx(0.15)
    assert found.blocks[0].sd == pytest.approx(0.1 / math.sqrt(2))
    assert (found.blocks[1].pairs, found.blocks[1].sd) == (1, None)
    assert found.mean == pytest.approx(0.2 / 3)
    assert found.p == 6 / 8  # of .2 .1 -.1: sums of .2 and more


def test_printed_and_own_scores_give_the_same_differences() -> None:
    """Printed means are times ten where a modality is partially predictive; ours are plain, with the factor beside them."""
    printed, own = [], []
    for dataset, factor in {"missing": 1, "share": 1, "unique": 10, "synergy": 10}.items():
        for regime, of in PRINTED.items():
            means = dict(zip(METHODS, of[dataset], strict=True))
            printed.append(ranks.Block(dataset, regime, True, "b", {qm: {0: mean} for qm, mean in means.items()}))
            plain = {qm: {0: mean / factor} for qm, mean in means.items()}
            own.append(ranks.Block(dataset, regime, True, "b", plain, factor=factor))
    theirs, ours = compare.compare(printed, "random"), compare.compare(own, "random")
    for qm, of in theirs.differences.items():
        assert (ours.differences[qm].p, ours.differences[qm].holm) == (of.p, of.holm)
        assert ours.differences[qm].mean == pytest.approx(of.mean)
        assert [b.mean for b in ours.differences[qm].blocks] == pytest.approx([b.mean for b in of.blocks])
    assert ours.average == theirs.average
    assert ours.friedman == theirs.friedman


def test_scores_and_the_smallest_difference_are_as_the_table_shows_them() -> None:
    scores_of = {"random": [0.1, 0.2, 0.3], "kcg": [0.2, 0.2, 0.4]}
    plain, tens = (ranks.ranked(block(factor=factor, **scores_of)) for factor in (1, 10))
    assert tens.smallest == pytest.approx(10 * plain.smallest)
    assert tens.scores == pytest.approx({qm: 10 * score for qm, score in plain.scores.items()})
    assert tens.ranks == plain.ranks
    assert ranks.ranked(block(factor=10, random=[0.1], kcg=[0.2])).smallest is None


def test_curves_of_some_blocks() -> None:
    curves = {"random": {0: (0.1, 0.2), 1: (0.1, 0.2)}, "kcg": {0: (0.2, 0.3), 1: (0.2, 0.3)}}
    found = compare.compare(
        [block(curves=curves, labels=(50, 100), random=[0.15] * 2, kcg=[0.25] * 2), block("missing", random=[0.1], kcg=[0.2])],
        "random",
    )
    assert found.penalty.blocks == 1
    assert found.penalty.beats == {"kcg": {"kcg": 0, "random": 1}, "random": {"kcg": 0, "random": 0}}
    assert found.penalty.loses == {"kcg": 0, "random": 1}
    (saved,) = found.saved
    assert (saved.labels, saved.methods["kcg"].needed, saved.methods["kcg"].ratio) == (100, 50, 0.5)


def test_an_unknown_method_to_compare_with() -> None:
    with pytest.raises(UserError, match=r"\(--against NAME\): 'radom'; did you mean 'random'"):
        compare.compare([block(random=[0.1], kcg=[0.2])], "radom")
