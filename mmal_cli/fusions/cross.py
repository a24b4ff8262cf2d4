"""Cross-attention: each modality's token asks those of the others; the mean of what the modalities present come to."""

import torch
from torch import Tensor, nn

from mmal_cli.fusions.mean import Fusion as Mean


class Fusion(nn.Module):
    """tokens (B, M, D), present (B, M) bool -> (B, D).

    After the co-attention of ViLBERT (Lu et al. 2019, section 3.1): queries from one modality, keys and values from the others.
    Ours: one token a modality, weights common to all modalities, a learned type vector for each, pre-norm. An absent modality
    is never attended to nor pooled; one that is alone attends to nothing; a sample without any modality gives zeros.

    Args:
        modalities: M, each with a learned type vector.
        width: D.
    """

    def __init__(
        self, modalities: int, width: int, layers: int = 2, heads: int = 4, feedforward: int = 512, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if type(heads) is not int or layers < 1 or heads < 1 or width % heads:
            raise ValueError(f"{layers} layers of {heads} heads: at least 1 of each, and heads must divide the width, {width}")
        self.types = nn.Parameter(torch.randn(modalities, width) * 0.02)
        self.layers = nn.ModuleList(_Layer(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.mean = Mean(modalities, width)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        tokens = tokens.masked_fill(~present[:, :, None], 0) + self.types
        itself = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
        asked = present[:, None, :] & ~itself  # (B, M, M): whom each attends to
        for layer in self.layers:
            tokens = layer(tokens, asked)
        return self.mean(self.norm(tokens), present)


class _Layer(nn.Module):
    """Attention to others and a feed-forward network, both added to what was there."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, asked: Tensor) -> Tensor:
        alone = ~asked.any(dim=2, keepdim=True)  # attention over nothing is NaN: these attend to all, and it is thrown away
        ignored = (~(asked | alone)).repeat_interleave(self.heads, dim=0)
        x = self.norms[0](tokens)
        heard = self.attention(x, x, x, attn_mask=ignored, need_weights=False)[0].masked_fill(alone, 0)
        tokens = tokens + self.dropout(heard)
        return tokens + self.dropout(self.feedforward(self.norms[1](tokens)))
