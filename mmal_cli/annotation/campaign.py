"""A campaign's folder: `campaign.yaml` says what it is, `cycle-00.yaml` and so on what was asked, `answers/` what was said."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mmal_cli.cell import Cell
from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Cycle, Manifest, Run
from mmal_cli.core.running import RECORD as RUN

RECORD = "campaign.yaml"
ROOT = Path("campaigns")
REGIME = "campaign"  # what tables show in the place of a regime: the labels are as many as people gave
MEASURED = "validation"
Guess = tuple[int, float] | None


class Campaign(Manifest):
    """`campaign.yaml`, written at the first ask: all that the campaign's models depend on, beside the answers."""

    kind: Literal["campaign"] = "campaign"
    config: dict[str, Any]
    inputs: dict[str, Any]
    class_names: list[str]
    command: str

    @model_validator(mode="after")
    def _says_what_it_is(self) -> Self:
        if missing := [key for key in ("dataset", "qm") if not isinstance(self.config.get(key), str)]:
            raise ValueError(f"config has no {' and no '.join(missing)}")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """As that of a cell."""
        return {"config": self.config, "dataset_id": self.inputs.get("dataset", {}).get("id")}


class Ask(Manifest):
    """`cycle-00.yaml`: a model and the batch that it asks for.

    `asked` are ids in the order of choice, `guesses` has for each subset of modalities what the model says of each of them:
    class and probability, None where the sample has no modality of the subset. `answers` is the number of answered samples that
    it learnt from, `labels_id` of them and their labels.
    """

    kind: Literal["ask"] = "ask"
    campaign: str
    asked: list[str]
    guesses: dict[str, list[Guess]]
    answers: int = Field(ge=0)
    labels_id: str
    cycle: Cycle
    made: dict[str, Any]


def default(cell: Cell) -> Path:
    """`campaigns/<dataset>/<qm>[-<paradigm>][-nomoddrop]`."""
    return ROOT / cell.dataset.name / f"{cell.place.qm}{cell.place.suffix}"


def of(cell: Cell, command: str) -> Campaign:
    """The campaign of a cell: query size and starting budget are no part of it, since people may answer what they like."""
    content = cell.content
    settings = content["settings"]
    settings["budget"] = {key: settings["budget"][key] for key in ("validation", "cycles")}
    del settings["start_set"]
    config = content | {"regime": REGIME, "settings": settings, "measured_on": MEASURED}
    identity = files.identity({"kind": "campaign", "config": config, "dataset_id": cell.dataset.id})
    return Campaign(id=identity, config=config, inputs=cell.inputs, class_names=cell.dataset.class_names, command=command)


def begin(folder: Path, wanted: Campaign) -> Campaign:
    """The folder's campaign, if it is the one that is wanted; without one the wanted."""
    if not (folder / RECORD).exists():
        return wanted
    found = Campaign.read(folder / RECORD)
    helps = f"it goes on with: {goes_on(folder, found.command)}; for another campaign choose another --campaign"
    files.must_match(folder, found.identity, wanted.identity, helps)
    return found


def goes_on(folder: Path, command: str) -> str:
    """The command of the next ask, with the folder as it is called now: it may have been moved."""
    return f"{command} --campaign {shlex.quote(str(folder))}"


def place_of(number: int) -> str:
    """The name that files of an ask have, without suffix."""
    return f"ask-{number:02d}"


def asks(folder: Path, campaign: Campaign) -> list[Ask]:
    """What was asked so far, in order."""
    paths = sorted(folder.glob("cycle-*.yaml"))
    found = [Ask.read(path) for path in paths]
    for number, (path, ask) in enumerate(zip(paths, found, strict=True)):
        if path.name != f"cycle-{number:02d}.yaml" or ask.cycle.number != number or ask.campaign != campaign.id:
            raise UserError(
                f"{path} is not cycle {number} of {folder / RECORD}; bring back what is missing or edited", BAD_DATA
            )
    return found


def asked(
    campaign: Campaign,
    cycle: Cycle,
    names: list[str],
    guesses: dict[str, list[Guess]],
    labels: Mapping[str, str],
    made: dict[str, Any],
) -> Ask:
    """The record of an ask; `labels` are all that were answered before it, id -> class's name."""
    labels_id = files.identity(sorted(labels.items()))
    identity = files.identity([campaign.id, cycle.number, labels_id, names])
    own = {"asked": names, "guesses": guesses, "answers": len(labels), "labels_id": labels_id}
    return Ask(id=identity, campaign=campaign.id, cycle=cycle, made=made, **own)


def keep(folder: Path, campaign: Campaign, ask: Ask) -> None:
    """Writes an ask; the campaign too, if it is the first."""
    if not (folder / RECORD).exists():
        campaign.write(folder / RECORD)
    ask.write(folder / f"cycle-{ask.cycle.number:02d}.yaml")


def keep_run(folder: Path, campaign: Campaign, found: Sequence[Ask]) -> None:
    """Writes run.yaml, which tables read, of all asks so far; it is made from them alone."""
    identity = files.identity([campaign.id, [[ask.labels_id, ask.asked] for ask in found]])
    cycles = [ask.cycle for ask in found]
    run = Run(id=identity, config=campaign.config, inputs=campaign.inputs, cycles=cycles, made=found[-1].made)
    if not (folder / RUN).exists() or Run.read(folder / RUN).id != identity:
        run.write(folder / RUN)


def answered(asked: Sequence[str], labels: Mapping[str, str]) -> int:
    """How many of some samples have a label."""
    return sum(name in labels for name in asked)


def must_hold(folder: Path, found: Sequence[Ask], labels: Mapping[str, str]) -> None:
    """Refuses a journal that has fewer answers than a model learnt from: what was answered once is never gone by itself."""
    learnt = max((ask.answers for ask in found), default=0)
    if len(labels) < learnt:
        raise UserError(
            f"{folder / 'answers'} is damaged or edited: {len(labels)} samples are answered there, "
            f"a model learnt from {learnt}; bring back what it was",
            BAD_DATA,
        )


def find(file: Path, given: Path | None) -> Path:
    """The campaign that a file of answers belongs to: the one given, that of the file's folder, or the one below campaigns/."""
    if given is not None or (file.parent / RECORD).exists():
        return given or file.parent
    found = sorted(path.parent for path in ROOT.glob(f"**/{RECORD}"))
    if len(found) != 1:
        names = "none" if not found else ", ".join(map(str, found))
        raise UserError(f"{file} does not lie in a campaign's folder; say which it is for: --campaign FOLDER (there: {names})")
    return found[0]
