"""Made clean by rule: what of a run may leave, and the rest taken away before anything is looked at or written."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmal_cli.cell import identity_of
from mmal_cli.core import files, shards
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Run

MADE = ("mmal", "command", "seconds", "versions", "commit", "device")
MINE = {"--out", "--campaign"}  # options that say where something was put
POSITIONS = ("labelled", "selected", "validation")
# what of restricted data is known to be an aggregate; a test holds the metrics beside those that runs have
DATASET = {"name", "id", "classes", "modalities", "weak", "ceiling", "restricted"}
AGGREGATES = {"balanced_accuracy", "accuracy", "nll", "ece"}


def restricted(run: Run) -> bool:
    """Whether its record says that it comes from restricted data; any value but false counts."""
    return run.inputs.get("dataset", {}).get("restricted", False) is not False


def record(place: Path, run: Run) -> Run:
    """The record without paths; of restricted data without counts of what was asked.

    Raises:
        UserError: a record of restricted data that holds what is not known to be an aggregate.
    """
    made = {key: run.made[key] for key in MADE if key in run.made}
    if "command" in made:
        made["command"] = command(made["command"], run.config["dataset"])
    run = run.model_copy(update={"made": made})
    if not restricted(run):
        return run
    _must_be_aggregate(place, run)
    return run.model_copy(update={"cycles": [cycle.model_copy(update={"asked": None}) for cycle in run.cycles]})


def _must_be_aggregate(place: Path, run: Run) -> None:
    dataset = run.inputs["dataset"]
    unknown = [f"inputs.{key}" for key in run.inputs if key != "dataset"]
    unknown += [f"inputs.dataset.{key}" for key in dataset if key not in DATASET]
    for cycle in run.cycles:
        where = f"cycles.{cycle.number}"
        unknown += [f"{where}.validation.{key}" for key in cycle.validation if key not in AGGREGATES]
        for subset, values in cycle.metrics.items():
            known = AGGREGATES if set(subset.split("+")) <= set(dataset.get("modalities", ())) else set()
            unknown += [f"{where}.metrics.{subset}.{key}" for key in values if key not in known]
    if unknown:
        raise UserError(
            f"{place} is of restricted data, of which aggregate metrics alone may leave; it holds {unknown[0]}, expected "
            f"{', '.join(sorted(AGGREGATES))} of subsets of its modalities; leave that run out",
            BAD_DATA,
        )


def cycle(path: Path, run: Run, number: int, logits: bool) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and attributes of a cycle's file, those that leave; its command without paths.

    Raises:
        UserError: a damaged file, or one of another run.
    """
    subsets = run.cycles[number].metrics if logits else ()
    arrays, said = shards.read_arrays(path, (*POSITIONS, *(f"test_logits/{subset}" for subset in subsets)))
    if differs := files.difference(path, said.get("identity", {}), identity_of(run)):
        raise UserError(f"{differs}, as the run.yaml beside it has it; remove that run's folder, or leave it out", BAD_DATA)
    attributes = {key: said[key] for key in ("identity", "command", "cycle") if key in said}
    if "command" in attributes:
        attributes["command"] = command(attributes["command"], run.config["dataset"])
    return arrays, attributes


def command(text: str, dataset: str) -> str:
    """A command without paths: what was read where mmal puts it, not where the rest went, of other paths the last part."""
    words = shlex.split(text)
    kept = []
    for before, word in zip(["", *words], words, strict=False):
        if before == "--data":
            word = f"data/{dataset}"
        elif before == "--pretrained":
            word = f"pretrained/{dataset}/{_last(word)}"
        if not MINE & {before, word}:
            kept.append(word if before in ("--data", "--pretrained") else _without_path(word))
    return shlex.join(kept)


def _without_path(word: str) -> str:
    """A word; of KEY=VALUE the paths in the value."""
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[\w.-]+", key):
        return _last(word)
    try:
        parsed = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        return f"{key}={_last(value)}"
    short = _shortened(parsed)
    return word if short == parsed else f"{key}={short if isinstance(short, str) else json.dumps(short)}"


def _shortened(value: Any) -> Any:
    """A YAML value with every path in it shortened."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return _last(value) if isinstance(value, str) else value


def _last(text: str) -> str:
    """The last part of a path; what is none stays."""
    last = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return "FOLDER" if text and (last in ("", ".", "..") or last.startswith("~")) else last
