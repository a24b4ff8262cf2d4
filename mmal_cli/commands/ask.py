"""`mmal ask`: the next batch of a campaign in which people say the labels."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmal_cli import show
from mmal_cli.commands.al_run import (
    Assignments,
    Data,
    Dropping,
    Gpu,
    Pretrained,
    QueryMethod,
    Seed,
    Training,
    With,
    chosen,
    without_empty,
)
from mmal_cli.core.errors import BAD_DATA, UserError

if TYPE_CHECKING:
    from mmal_cli.annotation.campaign import Ask, Campaign
    from mmal_cli.annotation.form import Form
    from mmal_cli.cell import Cell
    from mmal_cli.core.manifest import Dataset

STAGE = 2.4

Size = Annotated[int, typer.Option(metavar="N", help="Samples to ask for; 0 trains and measures only.", min=0)]
Regime = Annotated[
    str, typer.Option(metavar="NAME", help="Whose validation size and training settings are taken; budgets are yours.")
]
Folder = Annotated[
    Path | None, typer.Option("--campaign", metavar="FOLDER", help="Its folder; default: campaigns/<dataset>/<qm>.")
]
FileFormat = Annotated[Literal["csv", "label-studio"], typer.Option("--format", help="A table to fill, or tasks to import.")]
Show = Annotated[
    Path | None,
    typer.Option("--show", metavar="TABLE", help="CSV whose columns stand beside each sample, by id: what people need to see."),
]
Again = Annotated[bool, typer.Option("--again", help="Ask on although the last batch is not answered.")]


def ask(
    qm: QueryMethod,
    size: Size,
    data: Data = None,
    regime: Regime = "low",
    seed: Seed = 0,
    moddrop: Dropping = None,
    paradigm: Training = None,
    pretrained: Pretrained = None,
    gpu: Gpu = "auto",
    overlays: With = None,
    assignments: Assignments = None,
    campaign: Folder = None,
    format: FileFormat = "csv",
    beside: Show = None,
    again: Again = False,
    deterministic: show.Deterministic = False,
    progress: show.Progress = "auto",
) -> None:
    """Train on what is labelled and write whom to ask about next, for mmal answer.

    Labelled are the samples of train and all answers so far; asked are samples
    that the table of mmal prepare-own had without a label. docs/annotating.md
    """
    from mmal_cli.annotation import beside as tables
    from mmal_cli.annotation import campaign as campaigns
    from mmal_cli.annotation.form import Form
    from mmal_cli.cell import Cell
    from mmal_cli.core import datasets, plugins, settings

    folder = datasets.choose(data)
    dataset = datasets.read(folder)
    plugins.find("queries", qm, "query method")
    asked = overlays or (), assignments or (), moddrop, paradigm, pretrained
    resolved, _ = settings.resolve(dataset, regime, qm, *asked)
    _has_unlabelled(dataset, folder)
    cell = Cell(dataset, qm, regime, seed, resolved)
    place = campaign or campaigns.default(cell)
    words = ["mmal", "ask", "--data", folder, "--qm", qm, "--size", size, "--regime", regime, "--seed", seed, *chosen(*asked)]
    command = shlex.join(map(str, words)) + " --deterministic" * deterministic
    command += f" --show {shlex.quote(str(beside))}" if beside else ""
    command += f" --format {format}" if format != "csv" else ""
    form = Form(format, tables.read(beside) if beside else None)
    wanted = campaigns.begin(place, campaigns.of(cell, command))
    if dataset.restricted:
        show.note(f"{dataset.name} is restricted: what its agreement says of the data holds for {place} too, which holds ids")
    train = partial(_train, cell, folder, wanted, size, command, gpu, deterministic, progress)
    _ask(cell, place, wanted, train, form, again)


def _has_unlabelled(dataset: Dataset, folder: Path) -> None:
    from mmal_cli.core.manifest import UNLABELLED

    if UNLABELLED not in dataset.splits or not dataset.splits[UNLABELLED].samples:
        raise UserError(
            f"{folder} has no sample without a label to ask about; mmal prepare-own makes such a dataset of a table with empty "
            "labels; to try methods where all labels are known: mmal al-run"
        )


def _ask(cell: Cell, place: Path, campaign: Campaign, train: Callable, form: Form, again: bool) -> None:
    """Asks in the campaign's folder, in which nobody else then asks."""
    from secrets import token_hex

    from mmal_cli.annotation import campaign as campaigns
    from mmal_cli.annotation import journal
    from mmal_cli.annotation.standing import ENGINE
    from mmal_cli.core import running

    made = [path for path in (place, *place.parents) if not path.exists()]
    with without_empty(made):
        if cell.dataset.restricted:
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o700)
        with running.claimed(place, token_hex(4), ENGINE, 1, cell.settings.train.epochs) as claim:
            if claim is None:
                raise UserError(f"{place}: another mmal ask is at work there; wait for its end")
            found, labels = campaigns.asks(place, campaign), journal.labels(journal.read(place))
            campaigns.must_hold(place, found, labels)
            if found and not again and (done := campaigns.answered(found[-1].asked, labels)) < len(found[-1].asked):
                _stay(place, campaign, found, done, form)
                return
            _must_be_free(place, len(found))
            try:
                found.append(train(found, labels, claim.progress))
            except running.Lost:
                raise UserError(f"{place} was taken over by another mmal ask; wait for its end") from None
            campaigns.keep(place, campaign, found[-1])
            file = _publish(place, campaign, found, form)
    _say(place, campaign, found, len(labels))
    if file:
        show.note(_how(file))
    show.result(file or place)


