"""A dataset's card in Markdown: what there is, of which class, with which modalities; of restricted data no small count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmal_cli.core import shards
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import RESERVED, UNLABELLED, Dataset
from mmal_cli.formats import markdown, short

SMALL = 10  # counts of restricted data below it are not shown
MANY = 30  # classes that are listed one by one
LABEL = 80  # characters of a class name that are shown
ENDS = 10  # of more classes: the most frequent and the rarest
RESTRICTED = (
    "> **Restricted.** What the agreement on the source says of the data holds for this dataset and all that is made of it. "
    "This card has counts alone; those below 10, and what they could be told from, are hidden."
)


@dataclass(frozen=True)
class Split:
    """What a split holds: samples of each class, of each pattern of present modalities, and those reserved for validation."""

    classes: Sequence[int]
    present: Mapping[str, int]
    reserved: int


def text(folder: Path, dataset: Dataset) -> str:
    """The whole card. Cost: reads labels and presence of every shard, no input."""
    splits = {name: _split(folder, dataset, name) for name in dataset.splits}
    parts = [f"# Dataset card: {dataset.name}", _about(dataset), RESTRICTED if dataset.restricted else ""]
    parts += ["\n".join(f"- {note}" for note in dataset.notes), "## Modalities", _modalities(dataset)]
    parts += ["## Splits", _sizes(dataset, splits), "## Classes", _classes(dataset, splits)]
    parts += ["## Which modalities a sample has", _patterns(dataset, splits)]
    if left := _left_out(dataset.counts):
        parts += ["## Left out", _table(["reason", "count"], [[reason, _alone(n, dataset)] for reason, n in left.items()])]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _split(folder: Path, dataset: Dataset, name: str) -> Split:
    """Read from the shards, since the manifests of different recipes count different things."""
    classes, present, reserved_all = np.zeros(dataset.classes, dtype=np.int64), Counter(), 0
    for shard in dataset.splits[name].shards:
        path = folder / shard.file
        try:
            label, has, reserved = shards.read_presence(path)
        except (OSError, KeyError):
            raise UserError(f"{path} is missing or damaged{dataset.again(folder)}", BAD_DATA) from None
        classes += np.bincount(label[label >= 0], minlength=dataset.classes)
        patterns, counts = np.unique(has, axis=0, return_counts=True)
        for pattern, count in zip(patterns, counts.tolist(), strict=True):
            present[_named(dataset, pattern)] += count
        reserved_all += int(reserved.sum())
    return Split(classes.tolist(), present, reserved_all)


def _named(dataset: Dataset, pattern: np.ndarray) -> str:
    return "+".join(m.name for m, has in zip(dataset.modalities, pattern, strict=True) if has) or "none"


def _about(dataset: Dataset) -> str:
    samples = sum(split.samples for split in dataset.splits.values())
    total = "" if dataset.restricted else f"{samples:,} samples, "
    said = f"Id {dataset.id}: {total}{dataset.classes} classes by {', '.join(dataset.targets)}."
    made = f"Made by `{dataset.made.get('command', '')}`, mmal {dataset.made.get('mmal', '')}."
    best = ", ".join(f"{subset} {value:g}" for subset, value in dataset.ceiling.items())
    ceiling = f"Best accuracy there can be: {best}." if best else ""
    return " ".join(part for part in (said, made, ceiling) if part)


def _modalities(dataset: Dataset) -> str:
    rows = [
        [f"{m.name} (weak)" if m.name == dataset.weak else m.name, m.kind, " x ".join(map(str, m.shape)), m.dtype]
        for m in dataset.modalities
    ]
    return _table(["modality", "kind", "one sample", "stored as"], rows, left=4)


def _sizes(dataset: Dataset, splits: Mapping[str, Split]) -> str:
    rows = [["samples", *(_alone(files.samples, dataset) for files in dataset.splits.values())]]
    if any(split.reserved for split in splits.values()):
        rows.append([RESERVED, *(_alone(split.reserved, dataset) for split in splits.values())])
    counted = [dataset.counts.get(name, {}) for name in splits]
    counted = [of if isinstance(of, Mapping) else {} for of in counted]
    for key in dict.fromkeys(key for of in counted for key, value in of.items() if isinstance(value, int | float)):
        if key != RESERVED:
            rows.append([key.replace("_", " "), *(_alone(of[key], dataset) if key in of else "" for of in counted)])
    return _table(["", *splits], rows)


def _classes(dataset: Dataset, splits: Mapping[str, Split]) -> str:
    shown = {name: split.classes for name, split in splits.items() if name != UNLABELLED}
    columns = {name: _column(counts, dataset) for name, counts in shown.items()}
    order = list(range(dataset.classes))
    foot = ""
    if dataset.classes > MANY:
        order.sort(key=lambda c: -shown["train"][c])
        order = order[:ENDS] + order[-ENDS:]
        foot = f"The {ENDS} most frequent in train and the {ENDS} rarest, of {dataset.classes} classes."
    rows = [[short(dataset.class_names[c], LABEL), *(column[c] for column in columns.values())] for c in order]
    return _table(["class", *columns], rows, foot)


def _patterns(dataset: Dataset, splits: Mapping[str, Split]) -> str:
    names = sorted({name for split in splits.values() for name in split.present}, key=lambda name: (name.count("+"), name))
    columns = [_column([split.present.get(name, 0) for name in names], dataset) for split in splits.values()]
    return _table(["present", *splits], [[name, *(column[k] for column in columns)] for k, name in enumerate(names)])


def _left_out(counts: Mapping[str, Any]) -> dict[str, int]:
    """Reason -> how many, wherever a recipe counts them."""
    found: Counter[str] = Counter()
    for of in (counts, *(value for value in counts.values() if isinstance(value, Mapping))):
        for key in ("dropped", "unmatched"):
            if isinstance(of.get(key), Mapping):
                found.update(of[key])
    for step in counts.get("cohort", ()):
        found[step["step"]] += step["dropped"]
    found.update({f"ECG passed over, {reason}": n for reason, n in counts.get("ecgs_passed_over", {}).items()})
    return {reason: n for reason, n in found.items() if n}


def _alone(value: float, dataset: Dataset) -> str:
    """A number that no other on the card adds up with."""
    if isinstance(value, float):
        return f"{value:g}"
    return f"<{SMALL}" if dataset.restricted and 0 < value < SMALL else f"{value:,}"


def _column(counts: Sequence[int], dataset: Dataset) -> list[str]:
    """The numbers that a split is made of: where the sum would tell those that are hidden, so is the next smallest."""
    cells, total = [_alone(count, dataset) for count in counts], sum(counts)
    hidden = [place for place, cell in enumerate(cells) if cell.startswith("<")]
    others = sorted((count, place) for place, count in enumerate(counts) if count and place not in hidden)
    told = len(hidden) == 1 or sum(counts[place] for place in hidden) in (len(hidden), (SMALL - 1) * len(hidden))
    if hidden and told and others:
        cells[others[0][1]] = "hidden"
    if dataset.restricted:
        return cells
    return [f"{cell} ({count / total:.1%})" if total else cell for cell, count in zip(cells, counts, strict=True)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], foot: str = "", left: int = 1) -> str:
    return markdown("", columns, rows, foot, left)
