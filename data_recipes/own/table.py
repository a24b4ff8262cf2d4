"""The columns of a table that a card names, in memory: CSV (packed or not) as text, Parquet by its types."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from data_recipes.optional import package
from data_recipes.own.card import Own, Vector
from mmal_cli.core.errors import BAD_DATA, UserError, lines

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".csv", ".csv.gz", ".parquet")
CSV = "commas, a heading and UTF-8 (from Latin-1: iconv -f LATIN1 -t UTF-8)"
EXACT = 2**53  # floats below it hold every whole number
SHOWN = 12  # columns that a message lists
TWICE = "_duplicated_0"  # what polars adds to the name of a column that comes twice


@dataclass(frozen=True)
class Table:
    """R rows.

    Attributes:
        text: column -> R texts, "" where the cell is empty.
        numbers: column -> (R,) float64, NaN where the cell is empty.
        not_numbers: column -> row -> what stands in place of a number.
    """

    rows: int
    text: Mapping[str, list[str]]
    numbers: Mapping[str, np.ndarray]
    not_numbers: Mapping[str, Mapping[int, str]]


def read(own: Own) -> Table:
    """Reads what the card names; everything that it names wrongly is one error.

    A cell of blanks, or of a text that the card's `empty` lists, is empty; so is a NaN among numbers.

    Raises:
        UserError: polars is missing; no table that can be read; columns that are not there, or hold what they cannot be.
    """
    frame = _open(own)
    of_numbers = {column for spec in own.specs.values() if isinstance(spec, Vector) for column in spec.columns}
    named = {getattr(own.card, key) for key in ("id", "label", "split", "group")} - {None}
    named |= {spec.column for spec in own.specs.values() if not isinstance(spec, Vector)}
    wrong, text, numbers, not_numbers = [], {}, {}, {}
    for column, key in own.columns.items():
        said = _unfit(frame[column], column not in named)
        if said:
            wrong.append(f"{own.table.name}: column {column!r} ({key}) holds {said}")
    if wrong:
        raise UserError(lines(wrong))
    for column in named:
        text[column] = _texts(frame[column], own.card.empty)
    for column in of_numbers:
        numbers[column], not_numbers[column] = _numbers(frame[column], own.card.empty)
    return Table(len(frame), text, numbers, not_numbers)


def _open(own: Own) -> pl.DataFrame:
    pl, path = package("polars", "own", "Tables are read"), own.table
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise UserError(f"{path} is no table that mmal reads, expected a name that ends in {', '.join(ENDINGS)}")
    try:
        scan = (  # a name may have brackets, which would be a pattern
            pl.scan_parquet(path, glob=False) if ending == ".parquet" else pl.scan_csv(path, infer_schema=False, glob=False)
        )
        there = scan.collect_schema().names()
        if wrong := _lacking(own, there):
            raise UserError(lines(wrong))
        frame = scan.select(list(own.columns)).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        said = type(error).__name__ + ("" if own.card.restricted else f": {str(error).splitlines()[0]}")
        expected = "" if ending == ".parquet" else f"; expected {CSV}"
        raise UserError(f"{path} could not be read as {ending[1:]} ({said}){expected}", BAD_DATA) from None
    if not len(frame):
        raise UserError(f"{path} has no rows", BAD_DATA)
    return frame


def _lacking(own: Own, there: list[str]) -> list[str]:
    """A line for each column that the card names and the table has not, or has twice."""
    found = []
    for column, key in own.columns.items():
        if column not in there:
            near = difflib.get_close_matches(column, there, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            found.append(f"{own.table.name} lacks the column {column!r} ({key}){hint}")
        elif f"{column}{TWICE}" in there:
            found.append(f"{own.table.name} has the column {column!r} ({key}) twice")
    more = ", ..." if len(there) > SHOWN else ""
    return [*found, f"its columns: {', '.join(there[:SHOWN])}{more}"] if found else []


def _unfit(column: pl.Series, number: bool) -> str:
    """What is wrong with a column's type; empty where nothing is."""
    pl, dtype = package("polars", "own", "Tables are read"), column.dtype
    text = dtype in (pl.String, pl.Categorical, pl.Null) or isinstance(dtype, pl.Enum)
    if text or dtype.is_integer() or (number and dtype.is_numeric()) or (dtype.is_float() and _whole(column)):
        return ""
    return f"{dtype}, expected {'numbers' if number else 'text or whole numbers'}"


def _whole(column: pl.Series) -> bool:
    """Whether floats are whole numbers or empty: pandas makes floats of whole numbers where a cell is empty."""
    found = column.fill_nan(None).drop_nulls()
    return bool(((found == found.round()) & (found.abs() < EXACT)).all())


def _texts(column: pl.Series, empty: list[str]) -> list[str]:
    pl = package("polars", "own", "Tables are read")
    whole = column.fill_nan(None).cast(pl.Int64) if column.dtype.is_float() else column
    text = whole.cast(pl.String).fill_null("")
    bare = text.str.strip_chars()
    return pl.select(pl.when(bare.is_in(["", *empty])).then(pl.lit("")).otherwise(bare)).to_series().to_list()


def _numbers(column: pl.Series, empty: list[str]) -> tuple[np.ndarray, dict[int, str]]:
    """(R,) float64, and the rows whose cell is neither empty nor a finite number."""
    pl = package("polars", "own", "Tables are read")
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return np.where(np.isinf(values), np.nan, values), {
            int(row): str(values[row]) for row in np.flatnonzero(np.isinf(values))
        }
    texts = _texts(column, empty)
    values = pl.Series(texts, dtype=pl.String).cast(pl.Float64, strict=False).fill_null(np.inf).to_numpy().copy()
    values[[not text for text in texts]] = np.nan
    bad = np.flatnonzero(np.isinf(values))
    values[bad] = np.nan
    return values, {int(row): texts[row] for row in bad}
