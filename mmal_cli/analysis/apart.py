"""Runs that differ in a setting, such as the fusion, side by side: the setting's value becomes part of the method's name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mmal_cli.core import files
from mmal_cli.core.errors import unknown
from mmal_cli.core.manifest import Run

Where = TypeVar("Where", str, Path)


def by(records: Mapping[Where, Run], key: str) -> dict[Where, Run]:
    """Records of methods called `bmmal gated`, without the setting itself, so that nobody warns that they differ in it.

    Args:
        records: place -> record.
        key: a setting by its dotted name: model.fusion.

    Raises:
        UserError: a record whose settings have no such key.
    """
    found = {}
    for place, run in records.items():
        settings = run.config["settings"]
        flat = files.flatten(settings)
        if key not in flat:
            raise unknown(f"setting of {place}", key, flat)
        named = {"qm": f"{run.config['qm']} {flat[key]}", "settings": _without(settings, key.split("."))}
        found[place] = run.model_copy(update={"config": run.config | named})
    return found


def _without(nested: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    first, *rest = keys
    return {key: _without(inner, rest) if key == first else inner for key, inner in nested.items() if key != first or rest}
