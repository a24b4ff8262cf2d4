"""Decoding: as good as the plain way, whatever the mode, and no bytes are fatal."""

import io
import re
import warnings
from pathlib import Path

import fake_food101 as fake
import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_recipes import pictures

PHOTOGRAPHS = sorted(Path(sklearn.datasets.__file__).parent.glob("images/*.jpg"))


def saved(image: Image.Image, form: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def plain(data: bytes, size: int) -> np.ndarray:
    """torchvision's Resize and CenterCrop on the whole image."""
    from torchvision.transforms import v2

    with Image.open(io.BytesIO(data)) as image:
        return v2.Compose([v2.Resize(size * 256 // 224), v2.CenterCrop(size), v2.PILToTensor()])(image.convert("RGB")).numpy()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("width", [300, 640, 1111, 2600])
@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_a_photograph_looks_as_the_plain_way_makes_it(path, width):
    """The rest is the plain way's rounding of the crop to whole pixels: shifting that by one pixel changes ten times more."""
    with Image.open(path) as image:
        data = saved(image.resize((width, round(width * 2 / 3)), Image.Resampling.BICUBIC), quality=92)
    ours, noted = pictures.crop(data, 224)
    assert (ours.shape, ours.dtype, noted) == ((3, 224, 224), np.uint8, [])
    theirs = plain(data, 224)
    assert difference(ours, theirs) < 6
    assert abs(ours.mean() - theirs.mean()) < 0.3


def test_draft_mode_changes_little(monkeypatch):
    with Image.open(PHOTOGRAPHS[0]) as image:
        data = saved(image.resize((2600, 1733), Image.Resampling.BICUBIC), quality=92)
    quick = pictures.crop(data, 224)[0]
    monkeypatch.setattr(Image.Image, "draft", lambda self, mode, size: None)
    assert difference(quick, pictures.crop(data, 224)[0]) < 1


def test_the_crop_is_the_middle():
    """White in the 224/256 of the shortest side around the centre, black outside."""
    image = np.zeros((256, 600, 3), dtype=np.uint8)
    image[16:240, 188:412] = 255
    assert pictures.crop(saved(Image.fromarray(image), "PNG"), 224)[0].min() >= 254
    small = pictures.crop(saved(Image.fromarray(image.transpose(1, 0, 2)), "PNG"), 64)[0]
    assert small[:, 1:-1, 1:-1].min() == 255
    assert 100 < small[:, 0, 32].mean() < 240  # a pixel on the edge sees a little of what is outside


@pytest.mark.parametrize(
    ("mode", "form", "noted"),
    [
        ("RGB", "JPEG", []),
        ("L", "JPEG", ["image converted, greyscale"]),
        ("CMYK", "JPEG", ["image converted, CMYK"]),
        ("P", "PNG", ["image converted, palette", "image is PNG"]),
        ("1", "PNG", ["image converted, greyscale", "image is PNG"]),
        ("RGBA", "PNG", ["image converted, transparent", "image is PNG"]),
        ("RGB", "WEBP", ["image is WEBP"]),
        ("P", "GIF", ["image converted, palette", "image is GIF"]),
    ],
)
def test_every_mode_becomes_rgb(mode, form, noted):
    image, found = pictures.crop(fake.picture("tacos", 0, mode, form), 32)
    assert found == noted
    assert image.shape == (3, 32, 32)
    expected = {"L": [142] * 3, "1": [142] * 3, "RGBA": [102, 212, 102]}.get(mode, fake.COLOURS["tacos"])
    assert np.abs(image.mean((1, 2)) - expected).max() < 12


def test_what_is_transparent_is_white():
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pictures.crop(saved(palette, "PNG", transparency=1), 32)[0].min() == 255
        assert pictures.crop(saved(palette, "PNG", transparency=b"\xff\x00"), 32)[0].min() == 255


def test_orientation_stays_as_stored():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    half = np.zeros((40, 40, 3), dtype=np.uint8)
    half[:20] = 255
    image, _ = pictures.crop(saved(Image.fromarray(half), exif=exif), 32)
    assert image[:, 0].mean() > 200 > 50 > image[:, -1].mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (2000, 3), (7, 5)])
def test_any_shape_fits(size):
    image, _ = pictures.crop(saved(Image.new("RGB", size, (10, 200, 30))), 64)
    assert np.abs(image.mean((1, 2)) - [10, 200, 30]).max() < 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image unreadable"),
        (b"<html></html>", "image unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image unreadable"),
        (fake.picture("ramen", 0)[:40], "image"),
        (fake.picture("ramen", 0)[:-80], "image truncated"),
        (fake.picture("ramen", 0, form="PNG")[:-1000], "image truncated"),
    ],
)
def test_what_is_no_whole_image_is_given_a_reason(data, reason):
    with pytest.raises(pictures.Unusable, match=re.escape(reason)):
        pictures.crop(data, 32)


@pytest.mark.parametrize("limit", [60 * 60 - 1, 60 * 60 // 2 - 1])
def test_an_image_that_would_fill_the_memory_is_not_decoded(monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # Pillow warns above it and raises above twice of it
    with pytest.raises(pictures.Unusable, match="image too large"):
        pictures.crop(saved(Image.new("RGB", (60, 60))), 32)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_are_fatal(data):
    """Whole files with some bytes changed, so that every reader is led astray after its header."""
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP"]))
    content = bytearray(fake.picture("ramen", 0, form=form, size=(16, 12)))
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)):
        content[position] = value
    try:
        image, _ = pictures.crop(bytes(content[: data.draw(st.integers(0, len(content)))]), 32)
    except pictures.Unusable:
        return
    assert image.shape == (3, 32, 32)


def test_the_benchmark_decodes_the_same_files_both_ways(tmp_path, monkeypatch):
    from mmal_cli.bench import pictures as bench

    paths = bench.write(tmp_path, 400, 300, 3)
    assert Path(paths[0]).read_bytes() == bench.photograph(400, 300, 0) != Path(paths[1]).read_bytes()
    assert bench.decode(paths, lambda make, tasks: (make(*task) for task in tasks)) == 3
    theirs = bench.Photographs(paths)[2].numpy()
    ours, _ = pictures.crop(Path(paths[2]).read_bytes(), 224)
    assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype)
    assert difference(ours, theirs) < 3
    monkeypatch.setattr(bench, "SIZES", {(64, 48): 2})
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "reference", lambda paths: [[0] * len(paths)])
    seen = []
    (row,) = bench.run(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert (row["pictures"], row["rounds"]) == ("64 x 48", 1)


def test_sixteen_bits_of_grey_are_scaled_not_clipped():
    file = io.BytesIO()
    Image.fromarray(np.full((40, 40), 30_000, dtype=np.uint16)).save(file, "PNG")
    image, noted = pictures.crop(file.getvalue(), 32)
    assert set(image.ravel().tolist()) == {30_000 >> 8}
    assert noted == ["image converted, I;16", "image is PNG"]
