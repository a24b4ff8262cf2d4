"""Two random views of the same images, as SimCLR has them, on whole batches and any device.

Source: Chen et al. 2020, appendix A, with torchvision's formulas. Ours: brightness, contrast, saturation and hue are changed in
this order, not in a random one.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mmal_cli import augment
from mmal_cli.device import sent

JITTERED, GREYED, BLURRED = 0.8, 0.2, 0.5  # how often
STRENGTHS = (0.8, 0.8, 0.8, 0.2)  # of brightness, contrast, saturation and hue, times the recipe's
GREY = (0.2989, 0.587, 0.114)
KERNEL, SIGMA = 0.1, (0.1, 2.0)  # of the blur: the kernel's part of the width, pixels


def view(images: Tensor, jitter: float, blur: bool, rng: torch.Generator) -> Tensor:
    """A random resized crop, flip, colours and, if asked, blur, a draw of its own for each image.

    Args:
        images: (B, C, H, W) uint8, C in {1, 3}; not changed.
        jitter: strength of the colour changes, 1 or less; images of one channel change in brightness and contrast alone.
        rng: on the CPU, the only source of chance.

    Returns:
        (B, C, H, W) uint8 on the same device.
    """
    count, channels, height, width = images.shape
    cropped = augment.zoom(images, augment.draw_flips(count, rng), augment.draw_boxes(count, height, width, rng))
    x = cropped.float() / 255
    changed, greyed, blurred = (torch.rand(count, generator=rng) for _ in range(3))
    by = (2 * torch.rand(4, count, 1, 1, 1, generator=rng) - 1) * jitter * torch.tensor(STRENGTHS).view(4, 1, 1, 1, 1)
    sigma = torch.empty(count).uniform_(*SIGMA, generator=rng)
    x = _where(changed < JITTERED, coloured(x, sent(by, x.device)), x)
    if channels == 3:
        x = _where(greyed < GREYED, grey(x).expand_as(x), x)
    if blur:
        x = _where(blurred < BLURRED, blurry(x, sent(sigma, x.device)), x)
    return (x * 255).round().clamp(0, 255).to(torch.uint8)


def _where(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(sent(chosen, a.device)[:, None, None, None], a, b)


def grey(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W), ITU-R 601."""
    return x if x.shape[1] == 1 else (x * sent(torch.tensor(GREY), x.device)[:, None, None]).sum(dim=1, keepdim=True)


def coloured(x: Tensor, by: Tensor) -> Tensor:
    """Changes colours as torchvision's `adjust_...`; by (4, B, 1, 1, 1): factors less 1, and turns of the hue."""
    x = (x * (1 + by[0])).clamp(0, 1)
    mean = grey(x).mean(dim=(1, 2, 3), keepdim=True)
    x = (mean + (1 + by[1]) * (x - mean)).clamp(0, 1)
    if x.shape[1] == 1:
        return x
    dull = grey(x)
    x = (dull + (1 + by[2]) * (x - dull)).clamp(0, 1)
    return turned(x, by[3])


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Turns the hue of (B, 3, H, W) in [0, 1] by a part of the circle, (B, 1, 1, 1)."""
    high, low = x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True)
    spread = (high - low).clamp(min=torch.finfo(x.dtype).tiny)
    red, green, blue = x.split(1, dim=1)
    sector = torch.where(
        high == red, (green - blue) / spread, torch.where(high == green, 2 + (blue - red) / spread, 4 + (red - green) / spread)
    )
    hue = torch.where(high == low, 0, sector) + 6 * turns
    # a channel at its own angle k is high - spread * max(0, min(k, 4 - k, 1)), k = (n + hue) mod 6, n = 5, 3, 1
    angle = (sent(torch.tensor([5.0, 3.0, 1.0]), x.device)[:, None, None] + hue) % 6
    return high - (high - low) * torch.minimum(angle, 4 - angle).clamp(0, 1)


def blurry(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of (B, C, H, W) by sigma (B,) pixels of its own, reflected at the border."""
    count, channels, height, width = x.shape
    half = max(1, int(KERNEL * width) // 2)
    at = torch.arange(-half, half + 1, device=x.device)
    kernel = (-(at**2) / (2 * sigma[:, None] ** 2)).exp()
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None]  # (B C, 1, k)
    flat = functional.pad(x.reshape(1, count * channels, height, width), (half,) * 4, mode="reflect")
    flat = functional.conv2d(flat, kernel[:, :, None], groups=count * channels)
    return functional.conv2d(flat, kernel[:, :, :, None], groups=count * channels).view(x.shape)
