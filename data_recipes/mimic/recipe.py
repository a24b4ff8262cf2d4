"""From the cohort to a dataset: who is tested on, what goes into a shard, and what the manifest says."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_recipes import percentiles, waveforms
from data_recipes.mimic import ecg, tables
from data_recipes.mimic.cohort import YEAR, Cohort
from data_recipes.mimic.items import ITEMS
from data_recipes.order import shuffled
from data_recipes.workers import InOrder
from mmal_cli.core import files
from mmal_cli.core.build import Plan
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.shards import Samples

AT_A_TIME = 64  # samples that a process makes at once: 8 MB
PAPER = 30_000  # subjects to test on
FEWER = 4  # where there are not twice as many subjects, a quarter of them is
CLASS_NAMES = ["alive a year after admission", "dead within a year of admission"]


@dataclass(frozen=True)
class Mimic:
    """All that decides the dataset's bytes, and where the ECGs lie."""

    cohort: Cohort
    root: Path
    test_subjects: int | None
    indicators: bool
    decimate: int
    seed: int

    @cached_property
    def _key(self) -> str:
        """A hash of all patients' and admissions' numbers, kept nowhere: who lacks the source cannot undo the orders below."""
        ids = self.cohort.table.select("subject_id", "hadm_id").to_numpy()
        return hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8")).hexdigest()

    @cached_property
    def groups(self) -> np.ndarray:
        """(A,) int64: a number for each subject, in an order that is random to whoever does not have the source."""
        _, subject = np.unique(self.cohort.table["subject_id"].to_numpy(), return_inverse=True)
        place = np.empty(subject.max() + 1, dtype=np.int64)
        place[shuffled(len(place), self.seed, "mimic", "subjects", self._key)] = np.arange(len(place))
        return place[subject]

    @property
    def subjects(self) -> int:
        """How many there are."""
        return int(self.groups.max()) + 1

    @property
    def tested(self) -> int:
        """How many subjects are tested on: as many as asked, else 30,000, or a quarter where there are not twice those."""
        if self.test_subjects is not None:
            if self.test_subjects >= self.subjects:
                raise UserError(f"--test-subjects {self.test_subjects} leaves none of the {self.subjects} to train on")
            return self.test_subjects
        return PAPER if self.subjects >= 2 * PAPER else self.subjects // FEWER

    @cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """Split -> rows of the cohort in random order."""
        found = {}
        for split, inside in (("train", self.groups >= self.tested), ("test", self.groups < self.tested)):
            rows = np.flatnonzero(inside)
            if missing := {0, 1} - set(self.cohort.label[rows].tolist()):
                raise UserError(
                    f"{split} has {len(rows)} samples of which none is {CLASS_NAMES[missing.pop()]!r}; "
                    "choose another --test-subjects or --seed",
                    BAD_DATA,
                )
            found[split] = rows[shuffled(len(rows), self.seed, "mimic", split, self._key)]
        return found

    @cached_property
    def labs(self) -> np.ndarray:
        """(A, F) float32: percentiles, fitted on all subjects that are not tested on."""
        return percentiles.percentiles(self.cohort.labs, self.groups >= self.tested, self.indicators)


