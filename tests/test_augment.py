"""Holds the batched augmentations, in torch and in C, to Pillow's result, each operation and all together, pixel for pixel."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmal_cli import augment, compiled, image_ops
from mmal_cli.bench.augment import PILLOW, by_pillow, from_pillow, to_pillow
from mmal_cli.core.errors import UserError

BUILT = compiled.library
SHAPES = [(3, 32, 32), (1, 32, 32), (3, 64, 64), (1, 28, 28), (3, 17, 40)]


@pytest.fixture(scope="module", params=["C", "torch"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """All that follows, both ways."""
    if request.param == "C" and BUILT is None:
        pytest.skip("mmal_cli/_image_ops.c was not built: no C compiler at installation")
    compiled.library = BUILT if request.param == "C" else None
    yield
    compiled.library = BUILT


def pictures(channels: int, height: int, width: int) -> torch.Tensor:
    """(8, C, H, W) uint8: noise, few values, flat, ramps, a faint step, one odd pixel, smooth: traps for look-up tables."""
    rng = np.random.default_rng(0)
    shape = (channels, height, width)
    y, x = np.mgrid[:height, :width]
    wave = 127 + 120 * np.sin(x / 5) * np.cos(y / (3 + np.arange(channels)[:, None, None]))
    odd = np.full(shape, 90)
    odd[:, height // 2, width // 3] = 200
    images = [
        rng.integers(0, 256, shape),
        rng.integers(0, 3, shape) * 127,
        np.full(shape, 77),
        np.broadcast_to(x * 255 // (width - 1), shape),
        np.where(y > height // 2, 101, 100) + np.zeros(shape, int),
        odd,
        wave,
        rng.normal(128, 12, shape).clip(0, 255),
    ]
    return torch.from_numpy(np.stack(images).astype(np.uint8))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", image_ops.OPERATIONS)
def test_an_operation_equals_pillow_in_every_pixel_at_all_levels_and_both_signs(name, shape):
    images = pictures(*shape)
    signed = [sign * level for level in image_ops.LEVELS for sign in (1, -1)]
    batch, v = images.repeat(len(signed), 1, 1, 1), torch.tensor(signed).repeat_interleave(len(images))
    number = torch.full_like(v, image_ops.OPERATIONS.index(name))
    found = image_ops.operate(batch, number, v.abs(), v < 0)
    expected = torch.stack([from_pillow(PILLOW[name](to_pillow(x), int(k))) for x, k in zip(batch, v, strict=True)])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["basic", "randaug", "weak", "strong"])
def test_the_whole_augmentation_equals_pillow_fed_the_same_draws(name, shape):
    images = pictures(*shape).repeat(8, 1, 1, 1)
    for seed in range(3):
        found = augment.apply(name, images, generator(seed))
        assert torch.equal(found, by_pillow(name, [to_pillow(x) for x in images], generator(seed)))


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(["basic", "randaug", "weak", "strong"]),
    shape=st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(2, 40), st.integers(2, 40)),
    seed=st.integers(0, 2**31),
)
def test_any_shape_below_128_equals_pillow(name, shape, seed):
    images = torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)
    assert torch.equal(
        augment.apply(name, images, generator(seed)), by_pillow(name, [to_pillow(x) for x in images], generator(seed))
    )


@pytest.mark.parametrize("name", augment.NAMES)
@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (5, 1, 32, 32), (6, 3, 64, 64), (2, 3, 144, 128), (2, 1, 128, 128)], ids=str)
def test_the_shape_stays_the_batch_is_not_changed_and_a_seed_repeats(name, shape):
    images = torch.randint(0, 256, shape, generator=generator(1), dtype=torch.uint8)
    before = images.clone()
    found = augment.apply(name, images, generator(5))
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    assert torch.equal(images, before)
    assert torch.equal(found, augment.apply(name, images, generator(5)))
    if name != "none" and len(images):
        assert not torch.equal(found, augment.apply(name, images, generator(6)))


@pytest.mark.parametrize("name", ["basic", "randaug", "weak", "strong"])
@pytest.mark.parametrize("size", [32, 128])
def test_each_sample_has_a_draw_of_its_own(name, size):
    image = torch.randint(0, 256, (1, 3, size, size), generator=generator(1), dtype=torch.uint8)
    found = augment.apply(name, image.expand(24, -1, -1, -1), generator())
    assert len({x.numpy().tobytes() for x in found}) > 20


def test_none_gives_the_batch_itself_and_an_unknown_name_shows_the_known_ones():
    images = pictures(3, 32, 32)
    assert augment.apply("none", images, generator()) is images
    with pytest.raises(UserError, match="unknown augmentation 'randaugment'; did you mean 'randaug'"):
        augment.apply("randaugment", images, generator())


def test_draws_are_uniform_over_14_operations_and_levels_1_to_9():
    operation, level, negative = augment.draw_operations(140_000, generator())
    assert set(level.tolist()) == set(range(1, 10))
    assert len(image_ops.OPERATIONS) == 14
    assert set(image_ops.OPERATIONS) == set(PILLOW)
    assert (operation.bincount() - 10_000).abs().max() < 500  # five standard deviations
    assert (level.bincount()[1:] - 140_000 / 9).abs().max() < 600
    assert abs(float(negative.float().mean()) - 0.5) < 0.01


def test_draws_depend_on_the_shape_and_the_generator_alone():
    images = pictures(3, 32, 32)
    a, b = generator(3), generator(3)
    augment.apply("randaug", images, a)
    augment.apply("randaug", torch.zeros_like(images), b)
    assert torch.equal(a.get_state(), b.get_state())


def test_crops_are_uniform_over_the_padded_image():
    shifts = augment.draw_shifts(90_000, 4, generator())
    for column in shifts.T:
        assert set(column.tolist()) == set(range(-4, 5))
        assert ((column + 4).bincount() - 10_000).abs().max() < 500


@settings(deadline=None, max_examples=30)
@given(size=st.integers(8, 127), seed=st.integers(0, 2**31), channels=st.sampled_from([1, 3]))
def test_every_randaug_output_holds_the_grey_square(size, seed, channels):
    images = torch.randint(0, 256, (4, channels, size, size), generator=generator(seed), dtype=torch.uint8)
    side = size // 2
    grey = (augment.apply("randaug", images, generator(seed)) == 127).all(1).float()[:, None]
    reach = torch.nn.functional.avg_pool2d(grey, (side // 2, side // 2), stride=1).amax((1, 2, 3))
    assert (reach == 1).all()  # a quarter of it at least, where it is cut by the right and the bottom border


def test_a_grey_square_is_whole_at_the_top_and_left_border_and_cut_at_the_others():
    centres = torch.tensor([[0.0, 0.0], [16.0, 16.0], [31.9, 31.9], [8.5, 31.0]], dtype=torch.float64)
    grey = (augment.cut_out(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), centres)[:, 0] == 127).int()
    assert grey.any(2).sum(1).tolist() == [17, 17, 9, 17]  # rows, the last of the rectangle included
    assert grey.any(1).sum(1).tolist() == [17, 17, 9, 9]
    assert torch.nonzero(grey[1])[0].tolist() == [8, 8]


def test_what_lies_outside_is_black_and_strides_do_not_matter():
    images = pictures(3, 17, 40).transpose(2, 3)  # (8, 3, 40, 17), not contiguous
    rows, columns = (torch.arange(start, start + size).expand(8, -1) for size, start in ((40, -50), (17, 17)))
    assert image_ops.crop(images, rows, columns).count_nonzero() == 0
    found = image_ops.crop(images, rows + 49, columns - 19)
    assert torch.equal(found[..., 1:, 2:], images[..., :-1, :-2])
    assert found[..., 0, :].count_nonzero() == found[..., :2].count_nonzero() == 0


def test_flipping_twice_is_nothing():
    images = pictures(3, 32, 32)
    flip, still = torch.ones(8, dtype=torch.bool), torch.zeros(8, 2, dtype=torch.int64)
    for reflect in (True, False):
        once = augment.shift(images, flip, still, reflect)
        assert torch.equal(once, images.flip(3))
        assert torch.equal(augment.shift(once, flip, still, reflect), images)


def test_from_128_pixels_on_the_resized_crop_is_pillows_up_to_one_grey_level():
    images = pictures(3, 140, 128)
    flips, boxes = augment.draw_flips(8, generator(2)), augment.draw_boxes(8, 140, 128, generator(3))
    found = augment.zoom(images, flips, boxes)
    for image, flip, (top, left, height, width), ours in zip(images, flips, boxes.tolist(), found, strict=True):
        crop = to_pillow(image).crop((left, top, left + width, top + height))
        resized = from_pillow(crop.resize((128, 140), Image.Resampling.BILINEAR)).int()
        assert (ours.int() - (resized.flip(2) if flip else resized)).abs().max() <= 1


def test_resized_crops_fit_and_have_the_areas_and_ratios_of_torchvision():
    top, left, height, width = augment.draw_boxes(20_000, 224, 224, generator()).T.double()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 224).all()
    assert (left + width <= 224).all()
    area, ratio = height * width / 224**2, width / height
    assert area.min() > 0.077
    assert area.max() <= 1
    assert ratio.min() > 0.74
    assert ratio.max() < 1.35
    assert abs(area.mean() - 0.49) < 0.03  # below (.08 + 1) / 2: large boxes of extreme ratio do not fit
    assert abs(ratio.log().mean()) < 0.01


def test_an_image_too_long_for_any_resized_crop_keeps_its_middle():
    top, left, height, width = augment.draw_boxes(3, 2000, 128, generator()).T.tolist()
    assert (top, left, height, width) == ([(2000 - 171 + 1) // 2] * 3, [0] * 3, [171] * 3, [128] * 3)


def test_large_randaug_is_the_resized_crop_and_two_operations_without_a_grey_square():
    images, rng = pictures(3, 128, 128), generator(4)
    found = augment.apply("randaug", images, generator(4))
    flips, boxes = augment.draw_flips(8, rng), augment.draw_boxes(8, 128, 128, rng)
    expected = augment.zoom(images, flips, boxes)
    for _ in range(2):
        expected = image_ops.operate(expected, *augment.draw_operations(8, rng))
    assert torch.equal(found, expected)
    assert torch.equal(augment.apply("basic", images, generator(4)), augment.zoom(images, flips, boxes))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_same_bytes():
    for shape in SHAPES:
        images = pictures(*shape).repeat(8, 1, 1, 1)
        for name in augment.NAMES:
            there = augment.apply(name, images.cuda(), generator(7))
            assert there.is_cuda
            assert torch.equal(there.cpu(), augment.apply(name, images, generator(7)))


def test_half_of_the_operations_of_the_strong_view_are_left_out():
    operation, _, _ = augment.draw_operations(40_000, generator(0), augment.SHARE)
    counts = torch.bincount(operation, minlength=len(image_ops.OPERATIONS)) / len(operation)
    identity = image_ops.OPERATIONS.index("Identity")
    others = counts[torch.arange(len(counts)) != identity]
    assert counts[identity] == pytest.approx(0.5 + 0.5 / 14, abs=0.01)
    assert others.numpy() == pytest.approx(0.5 / 14, abs=0.005)
