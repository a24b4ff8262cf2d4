"""The engine ray on this machine: a killed worker's cell goes on, Ctrl-C leaves no process, tables as of the engine local."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import sweeps
import test_engines_slurm as with_slurm
import torch
from test_sweep import COUNTING

from mmal_cli.core import running
from mmal_cli.core.errors import UserError
from mmal_cli.engines import Options, ray

WHY_NOT = "" if find_spec("ray") else "ray is not installed: make .venv/.engines"
calls, contents, table, SLOW = with_slurm.calls, with_slurm.contents, with_slurm.table, with_slurm.SLOW
MARK = "MMAL_TEST_OF_RAY"


def needs_ray(test: Callable) -> Callable:
    """Marks a test, and skips it with the reason where Ray is not installed."""
    return pytest.mark.ray(pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)(test))


@pytest.fixture
def descendants(monkeypatch, tmp_path):
    """Marks the environment of all processes that the test starts; gives a function that lists those that live."""
    monkeypatch.setenv(MARK, str(tmp_path))

    def found() -> list[str]:
        living = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if folder.name != str(os.getpid()) and f"{MARK}={tmp_path}".encode() in (folder / "environ").read_bytes():
                    living.append((folder / "cmdline").read_text())
        return living

    return found


@needs_ray
def test_a_killed_worker_s_cell_goes_on_and_the_tables_are_those_of_local(alone, tmp_path, write_grid, begin, descendants):
    (tmp_path / "slow.py").write_text(SLOW.format(here=str(tmp_path)))
    (tmp_path / "counting.py").write_text(COUNTING.format(here=str(tmp_path)))
    (tmp_path / "wait").touch()
    own = [f"model.encoders.image={tmp_path / 'counting.py'}", "regimes.low.cycles=3"]
    path = write_grid([tmp_path / "slow.py", "random"], (0, 1), own)
    process = begin(path, "--engine", "ray", "--jobs", "2")
    sweeps.until(lambda: len(calls(tmp_path, 1)) == 2)
    killed = sweeps.seed(tmp_path, "slow") / "cycle-00.h5"
    before = killed.stat().st_mtime_ns
    assert running.read(killed.parent).engine == "ray"
    os.kill(calls(tmp_path, 1)[0], signal.SIGKILL)
    sweeps.until(lambda: len(calls(tmp_path, 1)) == 3)
    (tmp_path / "wait").unlink()
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, sweeps.summary(stdout)) == (0, [4, 0, 4, 0]), stderr
    assert "raylet" not in stdout
    sweeps.until(lambda: not descendants(), 10)
    assert len(calls(tmp_path, 0)) == 2, "cycles that were finished are not run again"
    assert killed.stat().st_mtime_ns == before
    # a seed's first model, two more of each of two methods, and one again where the second cycle was killed; two encoders each
    assert (tmp_path / "trained.txt").read_text().count("trained") == (2 * (1 + 2 * 2) + 1) * 2
    done = alone("sweep", path, "--out", tmp_path / "there/runs", "--gpu", "none", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "runs") == contents(tmp_path / "there/runs")
    assert table(alone, tmp_path) == table(alone, tmp_path / "there")


@needs_ray
def test_a_cell_that_always_dies_has_failed_and_ctrl_c_leaves_no_process_and_local_goes_on(
    alone, tmp_path, write_grid, begin, descendants
):
    (tmp_path / "dies.py").write_text(sweeps.BROKEN.format(body="os.kill(os.getpid(), 9)"))
    (tmp_path / "slow.py").write_text(SLOW.format(here=str(tmp_path)))
    (tmp_path / "wait").touch()
    path = write_grid([tmp_path / "dies.py", tmp_path / "slow.py"], sets=["regimes.low.cycles=3"])
    process = begin(path, "--engine", "ray", "--jobs", "2")
    dies = sweeps.seed(tmp_path, "dies")
    sweeps.until(lambda: len(calls(tmp_path, 1)) == 1 and (dies / "error.txt").exists())
    assert f"the Ray worker died, {ray.RETRIES + 1} times in all: " in running.look(dies).error
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("interrupted: what was finished stays; give the same command again to go on\n")
    assert "Traceback" not in stderr
    sweeps.until(lambda: not descendants(), 10)
    assert not list((tmp_path / "runs").rglob("running.yaml"))
    (tmp_path / "wait").unlink()
    (tmp_path / "dies.py").write_text(sweeps.BROKEN.format(body="return view.unlabelled.index[:size]"))
    done = alone("sweep", path, "--out", tmp_path / "runs", "--gpu", "none", "--jobs", 2)
    assert (done.returncode, sweeps.summary(done.stdout)) == (0, [2, 0, 2, 0]), done.stderr
    assert len(calls(tmp_path, 0)) == 1


@needs_ray
def test_no_cluster_at_the_address_is_one_error(tmp_path, write_grid, begin, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where Ray notes the cluster that this machine is part of
    process = begin(write_grid(["random"]), "--engine", "ray", "--ray", "auto")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stderr.startswith("error: --ray auto: no cluster there (")
    assert len(stderr.splitlines()) == 1


def test_cells_share_gpus(monkeypatch):
    monkeypatch.setattr(ray, "_resources", lambda options: (2, 16))
    assert ray.devices(Options()) == ["cuda:0"] * 2
    assert ray.devices(Options(gpus_per_cell=0.25)) == ["cuda:0"] * 8
    assert ray.devices(Options(gpus_per_cell=0.1)) == ["cuda:0"] * 16, "each cell takes a core as well"
    assert ray.devices(Options(3, gpus_per_cell=0.25)) == ["cuda:0"] * 3
    assert ray.devices(Options(gpu="none")) == ["cpu"] * 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(0), "--jobs is 0, expected 1 or more"),
        (Options(gpu="1"), "--gpu 1: Ray chooses the GPU"),
        (Options(gpus_per_cell=0), "--gpus-per-cell is 0, expected more than 0 and at most 1"),
        (Options(gpus_per_cell=2), "--gpus-per-cell is 2, expected more than 0 and at most 1"),
    ],
)
def test_options_that_are_wrong(monkeypatch, options, message):
    monkeypatch.setattr(ray, "_resources", lambda options: (2, 16))
    with pytest.raises(UserError, match=message):
        ray.devices(options)


def test_a_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=r"install it in mmal's folder by: make \.venv/\.engines"):
        ray.devices(Options())
