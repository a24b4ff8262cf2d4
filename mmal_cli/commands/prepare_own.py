"""`mmal prepare-own`: a dataset from a table of one's own, by a card that says which columns are what."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmal_cli import show

if TYPE_CHECKING:
    from data_recipes.own.data import Data
    from mmal_cli.core.manifest import Dataset

STAGE = 1.5
LABEL = 40  # characters of a label that are shown

CardFile = Annotated[
    Path, typer.Argument(metavar="CARD.yaml", help="Names a table and says what its columns are: docs/datasets/own.md.")
]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder to make; default: data/NAME, the card's name.")]
Jobs = Annotated[int | None, typer.Option(metavar="N", help="Processes; default: one a core. No sample depends on it.", min=1)]
Force = Annotated[bool, typer.Option("--force", help="Make it anew, whatever is there.")]


def prepare_own(
    card: CardFile, out: Out = None, jobs: Jobs = None, force: Force = False, progress: show.Progress = "auto"
) -> None:
    """Make a dataset from a table of your own: images, texts, numbers and waveforms, with or without labels."""
    from data_recipes.own import card as cards
    from data_recipes.own import data, proposal, recipe
    from data_recipes.workers import cores, processes
    from mmal_cli.core.build import build

    own = cards.read(card)
    name = own.card.name
    out = out or Path("data", name)
    _must_be_usable(out)
    with processes(jobs or cores()) as in_order:
        with show.progress("reading", "rows", progress) as bar:
            found = data.gather(own, in_order, bar)
        head, plans = recipe.head(found), recipe.plans(found, in_order)
        if not force:
            _refuse_another(out, head["recipe"])
        _list_dropped(out, found)
        with show.progress(name, "samples", progress) as bar:
            options = {"command": "mmal prepare-own CARD.yaml", "force": force, "on_progress": bar}  # a manifest holds no paths
            dataset, made = build(out, head, plans, packages=("polars", "wfdb", "tokenizers"), **options)
    if not made:
        show.note(f"already done: {out}")
    kept = not proposal.write(out, dataset)
    _say(out, dataset, kept)
    show.result(out)


def _must_be_usable(out: Path) -> None:
    """What would end the command after every file was read ends it now."""
    import os

    from data_recipes.own.recipe import DROPPED, HEADING
    from mmal_cli.core.errors import UserError

    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"{there} is {'read-only' if there.is_dir() else 'no folder'}; choose another --out")
    listed = out / DROPPED
    head = listed.read_bytes().partition(b"\n")[0].decode("utf-8-sig", "replace") if listed.is_file() else ""
    if head and head.strip() != ",".join(HEADING):
        raise UserError(f"{listed} is not one of mmal prepare-own and would be written over; choose another --out")


def _refuse_another(out: Path, recipe: Mapping[str, Any]) -> None:
    """Nothing beside another dataset is touched, be it complete or not."""
    from mmal_cli.core import build, datasets, files, shards

    helps = "choose another --out, or --force to make it anew"
    if (out / datasets.MANIFEST).exists():
        files.must_match(out, datasets.read(out).recipe, recipe, helps)
    for path in sorted(out.glob(build.SHARDS)):  # of a build that was interrupted
        if found := shards.read_head(path):
            files.must_match(path, found[0]["recipe"], recipe, helps)


def _list_dropped(out: Path, found: Data) -> None:
    from data_recipes.own import recipe
    from mmal_cli.core import files

    if found.own.card.restricted:
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o700)
    (files.write_private if found.own.card.restricted else files.write_text)(out / recipe.DROPPED, recipe.dropped(found))


def _say(out: Path, dataset: Dataset, kept: bool) -> None:
    """What became of the rows, and how to go on."""
    from data_recipes.own import proposal
    from mmal_cli.core.datasets import gaps
    from mmal_cli.core.manifest import UNLABELLED

    splits = list(dataset.splits)
    train = dataset.splits["train"].samples
    few = [f"train has {train} samples; runs by the proposed protocol need {proposal.LEAST}"] if train < proposal.LEAST else []
    for note in (*few, *gaps(dataset)):
        show.note(f"note: {note}")
    show.table("", ["", *splits], _rows(dataset), _foot(out, dataset))
    place = shlex.quote(str(out / proposal.PROTOCOL))
    show.note(f"{place} was edited and stays as it is" if kept else f"proposed, to be edited: {place}")
    rest = f"--data {shlex.quote(str(out))} --with {place} --qm badge"
    show.note(f"run: mmal al-run {rest} --regime low")
    if dataset.splits.get(UNLABELLED):
        show.note(f"or have people say the missing labels: mmal ask {rest} --size 50")


def _rows(dataset: Dataset) -> list[list[str]]:
    """Samples, classes, present modalities and what else there is to count, split by split."""
    from mmal_cli.formats import short

    counts = [dataset.counts[split] for split in dataset.splits]
    rows = [["samples", *(f"{files.samples:,}" for files in dataset.splits.values())]]
    for number, name in enumerate(dataset.class_names):
        rows.append(
            [f"label {short(name, LABEL)}", *(f"{of['classes'][number]:,}" if "classes" in of else "" for of in counts)]
        )
    if "groups" in counts[0]:
        rows.append(["groups", *(f"{of['groups']:,}" for of in counts)])
    for kind, before in (("present", "with "), ("noted", "")):
        names = sorted({name for of in counts for name in of[kind]})
        rows += [[f"{before}{name}", *(f"{of[kind].get(name, 0):,}" for of in counts)] for name in names]
    return rows


def _foot(out: Path, dataset: Dataset) -> str:
    """What was left out, a line for each reason."""
    from data_recipes.own import recipe

    dropped, rows = dataset.counts["dropped"], dataset.counts["rows"]
    if not dropped:
        return f"None of the {rows:,} rows was left out."
    which = f"Left out: {sum(dropped.values()):,} of {rows:,} rows, listed in {out / recipe.DROPPED}"
    return "\n".join([which, *(f"  {reason}: {n:,}" for reason, n in dropped.items())])
