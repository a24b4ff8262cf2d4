"""The smallest difference of two methods that a number of seeds can show."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL, POWER = 0.05, 0.8


def paired(scores: Mapping[str, Mapping[int, float]]) -> NDArray:
    """qm -> seed -> score as (seeds, methods), float64: the seeds that all methods have, methods by name."""
    methods = sorted(scores)
    seeds = sorted(set.intersection(*(set(scores[qm]) for qm in methods)))
    return np.array([[scores[qm][seed] for qm in methods] for seed in seeds]).reshape(len(seeds), len(methods))


def sd_of_differences(scores: NDArray) -> float:
    """The sd of paired differences, pooled over all pairs of methods.

    The mean of var(x_i - x_j) over pairs is twice the residual mean square of a seeds x methods table, so no pair is formed.

    Args:
        scores: (n, k), n seeds >= 2, k methods >= 2.
    """
    n, k = scores.shape
    residual = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    return math.sqrt(2 * float((residual**2).sum()) / ((n - 1) * (k - 1)))


def smallest_difference(scores: NDArray) -> float | None:
    """The difference of two methods' means that a paired two-sided t-test at .05 finds with a power of .8.

    The observed sd (`sd_of_differences`) stands for the true one; the t statistic is then noncentral with sqrt(n) d / sd.
    The wrong tail is left out (at n = 2 it is below 1e-3).

    Args:
        scores: (n, k), n seeds, k methods.

    Returns:
        In the units of the scores; None for one seed or one method, which show no difference.
    """
    n, k = scores.shape
    if n < 2 or k < 2:
        return None
    critical = special.stdtrit(n - 1, 1 - LEVEL / 2)
    noncentral = special.nctdtrinc(n - 1, 1 - POWER, critical)
    return float(noncentral) * sd_of_differences(scores) / math.sqrt(n)
