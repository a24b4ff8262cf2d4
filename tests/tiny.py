"""A small dataset of the real format: two noisy images of 16 px whose brightness in one corner each tells the class."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from mmal_cli.core import build, shards
from mmal_cli.core.manifest import UNLABELLED, Dataset
from mmal_cli.core.seeds import derive
from mmal_cli.data import Split
from mmal_cli.pool import Pool

PIXELS = 16
GROUP = 4  # samples of a split in a group
BUDGET = ["regimes.low.start=15", "regimes.low.validation=15", "regimes.low.query=15"]  # five for each of three classes


def pool(split: Split, labelled: Iterable[int], validation: Iterable[int]) -> Pool:
    """With these train positions labelled, these barred."""
    found = Pool(len(split.labels), torch.tensor(list(validation)))
    found.label(torch.tensor(list(labelled)))
    return found


def samples(
    start: int,
    stop: int,
    classes: int,
    modalities: tuple[str, ...],
    absent: Mapping[str, float],
    split: str,
    grouped: bool = False,
) -> Iterator:
    """Samples start..stop-1; modality m shows digit m of the class in base ceil(sqrt(classes)); groups go over splits."""
    for k in range(start, stop):
        rng = np.random.default_rng(derive(0, "tiny", split, k))
        label, present, inputs = k % classes, [], {}
        for name in modalities:
            image = rng.integers(0, 60, (1, 3, PIXELS, PIXELS), dtype=np.uint8)
            image[0, label % 3, : PIXELS // 2] += np.uint8(60 + 100 * label // classes)
            has = split == "test" or rng.random() >= absent.get(name, 0.0)
            present.append(has)
            inputs[name] = image * np.uint8(has)
        if not any(present):
            present[0] = True
        yield shards.Samples(
            inputs,
            np.array([present]),
            np.array([-1 if split == UNLABELLED else label]),
            np.array([f"{split}-{k:08d}"]),
            {"shape": np.array([label], np.uint8)},
            group=np.array([k // GROUP]) if grouped else None,
        )


def head(name: str, train: int, test: int, classes: int, absent: Mapping[str, float], modalities: tuple[str, ...]) -> dict:
    """The manifest's fields that a recipe says."""
    return {
        "name": name,
        "recipe": {
            "name": "tiny",
            "train": train,
            "test": test,
            "classes": classes,
            "absent": dict(absent),
            "m": list(modalities),
        },
        "modalities": [{"name": m, "kind": "image", "shape": [3, PIXELS, PIXELS], "dtype": "uint8"} for m in modalities],
        "classes": classes,
        "class_names": [f"class {c}" for c in range(classes)],
        "targets": ["class"],
        "weak": modalities[-1],
        "counts": {"samples": train + test},
    }


def described(classes: int) -> Dataset:
    """A manifest without a folder, of modalities a and b."""
    splits = {"train": {"samples": 200, "shards": []}}
    return Dataset.model_validate(head("tiny", 0, 0, classes, {}, ("a", "b")) | {"id": "0" * 12, "splits": splits, "made": {}})


def make(
    folder: Path,
    train: int = 120,
    test: int = 30,
    classes: int = 3,
    modalities: tuple[str, ...] = ("a", "b"),
    absent: Mapping[str, float] | None = None,
    name: str = "tiny",
    unlabelled: int = 0,
    grouped: bool = False,
    restricted: bool = False,
    **options,
) -> Dataset:
    """Makes the dataset in a folder."""
    absent = absent or {}
    plans = {
        split: build.Plan(n, lambda a, b, s=split: samples(a, b, classes, modalities, absent, s, grouped))
        for split, n in (("train", train), ("test", test), *([(UNLABELLED, unlabelled)] if unlabelled else []))
    }
    content = head(name, train, test, classes, absent, modalities) | {"restricted": restricted}
    content["recipe"] |= {"unlabelled": unlabelled, "grouped": grouped} if unlabelled else {}
    return build.build(folder, content, plans, command="mmal make-tiny", **options)[0]
