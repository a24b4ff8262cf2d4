"""Takes a filled file into the journal, all of it or nothing: who is unknown, what contradicts, what is still empty."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mmal_cli.annotation import batch, journal, label_studio
from mmal_cli.annotation.batch import Given
from mmal_cli.annotation.campaign import Ask, Campaign, must_hold
from mmal_cli.annotation.journal import Answer
from mmal_cli.core.errors import UserError, lines

SHOWN = 5  # wrong rows that a message names


@dataclass
class Taken:
    """What became of a file's rows: new answers, those that were there, those without a label; the journal's file."""

    new: Sequence[Answer] = field(default_factory=list)
    same: int = 0
    empty: int = 0
    file: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> list[Given]:
    """The rows of a CSV file, or the tasks of Label Studio's export, told by their first character."""
    text = batch.decoded(path, "a filled ask-00.csv, or Label Studio's export as JSON")
    of_label_studio = text.lstrip()[:1] in ("[", "{")
    return (label_studio if of_label_studio else batch).read(text, path)


def take(path: Path, folder: Path, campaign: Campaign, asks: Sequence[Ask], by: str | None, revise: bool) -> Taken:
    """Checks a file and appends what is new in it to the journal of the campaign in a folder.

    Raises:
        UserError: a row is wrong, and nothing of the file was taken; names the first few.
    """
    given, asked = read(path), {name: ask.cycle.number for ask in asks for name in ask.asked}
    taken, now = Taken(), datetime.now(UTC).replace(microsecond=0)

    def decide(there: list[Answer]) -> list[Answer]:
        known = journal.labels(there)
        must_hold(folder, asks, known)
        if wrong := _wrong(given, asked, known, campaign.class_names, revise):
            raise UserError(_refusal(path, wrong, len(given)))
        said = {row.id: row.label for row in given if row.label}
        taken.same = sum(known.get(name) == label for name, label in said.items())
        taken.empty = len({row.id for row in given} - said.keys())
        fresh = {name: label for name, label in said.items() if known.get(name) != label}
        taken.new = [
            Answer(id=name, label=label, ask=asked[name], revises=known.get(name), by=by, at=now)
            for name, label in fresh.items()
        ]
        taken.labels = known | fresh
        return taken.new

    taken.file = journal.append(folder, decide)
    return taken


def _wrong(
    given: Sequence[Given], asked: Mapping[str, int], known: Mapping[str, str], class_names: Sequence[str], revise: bool
) -> list[str]:
    """What is wrong with the rows, a line for each."""
    found, said = [], {}
    for row in given:
        label, before = row.label, known.get(row.id)
        if row.id not in asked:
            found.append(f"{row.place}: id {row.id!r} was never asked for{_with_zeros(row.id, asked)}")
        elif label and label not in class_names:
            found.append(f"{row.place}: unknown label {label!r} of {row.id}{_near(label, class_names)}")
        elif label and said.setdefault(row.id, label) != label:
            found.append(f"{row.place}: {row.id} is {label} here and {said[row.id]} above")
        elif label and before not in (None, label) and not revise:
            found.append(f"{row.place}: {row.id} is {label} here and was answered {before}; to take that back: --revise")
    return found


def _with_zeros(name: str, asked: Iterable[str]) -> str:
    """A spreadsheet makes 7 of 007."""
    lost = [known for known in asked if name and known.lstrip("0") == name]
    return f"; did you mean {lost[0]!r}, before a spreadsheet took its zeros away? have the column id as text" if lost else ""


def _near(label: str, class_names: Sequence[str]) -> str:
    lower = {name.lower(): name for name in reversed(class_names)}
    near = difflib.get_close_matches(label.lower(), lower, n=1, cutoff=0.5)
    known = ", ".join(class_names[:20]) + (", ..." if len(class_names) > 20 else "")
    return (f"; did you mean {lower[near[0]]!r}?" if near else "") + f" (known: {known})"


def _refusal(path: Path, wrong: Sequence[str], rows: int) -> str:
    more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    head = f"{path}: nothing was taken, since {len(wrong)} of {rows} rows {'is' if len(wrong) == 1 else 'are'} wrong:"
    return lines([head, *wrong[:SHOWN], *more])
