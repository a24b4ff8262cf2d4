"""What tests of export and import share: folders of runs as a lab has them, with cycles; zips, honest and made by others."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fake_runs
import numpy as np

from mmal_cli.cell import identity_of
from mmal_cli.core import shards
from mmal_cli.core.manifest import Asked, Run

CURVES = {"a": [0.1, 0.3], "b": [0.2, 0.25], "a+b": [0.3, 0.5]}
COMMAND = "mmal al-run --data /mnt/home/alice/data/share --qm random --regime low --seed 0 --out /mnt/scratch/alice/runs"


def record(seed: int = 0, qm: str = "random", settings: Mapping | None = None, restricted: bool = False, **more) -> Run:
    """A record as al-run writes it, with counts of what was asked."""
    curves = {subset: [value + seed / 100 for value in curve] for subset, curve in CURVES.items()}
    run = fake_runs.record(curves, qm=qm, seed=seed, settings=settings, command=COMMAND, **more)
    asked = Asked(present={"a": 1, "a+b": 2}, pool_present={"a+b": 90}, classes=[1, 2])
    cycles = [run.cycles[0].model_copy(update={"asked": asked}), run.cycles[1]]
    inputs = {"dataset": run.inputs["dataset"] | ({"restricted": True} if restricted else {})}
    made = run.made | {"mmal": "0.1.0", "versions": {"torch": "2.15.0.dev20260115+cu128"}, "device": "NVIDIA H100 80GB HBM3"}
    return run.model_copy(update={"cycles": cycles, "inputs": inputs, "made": made})


def cycle(run: Run, number: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and attributes of a cycle's file."""
    arrays = {name: np.arange(3) + 3 * number for name in ("labelled", "selected", "validation")}
    logits = {f"test_logits/{subset}": np.ones((4, 2), np.float16) for subset in CURVES}
    said = run.cycles[number].model_dump(mode="json")
    return arrays | logits, {"identity": identity_of(run), "command": COMMAND, "cycle": said}


def write(root: Path, *runs: Run, cycles: bool = True) -> Path:
    """Run folders below a root, which is returned."""
    fake_runs.write(root, *runs)
    for run in runs:
        for number in range(len(run.cycles) if cycles else 0):
            shards.write_arrays(fake_runs.folder_of(root, run) / f"cycle-{number:02d}.h5", *cycle(run, number))
    return root


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def members(path: Path) -> dict[str, bytes]:
    """Every file of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def made_by_others(path: Path, content: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> Path:
    """A zip of these files, whatever they are called."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items() if isinstance(content, Mapping) else content:
            archive.NameToInfo.pop(name, None)  # a second file of a name
            archive.writestr(name, data)
    return path


def refused(done, code: int, *messages: str) -> None:
    """One message on stderr that holds these, nothing on stdout."""
    assert done.exit_code == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert [message for message in messages if message not in done.stderr] == []
    assert done.stdout == ""
