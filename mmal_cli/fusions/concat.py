"""Concatenation: the tokens side by side, a learned vector where a modality is absent, and one hidden layer."""

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """tokens (B, M, D), present (B, M) bool -> (B, D), not negative; with the head an MLP of two layers, as `hidden`.

    Args:
        modalities: M, each with a learned vector for where it is absent.
        width: D.
    """

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.absent = nn.Parameter(torch.randn(modalities, width) * 0.02)
        self.layer = nn.Sequential(nn.Linear(modalities * width, width), nn.LayerNorm(width), nn.ReLU())

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        return self.layer(torch.where(present[:, :, None], tokens, self.absent).flatten(1))
