"""ECG records of MIMIC-IV-ECG's layout: records a second by our reader, beside the wfdb package on the same files."""

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from data_recipes.mimic import ecg

RECORDS = 50
ROUNDS = 7


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A row for each reader and for reading and scaling, in turn for some rounds, one process; medians."""
    with warnings.catch_warnings(action="ignore"):  # pandas deprecates what wfdb 4.3.1 does when it is imported
        import wfdb
    with tempfile.TemporaryDirectory() as place:
        paths = _records(Path(place), wfdb)
        ways = {
            "mmal": lambda path: ecg.read(path),
            "wfdb": lambda path: wfdb.rdrecord(str(path)),
            "mmal, scaled": lambda path: ecg.scaled(ecg.read(path).physical, 1),
            "mmal, scaled, 100 Hz": lambda path: ecg.scaled(ecg.read(path).physical, 5),
        }
        seconds = {name: [] for name in ways}
        for done in range(ROUNDS + 1):  # the first warms up
            on_progress(done, ROUNDS + 1)
            for name, read in ways.items():
                started = time.perf_counter()
                for path in paths:
                    read(path)
                seconds[name].append((time.perf_counter() - started) / len(paths))
        on_progress(ROUNDS + 1, ROUNDS + 1)
    typical = {name: median(found[1:]) for name, found in seconds.items()}
    return [
        {"way": name, "ms a record": round(1000 * s, 2), "records/s": round(1 / s), "x wfdb": round(typical["wfdb"] / s, 1)}
        for name, s in typical.items()
    ]


def _records(folder: Path, wfdb) -> list[Path]:
    """Made-up records, written by wfdb."""
    rng = np.random.default_rng(0)
    leads = [*ecg.LEADS[:4], "aVF", "aVL", *ecg.LEADS[6:]]  # the order of MIMIC's files
    for number in range(RECORDS):
        wave = rng.normal(0, 80, (ecg.LENGTH, len(leads))).cumsum(axis=0).clip(-9000, 9000).astype(np.int16)
        shape = {"fmt": ["16"] * 12, "adc_gain": [200.0] * 12, "baseline": [0] * 12}
        wfdb.wrsamp(f"r{number}", ecg.RATE, ["mV"] * 12, leads, d_signal=wave, write_dir=str(folder), **shape)
    return [folder / f"r{number}" for number in range(RECORDS)]
