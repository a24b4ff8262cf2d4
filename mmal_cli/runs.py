"""Folders of runs: which are finished, which are not, and the command that makes a run or goes on with it."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmal_cli.core import plugins, pretrained, shards
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.paradigms import SELF_SL, SEMI_SL, ST
from mmal_cli.core.place import NO_MODDROP, Place
from mmal_cli.core.running import RECORD
from mmal_cli.core.settings import main_variant

ROOT = "runs"  # al-run's default --out
AL_RUN = ["mmal", "al-run"]


@dataclass(frozen=True)
class Runs:
    """What lies under a folder, sorted by path."""

    finished: dict[Path, Run]
    unfinished: list[Path]

    def need_one(self, place: Path) -> None:
        """Raises UserError if none of the runs found at a place is finished."""
        if not self.finished:
            raise UserError(f"{place} holds no finished run (with {RECORD}), {len(self.unfinished)} unfinished", BAD_DATA)


def find(folder: Path) -> Runs:
    """Reads all runs under a folder (or the run in it).

    A run folder is finished when it has run.yaml, which is written last; one that has cycles, or is called seed-<k> and
    holds anything, is unfinished.

    Raises:
        UserError: no such folder, or a damaged run.yaml.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} not found; make runs by: mmal al-run --qm random --regime low", BAD_DATA)
    places = sorted(place for place in [folder, *folder.rglob("*")] if place.is_dir() and _is_run(place))
    return Runs(
        finished={place: _read(place) for place in places if (place / RECORD).exists()},
        unfinished=[place for place in places if not (place / RECORD).exists()],
    )


def _read(folder: Path) -> Run:
    """The record; its command gets the --out that it was found under, which a record does not know: so it can be repeated."""
    run = Run.read(folder / RECORD)
    words = shlex.split(run.made.get("command", ""))
    if words[:2] != AL_RUN:
        return run
    return run.model_copy(update={"made": run.made | {"command": shlex.join(_set_out(words, folder))}})


def _set_out(words: list[str], folder: Path) -> list[str]:
    """--out as seen from here, for a run folder that does not lie in ./runs."""
    parents = folder.resolve().parents
    root = os.path.relpath(parents[3]) if place_of(folder) and len(parents) > 3 else ROOT
    return words if root == ROOT else _set(words, "--out", root)


def _is_run(folder: Path) -> bool:
    if (folder / RECORD).exists() or any(folder.glob("cycle-*.h5")):
        return True
    return re.fullmatch(r"seed-\d+", folder.name) is not None and any(folder.iterdir())


def place_of(folder: Path) -> Place | None:
    """The place that a run folder's path names; None for a path of another form."""
    *_, dataset, regime, method, seed = ("", "", "", *folder.resolve().parts)
    if not (found := re.fullmatch(r"seed-(\d+)", seed)) or not dataset:
        return None
    qm = method.removesuffix(NO_MODDROP)
    base = {"dataset": dataset, "regime": regime, "moddrop": qm == method, "seed": int(found[1])}
    for paradigm in (SELF_SL, SEMI_SL):
        if qm.endswith(f"-{paradigm}"):
            return Place(**base, paradigm=paradigm, qm=qm.removesuffix(f"-{paradigm}"))
    return Place(**base, paradigm=ST, qm=qm)


def command(wanted: Place, commands: Iterable[tuple[Place, str]] = ()) -> str:
    """The command that makes a run.

    Args:
        wanted: its place.
        commands: places and commands of finished runs. The nearest one of the same variant (same row, then same regime) is
            taken over with another seed, method and regime, so that --data, overlays and --set are kept; what another command
            than al-run made says nothing. Without one it is the plain command with the dataset's protocol.
    """
    near = []
    for place, text in commands:
        words = shlex.split(text)
        if place.variant == wanted.variant and words[:2] == AL_RUN and "--qm" in words[:-1]:
            near.append((place.regime != wanted.regime, place.qm != wanted.qm, words))
    if not near:
        return _plain(wanted)
    *_, words = min(near)
    if plugins.label(words[words.index("--qm") + 1]) != wanted.qm:  # the same method may have been given as a path
        words = _set(words, "--qm", wanted.qm)
    if "--pretrained" in words[:-1]:
        begun = Path(words[words.index("--pretrained") + 1])
        if re.fullmatch(r"seed-\d+", begun.name):
            words = _set(words, "--pretrained", str(begun.with_name(f"seed-{wanted.seed}")))
    return shlex.join(_set(_set(words, "--regime", wanted.regime), "--seed", str(wanted.seed)))


def resume(folder: Path, finished: Mapping[Path, Run]) -> str | None:
    """The command that goes on with an unfinished run: what its first cycle says, else as its path and its neighbours have it.

    None if there is no cycle and the path does not name the run's place.
    """
    text = (shards.read_attributes(folder / "cycle-00.h5") or {}).get("command")
    if not text:
        if (wanted := place_of(folder)) is None:
            return None
        text = command(
            wanted,
            (
                (check(Place, run.config, f"{path / RECORD} config", BAD_DATA), run.made.get("command", ""))
                for path, run in finished.items()
            ),
        )
    return shlex.join(_set_out(shlex.split(text), folder))


def method_folder(wanted: Place, text: str) -> str:
    """The folder of all seeds that a command writes to."""
    words = shlex.split(text)
    root = words[words.index("--out") + 1] if "--out" in words[:-1] else ROOT
    return f"{root}/{wanted.folder}"


def _set(words: list[str], option: str, value: str) -> list[str]:
    """The words with the option's value replaced, or added."""
    if option not in words[:-1]:
        return [*words, option, value]
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1 :]]


def _plain(wanted: Place) -> str:
    words = [*AL_RUN, "--data", f"data/{wanted.dataset}", "--qm", wanted.qm, "--regime", wanted.regime]
    words += ["--seed", str(wanted.seed)]
    if wanted.moddrop != main_variant(wanted.dataset):
        words.append("--moddrop" if wanted.moddrop else "--no-moddrop")
    if wanted.paradigm != ST:
        words += ["--paradigm", wanted.paradigm]
    if wanted.paradigm == SELF_SL:
        words += ["--pretrained", str(pretrained.folder(wanted.dataset, wanted.seed))]
    return shlex.join(words)
