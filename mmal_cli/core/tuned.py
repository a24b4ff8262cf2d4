"""What `mmal tune` finds, as YAML: every point of a grid with its scores, and the settings that `--with` takes over."""

from collections.abc import Mapping, Sequence
from functools import cache
from math import inf
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, Self

from pydantic import model_validator

from mmal_cli.core import files
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Manifest, Strict
from mmal_cli.core.paradigms import SELF_SL, SEMI_SL, ST, Paradigm
from mmal_cli.core.place import InRegime
from mmal_cli.core.tables import Spread

DECIMALS = 10  # as in ranks: float noise makes no point the best


class Trial(Manifest):
    """One training, a point on a seed. It has a score, or `diverged` says when its loss was not finite."""

    kind: Literal["trial"] = "trial"
    point: dict[str, Any]
    seed: int
    score: float | None = None
    diverged: str | None = None
    seconds: float

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.score is None) == (self.diverged is None):
            raise ValueError(f"score is {self.score} and diverged {self.diverged!r}, expected one of the two")
        return self


class Point(Strict):
    """One point of the grid, with its best balanced validation accuracies in the order of the seeds.

    The score of a training that diverged is None; a point with one has no mean and cannot win.
    """

    settings: dict[str, Any]  # dotted key -> value
    scores: list[float | None]
    mean: float | None = None
    sd: float | None = None  # ddof 1; one seed has none
    diverged: str | None = None  # what the first such training said


class RunnerUp(Strict):
    """The second best point, and the winner's scores minus its own, seed by seed."""

    settings: dict[str, Any]
    difference: Spread


class Tuned(Manifest):
    """`tuned/<dataset>-<regime>.yaml`: a finished search.

    Attributes:
        config: all else that the scores depend on, the same for all points.
        chosen: the winner's settings, as an overlay has them.
        runner_up: left out where no second point has a mean.
        points: in the order of the grid, whose last key runs fastest.
    """

    kind: Literal["tuned"] = "tuned"
    dataset: str
    dataset_id: str
    regime: str
    seeds: list[int]
    grid: dict[str, list[Any]]
    config: dict[str, Any]
    chosen: dict[str, Any]
    runner_up: RunnerUp | None = None
    points: list[Point]
    made: dict[str, Any]

    @model_validator(mode="after")
    def _one_score_per_seed(self) -> Self:
        for point in self.points:
            if len(point.scores) != len(self.seeds):
                raise ValueError(f"point {point.settings} has {len(point.scores)} scores for {len(self.seeds)} seeds")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """Equal for equal searches."""
        return self.model_dump(mode="json", include={"dataset", "dataset_id", "regime", "seeds", "grid", "config"})

    @property
    def paradigm(self) -> Paradigm:
        """What the model learnt from beside labels."""
        return self.config.get("paradigm", ST)

    @property
    def moddrop(self) -> bool | None:
        """Whether it trained with modality dropout; None where that was searched."""
        return files.flatten(self.config).get("settings.train.moddrop.enabled")


def overlay(path: Path, dataset: Dataset, regime: str) -> Tuned:
    """A tuned file, for a run of the dataset and regime that it searched.

    Raises:
        UserError: the file is damaged, or of another dataset or regime, or the dataset has been made anew with other content.
    """
    found = _read(path)
    helps = _tune(dataset.name, regime, found.paradigm)
    if (found.dataset, found.regime) != (dataset.name, regime):
        raise UserError(
            f"{path} was tuned for {found.dataset}, regime {found.regime}, expected {dataset.name}, regime {regime}; "
            f"make that by: {helps}"
        )
    if found.dataset_id != dataset.id:
        raise UserError(
            f"{path} was tuned for {dataset.name} with id {found.dataset_id}, which now is {dataset.id}; "
            f"tune it again by: {helps} --out {path} --force"
        )
    return found


