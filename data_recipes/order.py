"""Random orders that are the same on every machine and with every numpy."""

import numpy as np

from mmal_cli.core import seeds


def shuffled(count: int, seed: int, *purpose: str) -> np.ndarray:
    """0..count-1 in random order, (count,) int64: the ranks of random 64-bit words drawn for a purpose."""
    philox = np.random.Philox(key=seeds.derive(seed, *purpose))
    return philox.random_raw(count).argsort(kind="stable")
