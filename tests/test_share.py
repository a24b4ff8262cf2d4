"""The Share dataset: every photograph once, every digit at most once in train, both of one class, and checked sources."""

import gzip
import hashlib
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import real
from hypothesis import given, settings
from hypothesis import strategies as st

from data_recipes import share
from mmal_cli import official
from mmal_cli.commands import prepare_share
from mmal_cli.core import shards
from mmal_cli.core.build import build
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Dataset

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def images(labels: np.ndarray, shape: tuple[int, ...], seed: int) -> share.Images:
    """Random pixels whose first one is the label."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    pixels.reshape(len(labels), -1)[:, 0] = labels
    return share.Images(pixels, labels)


def small(seed: int = 0, photos: int = 60, digits: int = 75, test_digits: int = 25) -> share.Share:
    """60 photographs and 75 digits to train, 40 and 25 to test, in an order without any pattern."""
    rng = np.random.default_rng(5)
    cifar10 = {"train": photos, "test": 40}
    mnist = {"train": digits, "test": test_digits}
    return share.Share(
        {split: images(rng.permutation(np.arange(n) % 10), (32, 32, 3), n) for split, n in cifar10.items()},
        {split: images(rng.permutation(np.arange(n) % 10), (28, 28), n) for split, n in mnist.items()},
        NAMES,
        seed,
    )


def read(content: share.Share, split: str, start: int, stop: int) -> dict[str, np.ndarray]:
    """Columns of samples start..stop-1."""
    chunks = [chunk.columns() for chunk in share.plans(content)[split].chunks(start, stop)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), counts=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), min_size=10, max_size=10))
def test_each_photograph_is_in_one_pair_and_digits_of_its_class_are_used_evenly(seed, counts):
    rng = np.random.default_rng(seed)
    photos = rng.permutation(np.repeat(np.arange(10), [p for p, _ in counts]))
    digits = rng.permutation(np.repeat(np.arange(10), [d for _, d in counts]))
    pixels = np.zeros((0, 0, 0), np.uint8)
    content = share.Share({"test": share.Images(pixels, photos)}, {"test": share.Images(pixels, digits)}, NAMES, seed)
    pairs = share.pair(content, "test")
    assert sorted(pairs.cifar10) == list(range(len(photos)))
    assert np.array_equal(photos[pairs.cifar10], pairs.label)
    assert np.array_equal(digits[pairs.mnist], pairs.label)
    used = np.bincount(pairs.mnist, minlength=len(digits))
    for c, (p, d) in enumerate(counts):
        assert set(used[digits == c]) <= {p // d, -(-p // d)}


def test_train_uses_no_digit_twice_and_says_so_where_there_are_too_few():
    pairs = share.pair(small(), "train")
    assert len(np.unique(pairs.mnist)) == 60
    message = r"MNIST train has 5 images of class 0 for 6 of CIFAR-10"
    with pytest.raises(UserError, match=message) as error:
        share.pair(small(digits=50), "train")
    assert error.value.code == BAD_DATA
    with pytest.raises(UserError, match="MNIST test has 0 images of class 9 for 4"):
        share.pair(small(test_digits=9), "test")


def test_pairs_are_in_random_order_decided_by_the_seed():
    first, again, other = (share.pair(small(seed), "train") for seed in (3, 3, 4))
    for a, b, c in zip(vars(first).values(), vars(again).values(), vars(other).values(), strict=True):
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)
    assert (np.diff(first.label) < 0).sum() > 15
    digit_of = dict(zip(first.cifar10, first.mnist, strict=True))
    assert any(digit_of[k] != v for k, v in zip(other.cifar10, other.mnist, strict=True))


def test_a_sample_is_its_two_images_the_digit_framed_in_black():
    content = small()
    columns = read(content, "test", 0, 40)
    assert columns["inputs/cifar10"].shape == (40, 3, 32, 32)
    assert columns["inputs/mnist"].shape == (40, 1, 32, 32)
    photos = content.cifar10["test"].pixels[columns["factors/cifar10"]]
    digits = content.mnist["test"].pixels[columns["factors/mnist"]]
    assert np.array_equal(columns["inputs/cifar10"], photos.transpose(0, 3, 1, 2))
    assert np.array_equal(columns["inputs/mnist"][:, 0, 2:30, 2:30], digits)
    assert columns["inputs/mnist"].sum() == digits.sum()
    assert np.array_equal(columns["label"], photos[:, 0, 0, 0])
    assert np.array_equal(columns["label"], digits[:, 0, 0])
    assert columns["present"].all()
    assert len(set(columns["id"])) == 40


def test_a_sample_does_not_depend_on_where_reading_starts(monkeypatch):
    monkeypatch.setattr(share, "CHUNK", 7)
    whole, part = read(small(), "train", 0, 60), read(small(), "train", 23, 45)
    assert all(np.array_equal(whole[name][23:45], part[name]) for name in whole)


def test_the_dataset_is_made_once_and_states_what_is_reused(tmp_path):
    content = small()
    dataset, made = build(tmp_path / "d", share.head(content), share.plans(content), command="mmal prepare-share SOURCE")
    assert made
    assert dataset.class_names[:2] == ["airplane/0", "automobile/1"]
    assert dataset.weak == "cifar10"
    assert dataset.targets == ["class"]
    assert dataset.counts["train"]["classes"] == [6] * 10
    assert dataset.counts["train"]["mnist_reused"] == 0
    assert dataset.counts["train"]["mnist_unused"] == 15
    assert dataset.counts["test"]["mnist_reused"] == 15
    assert "test: 15 of 40 pairs reuse an MNIST image of another pair of their class" in dataset.notes[0]
    again, made = build(tmp_path / "d", share.head(content), share.plans(content), command="mmal prepare-share SOURCE")
    assert (again, made) == (dataset, False)
    with pytest.raises(UserError, match=r"seed \(there 0, asked 1\); choose another --out, or --force"):
        build(tmp_path / "d", share.head(small(1)), share.plans(small(1)), command="mmal prepare-share SOURCE")


def test_other_sources_make_another_identity():
    ours, other = share.head(small())["recipe"], small()
    other.mnist["test"].pixels[3, 4, 5] ^= 1
    assert share.head(small())["recipe"] == ours
    assert share.head(other)["recipe"]["sources"]["cifar10"] == ours["sources"]["cifar10"]
    assert share.head(other)["recipe"]["sources"]["mnist"] != ours["sources"]["mnist"]


def idx(array: np.ndarray) -> bytes:
    """The bytes of an MNIST file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_sources(source: Path) -> None:
    """Files of the real formats with the wrong content."""
    (source / "cifar-10-batches-py").mkdir(parents=True)
    (source / "MNIST" / "raw").mkdir(parents=True)
    batch = pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]})
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"]:
        (source / "cifar-10-batches-py" / name).write_bytes(batch)
    for name in prepare_share.UNPACKED:
        array = np.zeros((2, 28, 28) if "images" in name else 2, np.uint8)
        (source / "MNIST" / "raw" / f"{name}.gz").write_bytes(gzip.compress(idx(array)))


