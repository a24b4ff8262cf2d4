"""The recipe `share`: pairs CIFAR-10 photographs with MNIST digits of the same class, so that both modalities tell it.

Class c of one goes with class c of the other: airplanes with zeros, and so on. CIFAR-10 is the weak modality. In train each
image is in one pair at most. In test MNIST has fewer images of some classes than CIFAR-10 (892 fives for 1,000 dogs): there
its images are reused in a second pass, so that all 10,000 photographs are used. The manifest counts the reuse.

Sources: CIFAR-10 (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"; no licence is stated) and MNIST
(LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition"; CC BY-SA 3.0).
The pairing follows the mmal paper's Share setting; what the paper leaves open stands in docs/protocol.md.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_recipes.arrays import Images
from data_recipes.order import shuffled
from mmal_cli.core.build import Plan
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.shards import Samples

CLASSES = 10
SIZE = 32  # of both modalities; digits of 28 get a black frame
CHUNK = 500
ONCE = "train"  # the split in which no image comes twice


@dataclass(frozen=True)
class Share:
    """All that decides the dataset's bytes: photographs and digits by split, names of the classes, seed of the pairing."""

    cifar10: Mapping[str, Images]
    mnist: Mapping[str, Images]
    class_names: Sequence[str]
    seed: int


@dataclass(frozen=True)
class Pairs:
    """Positions in the two sources, (n,) int64 each, and the pairs' labels (n,) int64."""

    cifar10: np.ndarray
    mnist: np.ndarray
    label: np.ndarray


def pair(share: Share, split: str) -> Pairs:
    """Gives each photograph a digit of its class, all in random order.

    The digits of a class are shuffled and dealt in turn; once all are dealt, dealing begins again.

    Raises:
        UserError: a class has no digit, or in train fewer digits than photographs.
    """
    photos, digits = share.cifar10[split].label.astype(np.int64), share.mnist[split].label.astype(np.int64)
    dealt = np.empty(len(photos), dtype=np.int64)
    for c in range(CLASSES):
        these, those = np.flatnonzero(photos == c), np.flatnonzero(digits == c)
        if len(those) < (len(these) if split == ONCE else min(1, len(these))):
            raise UserError(f"MNIST {split} has {len(those)} images of class {c} for {len(these)} of CIFAR-10", BAD_DATA)
        digits_of = those[shuffled(len(those), share.seed, "share", split, f"digits {c}")]
        dealt[these] = np.resize(digits_of, len(these))
    order = shuffled(len(photos), share.seed, "share", split, "pairs")
    return Pairs(order, dealt[order], photos[order])


def head(share: Share) -> dict[str, Any]:
    """The manifest's fields; the recipe names the sources by their content."""
    splits = list(share.cifar10)
    names = [f"{name}/{digit}" for digit, name in enumerate(share.class_names)]
    counts = {split: _counts(share, split) for split in splits}
    reused = {split: counts[split]["mnist_reused"] for split in splits if counts[split]["mnist_reused"]}
    return {
        "name": "share",
        "recipe": {
            "name": "share",
            "seed": share.seed,
            "classes": "c to c",
            "digits": {"size": SIZE, "frame": "black", "once": [ONCE]},
            "sources": {"cifar10": _digest(share.cifar10), "mnist": _digest(share.mnist)},
        },
        "modalities": [
            {"name": "cifar10", "kind": "image", "shape": [3, SIZE, SIZE], "dtype": "uint8"},
            {"name": "mnist", "kind": "image", "shape": [1, SIZE, SIZE], "dtype": "uint8"},
        ],
        "classes": CLASSES,
        "class_names": names,
        "targets": ["class"],
        "weak": "cifar10",
        "counts": counts,
        "notes": [
            f"{split}: {count} of {len(share.cifar10[split].label)} pairs reuse an MNIST image of another pair of their class; "
            "no CIFAR-10 image is reused"
            for split, count in reused.items()
        ]
        + ["factors/cifar10 and factors/mnist are the positions of the images in their sources' splits"],
    }


def plans(share: Share) -> dict[str, Plan]:
    """How each split is made. Memory: one chunk of 500 pairs, 2 MB."""

    def plan(split: str) -> Plan:
        pairs = pair(share, split)

        def chunks(start: int, stop: int) -> Iterator[Samples]:
            return (_samples(share, split, pairs, first, min(first + CHUNK, stop)) for first in range(start, stop, CHUNK))

        return Plan(len(pairs.label), chunks)

    return {split: plan(split) for split in share.cifar10}


def _samples(share: Share, split: str, pairs: Pairs, start: int, stop: int) -> Samples:
    """Pairs start..stop-1 of a split."""
    photo, digit = pairs.cifar10[start:stop], pairs.mnist[start:stop]
    return Samples(
        inputs={
            "cifar10": np.ascontiguousarray(share.cifar10[split].pixels[photo].transpose(0, 3, 1, 2)),
            "mnist": framed(share.mnist[split].pixels[digit])[:, None],
        },
        present=np.ones((stop - start, 2), dtype=bool),
        label=pairs.label[start:stop],
        id=np.array([f"{split}-{k:08d}" for k in range(start, stop)]),
        factors={"cifar10": photo.astype(np.int32), "mnist": digit.astype(np.int32)},
    )


def framed(digits: np.ndarray) -> np.ndarray:
    """(n, 28, 28) -> (n, 32, 32), the digit in the middle of black."""
    margins = [((SIZE - side) // 2, SIZE - side - (SIZE - side) // 2) for side in digits.shape[1:]]
    return np.pad(digits, [(0, 0), *margins])


def _counts(share: Share, split: str) -> dict[str, Any]:
    """Pairs of each class; how many of them show a digit that another shows first, and how many digits no pair shows."""
    pairs = pair(share, split)
    shown = len(np.unique(pairs.mnist))
    return {
        "classes": np.bincount(pairs.label, minlength=CLASSES).tolist(),
        "present": {"cifar10+mnist": len(pairs.label)},
        "mnist_reused": len(pairs.mnist) - shown,
        "mnist_unused": len(share.mnist[split].label) - shown,
    }


def _digest(source: Mapping[str, Images]) -> str:
    """12 hex digits of a source's pixels and labels."""
    digest = hashlib.sha256()
    for split in sorted(source):
        digest.update(np.ascontiguousarray(source[split].label, dtype="<i8"))
        digest.update(np.ascontiguousarray(source[split].pixels))
    return digest.hexdigest()[:12]
