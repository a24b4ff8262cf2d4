"""Statistics of methods over blocks and seeds: pure functions of one matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mmal_cli.core.seeds import derive

DECIMALS = 10  # as in ranks.py: what float noise may not tell apart
RESAMPLES = 10_000
FEWEST = 6  # pairs of a seed and a block that an interval takes (docs/protocol.md, "Statistics")
EXACT = 16  # sign patterns of up to so many differences are all tried
DRAWS = 10_000  # else so many of them


@dataclass(frozen=True)
class Resampled:
    """Bootstrap of average ranks: 95 % interval (k,) and (k,), and the chance to be the best (k,), which adds up to 1."""

    low: NDArray
    high: NDArray
    best: NDArray


def rank(scores: NDArray) -> NDArray:
    """Ranks along the last axis, 1 for the highest score; ties share the average of their places."""
    return stats.rankdata(-np.round(scores, DECIMALS), axis=-1)


def bootstrap(blocks: Sequence[NDArray]) -> Resampled:
    """Resamples blocks and, within each drawn block, its seeds, the same seeds for all methods; then ranks the means.

    Percentile intervals of 10,000 resamples (Efron 1979), as rliable (Agarwal et al. 2021) does for scores. Blocks of one
    seed (printed means) are resampled as blocks only. P(best): the share of resamples in which the method has the lowest
    average rank, ties shared. Chance is fixed: the same scores give the same intervals. Of fewer than FEWEST pairs they
    mean little; not checked here.

    Args:
        blocks: B matrices (n_b, k): seeds, methods.

    Cost: B passes over 10,000 n k numbers; memory 10,000 n k.
    """
    rng = np.random.default_rng(derive(0, "rank", "bootstrap"))
    n = np.array([len(block) for block in blocks])
    scores = np.stack([np.pad(block, ((0, n.max() - len(block)), (0, 0))) for block in blocks])  # (B, n, k)
    total = np.zeros((RESAMPLES, scores.shape[2]))
    for _ in blocks:
        drawn = rng.integers(len(blocks), size=RESAMPLES)
        seeds = rng.integers(n[drawn, None], size=(RESAMPLES, n.max()))  # those from n_b on are not used
        used = np.arange(n.max()) < n[drawn, None]
        total += rank((scores[drawn[:, None], seeds] * used[..., None]).sum(axis=1) / n[drawn, None])
    average = total / len(blocks)
    lowest = average <= average.min(axis=1, keepdims=True) + 1e-9
    low, high = np.quantile(average, [0.025, 0.975], axis=0)
    return Resampled(low, high, (lowest / lowest.sum(axis=1, keepdims=True)).mean(axis=0))


def friedman(ranks: NDArray) -> tuple[float, float] | None:
    """Chi-squared (ties corrected, k - 1 degrees of freedom) and p that all methods rank alike (Friedman 1937).

    Args:
        ranks: (B, k) of blocks and methods; scores would do as well.

    Returns:
        None for two methods, for which it is not defined, and for one block, where without ties chi-squared is k - 1
        whatever the ranks; (0, 1) where every block is one tie.
    """
    if len(ranks) < 2 or ranks.shape[1] < 3:
        return None
    if (ranks == ranks[:, :1]).all():
        return 0.0, 1.0
    found = stats.friedmanchisquare(*ranks.T)
    return float(found.statistic), float(found.pvalue)


def critical_difference(methods: int, blocks: int) -> float | None:
    """Nemenyi's critical difference of two average ranks at .05 (Demsar 2006): q sqrt(k (k + 1) / (6 B)).

    None for one block, where no two ranks can differ as much. q is the .95 quantile of the studentized range of k groups
    with infinite degrees of freedom, divided by sqrt 2.
    """
    if blocks < 2:
        return None
    q = stats.studentized_range.ppf(0.95, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))


def groups(average: Mapping[str, float], difference: float) -> list[list[str]]:
    """The longest runs of methods, by average rank, whose ends differ by less than the critical difference."""
    order = sorted(average, key=lambda qm: (average[qm], qm))
    found: list[list[str]] = []
    for start, first in enumerate(order):
        run = [qm for qm in order[start:] if average[qm] - average[first] < difference]
        if len(run) > 1 and not (found and run[-1] == found[-1][-1]):
            found.append(run)
    return found


def sign_flips(differences: NDArray) -> float:
    """p, two-sided, that differences (N,) are symmetric about zero: the share of sign patterns whose sum is as far from zero.

    Exact over all 2^N patterns for N <= 16, so p is at least 2 / 2^N; else 10,000 drawn ones and the observed one (Phipson and
    Smyth 2010). The sum weighs a block by the size of its differences; pairs are taken as independent.

    Cost: at most 65,536 x 16 signs.
    """
    n = len(differences)
    if n <= EXACT:
        signs = (np.arange(2**n)[:, None] >> np.arange(n) & 1) * 2 - 1  # (2^N, N)
    else:
        rng = np.random.default_rng(derive(0, "rank", "signs"))
        signs = np.vstack([np.ones(n, int), rng.integers(2, size=(DRAWS, n)) * 2 - 1])
    noise = 1e-9 * np.abs(differences).sum()  # equal sums must not be told apart by their last bit
    return float((np.abs(signs @ differences) >= abs(differences.sum()) - noise).mean())


def smallest_p(pairs: int) -> float:
    """The smallest p that `sign_flips` can give."""
    return 2 / 2**pairs if pairs <= EXACT else 1 / (DRAWS + 1)


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for their number, step down (Holm 1979): family-wise error .05 where the adjusted p is below .05."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * np.asarray(p)[order]))
    return adjusted.tolist()