def test_missing_files_are_named_with_the_option_that_fetches_them(mmal, tmp_path):
    done = mmal("prepare-share", tmp_path / "nothing", "--out", tmp_path / "out")
    folder = re.escape(str(tmp_path / "nothing" / "cifar-10-batches-py"))
    others = r"\(nor data_batch_2, .*, test_batch, batches.meta\)"
    assert re.fullmatch(rf"error: {folder}/data_batch_1 not found {others}; put it there, or .* add --download\n", done.stderr)
    assert (done.returncode, done.stdout) == (BAD_DATA, "")
    assert not (tmp_path / "out").exists()


def test_a_photograph_file_with_another_md5_is_refused_before_it_is_opened(tmp_path):
    write_sources(tmp_path)
    message = "data_batch_1 is damaged or another file: MD5 [0-9a-f]{32}, the official one is c99cafc152244af753f735de768cd75f"
    with pytest.raises(UserError, match=message) as error:
        official.cifar(tmp_path, "CIFAR10", False, print)
    assert error.value.code == BAD_DATA
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(UserError, match="cifar-10-batches-py/test_batch not found; put it there"):
        official.cifar(tmp_path, "CIFAR10", False, print)


@pytest.mark.parametrize("end", [".gz", ""])
def test_mnist_files_are_checked_packed_or_unpacked(tmp_path, end):
    write_sources(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    if not end:
        for packed in raw.glob("*.gz"):
            packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
            packed.unlink()
    with pytest.raises(UserError, match=rf"train-images-idx3-ubyte{re.escape(end)} is damaged or another file"):
        prepare_share._mnist(tmp_path, download=False)
    (raw / f"t10k-labels-idx1-ubyte{end}").unlink()
    with pytest.raises(UserError, match=r"MNIST/raw/t10k-labels-idx1-ubyte\[\.gz\] not found; put it there"):
        prepare_share._mnist(tmp_path, download=False)


def test_a_packed_file_is_read_without_a_trace_in_its_folder(tmp_path):
    from torchvision.datasets.mnist import read_image_file

    array = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    packed = gzip.compress(idx(array))
    (tmp_path / "few.gz").write_bytes(packed)
    with prepare_share._unpacked(tmp_path, "few", {"few.gz": hashlib.md5(packed).hexdigest()}) as path:
        assert np.array_equal(read_image_file(str(path)).numpy(), array)
    assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["few.gz"]


def test_a_failed_download_is_one_message():
    def fetch() -> None:
        raise OSError("<urlopen error no network>")

    with pytest.raises(
        UserError, match=r"MNIST could not be fetched: <urlopen error no network>; fetch it on a machine"
    ) as error:
        official.fetch("MNIST", fetch, print)
    assert error.value.code == BAD_DATA


@real.needs("cifar-10-batches-py", "MNIST/raw")
def test_the_real_files_make_50000_and_10000_pairs(mmal, tmp_path):
    done = mmal("prepare-share", real.ROOT, "--out", tmp_path / "share")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'share'}\n"
    dataset = Dataset.read(tmp_path / "share" / "dataset.yaml")
    assert dataset.class_names == [f"{name}/{digit}" for digit, name in enumerate(NAMES)]
    assert dataset.counts["train"] == {
        "classes": [5000] * 10,
        "present": {"cifar10+mnist": 50_000},
        "mnist_reused": 0,
        "mnist_unused": 10_000,
    }
    assert dataset.counts["test"]["classes"] == [1000] * 10
    assert dataset.counts["test"]["mnist_reused"] == 20 + 18 + 108 + 42 + 26  # zeros, fours, fives, sixes, eights
    test = shards.read_split(tmp_path / "share", dataset, "test")
    assert test.inputs["cifar10"].shape == (10_000, 3, 32, 32)
    assert test.inputs["mnist"].shape == (10_000, 1, 32, 32)
    ink = test.inputs["mnist"].mean((1, 2, 3))
    assert ink[test.label == 1].mean() < 0.5 * ink[test.label == 0].mean()  # ones are thin: the label is the digit's
    again = mmal("prepare-share", real.ROOT, "--out", tmp_path / "share")
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, f"already done: {tmp_path / 'share'}\n")
