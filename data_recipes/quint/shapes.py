"""The ten shapes of Trifeatures (Hermann & Lampinen 2020), as soft masks for every rotation."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_recipes.quint.raster import coverage, rotated_grid

STAR_RADIUS = 0.525  # the star then fills the width of its box
STAR_TIPS = [(-round(math.cos(t), 6), round(math.sin(t), 6)) for t in (2 * math.pi * k / 5 for k in range(5))]
INSIDE_FROM = 128  # a pixel belongs to the foreground when at least half of it is covered


def _triangle(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.abs(j - 0.5) <= i / 2


def _square(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return (i >= 0) & (j >= 0)


def _plus(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return (np.abs(i - 0.5) <= 1 / 6) | (np.abs(j - 0.5) <= 1 / 6)


def _circle(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return (i - 0.5) * (i - 0.5) + (j - 0.5) * (j - 0.5) <= 0.25


def _tee(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return (i <= 1 / 3) | (np.abs(j - 0.5) <= 1 / 6)


def _rhombus(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    left = (1 - i) * 0.45
    return (j >= left) & (j <= left + 0.55)


def _pentagon(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.abs(j - 0.5) <= np.where(i < 0.4, i / 0.8, 0.5 - (i - 0.4) / 3.1)


def _star(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """A pentagram holds the points on the inner side of at least four of its five lines."""
    y, x = i - 0.55, j - 0.5
    return sum((y * a + x * b <= STAR_RADIUS * 0.309017).astype(np.uint8) for a, b in STAR_TIPS) >= 4


def _fivesquare(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return (np.floor(i * 3) + np.floor(j * 3)) % 2 == 0


def _trapezoid(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.abs(j - 0.5) <= 0.5 - i / 3.1


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "triangle": _triangle,
    "square": _square,
    "plus": _plus,
    "circle": _circle,
    "tee": _tee,
    "rhombus": _rhombus,
    "pentagon": _pentagon,
    "star": _star,
    "fivesquare": _fivesquare,
    "trapezoid": _trapezoid,
}


@dataclass(frozen=True)
class ShapeTable:
    """Every shape at every rotation on a canvas so wide that a W x W window of it is the shape at any place.

    Attributes:
        masks: (10, R, E, E) uint8, 255 = covered.
        first: (10, R, 2) int64, the smallest window start (row, column) with the whole shape inside.
        starts: (10, R, 2) int64, how many starts from there on keep it inside.
        pixels: (10, R, P) int32, row * W + column on the canvas of each foreground pixel, padded with 0.
        count: (10, R) int64, how many of these are real.
    """

    masks: np.ndarray
    first: np.ndarray
    starts: np.ndarray
    pixels: np.ndarray
    count: np.ndarray


def mask(name: str, box: int, grid: tuple[np.ndarray, np.ndarray], per: int) -> np.ndarray:
    """One shape, `box` pixels wide, on a grid of `per` x `per` sub-pixels a pixel: uint8, 255 = covered."""
    i, j = grid[0] / box + 0.5, grid[1] / box + 0.5
    within = (i >= 0) & (i <= 1) & (j >= 0) & (j <= 1)
    return coverage(within & SHAPES[name](i, j), per)


def table(box: int, size: int, per: int, turn: int) -> ShapeTable:
    """All shapes at -turn..turn degrees in steps of one. Cost: about 1 s at 64 px, memory 910 canvases of some 94 x 94."""
    tight = 2 * math.ceil(box * 0.708 + 1)  # half the diagonal on each side, and a pixel of air
    rotations = range(-turn, turn + 1)
    small = np.empty((len(SHAPES), len(rotations), tight, tight), np.uint8)
    for r, degrees in enumerate(rotations):
        grid = rotated_grid(tight, per, degrees)
        for s, name in enumerate(SHAPES):
            small[s, r] = mask(name, box, grid, per)
    low, high = _extent(small)
    pad = size - int((high - low).min())  # the widest free way that any shape has
    masks = np.pad(small, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    flat = masks >= INSIDE_FROM
    count = flat.sum(axis=(2, 3))
    pixels = np.zeros((*count.shape, int(count.max())), np.int32)
    for s, r in np.ndindex(count.shape):
        rows, columns = np.nonzero(flat[s, r])
        pixels[s, r, : len(rows)] = rows * size + columns
    return ShapeTable(masks, high + pad - size, size - (high - low) + 1, pixels, count)


def _extent(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and one-past-last row and column with anything in it: two (10, R, 2) int64."""
    low, high = [], []
    for axis in (3, 2):
        filled = masks.any(axis=axis)
        low.append(filled.argmax(axis=2))
        high.append(filled.shape[2] - filled[:, :, ::-1].argmax(axis=2))
    return np.stack(low, axis=2), np.stack(high, axis=2)
