"""The engine slurm on a real Slurm of one node: an array, tasks requeued, dead, cancelled; tables as of the engine local."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import slurm_node
import sweeps
import yaml
from test_sweep import COUNTING

from mmal_cli.core import running, shards
from mmal_cli.core.errors import UserError
from mmal_cli.engines import Options, Outcome, slurm

WHY_NOT = slurm_node.missing() if find_spec("submitit") else "submitit is not installed: make .venv/.engines"
# each call leaves its process in calls.txt; the second cycle's waits while a file `wait` is there
SLOW = """
import os
import time
from pathlib import Path

NEEDS = set()
HERE = Path({here!r})


def query(view, size, rng):
    with open(HERE / "calls.txt", "a") as file:
        file.write(f"{{view.cycle}} {{os.getpid()}}\\n")
    while view.cycle == 1 and (HERE / "wait").exists():
        time.sleep(0.02)
    return view.unlabelled.index[:size]
"""


def needs_slurm(test):
    """Marks a test, and skips it with the reason where Slurm cannot be started."""
    return pytest.mark.slurm(pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)(test))


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[None]:
    """Slurm for the tests of this file; four tasks at once."""
    with slurm_node.slurm(tmp_path_factory.mktemp("slurm") / "node", cpus=4):
        yield


def calls(folder: Path, cycle: int) -> list[int]:
    """The processes that asked in a cycle."""
    lines = (folder / "calls.txt").read_text().splitlines() if (folder / "calls.txt").exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(f"{cycle} ")]


def queued(*options: str) -> list[str]:
    """Ids of the tasks that are pending, running or just ending."""
    command = ["squeue", "--array", "--noheader", "--format=%i", *options]
    return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def contents(runs: Path) -> dict:
    """All that the cycles' files of a folder of runs hold, but times: positions, logits to the last bit, metrics."""
    found = {}
    for path in sorted(runs.rglob("cycle-*.h5")):
        arrays, attributes = shards.read_arrays(path)
        cycle = {key: attributes["cycle"][key] for key in ("labels", "best_epoch", "validation", "metrics")}
        bits = {name: (array.dtype.str, array.tobytes()) for name, array in arrays.items()}
        found[str(path.relative_to(runs))] = bits, cycle
    return found


def table(alone, folder: Path) -> dict:
    """What `mmal aulc` makes of the runs in a folder, without how it was made."""
    done = alone("aulc", "runs", "--out", "aulc.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    content = yaml.safe_load((folder / "aulc.yaml").read_text())
    assert content.pop("made")
    return content


@needs_slurm
def test_tasks_of_an_array_are_killed_and_requeued_and_the_tables_are_those_of_local(node, alone, tmp_path, write_grid, begin):
    (tmp_path / "slow.py").write_text(SLOW.format(here=str(tmp_path)))
    (tmp_path / "counting.py").write_text(COUNTING.format(here=str(tmp_path)))
    (tmp_path / "wait").touch()
    own = [f"model.encoders.image={tmp_path / 'counting.py'}", "regimes.low.cycles=3"]
    path = write_grid([tmp_path / "slow.py", "random"], (0, 1), own)
    process = begin(path, "--engine", "slurm", "--slurm", "time=30")
    sweeps.until(lambda: len(calls(tmp_path, 1)) == 2)
    sweeps.until(lambda: all((sweeps.seed(tmp_path, "random", k) / "run.yaml").exists() for k in (0, 1)))
    first = [sweeps.seed(tmp_path, "slow", k) / "cycle-00.h5" for k in (0, 1)]
    before = [cycle.stat().st_mtime_ns for cycle in first]
    sweeps.until(lambda: len(queued("--states=running")) == 2)
    preempted, warned = queued("--states=running")
    assert running.read(first[0].parent).engine == "slurm"
    subprocess.run(["scontrol", "requeue", preempted], check=True)  # as preemption does: killed, then queued again
    subprocess.run(["scancel", "--signal=USR2", warned], check=True)  # as before a time limit: it requeues itself
    sweeps.until(lambda: len(calls(tmp_path, 1)) == 4)
    (tmp_path / "wait").unlink()
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, sweeps.summary(stdout)) == (0, [4, 0, 4, 0]), stderr
    assert len(calls(tmp_path, 0)) == 2, "cycles that were finished are not run again"
    assert [cycle.stat().st_mtime_ns for cycle in first] == before
    scripts = [file.read_text().splitlines() for file in (tmp_path / "runs/.slurm").glob("*_submission.sh")]
    assert any("#SBATCH --array=0-1%2" in script for script in scripts), "the two that train first models are one array"
    # a seed's first model, two more of each of two methods, and one again where the second cycle was killed; two encoders each
    assert (tmp_path / "trained.txt").read_text().count("trained") == 2 * (1 + 2 * 2 + 1) * 2
    done = alone("sweep", path, "--out", tmp_path / "there/runs", "--gpu", "none", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "runs") == contents(tmp_path / "there/runs")
    assert table(alone, tmp_path) == table(alone, tmp_path / "there")


