"""Folders of runs: which are finished, which are not, and the command that makes a run or goes on with it."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmal_cli.core import files, plugins
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.settings import PROTOCOLS, Protocol
from mmal_cli.core.tables import NO_MODDROP, Place

RECORD = "run.yaml"


@dataclass(frozen=True)
class Runs:
    """What lies under a folder, sorted by path."""

    finished: dict[Path, Run]
    unfinished: list[Path]


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
        finished={place: Run.read(place / RECORD) for place in places if (place / RECORD).exists()},
        unfinished=[place for place in places if not (place / RECORD).exists()],
    )


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
    return Place(dataset=dataset, regime=regime, moddrop=qm == method, qm=qm, seed=int(found[1]))


def command(wanted: Place, commands: Iterable[tuple[Place, str]] = ()) -> str:
    """The command that makes a run.

    Args:
        wanted: its place.
        commands: places and commands of finished runs. The command of the same row, otherwise of the same block, is taken
            over with another seed (and method), so that overlays and --set are kept; what another command than al-run made
            says nothing. Without one it is the plain command with the dataset's protocol.
    """
    near = [(place.qm != wanted.qm, shlex.split(text)) for place, text in commands if place.block == wanted.block]
    near = [(other, words) for other, words in near if words[:2] == ["mmal", "al-run"] and "--qm" in words]
    if not near:
        return _plain(wanted)
    other, words = min(near)
    return shlex.join(_set(_set(words, "--qm", wanted.qm) if other else words, "--seed", str(wanted.seed)))


def _set(words: list[str], option: str, value: str) -> list[str]:
    """The words with the option's value replaced, or added."""
    if option not in words[:-1]:
        return [*words, option, value]
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1 :]]


def _plain(wanted: Place) -> str:
    words = ["mmal", "al-run", "--data", f"data/{wanted.dataset}", "--qm", wanted.qm, "--regime", wanted.regime]
    words += ["--seed", str(wanted.seed)]
    if wanted.moddrop != main_variant(wanted.dataset, otherwise=True):
        words.append("--moddrop" if wanted.moddrop else "--no-moddrop")
    return shlex.join(words)


def main_variant(dataset: str, otherwise: bool | None = None) -> bool | None:
    """Whether the dataset's protocol trains with modality dropout; `otherwise` for a dataset without a protocol."""
    if dataset not in plugins.names(PROTOCOLS, ".yaml"):
        return otherwise
    path = plugins.find(PROTOCOLS, dataset, "protocol", ".yaml")
    return check(Protocol, files.read_yaml(path), f"{PROTOCOLS}/{path.name}").train.moddrop.enabled
