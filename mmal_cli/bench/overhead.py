"""What part of al-run's time is neither training nor scoring nor the query?"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from mmal_cli.core.manifest import Run

TRAIN, TEST, SIZE = 6_000, 2_000, 64
REGIME, QM = "mid", "badge"
ROUNDS = 5


def run(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[dict]:
    """Whole `mmal al-run` processes with the quick settings, on a GPU if there is one.

    What run.yaml accounts for, and what the clock says beyond it.

    Returns:
        A row for each part: median seconds of a run, and percent of it. "rest" is all else from the reading of the dataset to
        the last file; "start" is what comes before, Python and its imports.
    """
    found = []
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data" / "synergy"
        _mmal("gen-quint", "--setting", "synergy", "--train", TRAIN, "--test", TEST, "--size", SIZE, "--out", data)
        for done in range(ROUNDS):
            on_progress(done, ROUNDS)
            found.append(parts(data, Path(place) / str(done)))
    on_progress(ROUNDS, ROUNDS)
    typical = {part: median(one[part] for one in found) for part in found[0]}
    total = sum(typical.values())
    return [{"part": part, "s": round(s, 2), "%": round(100 * s / total, 2)} for part, s in typical.items()]


def parts(data: Path, out: Path, *more: str) -> dict[str, float]:
    """Seconds of one run by what they were spent on; `more` words are al-run's."""
    started = time.monotonic()
    _mmal("al-run", "--data", data, "--qm", QM, "--regime", REGIME, "--with", "quick", "--gpu", "auto", "--out", out, *more)
    whole = time.monotonic() - started
    (path,) = out.rglob("run.yaml")
    run = Run.read(path)
    found = {part: sum(cycle.seconds[part] for cycle in run.cycles) for part in ("train", "test", "query")}
    return found | {"rest": run.made["seconds"] - sum(found.values()), "start": whole - run.made["seconds"]}


def _mmal(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "mmal_cli", *map(str, words)], check=True, capture_output=True)
