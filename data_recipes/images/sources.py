"""Where images come from: arrays in memory, or files that are read once to know them and decoded side by side."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from data_recipes import pictures
from data_recipes.arrays import Images as Arrays
from data_recipes.images.layouts import File, Listing
from data_recipes.order import shuffled
from data_recipes.workers import InOrder
from mmal_cli.core.errors import BAD_DATA, UserError

READ = 200  # files that one process reads at a time
TEST = 4  # one in so many of each class, where the source has no test split


class Part(NamedTuple):
    """Decoded images (n, 3, size, size) uint8, which of the asked ones they are, and what is to be counted."""

    pixels: np.ndarray
    kept: np.ndarray
    dropped: Mapping[str, int] = {}
    noted: Mapping[str, int] = {}


class Content(Protocol):
    """Where the images come from: their classes, by split in the source's order, and their pixels."""

    exact: bool
    labels: Mapping[str, np.ndarray]
    digest: str

    def name(self, split: str, position: int) -> str:
        """Which image it is, in the source's own terms."""

    def parts(self, split: str, positions: Sequence[np.ndarray]) -> Iterator[Part]:
        """The images at each of some sets of positions, set by set."""


class InMemory:
    """CIFAR as torchvision reads it."""

    exact = True

    def __init__(self, splits: Mapping[str, Arrays]) -> None:
        self.splits = splits
        self.labels = {split: images.label.astype(np.int64) for split, images in splits.items()}
        digest = hashlib.sha256()
        for split in sorted(splits):
            digest.update(np.ascontiguousarray(splits[split].label, dtype="<i8"))
            digest.update(np.ascontiguousarray(splits[split].pixels))
        self.digest = digest.hexdigest()[:12]

    def name(self, split: str, position: int) -> str:
        """The split and the place in it."""
        return f"{split}-{position:08d}"

    def parts(self, split: str, positions: Sequence[np.ndarray]) -> Iterator[Part]:
        """(n, 32, 32, 3) -> (n, 3, 32, 32)."""
        for some in positions:
            pixels = self.splits[split].pixels[some].transpose(0, 3, 1, 2)
            yield Part(np.ascontiguousarray(pixels), np.ones(len(some), dtype=bool))


class OnDisk:
    """Files, read once to know them by their content, and decoded side by side when they are asked for."""

    exact = False

    def __init__(
        self, source: Path, listing: Listing, size: int, in_order: InOrder, on_progress: Callable[[int, int], None]
    ) -> None:
        self.source, self.size, self.in_order = source, size, in_order
        self.splits = _splits(listing)
        self.labels = {split: np.array([file.label for file in files], dtype=np.int64) for split, files in self.splits.items()}
        files = [file for split in self.splits.values() for file in split]
        tasks = ((source, files[k : k + READ]) for k in range(0, len(files), READ))
        digests: list[str] = []
        for some in in_order(fingerprints, tasks):
            digests += some
            on_progress(len(digests), len(files))
        known = json.dumps([[*file, digest] for file, digest in zip(files, digests, strict=True)])
        self.digest = hashlib.sha256(known.encode()).hexdigest()[:12]

    def name(self, split: str, position: int) -> str:
        """The file's path in the source."""
        return self.splits[split][position].name

    def parts(self, split: str, positions: Sequence[np.ndarray]) -> Iterator[Part]:
        """Decoded in several processes, in order."""
        files = self.splits[split]
        return self.in_order(decoded, (([self.source / files[k].name for k in some], self.size) for some in positions))


def _splits(listing: Listing) -> dict[str, Sequence[File]]:
    """Train and test; where the source has no test split, the first quarter of each class in a fixed order."""
    if listing.test:
        return {"train": listing.train, "test": listing.test}
    labels = np.array([file.label for file in listing.train], dtype=np.int64)
    of_class = np.bincount(labels, minlength=len(listing.class_names))
    if of_class.min() < TEST:
        name, few = listing.class_names[of_class.argmin()], of_class.min()
        raise UserError(f"class {name} has {few} images, expected {TEST} or more, as a quarter of each is for test", BAD_DATA)
    position = shuffled(len(labels), 0, "images", "test")
    test = np.zeros(len(labels), dtype=bool)
    test[position[rank(labels[position]) < (of_class // TEST)[labels[position]]]] = True
    parts = {"train": ~test, "test": test}
    return {name: [listing.train[k] for k in np.flatnonzero(part)] for name, part in parts.items()}


def rank(labels: np.ndarray) -> np.ndarray:
    """(n,) how many samples of the same class come before."""
    before = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = labels == label
        before[of_class] = np.arange(of_class.sum())
    return before


def fingerprints(source: Path, files: Sequence[File]) -> list[str]:
    """sha256 of each file."""
    return [hashlib.sha256(_read(source / file.name)).hexdigest() for file in files]


def decoded(paths: Sequence[Path], size: int) -> Part:
    """Decodes some files; those that are no whole image are left out and counted."""
    found, kept, dropped, noted = [], np.zeros(len(paths), dtype=bool), Counter(), Counter()
    for number, path in enumerate(paths):
        try:
            image, kinds = pictures.crop(_read(path), size)
        except pictures.Unusable as reason:
            dropped[str(reason)] += 1
            continue
        found.append(image)
        kept[number] = True
        noted.update(kinds)
    return Part(np.stack(found) if found else np.empty((0, 3, size, size), dtype=np.uint8), kept, dropped, noted)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}", BAD_DATA) from None
