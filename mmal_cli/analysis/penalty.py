"""The pairwise penalty matrix: how often one method beats another along their learning curves (Ash et al. 2020)."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.05
DECIMALS = 10  # equal differences must not be told apart by their last bit


def penalties(curves: NDArray) -> NDArray | None:
    """The share of cycles in which the row's method beats the column's: paired two-sided t-test over seeds, p < .05.

    As in the code of Lueth et al. (2023), whose plot has the same orientation. Where all differences are equal, p is 0 if they
    are not zero, else 1.

    Args:
        curves: (k, n, T) of methods, seeds, cycles.

    Returns:
        (k, k) in [0, 1], the diagonal 0; None for less than two seeds, which no test can tell apart.
    """
    _, n, cycles = curves.shape
    if n < 2:
        return None
    z = np.round(curves[:, None] - curves[None], DECIMALS)  # (k, k, n, T): row minus column
    mean, sd = z.mean(axis=2), z.std(axis=2, ddof=1)
    equal = np.ptp(z, axis=2) == 0
    t = mean / np.where(equal, 1, sd / np.sqrt(n))
    p = np.where(equal, np.where(mean != 0, 0.0, 1.0), 2 * special.stdtr(n - 1, -np.abs(t)))
    return ((mean > 0) & (p < LEVEL)).sum(axis=2) / cycles


def loses(matrix: NDArray) -> NDArray:
    """How often each method is beaten, on average over the others: (k, k) -> (k,); lower is better."""
    return matrix.sum(axis=0) / (len(matrix) - 1)
