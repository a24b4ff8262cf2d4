"""Augmentations on whole batches, a draw of its own for each sample, whatever the device.

`none`, `basic`, `randaug`, and FixMatch's `weak` and `strong`. Source: realistic-al's cifar_basic, cifar_randaugmentMC, the two
views of its FixMatch and, from 128 pixels of width, its ImageNet-style pair.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from mmal_cli import image_ops
from mmal_cli.core.errors import unknown
from mmal_cli.device import sent

NAMES = ("none", "basic", "randaug", "weak", "strong")
LARGE = 128  # from this width on: random resized crop in place of padding and crop, and no cutout
PADDING = 0.125  # of the width, on each side
ROUNDS = 2  # operations for each sample, one after the other, drawn with replacement
SHARE = 0.5  # of the operations of `strong` that are carried out, below LARGE
CUTOUT = 0.5  # of the width
GREY = 127
AREA = (0.08, 1.0)  # of a resized crop, as a part of the image
RATIO = (3 / 4, 4 / 3)  # width / height of a resized crop
TRIES = 10  # until a resized crop fits in the image


def apply(name: str, images: Tensor, rng: torch.Generator) -> Tensor:
    """Augments a batch; the draws depend on `rng` and the shape of the batch alone.

    basic: horizontal flip (p = .5), then a crop of the same size after zero padding by int(.125 W).
    randaug: the same with reflect padding, then two of 14 operations (`image_ops`), then a grey square of int(.5 W).
    From W = 128 on both begin with flip and random resized crop instead, and randaug has no grey square.
    weak: flip and crop after reflect padding; strong: randaug, each operation with p = .5. From W = 128 on they are basic and
    randaug.

    Args:
        name: one of NAMES.
        images: (B, C, H, W) uint8, C in {1, 3}, on any device; not changed.
        rng: on the CPU, the only source of chance.

    Returns:
        (B, C, H, W) uint8 on the same device; `images` itself for none. Equal on all devices, bit for bit, below W = 128;
        from there on the interpolation may differ by one grey level.

    Cost: 128 images of 3 x 64 x 64 in about 9 ms (basic: 2 ms) of one CPU core, an eighth of Pillow's; a third without
    `_image_ops.c` (`mmal bench augment`). From W = 128 on the resized crop, in torch on any device, takes most of the time.
    """
    if name not in NAMES:
        raise unknown("augmentation", name, NAMES)
    if name == "none" or len(images) == 0:
        return images
    count, _, height, width = images.shape
    flip = draw_flips(count, rng)
    if width >= LARGE:
        images = zoom(images, flip, draw_boxes(count, height, width, rng))
    else:
        images = shift(images, flip, draw_shifts(count, padding(height, width), rng), reflect=name != "basic")
    if name in ("basic", "weak"):
        return images
    for _ in range(ROUNDS):
        share = SHARE if name == "strong" and width < LARGE else 1.0
        images = image_ops.operate(images, *draw_operations(count, rng, share))
    return images if width >= LARGE else cut_out(images, draw_centres(count, height, width, rng))


def padding(height: int, width: int) -> int:
    """Pixels on each side; of the shorter side, so that reflection is defined for every shape."""
    return int(min(height, width) * PADDING)


def draw_flips(count: int, rng: torch.Generator) -> Tensor:
    """(B,) bool: which samples are mirrored."""
    return torch.rand(count, generator=rng) < 0.5


def draw_shifts(count: int, pad: int, rng: torch.Generator) -> Tensor:
    """(B, 2) int64 from -pad to pad: where the crop begins, (row, column) in the image before padding."""
    return torch.randint(-pad, pad + 1, (count, 2), generator=rng)


def draw_operations(count: int, rng: torch.Generator, share: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """One round of RandAugmentMC(m = 10): operation and level (B,) int64, whether the magnitude is negative (B,) bool.

    Only a share of the samples, each by itself, gets its operation; the others get Identity.
    """
    operation = torch.randint(len(image_ops.OPERATIONS), (count,), generator=rng)
    if share < 1:
        operation[torch.rand(count, generator=rng) >= share] = image_ops.OPERATIONS.index("Identity")
    level = torch.randint(image_ops.LEVELS.start, image_ops.LEVELS.stop, (count,), generator=rng)
    return operation, level, torch.rand(count, generator=rng) < 0.5


def draw_centres(count: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """(B, 2) float64: the centre of each grey square, (row, column), uniform over the image."""
    return torch.rand(count, 2, generator=rng, dtype=torch.float64) * torch.tensor([height, width])


def draw_boxes(count: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """(B, 4) int64 top, left, height, width of a resized crop: the first of ten tries that fits, else the whole image.

    Area uniform in [.08, 1], log of the ratio uniform in [log 3/4, log 4/3], as torchvision's RandomResizedCrop.
    """
    area = torch.empty(TRIES, count, dtype=torch.float64).uniform_(*AREA, generator=rng) * height * width
    ratio = torch.empty(TRIES, count, dtype=torch.float64).uniform_(*map(math.log, RATIO), generator=rng).exp()
    tall, wide = (area / ratio).sqrt().round().long(), (area * ratio).sqrt().round().long()
    place = torch.rand(2, count, generator=rng, dtype=torch.float64)
    near = min(max(width / height, RATIO[0]), RATIO[1])  # an image that is too long itself keeps its middle
    last = torch.tensor([min(height, round(width / near)), min(width, round(height * near))])
    fits = (tall <= height) & (wide <= width)
    first, any_fits = fits.int().argmax(0, keepdim=True), fits.any(0)
    tall = torch.where(any_fits, tall.gather(0, first)[0], last[0])
    wide = torch.where(any_fits, wide.gather(0, first)[0], last[1])
    place = torch.where(any_fits, place, 0.5)
    return torch.stack([(place[0] * (height - tall + 1)).long(), (place[1] * (width - wide + 1)).long(), tall, wide], dim=1)


def shift(images: Tensor, flip: Tensor, start: Tensor, reflect: bool) -> Tensor:
    """Mirrors, pads and crops in one look-up: flip (B,), start (B, 2) as drawn; beyond the border reflected, else black."""
    height, width = images.shape[2:]
    rows, columns = start[:, :1] + torch.arange(height), start[:, 1:] + torch.arange(width)
    columns = torch.where(flip[:, None], width - 1 - columns, columns)
    if reflect:
        rows, columns = _reflected(rows, height), _reflected(columns, width)
    return image_ops.crop(images, sent(rows, images.device), sent(columns, images.device))


def _reflected(index: Tensor, size: int) -> Tensor:
    """Positions beyond the border, mirrored at the border pixel: -1 -> 1, size -> size - 2."""
    return size - 1 - (size - 1 - index.abs()).abs()


def zoom(images: Tensor, flip: Tensor, box: Tensor) -> Tensor:
    """Stretches box (B, 4) of each image to the whole, bilinear between pixel centres, then mirrors where flip (B,) says so.

    A box is never larger than the image, so this is enlargement: no filter against aliasing is needed.
    """
    grid = []
    for size, start, extent in zip(images.shape[2:], box[:, :2].T, box[:, 2:].T, strict=True):
        at = (torch.arange(size) + 0.5) * (extent[:, None] / size) - 0.5
        at = start[:, None] + torch.minimum(at.clamp(min=0), extent[:, None] - 1.0)  # the box's own border, not the image's
        grid.append(at / (size - 1) * 2 - 1)
    rows, columns = sent(grid[0], images.device), sent(torch.where(flip[:, None], grid[1].flip(1), grid[1]), images.device)
    height, width = images.shape[2:]
    where = torch.stack([columns[:, None, :].expand(-1, height, -1), rows[:, :, None].expand(-1, -1, width)], dim=3)
    sampled = functional.grid_sample(images.float(), where, mode="bilinear", align_corners=True)
    return (sampled + 0.5).clamp(0, 255).to(torch.uint8)


def cut_out(images: Tensor, centre: Tensor) -> Tensor:
    """Paints a grey square about centre (B, 2); its last row and column are inside, as Pillow draws rectangles.

    The corner is clamped before the far side is counted from it: squares are whole at the top and left border and cut at
    the bottom and right one, as in realistic-al.
    """
    height, width = images.shape[2:]
    side = int(CUTOUT * width)
    corner = sent((centre - side / 2).clamp(min=0).long(), images.device)  # (B, 2)
    rows = torch.arange(height, device=images.device) - corner[:, :1]
    columns = torch.arange(width, device=images.device) - corner[:, 1:]
    rows, columns = (((at >= 0) & (at <= side)).to(torch.uint8) * 255 for at in (rows, columns))
    hole = rows[:, None, :, None] & columns[:, None, None]  # (B, 1, H, W), 255 inside
    return images & ~hole | hole & GREY  # ten times faster than masked_fill on a CPU
