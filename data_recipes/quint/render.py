"""Random words in, images out: image k depends on (seed, split, modality, k) and its factors, never on its neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from data_recipes.quint import colours, perlin, shapes, textures
from data_recipes.quint.setting import Picture
from data_recipes.quint.streams import below, octets, words

BATCH = 64  # images painted together: their arrays stay in the second-level cache
Q_STEPS = 1 << 16
# The words of an image after those of its factors; the gradients come last, as many bytes as the noise has nodes.
SHAPE_TURN, ROW, COLUMN = 0, 1, 2
TEXTURE_TURN, TEXTURE_ROW, TEXTURE_COLUMN = 3, 4, 5
BACKGROUND_TURN, BACKGROUND_ROW, BACKGROUND_COLUMN = 6, 7, 8
JITTER = slice(9, 15)
ERASED = 15
GRADIENTS = 16


@dataclass(frozen=True)
class Studio:
    """The tables from which images of one size are put together.

    Attributes:
        size: W in pixels.
        picture: how images look.
        shapes: masks, where they may lie, which pixels are theirs.
        brightness: (10, R, E, E) uint8, the share of a region's colour that a pixel shows, off the texture `dim`, on it 1.
        lattice: of the noise; None where nothing is erased.
    """

    size: int
    picture: Picture
    shapes: shapes.ShapeTable
    brightness: np.ndarray
    lattice: perlin.Lattice | None


@lru_cache(maxsize=2)
def studio(picture: Picture, size: int) -> Studio:
    """Draws the tables once for a process. Cost: about 2 s and 25 MB at 64 px, 25 s and 200 MB at 224."""
    turn, per = picture.turn, picture.supersampling
    dim = round(255 * picture.dim)
    soft = textures.table(picture.period_at(size), size, per, turn)
    brightness = (dim + _over_255(soft.astype(np.uint16) * np.uint16(255 - dim))).astype(np.uint8)
    erasure = picture.perlin
    lattice = perlin.lattice(size, erasure.cells, erasure.octaves) if erasure.enabled else None
    return Studio(size, picture, shapes.table(picture.box_at(size), size, per, turn), brightness, lattice)


def images(
    studio: Studio, seed: int, split: str, modality: str, start: int, factors: Mapping[str, np.ndarray], at: np.ndarray
) -> np.ndarray:
    """Paints images of one modality.

    Args:
        studio: the tables.
        seed: the dataset's seed.
        split: name of the split.
        modality: name of the modality.
        start: number of the first image of the chunk in its split.
        factors: name -> (n,) values of the whole chunk.
        at: positions in the chunk to paint; the others stay zero.

    Returns:
        (n, 3, W, W) uint8.
    """
    n = len(factors["shape"])
    bytes_needed = studio.lattice.nodes if studio.lattice else 0
    raw = words(seed, (split, modality, "picture"), start, start + n, GRADIENTS + -(-bytes_needed // 8))
    painted = np.zeros((n, 3, studio.size, studio.size), np.uint8)
    for first in range(0, len(at), BATCH):
        some = at[first : first + BATCH]
        painted[some] = paint(studio, {name: values[some] for name, values in factors.items()}, raw[some])
    return painted


def paint(studio: Studio, factors: Mapping[str, np.ndarray], raw: np.ndarray) -> np.ndarray:
    """Paints one batch: image = alpha * foreground + (1 - alpha) * background, in 16-bit integers.

    Args:
        studio: the tables.
        factors: name -> (n,) values 0..9 of the five factors.
        raw: (n, words) uint64.

    Returns:
        (n, 3, W, W) uint8.
    """
    alpha = foreground(studio, factors["shape"], raw)
    front = _texture(studio, factors["texture"], raw, TEXTURE_TURN)
    back = _texture(studio, factors["background_texture"], raw, BACKGROUND_TURN)
    front = _over_255(np.multiply(alpha, front, dtype=np.uint16))  # both weights together stay within 255
    back = _over_255(np.multiply(255 - alpha, back, dtype=np.uint16))
    jitter = round(255 * studio.picture.jitter)
    shift = below(raw[:, JITTER], 2 * jitter + 1) - jitter
    near = colours.jittered(factors["colour"], shift[:, :3]).astype(np.uint16)
    far = colours.jittered(factors["background_colour"], shift[:, 3:]).astype(np.uint16)
    painted = np.empty((len(raw), 3, studio.size, studio.size), np.uint8)
    for channel in range(3):
        mixed = front * near[:, channel, None, None]
        mixed += back * far[:, channel, None, None]
        painted[:, channel] = _over_255(mixed)
    return painted


def foreground(studio: Studio, shape: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """What is left of the shapes after erasure, as opacity: (n, W, W) uint8."""
    table, size = studio.shapes, studio.size
    turn = below(raw[:, SHAPE_TURN], table.masks.shape[1])
    place = table.first[shape, turn] + below(raw[:, ROW : COLUMN + 1], table.starts[shape, turn])
    alpha = sliding_window_view(table.masks, (size, size), axis=(2, 3))[shape, turn, place[:, 0], place[:, 1]]
    if studio.lattice is None:
        return alpha
    key = perlin.keys(perlin.noise(octets(raw[:, GRADIENTS:], studio.lattice.nodes), studio.lattice))
    count = table.count[shape, turn]
    pixels = np.maximum(table.pixels[shape, turn] - (place[:, :1] * size + place[:, 1:]), 0)
    threshold = perlin.thresholds(key, pixels, count, erased(studio, count, raw))
    alpha *= (key >= threshold[:, None]).reshape(alpha.shape)
    return alpha


def erased(studio: Studio, count: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """How many of an image's `count` foreground pixels go: the fraction q of them, rounded; q uniform in q_min..q_max."""
    low, high = (round(q * Q_STEPS) for q in (studio.picture.perlin.q_min, studio.picture.perlin.q_max))
    return (count * (low + below(raw[:, ERASED], high - low + 1)) + Q_STEPS // 2) // Q_STEPS


def _texture(studio: Studio, texture: np.ndarray, raw: np.ndarray, turn: int) -> np.ndarray:
    """A window of the texture's canvas: any rotation, any phase. (n, W, W) uint8, 255 = the full colour."""
    maps, size = studio.brightness, studio.size
    rotation = below(raw[:, turn], maps.shape[1])
    place = below(raw[:, turn + 1 : turn + 3], maps.shape[2] - size + 1)
    return sliding_window_view(maps, (size, size), axis=(2, 3))[texture, rotation, place[:, 0], place[:, 1]]


def _over_255(x: np.ndarray) -> np.ndarray:
    """x / 255 rounded, for uint16 up to 255 * 255, in place."""
    x += np.uint16(128)
    x += x >> np.uint16(8)
    x >>= np.uint16(8)
    return x
