"""A perceptron of two layers for vectors, such as laboratory values (paper, A.2)."""

from torch import Tensor, nn

KINDS = {"vector"}


class Encoder(nn.Module):
    """(B, F) float -> (B, hidden): two linear layers, each with a ReLU.

    Args:
        shape: (F,) of one sample.
        hidden: units of both layers.

    Cost: (F + hidden) * hidden multiply-adds, 23 k for 50 values.
    """

    def __init__(self, shape: tuple[int, ...], hidden: int = 128) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden is {hidden}, expected at least 1")
        self.layers = nn.Sequential(nn.Linear(*shape, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.width = hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
