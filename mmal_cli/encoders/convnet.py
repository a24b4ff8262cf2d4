"""A small convolutional network for images of 16 to 128 px, so that the whole pipeline runs on a CPU."""

from itertools import pairwise

import torch
from torch import Tensor, nn

KINDS = {"image"}


class Encoder(nn.Module):
    """(B, C, H, W) float -> (B, 2 * 4 * base): four 3x3 convolutions with stride 2, then mean and maximum over the picture.

    Args:
        shape: (C, H, W) of one sample.
        base: channels of the first convolution; they double at the next two.

    Cost: about 4 M multiply-adds at 64 px with base 16.
    """

    def __init__(self, shape: tuple[int, ...], base: int = 16) -> None:
        super().__init__()
        if base < 1:
            raise ValueError(f"base is {base}, expected at least 1")
        channels = [shape[0], base, 2 * base, 4 * base, 4 * base]
        self.features = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
                for i, o in pairwise(channels)
            )
        )
        self.width = 2 * channels[-1]

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
