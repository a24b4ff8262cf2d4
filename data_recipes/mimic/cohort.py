"""Which admissions become samples: filter after filter, each with a count of what it keeps and drops.

A sample is an admission with at least one laboratory value and one usable ECG within 24 hours of it. Its label is death
within 365 days of the day of admission. Deaths later than a year after a patient's last discharge are not in MIMIC-IV, so
for each admission the year is fully known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_recipes.mimic import ecg, tables
from data_recipes.workers import InOrder
from mmal_cli.core.errors import BAD_DATA, UserError

if TYPE_CHECKING:
    import polars as pl

YEAR = 365  # days
AT_A_TIME = 32  # admissions whose ECGs one process checks
ADMISSIONS = {"subject_id": "int", "hadm_id": "int", "admittime": "time", "deathtime": "day"}
PATIENTS = {"subject_id": "int", "dod": "text"}
LABEVENTS = {"subject_id": "int", "itemid": "int", "charttime": "time", "valuenum": "float"}
RECORDS = {"subject_id": "int", "study_id": "int", "ecg_time": "time", "path": "text"}


@dataclass(frozen=True)
class Cohort:
    """A samples, ordered by subject, time of admission and admission.

    Attributes:
        table: subject_id, hadm_id, study_id and path (of the ECG, below its root); it goes into no shard and no manifest.
        labs: (A, 50) float32 as measured, NaN where not.
        label: (A,) int64, 1 for death within a year.
        ecgs: the sha256 of each ECG's files.
        refused: paths of records that were called unreadable, which wfdb is asked about too.
        steps: what each filter kept and dropped, in order.
        passed_over: records within a window that could not be used: reason -> how many.
    """

    table: pl.DataFrame
    labs: np.ndarray
    label: np.ndarray
    ecgs: Sequence[str]
    refused: Sequence[str]
    steps: Sequence[Mapping[str, object]]
    passed_over: Mapping[str, int]


def gather(
    mimic_iv: Path,
    mimic_iv_ecg: Path,
    in_order: InOrder,
    on_table: Callable[[str], None] = lambda name: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Cohort:
    """Reads the tables and all ECGs that could be used, and filters.

    Args:
        mimic_iv: holds hosp/; `mimic_iv_ecg` holds record_list.csv and the records.
        in_order: runs tasks in processes (`workers.processes`).
        on_table: called with the name of each table before it is read.
        on_progress: called with (admissions whose ECGs were checked, admissions in all).

    Raises:
        UserError: a table or a column is missing, or no admission is left.
    """
    pl, hosp = tables.polars(), mimic_iv / "hosp"
    labevents = tables.scan(hosp, "labevents", LABEVENTS, "MIMIC_IV/hosp")
    records = tables.scan(mimic_iv_ecg, "record_list", RECORDS, "MIMIC_IV_ECG")  # what is missing ends here, not later
    on_table("admissions")
    admissions = _admissions(hosp)
    filters = _Filters(admissions["subject_id"].to_numpy())
    filters.keep("row incomplete, repeated or without patient", admissions["usable"].to_numpy())
    filters.keep("death before admission", (admissions["days"].fill_null(0) >= 0).to_numpy())
    on_table("labevents")
    labs = tables.first_labs(labevents, admissions)
    filters.keep("no laboratory value in the window", np.isfinite(labs).any(axis=1))
    on_table("record_list")
    listed = tables.collect(records, "record_list")
    whole = listed.drop_nulls()
    near = _records_near(whole, admissions, filters.kept)
    filters.keep("no ECG in the window", np.isin(np.arange(len(admissions)), list(near)))
    chosen = dict(zip(near, _choose(mimic_iv_ecg, near.values(), in_order, on_progress), strict=True))
    why = np.array([chosen[row].why if row in chosen else "" for row in range(len(admissions))], dtype=object)
    for reason in ecg.REASONS:
        filters.keep(f"ECG {reason}", why != reason)
    rows = np.flatnonzero(filters.kept)
    if not len(rows):
        table = ", ".join(f"{step['dropped']} {step['step']}" for step in filters.steps[1:] if step["dropped"])
        raise UserError(f"no admission is left of {len(admissions)}: dropped {table or 'none, the table is empty'}", BAD_DATA)
    studies, paths = zip(*(near[row][chosen[row].number] for row in rows), strict=True)
    bad = {r: why for row, choice in chosen.items() for r, why in zip(near[row], choice.passed_over, strict=False)}
    table = admissions[rows].select("subject_id", "hadm_id")
    return Cohort(
        table=table.with_columns(pl.Series("study_id", studies), pl.Series("path", paths)),
        labs=labs[rows],
        label=admissions["days"].is_between(0, YEAR).fill_null(False).to_numpy()[rows].astype(np.int64),
        ecgs=[chosen[row].digest for row in rows],
        refused=sorted(path for (_, path), why in bad.items() if why == ecg.UNREADABLE),
        steps=filters.steps,
        passed_over=dict(sorted(Counter(bad.values()).items())) | _if_any("row incomplete", len(listed) - len(whole)),
    )


def _if_any(reason: str, count: int) -> dict[str, int]:
    return {reason: count} if count else {}


class _Filters:
    """Which admissions are kept so far, and what each filter did; `subjects` (A,) are their patients."""

    def __init__(self, subjects: np.ndarray) -> None:
        self.subjects, self.kept, self.steps = subjects, np.ones(len(subjects), dtype=bool), []
        self.keep("admissions in the table", self.kept)

    def keep(self, step: str, mask: np.ndarray) -> None:
        before = int(self.kept.sum())
        self.kept = self.kept & mask
        left = int(self.kept.sum())
        patients = len(np.unique(self.subjects[self.kept]))
        self.steps.append({"step": step, "dropped": before - left, "admissions": left, "subjects": patients})


def _admissions(hosp: Path) -> pl.DataFrame:
    """All admissions in an order of their own: subject_id, hadm_id, admittime, days until death, and whether they can be used.

    Days count from the day of admission to `dod`; to `deathtime` if that lies before admission, or there is no `dod`; null for
    survivors.
    Of no use are rows without a number or a time, of a subject that patients lacks or has with a `dod` that is no date, and all
    but the first row of one admission.
    """
    pl = tables.polars()
    patients = tables.collect(tables.scan(hosp, "patients", PATIENTS, "MIMIC_IV/hosp"), "patients")
    admissions = tables.collect(tables.scan(hosp, "admissions", ADMISSIONS, "MIMIC_IV/hosp"), "admissions")
    died = pl.col("dod").str.slice(0, 10).str.to_date(tables.DAY, strict=False)
    patients = patients.drop_nulls("subject_id").unique().unique("subject_id", keep="none")
    patients = patients.select("subject_id", dod=died, known=died.is_not_null() | pl.col("dod").is_null())
    day = pl.col("admittime").dt.date()
    early = pl.when(pl.col("deathtime") < day).then(pl.col("deathtime"))
    complete = pl.all_horizontal(pl.col("subject_id", "hadm_id", "admittime").is_not_null(), pl.col("known"))
    return (
        admissions.join(patients, on="subject_id", how="left", maintain_order="left")
        .sort("subject_id", "admittime", "hadm_id")
        .with_columns(
            days=(pl.coalesce(early, "dod", "deathtime") - day).dt.total_days(),
            usable=complete.fill_null(False) & pl.when(complete).then("hadm_id").is_first_distinct(),
        )
    )


def _records_near(records: pl.DataFrame, admissions: pl.DataFrame, kept: np.ndarray) -> dict[int, list[tuple[int, str]]]:
    """Row of a kept admission -> study_id and path of the records within its window, the earliest first."""
    pl = tables.polars()
    windows = admissions.select("subject_id", "admittime", row=pl.int_range(pl.len())).filter(pl.Series(kept))
    after = (pl.col("ecg_time") - pl.col("admittime")).dt.total_seconds()
    found = (
        windows.join(records, on="subject_id")
        .filter(after.abs() <= tables.WINDOW)
        .sort("row", "ecg_time", "study_id", "path")
        .group_by("row", maintain_order=True)
        .agg("study_id", "path")
    )
    return {row: list(zip(studies, paths, strict=True)) for row, studies, paths in found.iter_rows()}


@dataclass(frozen=True)
class _Choice:
    """The first usable of an admission's records and its digest; without one, `why` its first record cannot be used."""

    number: int = -1
    digest: str = ""
    why: str = ""
    passed_over: tuple[str, ...] = ()