def must_agree(place: str, found: Tuned, moddrop: bool, paradigm: Paradigm) -> None:
    """Raises UserError where a search was made with modality dropout and the run is without, or in another paradigm."""
    helps = f"make one for it by: {_tune(found.dataset, found.regime, paradigm)}"
    if found.paradigm != paradigm:
        raise UserError(f"{place} was tuned for paradigm {found.paradigm}, the run is of {paradigm}; {helps} --out FILE.yaml")
    if found.moddrop not in (None, moddrop):
        words = {True: "with modality dropout", False: "without"}
        raise UserError(
            f"{place} was tuned {words[found.moddrop]}, the run trains {words[moddrop]}; {helps} "
            f"{'--moddrop' if moddrop else '--no-moddrop'} --out FILE.yaml"
        )


def _tune(dataset: str, regime: str, paradigm: Paradigm) -> str:
    """The command of a search."""
    more = {ST: "", SELF_SL: " --paradigm self-sl --pretrained FOLDER", SEMI_SL: " --paradigm semi-sl"}
    return f"mmal tune --data data/{dataset} --regime {regime}{more[paradigm]}"


def file_name(dataset: str, regime: str, paradigm: Paradigm) -> str:
    """`<dataset>-<regime>[-<paradigm>].yaml`."""
    return f"{dataset}-{regime}{'' if paradigm == ST else f'-{paradigm}'}.yaml"


def find(folder: Path, of: InRegime) -> Path | None:
    """The folder's tuned file for these, if it is there and was searched with the same modality dropout."""
    path = folder / file_name(of.dataset, of.regime, of.paradigm)
    return path if path.exists() and _read(path).moddrop in (None, of.moddrop) else None


def _read(path: Path) -> Tuned:
    """Once for all cells that take the file, and again where it has been written since."""
    stat = path.stat()
    return _read_once(path, stat.st_ino, stat.st_mtime_ns)


@cache
def _read_once(path: Path, inode: int, written: int) -> Tuned:
    return Tuned.read(path)


def conclude(identity: Mapping[str, Any], trials: Sequence[Trial], made: Mapping[str, Any]) -> Tuned:
    """The point with the highest mean wins, the first in the grid's order on ties.

    Args:
        identity: of the search, as in `Tuned.identity`.
        trials: point by point and, within a point, seed by seed.
        made: as in the manifest.

    Raises:
        UserError: every point diverged on some seed.
    """
    seeds = len(identity["seeds"])
    points = [_point(trials[at : at + seeds]) for at in range(0, len(trials), seeds)]
    best, *others = ranked(points)
    if best.mean is None:
        raise UserError(
            f"all {len(points)} points of the grid diverged, the first at {points[0].diverged}; "
            "give a grid with lower learning rates: --grid FILE.yaml"
        )
    second = _runner_up(best, others[0]) if others and others[0].mean is not None else None
    name = files.identity({"kind": "tuned", **identity})
    return Tuned(id=name, **identity, chosen=nested(best.settings), runner_up=second, points=points, made=made)


def ranked(points: Sequence[Point]) -> list[Point]:
    """Highest mean first, ties in the order given, those that diverged last."""
    return sorted(points, key=lambda point: inf if point.mean is None else -round(point.mean, DECIMALS))


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    whole: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        into = whole
        for parent in parents:
            into = into.setdefault(parent, {})
        into[last] = value
    return whole


def _point(trials: Sequence[Trial]) -> Point:
    scores, said = [trial.score for trial in trials], [trial.diverged for trial in trials if trial.diverged is not None]
    if said:
        return Point(settings=trials[0].point, scores=scores, diverged=said[0])
    return Point(settings=trials[0].point, scores=scores, **_spread(scores))


def _runner_up(best: Point, second: Point) -> RunnerUp:
    values = [a - b for a, b in zip(best.scores, second.scores, strict=True)]
    return RunnerUp(settings=second.settings, difference=Spread(**_spread(values), values=values))


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": mean(values)} | ({"sd": stdev(values)} if len(values) > 1 else {})
