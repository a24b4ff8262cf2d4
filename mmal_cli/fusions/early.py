"""Early fusion: images, series or vectors of one shape stacked as channels, before one encoder of all modalities."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def stacked(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """(C, ...) of M modalities -> (M C + M, ...) of what the encoder reads: a fusion that has this comes before the encoder."""
    first, *rest = shapes[0]
    return len(shapes) * (first + 1), *rest


class Fusion(nn.Module):
    """inputs (B, M, C, ...), present (B, M) bool -> (B, M C + M, ...): zeros for an absent modality, and a channel for each
    modality that is one where it is present. No parameters.

    Args:
        modalities: M.
        width: D, of what the encoder's projection gives; not used here.
    """

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()

    def forward(self, inputs: Tensor, present: Tensor) -> Tensor:
        shown = present.view(*present.shape, *[1] * (inputs.ndim - 2))  # (B, M, 1, ...)
        flags = shown.expand(-1, -1, 1, *inputs.shape[3:]).to(inputs.dtype)
        return torch.cat([inputs.masked_fill(~shown, 0).flatten(1, 2), flags.flatten(1, 2)], dim=1)
