"""A depthwise convolution on small pictures against torch's own."""

import pytest
import torch
from torch import nn

from mmal_cli.depthwise import Depthwise, sped_up


def both(channels, kernel, stride, padding):
    plain = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False, dtype=torch.float64)
    (faster,) = sped_up(nn.Sequential(plain))
    return plain, faster


KERNELS = [((3, 3), (2, 2)), ((5, 5), (4, 3)), ((5, 5), (1, 1)), ((3, 3), (7, 2)), ((3, 5), (4, 4)), ((3, 3), (8, 8))]
FITTING = [
    (kernel, shape, padding)
    for kernel, shape in KERNELS
    for padding in (0, 1, 2)
    if all(side + 2 * padding >= k for side, k in zip(shape, kernel, strict=True))
]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "shape", "padding"), FITTING)
def test_values_and_gradients_are_torchs(kernel, shape, padding, stride):
    plain, faster = both(6, kernel, stride, padding)
    x = torch.randn(5, 6, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = []
    for layer in (plain, faster):
        y = layer(x)
        found.append((y, *torch.autograd.grad(y.sin().sum(), (x, layer.weight))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_under_autocast_it_is_torchs_own():
    faster = sped_up(nn.Sequential(nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)))[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = faster(torch.ones(2, 6, 3, 3, requires_grad=True))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert faster.weight.grad.dtype == torch.float32


def test_torchs_own_slow_path_is_not_taken_where_the_picture_is_smaller_than_the_kernel():
    _, faster = both(4, 5, 1, 2)
    for side, name in {4: "_TappedBackward", 5: "ConvolutionBackward0"}.items():
        y = faster(torch.randn(2, 4, side, side, dtype=torch.float64, requires_grad=True))
        assert y.grad_fn.name() == name
    with torch.no_grad():
        assert faster(torch.randn(2, 4, 4, 4, dtype=torch.float64)).grad_fn is None


def test_only_depthwise_convolutions_are_replaced_and_the_weights_are_the_same_ones():
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, bias=False)), nn.Conv2d(4, 8, 3, groups=4)
    )
    weights, state = list(network.parameters()), torch.get_rng_state()
    assert sped_up(network) is network
    assert [type(layer) for layer in (network[0], network[1][0], network[2])] == [nn.Conv2d, Depthwise, nn.Conv2d]
    assert all(one is other for one, other in zip(weights, network.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
