"""The first cycle's models, which leave only when asked: as safetensors, numbers under names, with room for nothing else."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from mmal_cli import first
from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Cycle, Run
from mmal_cli.exchange import clean, unpack
from mmal_cli.exchange.contents import SUFFIX, Export, Weights

KNOWN = "[0-9a-f]" * 12 + ".pt"


@dataclass(frozen=True)
class Model:
    """A file of `.first-models`, the run below `source` whose first cycle's it is, and the names of its tensors."""

    path: Path
    source: Path
    names: list[str]

    @property
    def file(self) -> str:
        """In the zip."""
        return f"{self.path.stem}{SUFFIX}"

    def packed(self) -> bytes:
        """Its tensors anew, so that nothing hangs on them."""
        return safetensors.torch.save(
            {name: tensor.contiguous().clone() for name, tensor in _read(self.path)["weights"].items()}
        )


def _read(path: Path) -> dict | None:
    """What a file of `.first-models` holds; None for one that is damaged, or another's. Nothing in it is executed."""
    try:
        state = first.unpacked(path.read_bytes(), torch.device("cpu"))
        good = state is not None and all(type(tensor) is torch.Tensor for tensor in state["weights"].values())
        return state if good and state.keys() == {"weights", "best_epoch", "validation"} else None
    except Exception:  # torch raises whatever a file that it did not write leads it to
        return None


def _is_of(state: dict, cycle: Cycle) -> bool:
    """Whether it is the model of a first cycle: of the same epoch, and to the last bit as good on validation."""
    return (state["best_epoch"], state["validation"]) == (cycle.best_epoch, cycle.validation)


def beside(runs: Mapping[Path, Run]) -> tuple[list[Model], list[Path]]:
    """The models that lie beside runs and are theirs, sorted, and the runs that have none; of restricted data there are none.

    Args:
        runs: where they lie -> record.

    Time: every model of the runs' regimes read.
    """
    open_ = {source: run for source, run in runs.items() if not clean.restricted(run)}
    by_regime: dict[Path, dict[Path, Run]] = {}
    for source, run in open_.items():
        by_regime.setdefault(source.absolute().parents[1] / first.FOLDER, {})[source] = run
    models, served = [], set()
    for folder, own in sorted(by_regime.items()):
        for path in sorted(folder.glob(KNOWN)):
            state = _read(path)
            if of := [source for source, run in own.items() if state and _is_of(state, run.cycles[0])]:
                models.append(Model(path, min(of), list(state["weights"])))
                served.update(of)
    return models, [source for source in open_ if source not in served]


def planned(archive: zipfile.ZipFile, export: Export, out: Path) -> dict[Path, Weights]:
    """Where the models that are not there yet come to lie.

    Raises:
        UserError: a model that is no safetensors file, or of restricted data; a place that cannot be made.
    """
    found = {}
    for model in export.weights or ():
        target = out / model.folder / first.FOLDER / f"{Path(model.file).stem}.pt"
        unpack.must_be_folders(target.parent, out)
        if not target.exists():
            _state(archive, export, model)
            found[target] = model
    return found


def _state(archive: zipfile.ZipFile, export: Export, model: Weights) -> dict:
    """As `first` keeps it: what it is worth on validation its run's record says."""
    (run,) = (run for run in export.runs if run.folder == model.run)
    record = Run.read(zipfile.Path(archive, run.name(run.files[-1])))
    if clean.restricted(record):
        raise UserError(f"{archive.filename}: {model.name} is of restricted data, so nothing was imported", BAD_DATA)
    try:
        weights = safetensors.torch.load(archive.read(model.name))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        helps = "nothing was imported, have it sent again"
        raise UserError(f"{archive.filename}: {model.name} is no file of weights ({error}); {helps}", BAD_DATA) from None
    return {"weights": weights, "best_epoch": record.cycles[0].best_epoch, "validation": record.cycles[0].validation}


def write(archive: zipfile.ZipFile, export: Export, planned: Mapping[Path, Weights]) -> None:
    """Puts models where runs look for them."""
    for target, model in planned.items():
        content = first.packed(_state(archive, export, model))
        with files.atomic(target) as part:
            part.write_bytes(content)
