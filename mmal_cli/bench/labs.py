"""The laboratory values of admissions out of a table like MIMIC-IV's: rows a second and peak memory, beside pandas."""

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROWS = (1_000_000, 10_000_000)  # MIMIC-IV has about 120 million: measure(120_000_000)
PIECE = 1_000_000
OF_SUBJECT, ADMISSIONS = 400, 1.8  # rows and admissions of one, as in MIMIC-IV
START = "2150-01-01"
SECOND = 1000  # in the milliseconds of the times
SPREAD = 10 * 365 * 86400  # seconds over which admissions lie

# Runs in a process of its own, so that its peak memory is its own: ours, or what a peer would write with pandas.
CHILD = """
import json, re, sys, time
import polars as pl
from pathlib import Path
from mmal_cli.bench import labs
folder = Path(sys.argv[1])
admissions = pl.read_parquet(folder / "admissions.parquet")
started = time.perf_counter()
values = labs.{way}(folder, admissions)
seconds = time.perf_counter() - started
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024  # ru_maxrss has the parent's
print(json.dumps({{"seconds": seconds, "peak MiB": peak, "values": int((values == values).sum())}}))
"""


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A row for each length of the table and each way to read it."""
    rows = []
    on_progress(0, len(ROWS))
    for number, count in enumerate(ROWS, start=1):
        rows += measure(count)
        on_progress(number, len(ROWS))
    return rows


def measure(count: int, ways: tuple[str, ...] = ("streamed", "in_chunks")) -> list[dict]:
    """Makes a table of `count` rows and reads it, each way in a process of its own; both must find the same values."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, count)
        size = (folder / "labevents.csv.gz").stat().st_size
        found = {}
        for way in ways:
            command = [sys.executable, "-c", CHILD.format(way=way), place]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way] = json.loads(done.stdout)
    assert len({said["values"] for said in found.values()}) == 1, f"the ways differ: {found}"
    return [
        {
            "way": way,
            "rows": f"{count:,}",
            "MB packed": round(size / 1e6),
            "seconds": round(said["seconds"], 1),
            "rows/s": f"{count / said['seconds']:,.0f}",
            "peak MiB": round(said["peak MiB"]),
        }
        for way, said in found.items()
    ]


def make(folder: Path, count: int) -> None:
    """labevents.csv.gz with MIMIC-IV's columns and `count` rows, and the admissions that its values are looked up for."""
    import polars as pl

    from data_recipes.mimic.items import ITEMS

    rng = np.random.default_rng(0)
    start, subjects = np.datetime64(START, "ms"), max(1, count // OF_SUBJECT)
    admitted = int(subjects * ADMISSIONS)
    when = start + rng.integers(SPREAD, size=admitted) * SECOND
    admissions = pl.DataFrame({"subject_id": 10_000_000 + rng.integers(subjects, size=admitted), "admittime": when})
    admissions.write_parquet(folder / "admissions.parquet")
    ids = admissions["subject_id"].to_numpy()
    items = np.array([*ITEMS, *range(50_001, 50_031)])  # three rows in eight are of no use
    with gzip.open(folder / "labevents.csv.gz", "wb", compresslevel=1) as file:
        for first in range(0, count, PIECE):
            n = min(PIECE, count - first)
            stay = rng.integers(admitted, size=n)
            charted = when[stay] + rng.integers(-5 * 86400, 5 * 86400, size=n) * SECOND
            value = rng.normal(10, 3, n).round(1)
            piece = pl.DataFrame(
                {
                    "labevent_id": np.arange(first, first + n),
                    "subject_id": ids[stay],
                    "hadm_id": 20_000_000 + stay,
                    "specimen_id": rng.integers(10**8, size=n),
                    "itemid": rng.choice(items, n),
                    "order_provider_id": "P00000",
                    "charttime": charted,
                    "storetime": charted,
                    "value": value,
                    "valuenum": value,
                    "valueuom": "mg/dL",
                    "ref_range_lower": 1.0,
                    "ref_range_upper": 9.0,
                    "flag": "abnormal",
                    "priority": "ROUTINE",
                    "comments": "___",
                }
            )
            text = piece.write_csv(include_header=first == 0, datetime_format="%Y-%m-%d %H:%M:%S")
            file.write(text.encode())


def streamed(folder: Path, admissions) -> np.ndarray:
    """Ours: polars streams the table."""
    from data_recipes.mimic import cohort, tables

    return tables.first_labs(tables.scan(folder, "labevents", cohort.LABEVENTS, "the bench"), admissions)


def in_chunks(folder: Path, admissions) -> np.ndarray:
    """The plain way, with pandas: chunk by chunk filtered, merged by subject and cut to the window, then each item's first."""
    import pandas as pd

    from data_recipes.mimic.items import ITEMS
    from data_recipes.mimic.tables import WINDOW

    stays = pd.DataFrame(
        {"row": np.arange(len(admissions)), **{name: admissions[name].to_numpy() for name in admissions.columns}}
    )
    parts = []
    columns = ["subject_id", "itemid", "charttime", "valuenum"]
    for chunk in pd.read_csv(folder / "labevents.csv.gz", usecols=columns, chunksize=PIECE, parse_dates=["charttime"]):
        wanted = chunk[chunk["itemid"].isin(ITEMS) & chunk["valuenum"].notna()].merge(stays, on="subject_id")
        parts.append(wanted[(wanted["charttime"] - wanted["admittime"]).abs() <= pd.Timedelta(seconds=WINDOW)])
    found = pd.concat(parts).sort_values(["charttime", "valuenum"]).groupby(["row", "itemid"])["valuenum"].first()
    values = np.full((len(admissions), len(ITEMS)), np.nan, dtype=np.float32)
    place = {item: k for k, item in enumerate(ITEMS)}
    values[found.index.get_level_values(0), found.index.get_level_values(1).map(place)] = found
    return values
