"""A depthwise convolution whose weights' gradient is fast on the CPU where the picture has become smaller than the kernel.

There oneDNN has no fast path, and EfficientNet-B0 at 64 px spends a third of a training step in it (docs/decisions.md). The
numbers are torch's up to rounding; on other devices, for larger pictures and under autocast everything is torch's own.
"""

from operator import lt

import torch
from torch import Tensor, nn


class Depthwise(nn.Conv2d):
    """As nn.Conv2d with one filter for each channel, zero padding and no bias."""

    def forward(self, x: Tensor) -> Tensor:
        is_plain = x.device.type == "cpu" and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        if is_plain and any(map(lt, x.shape[2:], self.kernel_size)):
            return _Tapped.apply(x, self.weight, self.stride, self.padding)
        return super().forward(x)


def sped_up(network: nn.Module) -> nn.Module:
    """The network itself, with its depthwise convolutions replaced by `Depthwise` ones that hold the same weights."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Conv2d and child.groups == child.in_channels == child.out_channels > 1:
                assert (child.bias, child.dilation, child.padding_mode) == (None, (1, 1), "zeros")
                shape = child.in_channels, child.out_channels, child.kernel_size, child.stride, child.padding
                faster = Depthwise(*shape, groups=child.groups, bias=False, device="meta")  # which draws nothing
                faster.weight = child.weight
                setattr(parent, name, faster)
    return network


class _Tapped(torch.autograd.Function):
    """The gradient of a weight is the product of the output's gradient and of what the weight has seen, summed."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return nn.functional.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            wanted = [True, False, False]
            of_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight), wanted
            )
        of_weight = torch.zeros_like(weight)
        rows, columns = (
            [_seen(tap, *sizes) for tap in range(weight.shape[axis])]
            for axis, *sizes in zip((2, 3), x.shape[2:], gradient.shape[2:], ctx.stride, ctx.padding, strict=True)
        )
        for i, (seen_rows, out_rows) in enumerate(rows):
            for j, (seen_columns, out_columns) in enumerate(columns):
                seen = x[:, :, seen_rows, seen_columns]
                of_weight[:, 0, i, j] = (gradient[:, :, out_rows, out_columns] * seen).sum(dim=(0, 2, 3))
        return of_x, of_weight, None, None


def _seen(tap: int, size: int, out: int, stride: int, padding: int) -> tuple[slice, slice]:
    """Along one side: the inputs that a weight meets, and at which outputs; both may be empty."""
    first = max(0, -((tap - padding) // stride))  # the first output whose input is not padding
    last = min(out, (size - 1 + padding - tap) // stride + 1)
    start = first * stride + tap - padding
    return slice(start, start + max(0, last - first) * stride, stride), slice(first, max(first, last))
