"""ResNet-18 for images (He et al. 2016), torchvision's, randomly initialised, with 1 or 3 input channels."""

from torch import Tensor, nn

KINDS = {"image"}
LARGE = 128  # from this width on with torchvision's stem


class Encoder(nn.Module):
    """(B, C, H, W) float -> (B, 512): the last feature map, averaged over the picture.

    Below 128 px the stem is that of CIFAR (Lueth et al. 2023): a 3x3 convolution with stride 1 and no max-pooling.

    Args:
        shape: (C, H, W) of one sample.

    Cost: 0.56 G multiply-adds at 32 px, 1.8 G at 224 px; 11.2 M parameters.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        from torchvision.models import resnet18

        super().__init__()
        whole = resnet18(weights=None)
        small = max(shape[1:]) < LARGE
        if small or shape[0] != whole.conv1.in_channels:
            kernel = {"kernel_size": 3, "stride": 1, "padding": 1} if small else {"kernel_size": 7, "stride": 2, "padding": 3}
            whole.conv1 = nn.Conv2d(shape[0], whole.conv1.out_channels, bias=False, **kernel)
            nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's own
        if small:
            whole.maxpool = nn.Identity()
        self.width = whole.fc.in_features
        whole.fc = nn.Identity()
        self.features = whole

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)
