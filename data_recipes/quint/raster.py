"""Rotated pixel grids and soft edges, in arithmetic whose every step IEEE 754 rounds alike on all machines."""

import math

import numpy as np


def rotated_grid(size: int, per: int, degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the sub-pixel centres of a square picture, seen from axes turned about its centre.

    sin and cos come from `math`, rounded to six decimals: libraries differ in their last bit, six decimals do not.

    Returns:
        y (down) and x (right), each (size * per, size * per) float64 in pixels, 0 at the centre.
    """
    cos, sin = (round(f(math.radians(degrees)), 6) for f in (math.cos, math.sin))
    axis = (np.arange(size * per) + 0.5) / per - size / 2
    y, x = axis[:, None], axis[None, :]
    return cos * y - sin * x, sin * y + cos * x


def coverage(inside: np.ndarray, per: int) -> np.ndarray:
    """Share of each pixel's sub-pixels that are inside, as 0..255: (S * per, S * per) bool -> (S, S) uint8."""
    count = np.zeros((inside.shape[0] // per, inside.shape[1] // per), np.uint32)
    for row in range(per):
        for column in range(per):
            count += inside[row::per, column::per]
    return ((count * 255 + per * per // 2) // (per * per)).astype(np.uint8)
