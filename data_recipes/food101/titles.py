"""Files of titles as they come from the web: quoted commas and line breaks, stray quotes, headers, gaps."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmal_cli.core.errors import BAD_DATA, UserError

IMAGE = re.compile(r".+\.jpe?g", re.IGNORECASE)
ROW = re.compile(r'"?[^",\r\n]+\.jpe?g"?,', re.IGNORECASE)  # how a line begins that is a row of its own
HEADER = re.compile(r"^\W*(image|file|path|name|id|title|text|class|label|categor)\w*", re.IGNORECASE)
LONGEST = 2**24  # characters of a field; the csv module's own limit is 2^17


class Title(NamedTuple):
    """A row: name of the image's file, title, class."""

    file: str
    title: str
    category: str


def is_image(name: str) -> bool:
    """Whether a file is a JPEG by its name."""
    return IMAGE.fullmatch(name) is not None


def read(path: Path) -> list[Title | None]:
    """The rows of a file, None for those that are none. A first line of names of columns is a header.

    The columns are file name, title and class; what stands between the first and the last is the title, commas and all.
    Bytes that are not UTF-8 are replaced.
    """
    csv.field_size_limit(LONGEST)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = list(file)
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}", BAD_DATA) from None
    rows = list(_rows(lines))
    return [_title(row) for row in rows[bool(rows) and _is_header(rows[0]) :]]


def _is_header(row: list[str]) -> bool:
    return not is_image(row[0].strip()) and all(HEADER.search(cell) for cell in row)


def _rows(lines: list[str]) -> Iterator[list[str]]:
    """The rows; one that a stray quote has run into the rows below is taken apart line by line."""
    reader, start = csv.reader(lines), 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            row = [""]
        inside, start = lines[start : reader.line_num], reader.line_num
        if any(ROW.match(line) for line in inside[1:]):
            yield from (next(csv.reader([line])) for line in inside if line.strip())
        elif row:
            yield row


def _title(row: list[str]) -> Title | None:
    if len(row) < 3 or not is_image(row[0].strip()):
        return None
    return Title(row[0].strip().rpartition("/")[2], ",".join(row[1:-1]), row[-1].strip())
