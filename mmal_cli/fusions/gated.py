"""Gated fusion: each number of the embedding has a gate for each modality, which all tokens decide (Arevalo et al. 2017)."""

from typing import Literal

import torch
from torch import Tensor, nn

GATES = ("softmax", "sigmoid")


class Fusion(nn.Module):
    """tokens (B, M, D), present (B, M) bool -> (B, D) = sum over the modalities present of z_m * tanh(W_m x_m).

    The gated multimodal unit of "Gated Multimodal Units for Information Fusion", without biases as there. An absent modality
    is zero in what the gates read and has no gate; a sample without any modality gives zeros.

    Args:
        modalities: M.
        width: D.
        gates: `softmax` over the modalities present, which for two is the paper's bimodal unit, z and 1 - z; `sigmoid`, each by
            itself, is its unit for any number.
    """

    def __init__(self, modalities: int, width: int, gates: Literal["softmax", "sigmoid"] = "softmax") -> None:
        super().__init__()
        if gates not in GATES:
            raise ValueError(f"gates is {gates!r}, expected one of {', '.join(GATES)}")
        self.values = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(modalities))
        self.scores = nn.Linear(modalities * width, modalities * width, bias=False)
        self.gates = gates

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        absent = ~present[:, :, None]
        tokens = tokens.masked_fill(absent, 0)
        values = torch.stack([layer(tokens[:, m]) for m, layer in enumerate(self.values)], dim=1).tanh()  # (B, M, D)
        scores = self.scores(tokens.flatten(1)).view_as(tokens)
        if self.gates == "sigmoid":
            z = scores.sigmoid()
        else:  # the lowest number, not -inf: a sample without any modality has no NaN
            z = scores.masked_fill(absent, torch.finfo(scores.dtype).min).softmax(dim=1)
        return (z.masked_fill(absent, 0) * values).sum(dim=1)
