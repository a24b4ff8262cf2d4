"""EfficientNet-B0 (Tan and Le 2019) in one dimension for series such as an ECG: torchvision's, randomly initialised."""

import torch
from torch import Tensor, nn

KINDS = {"series"}


class Encoder(nn.Module):
    """(B, C, T) float -> (B, 1280): the last feature map, averaged over time.

    A series is a picture of height 1, and each k x k convolution becomes 1 x k: channels last, that is faster on a CPU than
    Conv1d (docs/decisions.md).

    Args:
        shape: (C, T) of one sample: channels and times.
        stochastic_depth: probability of skipping the last block; 0 by our choice, torchvision's default is .2.

    Cost: 0.64 G multiply-adds for (12, 5000), 0.13 G for (12, 1000); 3.9 M parameters.
    """

    def __init__(self, shape: tuple[int, ...], stochastic_depth: float = 0.0) -> None:
        from torchvision.models import efficientnet_b0

        super().__init__()
        whole = efficientnet_b0(weights=None, stochastic_depth_prob=stochastic_depth)
        for block in list(whole.features.modules()):
            for name, child in block.named_children():
                if isinstance(child, nn.Conv2d) and child.kernel_size != (1, 1):
                    setattr(block, name, _flat(child, shape[0] if child is whole.features[0][0] else child.in_channels))
        self.features = whole.features
        self.width = whole.classifier[1].in_features

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x[:, :, None].contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))


def _flat(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The convolution along time alone, initialised as torchvision initialises the one it replaces; none has a bias."""
    size, stride, padding = conv.kernel_size[1], conv.stride[1], conv.padding[1]
    flat = nn.Conv2d(channels, conv.out_channels, (1, size), (1, stride), (0, padding), groups=conv.groups, bias=False)
    nn.init.kaiming_normal_(flat.weight, mode="fan_out")
    return flat
