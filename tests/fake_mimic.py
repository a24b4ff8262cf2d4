"""Files in the layout of MIMIC-IV and MIMIC-IV-ECG, made up, with every trap of the real ones; nobody's data."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

IN_FILE = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")  # aVF before aVL, as MIMIC has it
COLUMNS = {
    "admissions": ["subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "race"],
    "patients": ["subject_id", "gender", "anchor_age", "dod"],
    "labevents": ["labevent_id", "subject_id", "hadm_id", "itemid", "charttime", "value", "valuenum", "comments"],
    "d_labitems": ["itemid", "label", "fluid", "category"],
    "record_list": ["subject_id", "study_id", "file_name", "ecg_time", "path"],
}
ITEMS = (51221, 50912, 50971, 50813, 52135)  # five of the fifty
OTHERS = (50808, 50826)  # none of them


def write_table(path: Path, rows: Iterable[dict], columns: Sequence[str], packed: bool = False) -> None:
    """A CSV file with quoted commas where there are any; `packed` adds .gz to its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    path.with_name(f"{path.name}.gz" if packed else path.name).write_bytes(gzip.compress(content) if packed else content)


def heartbeat(seed: int) -> np.ndarray:
    """(12, 5000) int16, rows as IN_FILE: a few sines and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(5000) / 500
    waves = sum(rng.normal(0, 80, (12, 1)) * np.sin(2 * np.pi * (f * time + rng.random((12, 1)))) for f in (1.1, 5, 11))
    return (waves + rng.normal(0, 6, (12, 5000))).round().astype(np.int16)


def write_record(
    path: Path,
    digital: np.ndarray,
    names: Sequence[str] = IN_FILE,
    scale: str = "200.0(0)/mV",
    scales: Sequence[str] | None = None,
    checksum: int = 0,
) -> None:
    """A WFDB record: `digital` (12, 5000) int16, rows as `names`; `checksum` is added to the true ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digital.T.astype("<i2").tofile(path.with_name(f"{path.name}.dat"))
    lines = [f"{path.name} {len(names)} 500 {digital.shape[1]} 04:57:00 16/07/2131"]
    for name, row, said in zip(names, digital, scales or [scale] * len(names), strict=True):
        total = (int(row.sum(dtype=np.int64)) + checksum) % 65536
        lines.append(f"{path.name}.dat 16 {said} 16 0 {row[0]} {total} 0 {name}")
    path.with_name(f"{path.name}.hea").write_text("\n".join([*lines, "# a comment", ""]))


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def source(folder: Path, patients: int = 30, seed: int = 0, packed: bool = True, shuffle: int = 0) -> dict[str, list[dict]]:
    """MIMIC_IV in folder/iv and MIMIC_IV_ECG in folder/ecg; returns the tables' rows.

    Each patient has one to three admissions, labs around most of them (at times without hadm_id, or outside the window),
    and ECGs for most. `shuffle` orders rows and columns otherwise, which must change nothing.
    """
    rng = np.random.default_rng(seed)
    tables = {name: [] for name in COLUMNS}
    tables["d_labitems"] = [{"itemid": item, "label": f"item, {item}", "fluid": "Blood"} for item in (*ITEMS, *OTHERS)]
    for number in range(patients):
        _patient(rng, 19_000_000 + 37 * number, tables, folder / "ecg")
    order = np.random.default_rng(shuffle)
    for name, rows in tables.items():
        place = folder / ("ecg" if name == "record_list" else "iv/hosp") / f"{name}.csv"
        rows = [rows[k] for k in order.permutation(len(rows))] if shuffle else rows
        columns = [COLUMNS[name][k] for k in order.permutation(len(COLUMNS[name]))] if shuffle else COLUMNS[name]
        write_table(place, rows, [*columns, *(["more"] if shuffle else [])], packed and name != "record_list")
    return tables


def _patient(rng: np.random.Generator, subject: int, tables: dict[str, list[dict]], ecg: Path) -> None:
    admit, dead = datetime(2150, 1, 1) + timedelta(minutes=int(rng.integers(10**6))), rng.random() < 0.4
    for k in range(int(rng.integers(1, 4))):
        hadm = 27_000_000 + 11 * subject % 10**6 + k
        tables["admissions"].append({"subject_id": subject, "hadm_id": hadm, "admittime": stamp(admit), "race": 'A, "B"'})
        for _ in range(int(rng.choice([0, 3, 12], p=[0.1, 0.3, 0.6]))):
            when = admit + timedelta(seconds=int(rng.integers(-100_000, 100_000)))
            value = f"{rng.normal(10, 3):.1f}" if rng.random() < 0.9 else ""
            tables["labevents"].append(
                {
                    "labevent_id": len(tables["labevents"]),
                    "subject_id": subject,
                    "hadm_id": hadm if rng.random() < 0.7 else "",
                    "itemid": int(rng.choice([*ITEMS, *OTHERS])),
                    "charttime": stamp(when),
                    "value": value or "HEMOLYZED",
                    "valuenum": value,
                    "comments": 'a "quoted", split\ncomment' if rng.random() < 0.2 else "___",
                }
            )
        for _ in range(int(rng.choice([0, 1, 2], p=[0.1, 0.6, 0.3]))):
            when = admit + timedelta(seconds=int(rng.integers(-95_000, 95_000)))
            study = 45_000_000 + 13 * len(tables["record_list"])
            path = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
            digital = heartbeat(study)
            if rng.random() < 0.1:
                digital[3, 100] = -32768
            write_record(ecg / path, digital * np.int16(rng.random() >= 0.1))
            tables["record_list"].append({"subject_id": subject, "study_id": study, "ecg_time": stamp(when), "path": path})
        last, admit = admit, admit + timedelta(days=int(rng.integers(20, 300)))
    died = (last + timedelta(days=int(rng.integers(-30, 700)))).strftime("%Y-%m-%d") if dead else ""
    tables["patients"].append({"subject_id": subject, "gender": "F", "dod": died})
