"""MIMIC-IV's tables through polars: streamed, columns by name, every value as text until it is cast here.

Files may be packed (.csv.gz) or not; other columns and their order do not matter, since versions of MIMIC-IV differ in them.
Messages name tables and columns, never a value, a subject or a path (docs/datasets/mimic.md says why).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_recipes.mimic.items import ITEMS
from data_recipes.optional import package
from mmal_cli.core.errors import BAD_DATA, UserError

if TYPE_CHECKING:
    import polars as pl

WINDOW = 24 * 3600  # seconds before and after admission, both ends inside
TIMES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M")
DAY = "%Y-%m-%d"
LOOK = 1000  # rows from whose values it is told how a table writes things, and whether it is the table at all
ODD = 0.01  # of these values may be of another kind
NOTHING = ("", "NA", "NULL", "\\N")  # what exports write for no value, quoted or not


def polars():
    """The polars module, or the error that says how to get it."""
    return package("polars", "mimic", "MIMIC's tables are read")


def scan(folder: Path, name: str, columns: Mapping[str, str], what: str) -> pl.LazyFrame:
    """A table's columns, lazily: column -> one of int, float, time, day, text; a value that cannot be cast is null.

    Args:
        folder: that holds `name`.csv.gz or `name`.csv; `what` is what messages call it.

    Raises:
        UserError: not there, or twice; a column is missing, or most of its first values are not of its kind.
    """
    pl = polars()
    found = [path for ending in (".csv", ".csv.gz") if (path := folder / f"{name}{ending}").is_file()]
    if not found:
        raise UserError(f"{name}.csv[.gz] not found in {what}; expected {', '.join(sorted(columns))} in it", BAD_DATA)
    if len(found) > 1:
        raise UserError(f"{what} has both {name}.csv and {name}.csv.gz; remove the one that may not be whole", BAD_DATA)
    try:
        table = pl.scan_csv(found[0], infer_schema=False, encoding="utf8-lossy")
        there = table.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(name, error) from None
    if lacks := [column for column in columns if column not in there]:
        raise UserError(
            f"{name}.csv in {what} lacks {', '.join(lacks)} among its {len(there)} columns; has it a header line?", BAD_DATA
        )
    first = collect(table.select(list(columns)).head(LOOK), name)
    return table.select(_cast(first, column, kind, f"{name}.csv in {what}") for column, kind in columns.items())


def _cast(first: pl.DataFrame, column: str, kind: str, place: str) -> pl.Expr:
    """The column as its kind, by the ways of writing it that the table's first rows have.

    Raises:
        UserError: more than a hundredth of these (more than half, if they are few) is of no such kind.
    """
    pl = polars()
    c = pl.col(column)
    bare = c.str.strip_chars()
    ways = {
        "int": [c.cast(pl.Int64, strict=False), bare.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)],
        "float": [c.cast(pl.Float32, strict=False), bare.cast(pl.Float32, strict=False)],
        "time": [c.str.to_datetime(form, strict=False, time_unit="ms") for form in TIMES],
        "day": [bare.str.slice(0, 10).str.to_date(DAY, strict=False)],
        "text": [pl.when(bare.is_in(NOTHING)).then(None).otherwise(bare)],
    }[kind]
    given = first.filter(~bare.is_in(NOTHING))
    used = []
    for way in ways:  # each takes what those before it could not read
        left = given.filter(pl.coalesce(*used).is_null()) if used else given
        if not used or left.select(way.is_not_null().any()).item():
            used.append(way)
    wrong = given.select(pl.coalesce(*used).is_null().sum()).item()
    if wrong > (ODD if len(given) >= 100 else 0.5) * len(given):
        expected = {"int": "whole numbers", "float": "numbers", "time": "times like 2150-01-31 18:05:00"}.get(kind, "days")
        raise UserError(f"{place}: {wrong} of the first {len(given)} values of {column} are not {expected}", BAD_DATA)
    return pl.coalesce(*used).alias(column)


def unreadable(name: str, error: Exception) -> UserError:
    """The error for a table that polars cannot read; polars' own words may quote a row, so they are left out."""
    return UserError(f"{name}.csv is not a table that can be read ({type(error).__name__}); unpack or fetch it anew", BAD_DATA)


def collect(table: pl.LazyFrame, name: str) -> pl.DataFrame:
    """A small table in memory."""
    try:
        return table.collect()
    except (polars().exceptions.PolarsError, OSError) as error:
        raise unreadable(name, error) from None


def unknown_items(hosp: Path) -> list[int]:
    """Those of our items that d_labitems does not list: another version of MIMIC-IV, or another hospital's numbers."""
    listed = collect(scan(hosp, "d_labitems", {"itemid": "int"}, "MIMIC_IV/hosp"), "d_labitems")["itemid"].to_list()
    return [item for item in ITEMS if item not in listed]


def first_labs(labevents: pl.LazyFrame, admissions: pl.DataFrame) -> np.ndarray:
    """Each item's first value in the window of each admission, whatever the number of rows.

    Rows are joined by subject and time, not by hadm_id, which is empty for what was drawn before admission. Of values of one
    moment the smallest counts, so that the order of the rows does not.

    Args:
        labevents: subject_id, itemid, charttime, valuenum.
        admissions: A rows with subject_id and admittime.

    Returns:
        (A, 50) float32, columns as ITEMS, NaN where an item was not measured.

    Cost: streams the table once; memory A x 50 x 8 bytes and the batches on their way.
    """
    pl = polars()
    items = pl.LazyFrame({"itemid": list(ITEMS), "item": range(len(ITEMS))}, schema={"itemid": pl.Int64, "item": pl.Int64})
    windows = admissions.select("subject_id", "admittime", row=pl.int_range(pl.len())).lazy()
    days = pl.concat(windows.with_columns(day=pl.col("admittime").dt.date() + pl.duration(days=k)) for k in (-1, 0, 1))
    after = (pl.col("charttime") - pl.col("admittime")).dt.total_seconds()
    found = (
        labevents.filter(pl.col("itemid").is_in(list(ITEMS)), pl.col("valuenum").is_finite(), pl.col("charttime").is_not_null())
        .with_columns(day=pl.col("charttime").dt.date())
        .join(days, on=["subject_id", "day"])  # by day first: by subject alone each value would meet all admissions
        .filter(after.abs() <= WINDOW)
        .join(items, on="itemid")
        .select(cell=pl.col("row") * len(ITEMS) + pl.col("item"), after=after, value=pl.col("valuenum"))
    )
    first = _First(len(admissions) * len(ITEMS))
    try:
        for batch in found.collect_batches(maintain_order=False):
            first.add(*(batch[name].to_numpy() for name in ("cell", "after", "value")))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable("labevents", error) from None
    return first.value.reshape(len(admissions), len(ITEMS))


class _First:
    """The earliest value of each cell so far; of equal times the smallest value."""

    def __init__(self, cells: int) -> None:
        self.after = np.full(cells, WINDOW + 1, dtype=np.int32)
        self.value = np.full(cells, np.nan, dtype=np.float32)

    def add(self, cell: np.ndarray, after: np.ndarray, value: np.ndarray) -> None:
        """Takes in (n,) cells, seconds after admission, values."""
        order = np.lexsort((value, after, cell))
        cell, after, value = cell[order], after[order], value[order]
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        cell, after, value = cell[first], after[first], value[first]
        earlier = (after < self.after[cell]) | ((after == self.after[cell]) & (value < self.value[cell]))
        self.after[cell[earlier]], self.value[cell[earlier]] = after[earlier], value[earlier]
