"""Transformer fusion: a CLS token reads one token per modality; an absent modality's token is masked out."""

from typing import Literal

import torch
from torch import Tensor, nn

WAYS = ("mask", "token", "zero")


class Fusion(nn.Module):
    """tokens (B, M, D), present (B, M) bool -> (B, D), the output at CLS.

    The paper says only "a transformer encoder" (A.2); layers, heads, pre-norm and CLS pooling are ours. CLS is never
    masked, so a sample without any modality has a finite embedding, the same for all such samples.

    Args:
        modalities: M, each with a learned type embedding.
        width: D.
        missing: what stands for an absent modality: nothing (`mask`), a learned vector (`token`), or zeros (`zero`).
    """

    def __init__(
        self,
        modalities: int,
        width: int,
        layers: int = 2,
        heads: int = 4,
        feedforward: int = 512,
        dropout: float = 0.0,
        missing: Literal["mask", "token", "zero"] = "mask",
    ) -> None:
        super().__init__()
        if missing not in WAYS:
            raise ValueError(f"missing is {missing!r}, expected one of {', '.join(WAYS)}")
        if type(heads) is not int or layers < 1 or heads < 1 or width % heads:
            raise ValueError(f"{layers} layers of {heads} heads: at least 1 of each, and heads must divide the width, {width}")
        layer = nn.TransformerEncoderLayer(
            width, heads, feedforward, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        # nested tensors change shapes and rounding in evaluation when tokens are masked
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.cls = nn.Parameter(torch.randn(width) * 0.02)
        self.types = nn.Parameter(torch.randn(modalities, width) * 0.02)
        self.missing = missing
        if missing == "token":
            self.absent = nn.Parameter(torch.randn(modalities, width) * 0.02)
        else:
            self.register_buffer("absent", torch.zeros(modalities, width), persistent=False)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        batch = len(tokens)
        tokens = torch.where(present[:, :, None], tokens, self.absent) + self.types
        sequence = torch.cat([self.cls.expand(batch, 1, -1), tokens], dim=1)  # (B, 1 + M, D)
        ignored = torch.zeros(batch, sequence.shape[1], dtype=torch.bool, device=tokens.device)
        if self.missing == "mask":
            ignored[:, 1:] = ~present
        return self.encoder(sequence, src_key_padding_mask=ignored)[:, 0]