def head(mimic: Mimic) -> dict[str, Any]:
    """The manifest's fields; the identity knows the sources by a hash of what was used of them, whoever's it is."""
    features = len(ITEMS) * (2 if mimic.indicators else 1)
    asked = {"test_subjects": mimic.tested, "indicators": mimic.indicators, "decimate": mimic.decimate, "seed": mimic.seed}
    return {
        "name": "mimic",
        "recipe": {
            "name": "mimic",
            **asked,
            "window_hours": tables.WINDOW // 3600,
            "label": f"death within {YEAR} days of admission",
            "labs": {"items": list(ITEMS), "value": "first", "scale": "percentile", "unknown": percentiles.UNKNOWN},
            "ecg": {"leads": list(ecg.LEADS), "scale": "-1 to 1 per record", "one": waveforms.FULL},
            "sources": _digest(mimic),
        },
        "modalities": [
            {"name": "labs", "kind": "vector", "shape": [features], "dtype": "float32"},
            {"name": "ecg", "kind": "series", "shape": [len(ecg.LEADS), ecg.LENGTH // mimic.decimate], "dtype": "int16"},
        ],
        "classes": 2,
        "class_names": CLASS_NAMES,
        "targets": [f"death within {YEAR} days of admission"],
        "weak": "ecg",
        "counts": _counts(mimic),
        "notes": [
            "labs: " + ", ".join(ITEMS.values()) + ("; then 1 where measured, else 0" if mimic.indicators else ""),
            "group: samples of one patient have one number, which is random",
            f"test: {mimic.tested} of {mimic.subjects} subjects",
        ],
        "restricted": True,
    }


def _counts(mimic: Mimic) -> dict[str, Any]:
    cohort = mimic.cohort
    return {
        "cohort": list(cohort.steps),
        "ecgs_passed_over": dict(cohort.passed_over),
        **{
            split: {
                "classes": np.bincount(cohort.label[rows], minlength=2).tolist(),
                "present": {"labs+ecg": len(rows)},
                "subjects": len(np.unique(mimic.groups[rows])),
                "labs_measured": round(float(np.isfinite(cohort.labs[rows]).mean()), 4),
            }
            for split, rows in mimic.splits.items()
        },
    }


def _digest(mimic: Mimic) -> str:
    """12 hex digits of the samples: values, labels, who belongs together, and the ECGs' files."""
    cohort = mimic.cohort
    subjects = np.unique(cohort.table["subject_id"].to_numpy(), return_inverse=True)[1]
    values = [np.ascontiguousarray(array).tobytes() for array in (cohort.labs, cohort.label, subjects)]
    return files.identity([hashlib.sha256(b"".join(values)).hexdigest(), *cohort.ecgs])


def plans(mimic: Mimic, in_order: InOrder) -> dict[str, Plan]:
    """How each split is made. Memory: the percentiles and the chunks on their way, 8 MB each."""

    def plan(split: str, rows: np.ndarray) -> Plan:
        def chunks(start: int, stop: int) -> Iterator[Samples]:
            paths = mimic.cohort.table["path"].gather(rows[start:stop].tolist()).to_list()
            pieces = range(0, stop - start, AT_A_TIME)
            tasks = ((mimic.root, paths[at : at + AT_A_TIME], mimic.decimate) for at in pieces)
            for at, series in zip(pieces, in_order(read_ecgs, tasks), strict=True):
                yield _samples(mimic, split, start + at, rows[start + at : start + at + len(series)], series)

        return Plan(len(rows), chunks)

    return {split: plan(split, rows) for split, rows in mimic.splits.items()}


def _samples(mimic: Mimic, split: str, start: int, rows: np.ndarray, series: np.ndarray) -> Samples:
    return Samples(
        inputs={"labs": mimic.labs[rows], "ecg": series},
        present=np.ones((len(rows), 2), dtype=bool),
        label=mimic.cohort.label[rows],
        id=np.array([sample_id(split, start + k) for k in range(len(rows))]),
        factors={},
        group=mimic.groups[rows],
    )


def sample_id(split: str, number: int) -> str:
    """What a sample is called: its place, nothing of where it comes from."""
    return f"{split}-{number:08d}"


def read_ecgs(root: Path, paths: list[str], decimate: int) -> np.ndarray:
    """One task of a process: (n, 12, 5000 / decimate) int16."""
    try:
        return np.stack([waveforms.scaled(ecg.usable(root / path).physical, decimate) for path in paths])
    except ecg.BadRecord as error:
        raise UserError(
            f"an ECG that could be used is now {error}; leave MIMIC_IV_ECG as it is while it is read", BAD_DATA
        ) from None


def source_map(mimic: Mimic) -> Iterator[Mapping[str, object]]:
    """Where each sample comes from: id, subject_id, hadm_id, study_id. For those who may know it (`--keep-map`)."""
    for split, rows in mimic.splits.items():
        sources = mimic.cohort.table[rows].select("subject_id", "hadm_id", "study_id").iter_rows(named=True)
        for number, source in enumerate(sources):
            yield {"id": sample_id(split, number), **source}
