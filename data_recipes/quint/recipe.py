"""The recipe `quint`: from a setting, sizes and a seed to the head of a manifest and the plans of its splits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from data_recipes.quint import render, sampling
from data_recipes.quint.setting import NAMES, Setting
from data_recipes.workers import InOrder
from mmal_cli.core.build import Plan
from mmal_cli.core.errors import UserError
from mmal_cli.core.shards import Samples

CHUNK = 256  # samples that one process makes at a time: 6 MB for two modalities at 64 px


@dataclass(frozen=True)
class Quint:
    """All that decides a dataset's bytes: nothing else does, not the machine, the processes or the shards.

    Attributes:
        setting: what it is made of.
        samples: split -> how many samples.
        size: W, height and width of the images in pixels.
        seed: the one integer that its chance comes from.
    """

    setting: Setting
    samples: dict[str, int]
    size: int
    seed: int

    def __post_init__(self) -> None:
        step = self.setting.picture.step()
        if self.size % step or self.size < 32:
            raise UserError(f"--size {self.size}: expected a multiple of {step}, at least 32; the default is 64")
        for split, count in self.samples.items():
            if count < self.setting.classes:
                raise UserError(
                    f"--{split} {count}: fewer than the {self.setting.classes} classes, give at least one sample for each"
                )


def head(name: str, quint: Quint) -> dict[str, Any]:
    """The manifest's fields that are known before anything is drawn."""
    setting = quint.setting
    arguments = {"setting": setting.model_dump(mode="json"), **quint.samples, "size": quint.size, "seed": quint.seed}
    arguments["setting"]["picture"]["period"] = setting.picture.period_at(quint.size)
    arguments["setting"]["absent"] = {m: setting.absent.get(m, 0.0) for m in setting.modalities}
    shape = (3, quint.size, quint.size)
    return {
        "name": name,
        "recipe": {"name": "quint", **arguments},
        "modalities": [{"name": m, "kind": "image", "shape": shape, "dtype": "uint8"} for m in setting.modalities],
        "classes": setting.classes,
        "class_names": _class_names(setting),
        "targets": setting.label,
        "ceiling": setting.ceilings(),
        "weak": setting.weak,
        "counts": {split: _counts(quint, split) for split in quint.samples},
        "notes": [
            "classes are balanced: each run of C samples holds every class once",
            "the test split is complete",
            "factors/<modality>.<factor> are positions in the lists of docs/protocol.md, also where the modality is absent",
        ],
    }


def _class_names(setting: Setting) -> list[str]:
    """`circle/dots`: the values of the label's parts, of a sum its number; the last one changing fastest."""
    several = []
    for terms in setting.parts:
        factor, chosen = terms[0].rpartition(".")[2], setting.choices(terms[0])
        several.append([str(k) for k in range(len(chosen))] if len(terms) > 1 else [NAMES[factor][k] for k in chosen])
    return ["/".join(values) for values in product(*several)]


def plans(quint: Quint, in_order: InOrder) -> dict[str, Plan]:
    """How each split is made, by the processes behind `in_order`; the samples do not depend on their number."""

    def plan(split: str, count: int) -> Plan:
        def chunks(start: int, stop: int) -> Iterator[Samples]:
            return in_order(samples, ((quint, split, first, min(first + CHUNK, stop)) for first in range(start, stop, CHUNK)))

        return Plan(count, chunks)

    return {split: plan(split, count) for split, count in quint.samples.items()}


def samples(quint: Quint, split: str, start: int, stop: int) -> Samples:
    """Makes samples start..stop-1 of a split, whoever asks and whatever else is asked. Cost: about .3 ms an image."""
    setting, studio = quint.setting, render.studio(quint.setting.picture, quint.size)
    label = sampling.labels(setting, quint.seed, split, start, stop)
    present = sampling.presence(setting, quint.seed, split, start, stop)
    factors = sampling.factors(setting, quint.seed, split, start, label)
    inputs = {
        modality: render.images(
            studio, quint.seed, split, modality, start, factors[modality], np.flatnonzero(present[:, column])
        )
        for column, modality in enumerate(setting.modalities)
    }
    return Samples(
        inputs=inputs,
        present=present,
        label=label,
        id=np.array([f"{split}-{k:08d}" for k in range(start, stop)]),
        factors={f"{m}.{f}": values.astype(np.int8) for m, many in factors.items() for f, values in many.items()},
    )


def _counts(quint: Quint, split: str) -> dict[str, Any]:
    """Samples of each class, and of each pattern of present modalities."""
    setting, count = quint.setting, quint.samples[split]
    label = sampling.labels(setting, quint.seed, split, 0, count)
    present = sampling.presence(setting, quint.seed, split, 0, count)
    patterns, many = np.unique(present, axis=0, return_counts=True)
    return {
        "classes": np.bincount(label, minlength=setting.classes).tolist(),
        "present": {_subset(setting.modalities, row): int(n) for row, n in zip(patterns, many, strict=True)},
    }


def _subset(modalities: Sequence[str], present: np.ndarray) -> str:
    return "+".join(name for name, here in zip(modalities, present, strict=True) if here)
