"""Grid search on the starting budget: al-run's first model of every seed, trained at every point of a grid."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmal_cli import first
from mmal_cli.cell import Cell
from mmal_cli.core import files, plugins
from mmal_cli.core.errors import BAD_DATA, WRONG_USE, UserError, unknown
from mmal_cli.core.manifest import Dataset, check, made
from mmal_cli.core.paradigms import Paradigm
from mmal_cli.core.protocol import Protocol, Settings, Train
from mmal_cli.core.seeds import Chance
from mmal_cli.core.settings import resolve
from mmal_cli.core.tuned import Trial, Tuned, conclude, nested
from mmal_cli.data import Split, load_split, shrunk
from mmal_cli.device import device_name
from mmal_cli.model import build
from mmal_cli.pool import Pool
from mmal_cli.start import start
from mmal_cli.train import Diverged, fit

TUNINGS = "tunings"
QM = "random"  # any method without passes has the same first model
OF_IMAGES = "train.augmentation"
APART = (
    "dataset",
    "regime",
    "qm",
    "seed",
    "moddrop",
    "settings.query_options",
    "settings.budget.query",
    "settings.budget.cycles",
)


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        grid: dotted key of train -> its values.
        points: their settings as dotted keys, the grid's last key running fastest.
        settings: all settings of each point.
        fixed: keys of the grid that the dataset has no use for, and the value that they keep.
    """

    dataset: Dataset
    regime: str
    seeds: list[int]
    grid: dict[str, list[Any]]
    points: list[dict[str, Any]]
    settings: list[Settings]
    fixed: dict[str, Any]

    def cell(self, number: int, seed: int) -> Cell:
        """The run whose first model is a point on a seed; it begins with the seed's own encoders, where it has them."""
        settings = self.settings[number]
        begun = Path(settings.model.start)
        if re.fullmatch(r"seed-\d+", begun.name):
            model = settings.model.model_copy(update={"start": str(begun.with_name(f"seed-{seed}"))})
            settings = settings.model_copy(update={"model": model})
        return Cell(self.dataset, QM, self.regime, seed, settings)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Equal for equal searches; as in Tuned."""
        config = files.flatten(self.cell(0, self.seeds[0]).content)
        apart = {*APART, *(f"settings.{key}" for key in self.grid)}
        return {
            "dataset": self.dataset.name,
            "dataset_id": self.dataset.id,
            "regime": self.regime,
            "seeds": self.seeds,
            "grid": self.grid,
            "config": nested({key: value for key, value in config.items() if key not in apart}),
        }


def plan(
    dataset: Dataset,
    regime: str,
    grid: str,
    seeds: Sequence[int],
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    moddrop: bool | None = None,
    paradigm: Paradigm | None = None,
    begun: Path | None = None,
) -> Search:
    """Reads a grid and resolves the settings of its points: as for al-run, with the grid's values on top.

    Args:
        grid: a name in tunings/, or a path.
        seeds: each point is trained on all of them.
        overlays, assignments, moddrop, paradigm, begun: as in `resolve`.

    Raises:
        UserError: a grid or settings that are wrong; an option that sets what the grid sets.
    """
    place, axes = _read(grid)
    asked = moddrop, paradigm, begun
    base, sources = resolve(dataset, regime, QM, overlays, assignments, *asked)
    fixed = {}
    if OF_IMAGES in axes and not any(modality.kind == "image" for modality in dataset.modalities):
        fixed = {OF_IMAGES: base.train.augmentation}
        axes = {key: values for key, values in axes.items() if key not in fixed}
    if not axes:
        raise UserError(f"{place} has nothing to try: {dataset.name} has no images, hence no {OF_IMAGES}")
    for key in axes:
        if sources[key].startswith("--"):
            raise UserError(f"{sources[key]} has no effect, since {place} tries values of {key}; leave one of the two out")
    points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    settings = []
    for point in points:
        own = [f"{key}={json.dumps(value)}" for key, value in point.items()]
        settings.append(resolve(dataset, regime, QM, overlays, [*assignments, *own], *asked)[0])
    return Search(dataset, regime, list(seeds), axes, points, settings, fixed)


def _read(name: str) -> tuple[str, dict[str, list[Any]]]:
    """A grid: its place for messages, and dotted key -> values; what YAML reads as text (1e-3) becomes the number it is."""
    path = plugins.find(TUNINGS, name, "tuning grid", ".yaml")
    raw, place = files.read_yaml(path, code=WRONG_USE), str(path) if "/" in name else f"{TUNINGS}/{path.name}"
    if not isinstance(raw, dict) or not raw:
        found = type(raw).__name__ if raw else "nothing"
        raise UserError(f"{place} holds {found}, expected keys and lists of values, such as train.lr: [0.1, 0.01]")
    known, axes = [f"train.{key}" for key in files.flatten(Train().model_dump())], {}
    for key, values in files.flatten(raw).items():
        if key not in known:
            raise unknown(f"key in {place}", key, known)
        if not isinstance(values, list) or not values:
            raise UserError(f"{place}: {key} is {values!r}, expected a list of values, such as [{json.dumps(values)}]")
        read = [check(Protocol, nested({key: value}), place).model_dump(mode="json") for value in values]
        axes[key] = list(dict.fromkeys(files.flatten(protocol)[key] for protocol in read))
        if len(axes[key]) < len(values):
            raise UserError(f"{place}: {key} is {values!r}, expected each value once")
    return place, axes


def run_search(
    search: Search,
    data: Path,
    out: Path,
    device: torch.device,
    command: str,
    force: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tuned, bool]:
    """Runs a search, or goes on with it, or finds it done; every finished training is kept in `.<stem of out>/` beside it.

    Args:
        search: what to search.
        data: the dataset's folder.
        out: the file to write.
        device: where to train.
        command: that makes this file; kept in it.
        force: writes over the result of another search; trainings that are kept and belong to this one count.
        on_progress: called with (epochs done, epochs in all).

    Returns:
        What was found, and whether it had to be made.

    Raises:
        UserError: damaged data, another search's result, a budget that the dataset does not have, every point diverged.

    Cost: points x seeds trainings, each that of al-run's first cycle; nothing is tested.
    """
    started = time.monotonic()
    if out.exists():
        found = Tuned.read(out)  # with force too: what is no search's result is not written over
        if not force:
            files.must_match(out, found.identity, search.identity, "choose another --out, or write over it: --force")
            return found, False
    build(search.dataset.modalities, search.dataset.classes, search.settings[0], 0.0, seed=0)  # wrong options end here
    trials = _trials(search, data, out.with_name(f".{out.stem}"), device, on_progress)
    packages = ("torch", "torchvision", "numpy", *(("transformers",) if "weights" in search.identity["config"] else ()))
    seconds = round(sum(trial.seconds for trial in trials), 1)  # of all trainings, before and after an interruption
    info = made(started, command, packages) | {"seconds": seconds, "device": device_name(device)}
    result = conclude(search.identity, trials, info)
    result.write(out)
    return result, True


def _trials(
    search: Search, data: Path, folder: Path, device: torch.device, on_progress: Callable[[int, int], None]
) -> list[Trial]:
    """All trainings, point by point and seed by seed: those that are kept are read, the others run."""
    units = [(number, seed) for number in range(len(search.points)) for seed in search.seeds]
    epochs = [settings.train.epochs for settings in search.settings]
    paths = {unit: folder / f"{Path(first.name(search.cell(*unit), 0.0, device.type)).stem}.yaml" for unit in units}
    found = {unit: _kept(path) for unit, path in paths.items() if path.exists()}
    total, done = (sum(epochs[number] for number, _ in some) for some in (units, found))
    on_progress(done, total)
    if left := [unit for unit in units if unit not in found]:
        split = shrunk(load_split(data, search.dataset, "train"), search.settings[0].shrink).to(device)
        starts = {seed: start(split, search.cell(0, seed)) for seed in search.seeds}
        for unit in left:
            number, seed = unit
            pool, validation = starts[seed]
            training = split, pool, validation, search.cell(*unit).settings
            score = _score(training, seed, lambda epoch, before=done: on_progress(before + epoch, total))
            found[unit] = Trial(id=paths[unit].stem, point=search.points[number], seed=seed, **score)
            found[unit].write(paths[unit])
            done += epochs[number]
            on_progress(done, total)
    return [found[unit] for unit in units]


def _kept(path: Path) -> Trial:
    try:
        return Trial.read(path)
    except UserError as error:
        raise UserError(f"{error}; remove it and give the same command again", BAD_DATA) from None


def _score(training: tuple[Split, Pool, Tensor, Settings], seed: int, on_epoch: Callable[[int], None]) -> dict[str, Any]:
    """Trains as al-run's first cycle does, without dropout; that the loss is not finite is a result too."""
    began = time.monotonic()
    try:
        found = {"score": fit(*training, 0.0, Chance(seed, 0), on_epoch).validation["balanced_accuracy"]}
    except Diverged as error:
        found = {"diverged": str(error).partition(";")[0]}
    return found | {"seconds": round(time.monotonic() - began, 3)}
