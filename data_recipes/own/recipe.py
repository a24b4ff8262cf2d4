"""From what was read to a dataset: the manifest's fields, the samples chunk by chunk, and the list of what was left out."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_recipes import pictures, texts
from data_recipes.order import shuffled
from data_recipes.own import content
from data_recipes.own.card import Image, Series, Tokens, Vector
from data_recipes.own.data import Data
from data_recipes.workers import InOrder
from mmal_cli.core.build import Plan
from mmal_cli.core.manifest import UNLABELLED
from mmal_cli.core.shards import Samples

CHUNK = 64  # samples that one process makes at a time
DROPPED, HEADING = "dropped.csv", ("id", "row", "reason", "detail")


def head(data: Data) -> dict[str, Any]:
    """The manifest's fields; the recipe is the card without its places, and the rows by their content."""
    card, specs = data.own.card, data.own.specs
    kinds = {type(spec) for spec in specs.values()}
    vectors = [f"{name}: {', '.join(spec.columns)}" for name, spec in specs.items() if isinstance(spec, Vector)]
    indicated = [name for name, spec in specs.items() if isinstance(spec, Vector) and spec.indicators]
    return {
        "name": card.name,
        "recipe": {
            "name": "own",
            "card": data.own.content,
            "pictures": pictures.RULES if Image in kinds else {},
            "sources": data.digest,
        },
        "modalities": [_modality(data, name) for name in specs],
        "classes": len(data.class_names),
        "class_names": data.class_names,
        "targets": [card.label],
        "weak": card.weak,
        "counts": _counts(data),
        "notes": [*card.notes, *vectors, *(f"{name}: then 1 where a number was there, else 0" for name in indicated)],
        "restricted": card.restricted,
    }


def _modality(data: Data, name: str) -> dict[str, Any]:
    spec = data.own.specs[name]
    if isinstance(spec, Tokens):
        vocabulary = data.own.vocabularies[name]
        return {"name": name, "kind": "tokens", "shape": [2, data.lengths[name]], "dtype": "int32", "vocabulary": vocabulary}
    if isinstance(spec, Vector):
        shape = [len(spec.columns) * (2 if spec.indicators else 1)]
        return {"name": name, "kind": "vector", "shape": shape, "dtype": "float32"}
    return {"name": name, "kind": spec.kind, "shape": list(content.shape(spec)), "dtype": content.dtype(spec)}


def _counts(data: Data) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": data.rows.table.rows, "dropped": data.rows.dropped}
    for split, rows in data.splits.items():
        patterns = Counter("+".join(np.array([*data.own.specs])[data.present[row]]) for row in rows)
        noted = Counter(kind for row in rows for kind in data.found[row].noted)
        classes = (
            {}
            if split == UNLABELLED
            else {"classes": np.bincount(_label(data, rows), minlength=len(data.class_names)).tolist()}
        )
        groups = {} if data.groups is None else {"groups": len(np.unique(data.groups[rows]))}
        found[split] = {**classes, "present": dict(sorted(patterns.items())), "noted": dict(sorted(noted.items())), **groups}
    return found


def _label(data: Data, rows: list[int]) -> np.ndarray:
    """(n,) int64, -1 where there is none."""
    place = {name: number for number, name in enumerate(data.class_names)}
    labels = data.rows.cells(data.own.card.label)
    return np.array([place.get(labels[row], -1) for row in rows], dtype=np.int64)


def plans(data: Data, in_order: InOrder) -> dict[str, Plan]:
    """How each split is made, in an order that the card's seed decides. Memory: a few chunks of 64 for each process."""
    files = {name: spec for name, spec in data.own.specs.items() if isinstance(spec, Image | Series)}
    ids = data.rows.cells(data.own.card.id)

    def plan(split: str) -> Plan:
        rows = data.splits[split]
        width = max(len(ids[row].encode()) for row in rows)
        order = [rows[k] for k in shuffled(len(rows), data.own.card.seed, "own", split)]

        def chunks(start: int, stop: int) -> Iterator[Samples]:
            parts = [order[at : min(at + CHUNK, stop)] for at in range(start, stop, CHUNK)]
            tasks = (([_files(data, row) for row in part], files, data.own.files) for part in parts)
            for part, made in zip(parts, in_order(content.load, tasks), strict=True):
                yield _samples(data, part, made, width)

        return Plan(len(order), chunks)

    return {split: plan(split) for split in data.splits}


def _files(data: Data, row: int) -> dict[str, tuple[str, bytes]]:
    """Modality -> cell and sha256 of the files that a row has."""
    specs = data.own.specs
    return {name: (data.rows.cells(specs[name].column)[row], found) for name, found in data.found[row].digests.items()}


def _samples(data: Data, rows: list[int], files: dict[str, np.ndarray], width: int) -> Samples:
    """`width` bytes are the longest id of the split."""
    inputs = dict(files)
    for name, spec in data.own.specs.items():
        if isinstance(spec, Tokens):
            nothing = np.empty(0, dtype=np.int32)
            inputs[name] = texts.padded([data.found[row].ids.get(name, nothing) for row in rows], data.lengths[name])
        elif isinstance(spec, Vector):
            inputs[name] = data.vectors[name][rows]
    return Samples(
        inputs=inputs,
        present=data.present[rows],
        label=_label(data, rows),
        id=np.array([data.rows.cells(data.own.card.id)[row].encode() for row in rows], dtype=f"S{width}"),
        factors={},
        group=None if data.groups is None else data.groups[rows],
    )


def dropped(data: Data) -> str:
    """What was left out, as CSV: id, row (the first below the heading is 1), reason, detail."""
    text, ids = io.StringIO(), data.rows.cells(data.own.card.id)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADING)
    writer.writerows([ids[row], row + 1, *why] for row, why in sorted(data.rows.why.items()))
    return text.getvalue()
