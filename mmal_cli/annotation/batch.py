"""A batch as a table that people fill: `ask-00.csv`, written and read; and how any table of theirs is read."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def text(ask: Ask, class_names: Sequence[str], beside: Mapping[str, Sequence[str]]) -> str:
    """A row for each sample in the order of choice.

    Its cells: order, id, an empty label, those of `beside` (column -> a cell for each sample), and for each subset class and
    probability.
    """
    found = io.StringIO()
    writer = csv.writer(found, lineterminator="\n")
    names = [f"modality {subset}" if subset in OWN else subset for subset in ask.guesses]
    said = [column for name in names for column in (name, f"{name} p")]
    writer.writerow([*OWN, *_free(list(beside), said), *said])
    for number, name in enumerate(ask.asked):
        cells = [column[number] for column in beside.values()]
        for guesses in ask.guesses.values():
            guess = guesses[number]
            cells += ["", ""] if guess is None else [class_names[guess[0]], f"{guess[1]:.4f}"]
        writer.writerow([number + 1, name, "", *cells])
    return found.getvalue()


def _free(columns: Sequence[str], said: Sequence[str]) -> list[str]:
    """Names of columns of theirs, with `table ` before one as often as it is that of another column."""
    found: list[str] = []
    for column in columns:
        name = column
        while name in (*OWN, *said, *found) or (name != column and name in columns):
            name = f"table {name}"
        found.append(name)
    return found


def decoded(path: Path, expected: str) -> str:
    """The text of a file that people saved.

    Raises:
        UserError: it is not there, cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} not found; expected {expected}", BAD_DATA) from None
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror}", BAD_DATA) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} could not be read as UTF-8 text: {error}; save it as CSV UTF-8", BAD_DATA) from None


def rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each row that is not empty, the header first. Commas, semicolons or tabs, as Excel has them.

    Raises:
        UserError: a quotation mark that nothing closes.
    """
    head = text.lstrip("\r\n").partition("\n")[0]
    found = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        for row in found:
            if any(cells := [cell.strip() for cell in row]):
                yield found.line_num, cells
    except csv.Error as error:
        raise UserError(
            f"{path}, in the row that ends in line {found.line_num}: {error}; look at its quotation marks", BAD_DATA
        ) from None


def read(text: str, path: Path) -> list[Given]:
    """The rows of a filled table; columns beside id and label are not looked at.

    Raises:
        UserError: no such columns, a row that is shorter than they are, and what `rows` raises.
    """
    given = rows(text, path)
    _, columns = next(given, (0, []))
    if FOREIGN in columns:
        raise UserError(f"{path} is a table of Label Studio's, expected its export as JSON", BAD_DATA)
    if missing := [name for name in NEEDED if columns.count(name) != 1]:
        raise UserError(f"{path} has columns {', '.join(columns) or 'none'}; expected one called {missing[0]}", BAD_DATA)
    id_at, label_at = (columns.index(name) for name in NEEDED)
    found = []
    for line, row in given:
        if len(row) <= max(id_at, label_at):
            raise UserError(f"{path}, line {line}: {len(row)} cells, expected {len(columns)}", BAD_DATA)
        found.append(Given(row[id_at], row[label_at], f"line {line}"))
    return found
