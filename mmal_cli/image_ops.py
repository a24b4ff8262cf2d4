"""The 14 operations of RandAugmentMC on a batch of uint8 images, each sample its own, each pixel as Pillow has it.

Source: the RandAugmentMC of realistic-al and FixMatch-PyTorch (docs/protocol.md). Pillow's arithmetic is kept: 16.16 fixed
point in affine maps, float32 and truncation in blends, integer weights in the grey conversion.
"""

import math
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor

LEVELS = range(1, 10)  # m = 10 is exclusive
_WITH_ZERO = range(10)  # so that a level is its own position in a table of magnitudes
FACTOR = torch.tensor([level * 0.9 / 10 + 0.05 for level in _WITH_ZERO], dtype=torch.float32)  # of an enhancement, always < 1
BITS = torch.tensor([int(level * 4 / 10) + 4 for level in _WITH_ZERO])  # kept by Posterize
THRESHOLD = torch.tensor([256 - int(level * 256 / 10) for level in _WITH_ZERO])  # of Solarize


def operate(images: Tensor, operation: Tensor, level: Tensor, negative: Tensor) -> Tensor:
    """Applies to each sample the one operation that it drew.

    The samples are sorted by operation, so that each operation works on one slice; all operations that map a value to a value
    share one look-up, all that move pixels share another.

    Args:
        images: (B, C, H, W) uint8, C in {1, 3}, on any device; not changed.
        operation: (B,) int64 on the CPU, positions in OPERATIONS.
        level: (B,) int64 on the CPU, 1 to 9.
        negative: (B,) bool on the CPU, the sign of a geometric magnitude; the others do not read it.

    Returns:
        (B, C, H, W) uint8.

    Cost: a few reads and writes of the batch, and 8 bytes of index per pixel and sample. The 90 affine maps of a size are
    kept (`_maps`).
    """
    order = operation.argsort(stable=True)
    operation, level, negative = operation[order], level[order], negative[order]
    ends = [0, *accumulate(operation.bincount(minlength=len(OPERATIONS)).tolist())]
    images = images.index_select(0, order.to(images.device))
    done = [look_up(images[: ends[len(TABLES)]], _tables(images, level, ends))]
    moving = slice(ends[len(TABLES)], ends[len(TABLES) + len(MAPS)])
    done.append(_move(images[moving], operation[moving] - len(TABLES), level[moving], negative[moving]))
    for number in range(len(TABLES) + len(MAPS), len(OPERATIONS)):
        part = slice(ends[number], ends[number + 1])
        done.append(FILTERS[OPERATIONS[number]](images[part], level[part]))
    return torch.cat(done).index_select(0, order.argsort().to(images.device))


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replaces each value by its entry in the table of its sample and channel: (n, C, H, W), (n, C, 256) -> (n, C, H, W)."""
    return tables.gather(2, images.flatten(2).long()).view(images.shape)


def pick(images: Tensor, index: Tensor) -> Tensor:
    """Takes pixels from elsewhere in their image: (n, C, H, W) and index (n, h, w) int64 = row W + column -> (n, C, h, w)."""
    count, channels = images.shape[:2]
    taken = images.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, channels, -1))
    return taken.view(count, channels, *index.shape[1:])


def _tables(images: Tensor, level: Tensor, ends: list[int]) -> Tensor:
    """The tables (n, C, 256) uint8 of all samples whose operation maps values, in their order."""
    made = [images.new_empty(0, images.shape[1], 256)]
    for table, start, stop in zip(TABLES.values(), ends, ends[1:], strict=False):
        if stop > start:
            made.append(table(images[start:stop], level[start:stop]).expand(-1, images.shape[1], -1))
    return torch.cat(made)


def _values(images: Tensor) -> Tensor:
    """0 to 255 on the device of the images."""
    return torch.arange(256, device=images.device)


def _per_sample(magnitudes: Tensor, level: Tensor, images: Tensor) -> Tensor:
    """The magnitude of each sample as (n, 1, 1) on the device of the images."""
    return magnitudes[level].to(images.device).view(-1, 1, 1)


def _auto_contrast(images: Tensor, level: Tensor) -> Tensor:
    """Stretches each channel to 0..255; a channel of one value stays."""
    flat = images.flatten(2)
    low, high = flat.amin(2, keepdim=True).double(), flat.amax(2, keepdim=True).double()
    scale = torch.full_like(low, 255.0) / (high - low).clamp(min=1)  # `255.0 / x` would be 255 times 1 / x, rounded twice
    stretched = (_values(images) * scale + -low * scale).long().clamp(0, 255)
    return torch.where(high > low, stretched, _values(images)).to(torch.uint8)


def _equalize(images: Tensor, level: Tensor) -> Tensor:
    """Spreads each channel's values evenly, by Pillow's cumulative histogram in whole steps."""
    flat = images.flatten(2).long()
    histogram = torch.zeros(*flat.shape[:2], 256, dtype=torch.int64, device=images.device)
    histogram.scatter_add_(2, flat, torch.ones((), dtype=torch.int64, device=images.device).expand(flat.shape))
    brightest = histogram.gather(2, flat.amax(2, keepdim=True))
    step = (flat.shape[2] - brightest) // 255
    below = histogram.cumsum(2) - histogram
    spread = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, spread, _values(images)).to(torch.uint8)


def _brightness(images: Tensor, level: Tensor) -> Tensor:
    """Blends with black."""
    return (_per_sample(FACTOR, level, images) * _values(images)).to(torch.uint8)


def _contrast(images: Tensor, level: Tensor) -> Tensor:
    """Blends with the rounded mean of the grey image."""
    grey = _grey(images).flatten(1)
    mean = (grey.sum(1).double() / grey.shape[1] + 0.5).long().view(-1, 1, 1)
    return _blend(mean, _values(images), _per_sample(FACTOR, level, images))


def _posterize(images: Tensor, level: Tensor) -> Tensor:
    """Keeps the 4 to 7 highest bits."""
    drop = 8 - _per_sample(BITS, level, images)
    return ((_values(images) >> drop) << drop).to(torch.uint8)


def _solarize(images: Tensor, level: Tensor) -> Tensor:
    """Inverts the values from the threshold on."""
    values = _values(images)
    return torch.where(values < _per_sample(THRESHOLD, level, images), values, 255 - values).to(torch.uint8)


def _color(images: Tensor, level: Tensor) -> Tensor:
    """Blends with the grey image; one channel is grey already."""
    if images.shape[1] == 1:
        return images
    return _blend(_grey(images)[:, None], images, _per_sample(FACTOR, level, images)[..., None])


def _sharpness(images: Tensor, level: Tensor) -> Tensor:
    """Blends with the image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13; the outermost pixels stay."""
    x = images.short()
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * x[..., 1:-1, 1:-1]
    smooth = x.float()
    smooth[..., 1:-1, 1:-1] = ((total + 6) / 13).floor()  # rounding to nearest: 13 is odd, there are no ties
    return _blend(smooth, x, _per_sample(FACTOR, level, images)[..., None])


def _grey(images: Tensor) -> Tensor:
    """(n, C, H, W) uint8 -> (n, H, W) int32, ITU-R 601 in 16 bits."""
    if images.shape[1] == 1:
        return images[:, 0].int()
    red, green, blue = images.int().unbind(1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def _blend(start: Tensor, end: Tensor, factor: Tensor) -> Tensor:
    """start + factor (end - start), truncated: whole numbers, float32 factor in [0, 1]; not `lerp`, which rounds otherwise."""
    start = start.float()
    return (start + factor * (end.float() - start)).int().to(torch.uint8)  # float to uint8 at once is three times slower


def _move(images: Tensor, kind: Tensor, level: Tensor, negative: Tensor) -> Tensor:
    """Applies to each sample its affine map, nearest pixel, black outside; kind (n,) is a position in MAPS."""
    index, inside = _maps(*images.shape[2:], images.device)
    chosen = ((kind * 2 + negative) * len(_WITH_ZERO) + level).to(images.device)
    return pick(images, index.index_select(0, chosen).long()) * inside.index_select(0, chosen)[:, None]


@lru_cache(maxsize=4)
def _maps(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each pixel comes from, by kind, sign and level: index (100, H, W) int32 and whether it is inside, bool.

    Memory: 5 bytes x 100 maps per pixel, 2 MB at 64 x 64, 25 MB at 224 x 224.
    """
    fixed = [_fixed(*make(sign * v, height, width)) for make in MAPS.values() for sign in (1, -1) for v in _WITH_ZERO]
    a, b, c, d, e, f = torch.tensor(fixed, device=device).view(-1, 6, 1, 1).unbind(1)
    x, y = torch.arange(width, device=device), torch.arange(height, device=device)[:, None]
    columns, rows = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return ((rows * width + columns) * inside).int(), inside


