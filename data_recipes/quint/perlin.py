"""Perlin noise as one exact matrix product, and the erasure of an exact fraction of a mask by it.

The value at a pixel is linear in the gradients at the lattice nodes around it. So all octaves together are one product
(gradients of a coarse cell) x (weights), the same weights for every cell and image. Both factors hold small integers: every
partial sum stays below 2^24, where float32 counts exactly, so the result does not depend on the order in which a BLAS adds.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WEIGHT_ONE = 1 << 10  # weight 1 in the product
GRADIENT_ONE = 1 << 6  # length of a gradient in the product
DIRECTIONS = 256
GRADIENTS = np.array(
    [[round(GRADIENT_ONE * f(2 * math.pi * d / DIRECTIONS)) for f in (math.sin, math.cos)] for d in range(DIRECTIONS)],
    np.float32,
)  # (256, 2) y, x
# OpenBLAS wakes its threads for products above 2^18 multiplications; for one of 2^20 that costs 30 times the product.
MOST_MULTIPLICATIONS = 1 << 18
LARGEST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Lattice:
    """What the product needs, for one size of image.

    Attributes:
        nodes: how many gradients an image takes.
        index: (cells, K/2) int64, for each coarse cell the nodes inside it and on its rim.
        weights: (blocks, K, p * p / blocks) float32 of integers; p is the width of a coarse cell in pixels.
        cells: coarse cells along a side.
    """

    nodes: int
    index: np.ndarray
    weights: np.ndarray
    cells: int


@lru_cache(maxsize=8)
def lattice(size: int, cells: int, octaves: int, persistence: float = 0.5) -> Lattice:
    """Weights of the fractal sum over `octaves`, each twice as fine and `persistence` times as strong as the one before."""
    width = size // cells
    nodes, index, weights = 0, [], []
    for octave in range(octaves):
        fine = 1 << octave
        side = cells * fine + 1
        corner = np.arange(cells) * fine
        local = np.arange(fine + 1)
        rows = (corner[:, None, None, None] + local[None, None, :, None]) * side
        node = rows + corner[None, :, None, None] + local[None, None, None, :]
        index.append(nodes + node.reshape(cells * cells, -1))
        weights.append(_weights(width, fine, persistence**octave))
        nodes += side * side
    joined = np.round(np.concatenate(weights) * WEIGHT_ONE).astype(np.float32)
    bound = np.abs(joined).sum(axis=0).max() * GRADIENT_ONE
    assert bound < 1 << 19, "the product must stay exact, and leave room for a pixel number beside it"
    blocks = next(
        b for b in range(1, width + 1) if width % b == 0 and (cells * joined.size <= b * MOST_MULTIPLICATIONS or b == width)
    )
    blocked = np.ascontiguousarray(joined.reshape(len(joined), blocks, -1).swapaxes(0, 1))
    return Lattice(nodes, np.concatenate(index, axis=1), blocked, cells)


def _weights(width: int, fine: int, strength: float) -> np.ndarray:
    """Share of each node's gradient (y, then x) in each pixel of a coarse cell: (2 (fine + 1)^2, width^2) float64."""
    t = np.arange(width) * fine / width  # position in fine cells; a pixel on a node has an offset of exactly 0
    away = t[None, :] - np.arange(fine + 1)[:, None]  # (nodes, pixels)
    near = np.maximum(1 - np.abs(away), 0)
    share = near * near * near * (near * (near * 6 - 15) + 10)  # Perlin's fade; fade(1 - d) = 1 - fade(d)
    y = (share * away)[:, None, :, None] * share[None, :, None, :]
    x = share[:, None, :, None] * (share * away)[None, :, None, :]
    return strength * np.stack([y, x], axis=2).reshape(2 * (fine + 1) ** 2, width * width)


def noise(directions: np.ndarray, plan: Lattice) -> np.ndarray:
    """Fractal gradient noise (Perlin 2002), in steps of 1 / (WEIGHT_ONE * GRADIENT_ONE).

    Args:
        directions: (n, plan.nodes) uint8, the direction of each node's gradient in 1/256 turns.
        plan: from `lattice`.

    Returns:
        (n, W, W) float32 holding integers below 2^19. The customary factor sqrt(2) is left out: only the order counts.
    """
    n, cells = len(directions), plan.cells
    blocks, k, pixels = plan.weights.shape
    pairs = GRADIENTS.view(np.complex64)[:, 0]  # y and x travel together
    gradients = pairs[directions].take(plan.index.reshape(-1), axis=1).view(np.float32).reshape(n, 1, cells, cells, k)
    width = math.isqrt(blocks * pixels)
    parts = (gradients @ plan.weights[:, None]).reshape(n, blocks, cells, cells, width // blocks, width)
    return parts.transpose(0, 2, 1, 4, 3, 5).reshape(n, cells * width, cells * width)


def keys(values: np.ndarray) -> np.ndarray:
    """Noise as integers that are all different within an image: equal values are told apart by the pixel's number.

    Of 31 bits the pixel takes 12 at 64 px and the noise its 19; larger images take bits from the noise.

    Args:
        values: (n, W, W) integers below 2^19.

    Returns:
        (n, W * W) int32.
    """
    n, pixels = len(values), values.shape[1] * values.shape[2]
    bits = (pixels - 1).bit_length()
    ordered = values.reshape(n, pixels).astype(np.int32)
    ordered >>= max(0, bits - 12)
    ordered <<= bits
    ordered |= np.arange(pixels, dtype=np.int32)
    return ordered


def thresholds(key: np.ndarray, pixels: np.ndarray, count: np.ndarray, erase: np.ndarray) -> np.ndarray:
    """The key below which exactly `erase` of an image's foreground pixels lie.

    Args:
        key: (n, W * W) int32, all different within an image.
        pixels: (n, P) positions of the foreground pixels, anything after the first `count`.
        count: (n,) foreground pixels.
        erase: (n,) how many of them go, fewer than `count`.

    Returns:
        (n,) int32.
    """
    inside = np.take_along_axis(key, pixels, axis=1)
    inside[np.arange(pixels.shape[1]) >= count[:, None]] = LARGEST
    inside.sort(axis=1)
    return inside[np.arange(len(key)), erase]
