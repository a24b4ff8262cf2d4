"""The first cycle's models, which leave only when asked: tensors, their names and how good they are, nothing else of a file."""

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, ValidationError

from mmal_cli import first
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Run, Strict
from mmal_cli.exchange import clean, unpack
from mmal_cli.exchange.contents import Export


class State(Strict):
    """All that a file may hold."""

    model_config = ConfigDict(arbitrary_types_allowed=True, strict=True)
    weights: dict[str, torch.Tensor]
    best_epoch: int
    validation: dict[str, float]


@dataclass(frozen=True)
class Model:
    """A file of `.first-models`; `folder` is `<dataset>/<regime>`, where it lies below all runs."""

    path: Path
    folder: str

    def packed(self) -> bytes:
        """The file made anew of what it may hold: tensors of an exported run's first cycle."""
        return first.packed(dict(_state(self.path.read_bytes())))

    def said(self) -> dict[str, Any]:
        """What an audit can read of it."""
        state = _state(self.path.read_bytes())
        return {"weights": list(state.weights), "validation": state.validation}


def _state(whole: bytes) -> State | None:
    """What is in a file; None for one that is damaged or holds anything else. Nothing in it is executed."""
    try:
        return State.model_validate(first.unpacked(whole, torch.device("cpu")))
    except (ValidationError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        return None


def _is_of(state: State | None, runs: Iterable[Run]) -> bool:
    """Whether it is the model of a run's first cycle: as good on the same validation samples, to the last bit."""
    return state is not None and any(
        (state.best_epoch, state.validation) == (run.cycles[0].best_epoch, run.cycles[0].validation) for run in runs
    )


def beside(runs: Mapping[Path, Run]) -> tuple[list[Model], list[Path]]:
    """The models that lie beside runs and are theirs, sorted, and the runs that have none; of restricted data there are none.

    Args:
        runs: where they lie -> record.

    Time: every model of the runs' regimes read.
    """
    open_ = {source: run for source, run in runs.items() if not clean.restricted(run)}
    by_regime: dict[tuple[Path, str], dict[Path, Run]] = {}
    for source, run in open_.items():
        key = source.absolute().parents[1] / first.FOLDER, f"{run.config['dataset']}/{run.config['regime']}"
        by_regime.setdefault(key, {})[source] = run
    models, served = [], set()
    for (lies, folder), own in sorted(by_regime.items()):
        for path in sorted(lies.glob("*.pt")):
            state = _state(path.read_bytes())
            if of := [source for source, run in own.items() if _is_of(state, [run])]:
                models.append(Model(path, folder))
                served.update(of)
    return models, [source for source in open_ if source not in served]


def must_be_of_runs(archive: zipfile.ZipFile, export: Export) -> None:
    """Raises UserError where a model of a zip is not that of one of its runs; those of restricted data have none."""
    for model in export.weights:
        own = [run for run in export.runs if run.folder.startswith(f"{model.folder}/") and not run.restricted]
        records = [Run.read(zipfile.Path(archive, run.name(run.files[-1]))) for run in own]
        if not _is_of(_state(archive.read(model.name)), [run for run in records if not clean.restricted(run)]):
            raise UserError(
                f"{archive.filename}: {model.name} is not the first cycle's model of a run beside it, so nothing was imported; "
                "have it sent again, or without weights",
                BAD_DATA,
            )


def write(archive: zipfile.ZipFile, export: Export, out: Path) -> int:
    """Puts models where runs look for them, and says how many; one that is there already stays."""
    return sum(unpack.put(archive, model.name, out / model.folder / first.FOLDER / model.file) for model in export.weights)
