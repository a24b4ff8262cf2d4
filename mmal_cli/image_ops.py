"""The 14 operations of RandAugmentMC on a batch of uint8 images, each sample its own, each pixel as Pillow has it.

Source: the RandAugmentMC of realistic-al and FixMatch-PyTorch (docs/protocol.md). Pillow's arithmetic is kept: float32 and
truncation in blends, integer weights in the grey conversion. On a CPU `_image_ops.c` does the same in less time, where a C
compiler was there at installation.
"""

from itertools import accumulate

import torch
from torch import Tensor

from mmal_cli import affine, compiled
from mmal_cli.affine import WITH_ZERO
from mmal_cli.device import sent

LEVELS = range(1, 10)  # m = 10 is exclusive
FACTOR = torch.tensor([level * 0.9 / 10 + 0.05 for level in WITH_ZERO], dtype=torch.float32)  # of an enhancement, always < 1
BITS = torch.tensor([int(level * 4 / 10) + 4 for level in WITH_ZERO])  # kept by Posterize
THRESHOLD = torch.tensor([256 - int(level * 256 / 10) for level in WITH_ZERO])  # of Solarize


def operate(images: Tensor, operation: Tensor, level: Tensor, negative: Tensor) -> Tensor:
    """Applies to each sample the one operation that it drew.

    In torch the samples are sorted by operation, so that each operation works on one slice; all operations that map a value to
    a value share one look-up, all that move pixels share another.

    Args:
        images: (B, C, H, W) uint8, C in {1, 3}, on any device; not changed.
        operation: (B,) int64 on the CPU, positions in OPERATIONS.
        level: (B,) int64 on the CPU, 1 to 9.
        negative: (B,) bool on the CPU, the sign of a geometric magnitude; the others do not read it.

    Returns:
        (B, C, H, W) uint8.

    Cost: in C one read and write of the batch; in torch a few, 8 bytes of index per pixel and sample, and the 100 affine maps
    of a size, which are kept (`affine.sources`).
    """
    if compiled.serves(images):
        magnitude = torch.where(operation == list(OPERATIONS).index("Solarize"), THRESHOLD[level], BITS[level])
        maps = affine.coefficients(*images.shape[2:])[affine.position(operation - len(TABLES), level, negative)]
        return compiled.call("operate", images, operation, FACTOR[level], magnitude, maps)
    order = operation.argsort(stable=True)
    operation, level, negative = operation[order], level[order], negative[order]
    ends = [0, *accumulate(operation.bincount(minlength=len(OPERATIONS)).tolist())]
    images = images.index_select(0, sent(order, images.device))
    done = [look_up(images[: ends[len(TABLES)]], _tables(images, level, ends))]
    moving = slice(ends[len(TABLES)], ends[len(TABLES) + len(affine.MAPS)])
    done.append(_move(images[moving], affine.position(operation[moving] - len(TABLES), level[moving], negative[moving])))
    for number in range(len(TABLES) + len(affine.MAPS), len(OPERATIONS)):
        part = slice(ends[number], ends[number + 1])
        done.append(FILTERS[OPERATIONS[number]](images[part], level[part]))
    return torch.cat(done).index_select(0, sent(order.argsort(), images.device))


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replaces each value by its entry in the table of its sample and channel: (n, C, H, W), (n, C, 256) -> (n, C, H, W)."""
    return tables.gather(2, images.flatten(2).long()).view(images.shape)


def crop(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Takes each pixel from elsewhere in its image, by row and column, black where that is outside.

    Args:
        images: (n, C, H, W) uint8, on any device; not changed.
        rows: (n, H) int64 on the same device, the source of each row.
        columns: (n, W) int64, likewise; those inside the image lie side by side.

    Returns:
        (n, C, H, W) uint8.
    """
    if compiled.serves(images):
        return compiled.call("crop", images, rows, columns)
    height, width = images.shape[2:]
    row, column = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    taken = _pick(images, (row * width)[:, :, None] + column[:, None])
    return taken & _ones(row == rows)[:, None, :, None] & _ones(column == columns)[:, None, None]


def _pick(images: Tensor, index: Tensor) -> Tensor:
    """Pixels from elsewhere in their image: (n, C, H, W) and index (n, H, W) int64 = row W + column -> (n, C, H, W)."""
    taken = images.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, images.shape[1], -1))
    return taken.view(images.shape)


def _ones(where: Tensor) -> Tensor:
    """All eight bits set where it is true, none elsewhere, so that `&` keeps or blackens: bool -> uint8."""
    return where.to(torch.uint8) * 255


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
    return sent(magnitudes[level], images.device).view(-1, 1, 1)


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


def _move(images: Tensor, chosen: Tensor) -> Tensor:
    """Applies to each sample its affine map, nearest pixel, black outside."""
    index, inside = affine.sources(*images.shape[2:], images.device)
    chosen = sent(chosen, images.device)
    return _pick(images, index.index_select(0, chosen).long()) & inside.index_select(0, chosen)[:, None]


TABLES = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Brightness": _brightness,
    "Contrast": _contrast,
    "Posterize": _posterize,
    "Solarize": _solarize,
}
FILTERS = {"Color": _color, "Sharpness": _sharpness, "Identity": lambda images, level: images}
OPERATIONS = (*TABLES, *affine.MAPS, *FILTERS)