def _fixed(a: float, b: float, c: float, d: float, e: float, f: float) -> list[int]:
    """The map x' = a x + b y + c, y' = d x + e y + f between pixel centres, in 1/65536."""
    return [math.floor(v * 65536.0 + 0.5) for v in (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)]


def _rotate(level: int, height: int, width: int) -> tuple[float, ...]:
    """Counter-clockwise about the centre by 3 to 27 degrees, output to input."""
    degrees = int(level * 30 / 10)
    angle = -math.radians(degrees % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y


TABLES = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Brightness": _brightness,
    "Contrast": _contrast,
    "Posterize": _posterize,
    "Solarize": _solarize,
}
MAPS = {
    "Rotate": _rotate,
    "ShearX": lambda level, height, width: (1, level * 0.3 / 10, 0, 0, 1, 0),
    "ShearY": lambda level, height, width: (1, 0, 0, level * 0.3 / 10, 1, 0),
    "TranslateX": lambda level, height, width: (1, 0, int(level * 0.3 / 10 * width), 0, 1, 0),
    "TranslateY": lambda level, height, width: (1, 0, 0, 0, 1, int(level * 0.3 / 10 * height)),
}
FILTERS = {"Color": _color, "Sharpness": _sharpness, "Identity": lambda images, level: images}
OPERATIONS = (*TABLES, *MAPS, *FILTERS)
