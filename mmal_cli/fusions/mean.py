"""Mean fusion: the average of the tokens of the modalities that are present; of a single modality its token as it is."""

from torch import Tensor, nn


class Fusion(nn.Module):
    """tokens (B, M, D), present (B, M) bool -> (B, D); zeros for a sample without any modality. No parameters.

    With one modality, and its encoder's own width (`model.width: encoder`), the head reads what the encoder gives, as in
    unimodal networks.

    Args:
        modalities: M.
        width: D.
    """

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        kept = tokens.masked_fill(~present[:, :, None], 0)
        return kept.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)
