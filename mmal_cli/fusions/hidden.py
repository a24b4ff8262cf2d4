"""Hidden fusion: the mean of the tokens that are present, and one hidden layer: with the head an MLP of two layers."""

from torch import Tensor, nn

from mmal_cli.fusions.mean import Fusion as Mean


class Fusion(nn.Module):
    """tokens (B, M, D), present (B, M) bool -> (B, D), not negative.

    The head of "Navigating the Pitfalls" for encoders that were taught without labels.

    Args:
        modalities: M.
        width: D.
    """

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.mean = Mean(modalities, width)
        self.layer, self.normalise = nn.Linear(width, width), nn.BatchNorm1d(width)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        alone = self.training and len(tokens) == 1  # gives no batch statistics, so it uses the running ones
        self.normalise.train(self.training and not alone)
        return self.normalise(self.layer(self.mean(tokens, present))).relu()
