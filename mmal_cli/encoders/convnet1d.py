"""A small convolutional network for series of some hundred to some thousand samples, so that an ECG can be read on a CPU."""

from itertools import pairwise

import torch
from torch import Tensor, nn

KINDS = {"series"}
LAYERS = ((15, 4), (7, 4), (5, 2), (3, 2))  # kernel and stride of each convolution: large steps first, 64 in all


class Encoder(nn.Module):
    """(B, C, T) float -> (B, 2 * 4 * base): four convolutions with strides, then mean and maximum over time.

    As in efficientnet1d.py a series is a picture of height 1, channels last: a third faster on a CPU than Conv1d.

    Args:
        shape: (C, T) of one sample: channels and times.
        base: channels of the first convolution; they double at the next two.

    Cost: 7.3 M multiply-adds for (12, 5000), 1.5 M for (12, 1000), with base 16; 29 k parameters.
    """

    def __init__(self, shape: tuple[int, ...], base: int = 16) -> None:
        super().__init__()
        if base < 1:
            raise ValueError(f"base is {base}, expected at least 1")
        channels = [shape[0], base, 2 * base, 4 * base, 4 * base]
        self.features = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(i, o, (1, size), stride=(1, stride), padding=(0, size // 2), bias=False),
                    nn.BatchNorm2d(o),
                    nn.ReLU(inplace=True),
                )
                for (i, o), (size, stride) in zip(pairwise(channels), LAYERS, strict=True)
            )
        )
        self.width = 2 * channels[-1]

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x[:, :, None].contiguous(memory_format=torch.channels_last))
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
