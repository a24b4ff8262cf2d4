"""How fast are ECG records of MIMIC-IV-ECG's layout read, beside the wfdb package on the same files?"""

import tempfile
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_recipes import waveforms
from data_recipes.mimic import ecg
from mmal_cli.bench._turns import beside, in_turns

RECORDS = 50
ROUNDS = 7


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """A row for reading alone and for each way to scale what was read, in one process; wfdb only reads."""
    # pandas deprecates what wfdb 4.3.1 does
    with warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as place:
        import wfdb

        readers = {
            "read": lambda path: ecg.read(path),
            "read, scaled": lambda path: waveforms.scaled(ecg.read(path).physical, 1),
            "read, scaled, 100 Hz": lambda path: waveforms.scaled(ecg.read(path).physical, 5),
            "wfdb": lambda path: wfdb.rdrecord(str(path)),
        }
        paths = _records(Path(place), wfdb)
        ways = {name: lambda read=read: deque(map(read, paths), maxlen=0) for name, read in readers.items()}
        seconds = in_turns(ways, ROUNDS, on_progress)
    theirs = seconds.pop("wfdb")
    return [{"way": name} | beside(ours, theirs, "records/s", lambda s: RECORDS / s) for name, ours in seconds.items()]


def _records(folder: Path, wfdb) -> list[Path]:
    """Made-up records, written by wfdb."""
    rng = np.random.default_rng(0)
    leads = [*ecg.LEADS[:4], "aVF", "aVL", *ecg.LEADS[6:]]  # the order of MIMIC's files
    for number in range(RECORDS):
        wave = rng.normal(0, 80, (ecg.LENGTH, len(leads))).cumsum(axis=0).clip(-9000, 9000).astype(np.int16)
        shape = {"fmt": ["16"] * 12, "adc_gain": [200.0] * 12, "baseline": [0] * 12}
        wfdb.wrsamp(f"r{number}", ecg.RATE, ["mV"] * 12, leads, d_signal=wave, write_dir=str(folder), **shape)
    return [folder / f"r{number}" for number in range(RECORDS)]