@needs_slurm
def test_a_task_that_dies_has_failed_and_ctrl_c_cancels_and_local_goes_on(node, alone, tmp_path, write_grid, begin):
    (tmp_path / "slow.py").write_text(SLOW.format(here=str(tmp_path)))
    (tmp_path / "wait").touch()
    path = write_grid([tmp_path / "slow.py"], sets=["regimes.low.cycles=3"])
    folder = sweeps.seed(tmp_path, "slow")
    process = begin(path, "--engine", "slurm")
    sweeps.until(lambda: len(calls(tmp_path, 1)) == 1)
    os.kill(calls(tmp_path, 1)[0], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, sweeps.summary(stdout)) == (4, [1, 0, 0, 1]), stderr
    found = running.look(folder)
    assert (found.state, found.cycles) == ("failed", 1)
    assert "died (FAILED); what it printed: " in found.error
    assert (folder / "error.txt").read_text().startswith("failed in cycle ")

    process = begin(path, "--engine", "slurm")
    sweeps.until(lambda: len(calls(tmp_path, 1)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("interrupted: what was finished stays; give the same command again to go on\n")
    assert not (folder / "running.yaml").exists()
    sweeps.until(lambda: not queued())
    (tmp_path / "wait").unlink()
    done = alone("sweep", path, "--out", tmp_path / "runs", "--gpu", "none", "--jobs", 1)
    assert (done.returncode, sweeps.summary(done.stdout)) == (0, [1, 0, 1, 0]), done.stderr
    assert len(calls(tmp_path, 0)) == 1


@needs_slurm
def test_what_sbatch_refuses_is_one_error(node, tmp_path, write_grid, begin):
    process = begin(write_grid(["random"]), "--engine", "slurm", "--slurm", "partition=nowhere")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: sbatch refused the cells: " in stderr
    assert "invalid partition specified: nowhere" in stderr
    assert "Traceback" not in stderr


@needs_slurm
def test_a_sweep_within_a_slurm_job_hides_that_job_from_its_cells(node, tmp_path, write_grid):
    """The job's own memory and cores, of which sbatch takes no other at once, would end every cell."""
    words = [sys.executable, "-m", "mmal_cli", "sweep", str(write_grid(["random"])), "--engine", "slurm", "--slurm", "mem=600"]
    (tmp_path / "outer.sh").write_text("#!/bin/sh\n" + shlex.join([*words, "--out", str(tmp_path / "runs")]) + "\n")
    command = ["sbatch", "--wait", "--mem-per-cpu=400", f"--output={tmp_path / 'outer.log'}", str(tmp_path / "outer.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, (tmp_path / "outer.log").read_text()
    assert (sweeps.seed(tmp_path, "random") / "run.yaml").exists()


def test_only_within_a_job_something_is_hidden(monkeypatch):
    for key in list(os.environ):
        if key.startswith(slurm.INHERITED):
            monkeypatch.delenv(key)
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    with slurm._as_from_no_job():
        assert "SLURM_TIME_FORMAT" in os.environ
    for key in ("SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CONF", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(key, "1")
    with slurm._as_from_no_job():
        assert [key for key in sorted(os.environ) if key.startswith(("SLURM", "SBATCH"))] == ["SBATCH_ACCOUNT", "SLURM_CONF"]
    assert os.environ["SLURM_MEM_PER_CPU"] == "1"


def test_once_begun_a_sweep_outlasts_what_sbatch_refuses(monkeypatch, tmp_path):
    """The first wave is submitted, the second refused at first: its cells wait, and the person is told."""
    cells = [type("Work", (), {"folder": tmp_path / str(number), "out": tmp_path}) for number in range(2)]
    answers = iter(["begin", "refuse", "begin"])

    def submit(waiting, *words):
        if next(answers, "begin") == "refuse":
            return [], UserError("sbatch refused 1 cells")
        return [slurm.Task(waiting.pop(0), "x", None)] if waiting else [], None

    monkeypatch.setattr(slurm, "_submit", submit)
    monkeypatch.setattr(slurm, "_queue", lambda name: {})
    monkeypatch.setattr(slurm, "_cancel", lambda name, tasks: None)
    monkeypatch.setattr(slurm, "_outcome", lambda task, states: Outcome(task.work.folder, "ran"))
    monkeypatch.setattr(slurm, "devices", lambda options: ["cpu"])
    monkeypatch.setattr(slurm, "ASK", 0.0)
    monkeypatch.setattr(slurm, "TICK", 0.0)
    events = []
    assert [outcome.folder for outcome in slurm.run(cells, Options(), events.append)] == [cell.folder for cell in cells]
    assert "sbatch refused 1 cells; tried again every 0 s" in [event.said for event in events]
    answers = iter(["refuse"])
    with pytest.raises(UserError, match="sbatch refused 1 cells"):
        slurm.run(cells, Options(), events.append)


def test_stops_are_counted_while_no_cycle_is_finished(tmp_path):
    found = [slurm._stops(tmp_path / "7_1.stops", has_finished) for has_finished in (False, False, True, False, False, False)]
    assert found == [1, 2, 0, 1, 2, slurm.TRIES]


@pytest.fixture
def submitit(monkeypatch, tmp_path):
    """As if submitit and Slurm were there."""
    monkeypatch.setitem(sys.modules, "submitit", ModuleType("submitit"))
    (tmp_path / "sbatch").write_text("")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_cells_get_a_gpu_where_slurm_is_asked_for_it(submitit):
    assert slurm.devices(Options(jobs=2)) == ["cpu", "cpu"]
    assert slurm.devices(Options()) == ["cpu"] * slurm.JOBS
    for text in ("gres=gpu:1", "gpus_per_node=1", "--gpus=1"):
        assert slurm.devices(Options(1, slurm=("partition=gpu", text))) == ["cuda:0"]
    assert slurm.devices(Options(1, "none", slurm=("gres=gpu:1",))) == ["cpu"]
    assert slurm.devices(Options(1, slurm=("partition=gpu",))) == ["cpu"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(0), "--jobs is 0, expected 1 or more"),
        (Options(gpu="1"), "--gpu 1: Slurm chooses the GPU; expected auto or none, with: --slurm gres=gpu:1"),
        (Options(slurm=("partition=",)), "--slurm partition=: expected KEY=VALUE or KEY, such as partition=gpu"),
        (Options(slurm=("array=1-3",)), "--slurm array=1-3: mmal sets array itself"),
    ],
)
def test_options_that_are_wrong(submitit, options, message):
    with pytest.raises(UserError, match=message):
        slurm.devices(options)


def test_an_option_may_have_no_value():
    assert slurm._asked(Options(slurm=("--exclusive", "time=30"))) == {"exclusive": True, "time": "30"}


def test_what_is_missing_is_named(submitit, monkeypatch, tmp_path):
    (tmp_path / "sbatch").unlink()
    with pytest.raises(UserError, match="no sbatch on PATH"):
        slurm.devices(Options())
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"install it in mmal's folder by: make \.venv/\.engines"):
        slurm.devices(Options())


def test_a_result_may_be_late_but_not_for_ever(monkeypatch, tmp_path):
    """A task's state as squeue tells it: running, ended without a result, queued again, ended for good."""
    paths = type("Paths", (), {"result_pickle": tmp_path / "none", "stdout": tmp_path / "log"})
    task = slurm.Task(None, "x", type("Job", (), {"paths": paths, "job_id": "7_1"}))
    now = [time.monotonic()]
    monkeypatch.setattr(slurm.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(slurm, "died", lambda work, token, said: said)
    assert slurm._outcome(task, {"7_1": "RUNNING"}) is None
    assert slurm._outcome(task, {"7_1": "NODE_FAIL"}) is None
    now[0] += slurm.LATE
    assert slurm._outcome(task, None) is None, "Slurm did not answer"
    assert slurm._outcome(task, {"7_1": "PENDING"}) is None
    assert slurm._outcome(task, {"7_1": "COMPLETED"}) is None
    now[0] += slurm.SOON
    assert slurm._outcome(task, {}) is None, "what has ended well has a result, though it may not be seen yet"
    now[0] += slurm.LATE
    assert slurm._outcome(task, {}).startswith("the Slurm task 7_1 died (gone from the queue); what it printed: ")