def _choose(
    root: Path,
    records: Iterable[list[tuple[int, str]]],
    in_order: InOrder,
    on_progress: Callable[[int, int], None],
) -> Iterator[_Choice]:
    """For each admission the earliest record that can be used."""
    paths = [[path for _, path in of_one] for of_one in records]
    tasks = [(root, paths[start : start + AT_A_TIME]) for start in range(0, len(paths), AT_A_TIME)]
    done = 0
    on_progress(done, len(paths))
    for choices in in_order(first_usable, tasks):
        yield from choices
        on_progress(done := done + len(choices), len(paths))


def first_usable(root: Path, admissions: list[list[str]]) -> list[_Choice]:
    """One task of a process: reads each admission's records until one can be used."""
    choices = []
    for paths in admissions:
        bad, choice = [], None
        for number, path in enumerate(paths):
            try:
                if not (root / path).resolve().is_relative_to(root.resolve()):
                    raise ecg.BadRecord(ecg.ABSENT)  # nothing outside the folder is read, whatever the list says
                choice = _Choice(number, ecg.usable(root / path).digest, passed_over=tuple(bad))
                break
            except ecg.BadRecord as error:
                bad.append(str(error))
        choices.append(choice or _Choice(why=bad[0], passed_over=tuple(bad)))
    return choices
