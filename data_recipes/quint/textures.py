"""The ten textures of Trifeatures (Hermann & Lampinen 2020), as soft maps for every rotation, wider than an image."""

from collections.abc import Callable

import numpy as np

from data_recipes.quint.raster import coverage, rotated_grid
from data_recipes.quint.streams import octets, words

SQRT3 = 1.732051


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _solid(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    return np.ones(np.broadcast_shapes(v.shape, u.shape), bool)


def _stripes(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    return _fraction(v) < (s // 3) / s


def _grid(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    width = (s // 3) / s
    return (_fraction(v) < width) | (_fraction(u) < width)


def _hexgrid(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    """Three families of lines, 60 degrees apart, that meet in the same points."""
    width = max(1, s // 5) / s
    lines = [_fraction(d + width / 2) < width for d in (v, (v + SQRT3 * u) / 2, (v - SQRT3 * u) / 2)]
    return lines[0] | lines[1] | lines[2]


def _dots(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    y, x = _fraction(v) - 0.5, _fraction(u) - 0.5
    return y * y + x * x <= 0.06  # 3 px wide at a period of 6


def _triangles(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    i, j = _fraction(v), _fraction(u)
    return (i <= 0.9) & (np.abs(j - 0.5) <= (i - 0.1) / 2)


def _zigzags(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    return _fraction(v - np.abs(_fraction(u) - 0.5)) < (s // 3) / s


def _rain(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    """Streaks one pixel wide and .7 periods long that start at random, another canvas of rain for each rotation."""
    length, side = round(0.7 * s), 2 * int(max(np.abs(v).max(), np.abs(u).max()) * s) + 4
    starts = octets(words(0, ("rain",), r, r + 1, -(-side * side // 8)), side * side).reshape(side, side) < 0.05 * 256
    streaks = np.zeros_like(starts)
    for drop in range(length):
        streaks[drop:] |= starts[: side - drop]
    row, column = (np.floor(d * s).astype(np.int64) + side // 2 for d in (v, u))
    return streaks[row, column]


def _pluses(v: np.ndarray, u: np.ndarray, s: int, r: int) -> np.ndarray:
    i = np.abs(_fraction(v) - 0.5)
    j = np.abs(_fraction(u + np.floor(v) / 2) - 0.5)
    arm, half = 0.4, (s // 3) / s / 2
    return ((i <= half) & (j <= arm)) | ((j <= half) & (i <= arm))


# Each takes v (down) and u (right) in periods, the period s in pixels and the number r of the rotation.
PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]] = {
    "solid": _solid,
    "stripes": _stripes,
    "grid": _grid,
    "hexgrid": _hexgrid,
    "dots": _dots,
    "triangles": _triangles,
    "zigzags": _zigzags,
    "rain": _rain,
    "pluses": _pluses,
}
TEXTURES = ("solid", "stripes", "grid", "hexgrid", "dots", "noise", "triangles", "zigzags", "rain", "pluses")


def _noise(side: int, r: int) -> np.ndarray:
    """A fair coin for each pixel, another canvas of coins for each rotation; its pixels stay upright. (E, E) uint8."""
    coins = octets(words(0, ("noise",), r, r + 1, -(-side * side // 8)), side * side)
    return (coins.reshape(side, side) < 128) * np.uint8(255)


def table(period: int, size: int, per: int, turn: int) -> np.ndarray:
    """All textures at -turn..turn degrees in steps of one, on canvases of which a (size, size) window has any phase.

    Returns:
        (10, R, E, E) uint8, 255 = on the texture; E = size + 8 periods.
    """
    side = size + 8 * period
    rotations = range(-turn, turn + 1)
    maps = np.empty((len(TEXTURES), len(rotations), side, side), np.uint8)
    for r, degrees in enumerate(rotations):
        v, u = (d / period for d in rotated_grid(side, per, degrees))
        for t, name in enumerate(TEXTURES):
            maps[t, r] = _noise(side, r) if name == "noise" else coverage(PATTERNS[name](v, u, period, r), per)
    return maps
