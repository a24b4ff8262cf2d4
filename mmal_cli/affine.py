"""The affine maps among the operations of RandAugmentMC: where each pixel comes from, in Pillow's 16.16 fixed point."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from mmal_cli.device import sent

WITH_ZERO = range(10)  # the levels 1 to 9 and zero, so that a level is its own position


def position(kind: Tensor, level: Tensor, negative: Tensor) -> Tensor:
    """The position (n,) among all maps; kind (n,) is one in MAPS, where it is none, neither is the result."""
    return (kind.clamp(0, len(MAPS) - 1) * 2 + negative) * len(WITH_ZERO) + level


@lru_cache(maxsize=4)
def sources(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each pixel comes from, by kind, sign and level: index (100, H, W) int32 and, uint8, 255 inside, 0 outside.

    Memory: 5 bytes x 100 maps per pixel, 2 MB at 64 x 64, 25 MB at 224 x 224.
    """
    a, b, c, d, e, f = sent(coefficients(height, width), device).view(-1, 6, 1, 1).unbind(1)
    x, y = torch.arange(width, device=device), torch.arange(height, device=device)[:, None]
    columns, rows = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return ((rows * width + columns) * inside).int(), inside.to(torch.uint8) * 255


@lru_cache(maxsize=4)
def coefficients(height: int, width: int) -> Tensor:
    """a, b, c, d, e, f of `_fixed_point` by kind, sign and level, (100, 6) int64 on the CPU."""
    signed = [sign * level for sign in (1, -1) for level in WITH_ZERO]
    return torch.tensor([_fixed_point(*make(level, height, width)) for make in MAPS.values() for level in signed])


def _fixed_point(a: float, b: float, c: float, d: float, e: float, f: float) -> list[int]:
    """The map x' = a x + b y + c, y' = d x + e y + f between pixel centres, in 1/65536."""
    return [math.floor(v * 65536.0 + 0.5) for v in (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)]


def _rotate(level: int, height: int, width: int) -> tuple[float, ...]:
    """Counter-clockwise about the centre by 3 to 27 degrees, output to input."""
    degrees = int(level * 30 / 10)
    angle = -math.radians(degrees % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y


MAPS = {
    "Rotate": _rotate,
    "ShearX": lambda level, height, width: (1, level * 0.3 / 10, 0, 0, 1, 0),
    "ShearY": lambda level, height, width: (1, 0, 0, level * 0.3 / 10, 1, 0),
    "TranslateX": lambda level, height, width: (1, 0, int(level * 0.3 / 10 * width), 0, 1, 0),
    "TranslateY": lambda level, height, width: (1, 0, 0, 0, 1, int(level * 0.3 / 10 * height)),
}
