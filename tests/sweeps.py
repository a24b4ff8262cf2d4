"""What tests of sweeps share: a short training, a query method that can be watched, looks at processes and at what is said."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import tiny

FAST = [*tiny.BUDGET, "train.epochs=1", "train.warmup_epochs=0", "train.min_epoch_samples=32", "regimes.low.cycles=2"]
FAST += ["train.lr=0.01"]
# each call leaves a line in calls.txt; it waits while a file `wait` is there
WATCHED = """
import time
from pathlib import Path

NEEDS = set()
HERE = Path({here!r})


def query(view, size, rng):
    with open(HERE / "calls.txt", "a") as file:
        file.write("asked\\n")
    while (HERE / "wait").exists():
        time.sleep(0.02)
    return view.unlabelled.index[:size]
"""

BROKEN = "import os\n\nNEEDS = set()\n\n\ndef query(view, size, rng):\n    {body}\n"


def until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(process: subprocess.Popen) -> bool:
    """Whether anything of its group still runs."""
    process.poll()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            found.append((group, state))
    return any(group == str(process.pid) and state != "Z" for group, state in found)


def seed(tmp_path: Path, qm: str, number: int = 0) -> Path:
    return tmp_path / "runs/tiny/low" / f"{qm}-nomoddrop" / f"seed-{number}"


def summary(stdout: str) -> list[int]:
    """cells, done already, run, failed, and refused where there are some."""
    lines = stdout.splitlines()
    assert lines[-1].endswith("runs")
    return [int(word) for word in lines[-3].split()]
