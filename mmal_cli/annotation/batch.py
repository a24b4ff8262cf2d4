"""A batch as a table that people fill: `ask-00.csv`, written and read."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmal_cli.annotation.campaign import Ask
from mmal_cli.core.errors import BAD_DATA, UserError

NEEDED = ("id", "label")
OWN = ("order", *NEEDED)
FOREIGN = "annotation_id"  # a column of Label Studio's own CSV


@dataclass(frozen=True)
class Given:
    """What a file says of one sample; `place` is where it says so, an empty label that it says nothing."""

    id: str
    label: str
    place: str


def text(ask: Ask, class_names: Sequence[str]) -> str:
    """A row for each sample in the order of choice: order, id, an empty label, and for each subset class and probability."""
    found = io.StringIO()
    writer = csv.writer(found, lineterminator="\n")
    names = [f"modality {subset}" if subset in OWN else subset for subset in ask.guesses]
    writer.writerow([*OWN, *(column for name in names for column in (name, f"{name} p"))])
    for number, name in enumerate(ask.asked):
        cells = []
        for guesses in ask.guesses.values():
            guess = guesses[number]
            cells += ["", ""] if guess is None else [class_names[guess[0]], f"{guess[1]:.4f}"]
        writer.writerow([number + 1, name, "", *cells])
    return found.getvalue()


def read(text: str, path: Path) -> list[Given]:
    """The rows of a filled table; columns beside id and label are not looked at. Commas, semicolons or tabs, as Excel has them.

    Raises:
        UserError: no such columns, a row that is shorter than they are, a quotation mark that nothing closes.
    """
    head = text.lstrip("\r\n").partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        return _read(rows, path)
    except csv.Error as error:
        raise UserError(
            f"{path}, in the row that ends in line {rows.line_num}: {error}; look at its quotation marks", BAD_DATA
        ) from None


def _read(rows: Any, path: Path) -> list[Given]:
    columns = [cell.strip() for cell in next(filter(None, rows), [])]
    if FOREIGN in columns:
        raise UserError(f"{path} is a table of Label Studio's, expected its export as JSON", BAD_DATA)
    if missing := [name for name in NEEDED if columns.count(name) != 1]:
        raise UserError(f"{path} has columns {', '.join(columns) or 'none'}; expected one called {missing[0]}", BAD_DATA)
    id_at, label_at = (columns.index(name) for name in NEEDED)
    found = []
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                found.append(Given(row[id_at].strip(), row[label_at].strip(), f"line {rows.line_num}"))
    except IndexError:
        raise UserError(f"{path}, line {rows.line_num}: {len(row)} cells, expected {len(columns)}", BAD_DATA) from None
    return found
