"""The recipe `images`: one modality, `image`; a fixed quarter of each class for test where the source has no test split.

A long tail and the samples that are reserved for validation follow realistic-al's CIFAR-10-LT (Lueth et al. 2023): a tenth of
the smallest class is kept for validation, and as many of each other; of what is left, class c of C keeps n f^(-c / (C - 1)), n
what the smallest class has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_recipes import pictures
from data_recipes.images.sources import Content, rank
from data_recipes.order import shuffled
from mmal_cli.core.build import Plan
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import RESERVED
from mmal_cli.core.shards import Samples

CHUNK = 64  # images that one process decodes at a time
PART = 10  # one in so many of train, where there is a long tail


@dataclass(frozen=True)
class Images:
    """All that decides the dataset's bytes, and what its manifest says beside."""

    name: str
    layout: str
    class_names: Sequence[str]
    size: int
    long_tail: int | None
    content: Content


def order(labels: np.ndarray, class_names: Sequence[str], long_tail: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Which samples of train are kept, in a fixed random order, and with a long tail which of them are reserved (n,)."""
    position = shuffled(len(labels), 0, "images", "train")
    if long_tail is None:
        return position, None
    of_class, classes = labels[position], len(class_names)
    least = int(np.bincount(labels, minlength=classes).min())
    each = least // PART
    most = least - each
    wanted = np.array([int(most * (1 / long_tail) ** (c / (classes - 1))) for c in range(classes)])
    if wanted[-1] < 1:
        raise UserError(f"a long tail of {long_tail} leaves class {class_names[-1]} none of its {most} images", BAD_DATA)
    before = rank(of_class)
    kept = before < each + wanted[of_class]
    return position[kept], (before < each)[kept]


def head(images: Images) -> dict[str, Any]:
    """The manifest's fields that are known before an image is decoded."""
    size, content = images.size, images.content
    train, reserved = order(content.labels["train"], images.class_names, images.long_tail)
    pool = train if reserved is None else train[~reserved]
    classes = len(images.class_names)
    counts = {"train": {"classes": np.bincount(content.labels["train"][pool], minlength=classes).tolist()}}
    if reserved is not None:
        counts["train"][RESERVED] = int(reserved.sum())
    counts["test"] = {"classes": np.bincount(content.labels["test"], minlength=classes).tolist()}
    return {
        "name": images.name,
        "recipe": {
            "name": "images",
            "layout": images.layout,
            "class_names": list(images.class_names),
            "size": size,
            "long_tail": images.long_tail,
            "pictures": {} if content.exact else pictures.RULES,
            "sources": content.digest,
        },
        "modalities": [{"name": "image", "kind": "image", "shape": [3, size, size], "dtype": "uint8"}],
        "classes": classes,
        "class_names": list(images.class_names),
        "targets": ["class"],
        "weak": "image",
        "counts": counts,
    }


def plans(images: Images) -> dict[str, Plan]:
    """How each split is made. Memory: a few chunks of 64 images for each process."""
    content = images.content

    def plan(split: str) -> Plan:
        labels, reserved = content.labels[split], None
        positions = np.arange(len(labels))
        if split == "train":
            positions, reserved = order(labels, images.class_names, images.long_tail)
        names = np.char.encode(np.array([content.name(split, position) for position in positions], dtype="U"), "utf-8")

        def chunks(start: int, stop: int) -> Iterator[Samples]:
            numbers = [np.arange(first, min(first + CHUNK, stop)) for first in range(start, stop, CHUNK)]
            made = content.parts(split, [positions[some] for some in numbers])
            for some, part in zip(numbers, made, strict=True):
                kept = some[part.kept]
                yield Samples(
                    inputs={"image": part.pixels},
                    present=np.ones((len(kept), 1), dtype=bool),
                    label=labels[positions[kept]],
                    id=names[kept],
                    factors={},
                    reserved=None if reserved is None else reserved[kept],
                    dropped=part.dropped,
                    noted=part.noted,
                )

        return Plan(len(positions), chunks, exact=content.exact)

    return {split: plan(split) for split in ("train", "test")}