def _how(file: Path) -> str:
    """To answer a batch."""
    from mmal_cli.annotation.form import SUFFIX
    from mmal_cli.annotation.label_studio import CONFIG

    if file.suffix == SUFFIX["csv"]:
        return f"fill the column label, then: mmal answer {shlex.quote(str(file))}"
    return f"import it to Label Studio, labelling interface {CONFIG}; export as JSON, then: mmal answer EXPORT.json"


def _stay(place: Path, campaign: Campaign, found: Sequence[Ask], done: int, form: Form) -> None:
    """The last batch is open: writes its file if that is not there, as after a kill or in another format, else refuses."""
    if file := _publish(place, campaign, found, form):
        show.note(f"the last batch, {done} of {len(found[-1].asked)} answered; nothing was trained")
        show.note(_how(file))
        show.result(file)
        return
    file = form.path(place, found[-1])
    raise UserError(
        f"{file} is open: {done} of {len(found[-1].asked)} answered; {_how(file)}; or ask on without the rest: --again"
        + ("; for a file with the columns of --show move this one away first" if form.table else "")
    )


def _must_be_free(place: Path, number: int) -> None:
    """Refuses names that somebody else's files have: a filled table is never written over."""
    from mmal_cli.annotation.form import names

    for name in names(number):
        if (path := place / name).exists():
            raise UserError(f"{path} is there, though nothing of it was asked; move it away", BAD_DATA)


def _train(
    cell: Cell,
    data: Path,
    campaign: Campaign,
    size: int,
    command: str,
    gpu: str,
    deterministic: bool,
    progress: str,
    found: Sequence[Ask],
    labels: Mapping[str, str],
    on_progress: Callable[[int, int], None],
) -> Ask:
    """The next ask, behind a bar."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in al-run

    from mmal_cli import device as devices
    from mmal_cli.annotation.asking import ask as ask_next

    epochs, asked = cell.settings.train.epochs, {name for ask in found for name in ask.asked}
    device, title = devices.choose_device(gpu), f"{cell.dataset.name} {cell.place.qm} ask {len(found)}"
    with devices.deterministic(deterministic), show.progress(title, "epochs", progress) as bar:

        def on_epoch(epoch: int) -> None:
            on_progress(epoch, epochs)
            bar(epoch, epochs)

        return ask_next(cell, data, campaign, len(found), size, labels, asked, device, command, on_epoch)


def _publish(place: Path, campaign: Campaign, found: Sequence[Ask], form: Form) -> Path | None:
    """Writes run.yaml and the last batch's file, which is returned; None where it is there already: it may be filled."""
    from mmal_cli.annotation import label_studio
    from mmal_cli.annotation.campaign import keep_run

    keep_run(place, campaign, found)
    if columns := form.not_in_interface(place):
        show.note(f"{place / label_studio.CONFIG} is there and stays; --show gives it more to show: {', '.join(columns)}")
    return form.write(place, campaign, found[-1])


def _say(place: Path, campaign: Campaign, found: Sequence[Ask], answers: int) -> None:
    """The curve so far."""
    subsets = list(found[0].cycle.metrics)
    rows = []
    for cycle in (ask.cycle for ask in found):
        heights = (cycle.metrics[subset]["balanced_accuracy"] for subset in subsets)
        rows.append([str(cycle.number), f"{cycle.labels:,}", *(f"{height:.3f}" for height in heights)])
    validation = campaign.config["settings"]["budget"]["validation"]
    foot = f"{answers:,} of the labels are answers. The curve: mmal aulc {shlex.quote(str(place))}"
    show.table(f"Balanced accuracy on {validation} validation samples", ["ask", "labels", *subsets], rows, foot)
