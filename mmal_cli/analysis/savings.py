"""Labels that a method saves against a reference at equal accuracy, read off two mean learning curves."""

import math
from collections.abc import Sequence

import numpy as np

DECIMALS = 10


def envelope(curve: Sequence[float]) -> np.ndarray:
    """The best value so far, (T,) -> (T,): what was reached stays reached. Rounded: the last bit must not censor a value."""
    return np.maximum.accumulate(np.round(np.asarray(curve, dtype=float), DECIMALS))


def needed(curve: Sequence[float], labels: Sequence[int], value: float) -> float:
    """How many labels a curve needs to reach a value: linear between the points of its envelope.

    A value that the first point reaches needs the labels of the first point: fewer were not tried.

    Args:
        curve: (T,) the metric in each cycle.
        labels: (T,) rising.

    Returns:
        math.inf where the curve never reaches the value.
    """
    best, value = envelope(curve), round(value, DECIMALS)
    at = int(np.searchsorted(best, value))  # the first point that reaches it
    if at == len(best):
        return math.inf
    if at == 0:
        return float(labels[0])
    share = (value - best[at - 1]) / (best[at] - best[at - 1])
    return float(labels[at - 1] + share * (labels[at] - labels[at - 1]))


def saved(curve: Sequence[float], reference: Sequence[float], labels: Sequence[int]) -> list[float]:
    """labels(reference) - labels(curve) at the value that the reference has reached in each cycle; -inf where never reached."""
    return [needed(reference, labels, value) - needed(curve, labels, value) for value in envelope(reference)]
