"""Sweeps: real processes on a tiny dataset, to the end, failing, killed, interrupted, two at once; grids and costs by hand."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from typer.testing import CliRunner

from mmal_cli import app, first, loop, sweep
from mmal_cli.core import grid, plugins, running
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset, Run
from mmal_cli.core.tuned import Point, Tuned
from mmal_cli.engines import Options, Outcome, died, local, ready, record_failure, run_cell

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
# each model that is trained leaves a line in trained.txt
COUNTING = """
from pathlib import Path

from mmal_cli.encoders.convnet import KINDS, Encoder as Convnet  # noqa


class Encoder(Convnet):
    counted = False

    def forward(self, x):
        if self.training and not self.counted:
            self.counted = True
            with open(Path({here!r}) / "trained.txt", "a") as file:
                file.write("trained\\n")
        return super().forward(x)
"""


@pytest.fixture
def write_grid(tmp_path, tiny_data):
    """Writes a grid file of cells on the tiny dataset; returns its path."""

    def write(qms=("random", "kcg"), seeds=(0,), sets=(), **more) -> Path:
        content = {
            "datasets": {"tiny": str(tiny_data)},
            "regimes": ["low"],
            "qms": [str(qm) for qm in qms],
            "moddrop": [False],
            "seeds": list(seeds),
            "with": ["quick"],
            "set": [*FAST, *sets],
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(content | more))
        return path

    return write


@pytest.fixture
def begin(tmp_path):
    """Starts a sweep as a process group of its own; what is left of it at the end is killed."""
    started = []

    def start(path: Path, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-W", "error", "-m", "mmal_cli", "sweep", str(path), "--out", str(tmp_path / "runs")]
        command += ["--gpu", "none", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def alive(process: subprocess.Popen) -> bool:
    """Whether anything of its group still runs."""
    process.poll()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            found.append((group, state))
    return any(group == str(process.pid) and state != "Z" for group, state in found)


def until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def seed(tmp_path: Path, qm: str, number: int = 0) -> Path:
    return tmp_path / "runs/tiny/low" / f"{qm}-nomoddrop" / f"seed-{number}"


def summary(stdout: str) -> list[int]:
    """cells, done already, run, failed, and refused where there are some."""
    lines = stdout.splitlines()
    assert lines[-1].endswith("runs")
    return [int(word) for word in lines[-3].split()]


def test_a_sweep_to_its_end_shares_first_models_and_makes_what_al_run_makes(mmal, tmp_path, tiny_data, write_grid):
    (tmp_path / "counting.py").write_text(COUNTING.format(here=str(tmp_path)))
    own = f"model.encoders.image={tmp_path / 'counting.py'}"
    path = write_grid(sets=[own])
    words = ("--out", tmp_path / "runs", "--gpu", "none")
    done = mmal("sweep", path, *words, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert summary(done.stdout) == [2, 0, 2, 0]
    assert "sweep grid: 4 of 4 cycles, done in" in done.stderr
    # modalities a and b have an encoder each; two methods of two cycles share the first
    assert (tmp_path / "trained.txt").read_text().count("trained") == 2 * 3
    for qm in ("random", "kcg"):
        assert {p.name for p in seed(tmp_path, qm).iterdir()} == {"cycle-00.h5", "cycle-01.h5", "run.log", "run.yaml"}
    record = seed(tmp_path, "random") / "run.yaml"
    written = record.stat().st_mtime_ns
    rest = [word for text in [*FAST, own] for word in ("--set", text)]
    one = ("--data", tiny_data, "--qm", "random", "--regime", "low", "--with", "quick", "--no-moddrop", *rest)
    assert "already done" in mmal("al-run", *one, *words).stderr
    assert Run.read(record).made["command"].startswith(f"mmal al-run --data {tiny_data} --qm random --regime low --seed 0")
    again = mmal("sweep", path, *words)
    assert (again.returncode, summary(again.stdout)) == (0, [2, 2, 0, 0])
    assert record.stat().st_mtime_ns == written


def test_cells_that_fail_or_die_leave_the_others_alone_and_a_second_sweep_mends_them(mmal, tmp_path, write_grid, works):
    (tmp_path / "bad.py").write_text(BROKEN.format(body="raise ValueError('no idea')"))
    (tmp_path / "dies.py").write_text(BROKEN.format(body="os.kill(os.getpid(), 9)"))
    path = write_grid([tmp_path / "bad.py", tmp_path / "dies.py", "random"])
    words = ("sweep", path, "--out", tmp_path / "runs", "--gpu", "none", "--jobs", 1)
    done = mmal(*words)
    assert done.returncode == 4, done.stderr
    assert summary(done.stdout) == [3, 0, 1, 2]
    assert f"failed: {seed(tmp_path, 'bad')}\n  ValueError: no idea\n  again: mmal al-run --data " in done.stdout
    assert "the worker process died (SIGKILL, as when memory ran out)" in done.stdout
    assert "sweep grid: 2 of 2 cycles, done in " in done.stderr, "without the four that failed cells do not have"
    kept = (seed(tmp_path, "bad") / "error.txt").read_text()
    assert kept.startswith("failed in cycle 1 of 2, epoch 1 of 1; try again by: mmal al-run --data ")
    assert f"--out {tmp_path / 'runs'}\nTraceback" in kept
    assert kept.endswith("ValueError: no idea\n")
    assert not list((tmp_path / "runs").rglob("running.yaml"))
    assert running.look(seed(tmp_path, "dies")).state == "failed"
    model = next((tmp_path / "runs").rglob("*.pt"))
    assert first.size(works(qms=["random"])[0].work.cell) == pytest.approx(model.stat().st_size, rel=0.05)
    write_grid([tmp_path / "bad.py", tmp_path / "dies.py", "random"])
    for name in ("bad", "dies"):
        (tmp_path / f"{name}.py").write_text(BROKEN.format(body="return view.unlabelled.index[:size]"))
    done = mmal(*words)
    assert (done.returncode, summary(done.stdout)) == (0, [3, 1, 2, 0])
    assert not list((tmp_path / "runs").rglob("error.txt"))


def test_ctrl_c_leaves_no_process_and_the_next_sweep_goes_on(mmal, tmp_path, write_grid, begin):
    (tmp_path / "slow.py").write_text(WATCHED.format(here=str(tmp_path)))
    (tmp_path / "wait").touch()
    path = write_grid([tmp_path / "slow.py"], seeds=(0, 1))
    process = begin(path, "--jobs", "2")
    until(lambda: (tmp_path / "calls.txt").exists() and (tmp_path / "calls.txt").read_text().count("asked") == 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.endswith("interrupted: what was finished stays; give the same command again to go on\n")
    assert "Traceback" not in said
    until(lambda: not alive(process), 5)  # multiprocessing's own helper follows a moment later
    assert {p.name for p in seed(tmp_path, "slow").iterdir()} == {"run.log"}
    (tmp_path / "wait").unlink()
    done = mmal("sweep", path, "--out", tmp_path / "runs", "--gpu", "none", "--jobs", 1)
    assert (done.returncode, summary(done.stdout)) == (0, [2, 0, 2, 0])


def test_two_sweeps_at_once_and_a_status_beside_them(tmp_path, write_grid, begin):
    (tmp_path / "slow.py").write_text(WATCHED.format(here=str(tmp_path)))
    (tmp_path / "wait").touch()
    path = write_grid([tmp_path / "slow.py", "random"])
    first = begin(path, "--jobs", "1")
    until(lambda: (tmp_path / "calls.txt").exists())
    second = begin(path, "--jobs", "1")
    until((seed(tmp_path, "random") / "run.yaml").exists)
    shown = CliRunner().invoke(app.build(), ["status", str(tmp_path / "runs"), "--grid", str(path)], catch_exceptions=False)
    line = next(line.split() for line in shown.stdout.splitlines() if "slow-nomoddrop" in line)
    assert line[3:8] == ["-", "1", "-", "-", "-"]
    assert line[8:12] in (["cycle", "1", "of", "2"], ["cycle", "1", "of", "2,"])
    assert "2 cells: 1 done, 1 running, 0 failed" in shown.stdout
    assert running.read(seed(tmp_path, "slow")).engine == "local"
    os.kill(first.pid, signal.SIGKILL)  # its worker follows it and gives the cell back; the second sweep takes it
    until(lambda: not alive(first))
    until(lambda: (tmp_path / "calls.txt").read_text().count("asked") == 2)
    (tmp_path / "wait").unlink()
    stdout, stderr = second.communicate(timeout=60)
    assert second.returncode == 0, stderr
    assert summary(stdout) == [2, 0, 2, 0]
    assert (tmp_path / "calls.txt").read_text().count("asked") == 2


@pytest.fixture
def works(tmp_path, write_grid):
    """The cells of a grid, seen."""

    def expanded(**more) -> list[sweep.Seen]:
        content = grid.load(str(write_grid(**more)))
        return [sweep.see(work) for work in sweep.expand(content, tmp_path / "data", tmp_path / "runs", "cpu")]

    return expanded


def test_of_cells_that_share_a_first_model_one_starts_until_it_is_there(works):
    cells = [one.work for one in works(qms=["random", "kcg", "bald"], seeds=[0, 1])]
    names = [(work.cell.qm, work.cell.seed) for work in cells]
    assert names == [(qm, k) for qm in ("random", "kcg", "bald") for k in (0, 1)]
    assert len({work.first for work in cells}) == 4
    random, other, kcg, _, bald, _ = cells
    assert ready(cells, []) is random
    assert ready([kcg, bald, other], [random]) is bald, "bald trains with dropout, so it shares nothing with random"
    assert ready([kcg], [random]) is None
    random.folder.mkdir(parents=True)
    (random.folder / "cycle-00.h5").touch()
    assert ready([kcg], [random]) is kcg, "the first cycle is over, though its model was removed"
    (random.folder / "cycle-00.h5").unlink()
    random.first.parent.mkdir()
    random.first.touch()
    assert ready([kcg], [random]) is kcg
    random.first.unlink()
    with running.claimed(random.folder, "x", "local", 2, 1):
        assert ready([random, kcg], []) is None, "another sweep trains it"


def test_the_cost_of_what_is_left_by_hand(works, tmp_path, write_grid):
    """Start 15, query 15, 2 cycles of 1 epoch; random and kcg share their first model, bald does not; seeds 0 and 1."""
    seen = works(qms=["random", "kcg", "bald"], seeds=[0, 1])
    left = sweep.cost(seen)
    assert (left.trainings, left.epochs, left.labels, left.timed) == (12 - 2, 10, 6 * 30, 0)
    # 30 test samples, 3 classes, 3 subsets, 2 bytes; positions of 15 validation, 15 or 30 labelled, 15 or 0 selected
    one, model = 540 + 8 * 45 + 6 * sweep.HEAD, first.size(seen[0].work.cell)
    assert left.disk == 6 * 2 * one + 4 * model
    folder = seen[0].work.folder
    folder.mkdir(parents=True)
    (folder / "cycle-00.h5").touch()
    left = sweep.cost(works(qms=["random", "kcg", "bald"], seeds=[0, 1]))
    assert (left.trainings, left.labels) == (10, 5 * 30), "its model is not there: kcg has to train it"
    assert left.disk == 11 * one + 4 * model
    words = ["sweep", str(write_grid()), "--dry-run", "--out", str(tmp_path / "none"), "--gpu", "none", "--jobs", "2"]
    said = CliRunner().invoke(app.build(), words, catch_exceptions=False).stdout.splitlines()
    assert said[-6:] == [
        "cells left      2 of 2",
        "trainings left  3 (1 more are shared first cycles)",
        "epochs          3",
        "labels to ask   60",
        f"disk            {(4 * one + model) / 1000:.0f} kB",
        "time            unknown: nothing of this kind has run yet",
    ]


def test_time_is_told_by_the_runs_that_are_done(works):
    seen = works(qms=["random", "kcg"])
    done = sweep.Seen(seen[0].work, running.Found("done", 2), seconds=4.0)
    left = sweep.cost([done, seen[1]])
    assert (left.trainings, left.timed, left.seconds) == (2, 2, 8.0)


def test_the_papers_grids(tmp_path):
    sizes = {name: len(sweep.places(grid.load(name))) for name in plugins.names(grid.GRIDS, ".yaml") if name != "smoke"}
    tables = {f"table{k}": 63 for k in range(7, 17)}
    assert sizes == {"table1": 4 * 2 * 3, "table2": 252, "table3": 252, "table4": 126} | tables
    drops = {p.dataset: p.moddrop for p in sweep.places(grid.load("table2"))}
    assert drops == {"missing": True, "share": True, "unique": True, "synergy": False}
    for name in drops:  # manifests alone are read
        fields = tiny.head(name, 60000, 10000, 10, {}, ("cifar10", "mnist") if name == "share" else ("a", "b"))
        shards = {"train": 60000, "test": 10000}
        splits = {
            split: {"samples": n, "shards": [{"file": f"{split}.h5", "samples": n, "sha256": ""}]}
            for split, n in shards.items()
        }
        manifest = Dataset.model_validate(fields | {"id": name, "splits": splits, "made": {}})
        manifest.write(tmp_path / name / "dataset.yaml")
    seen = [sweep.see(work) for work in sweep.expand(grid.load("table2"), tmp_path, tmp_path / "runs", "cpu")]
    left = sweep.cost(seen)
    # 10 cycles each; in each of 36 groups 6 of the 7 methods share a first model, bald has its own
    assert left.trainings == 2520 - 36 * 5
    # 9 runs' budgets of 10 times 50, 250 and 1000, or 500, 1000 and 5000 labels, for 7 methods and 3 seeds
    assert left.labels == 21 * 10 * (2 * (50 + 250 + 1000) + 2 * (500 + 1000 + 5000))


def test_another_configuration_is_named_and_never_run(works, tmp_path, write_grid):
    work = works()[0].work
    run = {
        "format": 1,
        "kind": "run",
        "id": "0" * 12,
        "config": work.cell.content | {"regime": "mid"},
        "cycles": [],
        "made": {},
    }
    work.folder.mkdir(parents=True)
    (work.folder / "run.yaml").write_text(yaml.safe_dump(run | {"inputs": {"dataset": {"id": work.cell.dataset.id}}}))
    one, other = works()
    assert "belongs to another configuration: config.regime (there 'mid', asked 'low')" in one.refused
    assert (one.open, other.open) == (False, True)
    words = ["sweep", str(write_grid()), "--out", str(tmp_path / "runs"), "--gpu", "none", "--jobs", "1"]
    done = CliRunner().invoke(app.build(), words)
    assert (done.exit_code, summary(done.stdout)) == (2, [2, 0, 1, 0, 1]), "the other cell was run"
    assert f"refused: {work.folder} belongs to another configuration: config.regime (there 'mid'" in done.stdout
    assert "again: " not in done.stdout
    assert "tries failed cells again" not in done.stderr
    assert "1 cell is of other settings" in done.stderr
    assert not (work.folder / "error.txt").exists()
    assert "cannot be run: " in CliRunner().invoke(app.build(), [*words, "--dry-run"]).stdout


def test_a_folder_that_another_configuration_takes_meanwhile_is_refused_too(works):
    """Seen to be free, then an al-run of other settings was quicker."""
    work = works()[0].work
    other = replace(work.cell, settings=work.cell.settings.model_copy(update={"start_set": "random"}))
    loop.run_active_learning(other, work.data, work.out, torch.device("cpu"), "mmal al-run")
    outcome = run_cell(work, "cpu", "local", "a")
    assert (outcome.result, (work.folder / "error.txt").exists()) == ("refused", False)
    assert "config.settings.start_set (there 'random', asked 'balanced')" in outcome.error


def test_a_dataset_that_is_not_there_is_one_error_for_all(mmal, tmp_path):
    done = mmal("sweep", "table2", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "error: data/missing/dataset.yaml not found; make it by: mmal gen-quint --setting missing",
        "       data/share/dataset.yaml not found; make it by: mmal prepare-share SOURCE",
        "       data/unique/dataset.yaml not found; make it by: mmal gen-quint --setting unique",
        "       data/synergy/dataset.yaml not found; make it by: mmal gen-quint --setting synergy",
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"regime": ["low"]}, r"grid.yaml: unknown key 'regime'; did you mean 'regimes'\?"),
        ({"qms": ["badg"]}, r"unknown query method 'badg'; did you mean 'badge'\?"),
        ({"regimes": ["lo"]}, r"unknown regime 'lo'"),
        ({"seeds": []}, r"grid.yaml: seeds: List should have at least 1 item"),
        ({"seeds": [1, 1]}, r"grid.yaml: seeds: 1 is there twice, expected each once"),
        ({"seeds": [-1]}, r"grid.yaml: seeds.0: Input should be greater than or equal to 0"),
        ({"moddrop": ["maybe"]}, r"grid.yaml: moddrop.0"),
        ({"cells": {"share": {"seeds": [1]}}}, r"cells names 'share', expected one of the datasets: tiny"),
        ({"with": ["quik"]}, r"unknown protocol 'quik'; did you mean 'quick'\?"),
        ({"set": ["train.lrr=1"]}, r"--set train.lrr=1: unknown key 'train.lrr'; did you mean 'lr'\?"),
        ({"datasets": {"other": "TINY"}}, r"holds dataset 'tiny', expected 'other'"),
    ],
)
def test_a_grid_that_is_wrong_says_where(tmp_path, write_grid, tiny_data, more, message):
    if "datasets" in more:
        more = {"datasets": {"other": str(tiny_data)}}
    with pytest.raises(UserError, match=message):
        sweep.expand(grid.load(str(write_grid(**more))), tmp_path, tmp_path / "runs", "cpu")


def test_a_dataset_that_make_makes_small_is_made_small_by_what_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = "data/synergy-small/dataset.yaml not found; make it by: "
    small += "mmal gen-quint --setting synergy-small --train 3000 --test 900 --size 32"
    assert small in CliRunner().invoke(app.build(), ["sweep", "smoke"]).stderr
    said = CliRunner().invoke(app.build(), ["sweep", "table9", "--skip-missing"]).stderr
    assert "none of the datasets of table9 is there: data/share; make it by: mmal prepare-share SOURCE" in said


def test_a_grid_takes_tuned_files_where_there_are_some(tmp_path, write_grid, tiny_data):
    dataset = Dataset.read(tiny_data / "dataset.yaml")
    config = {"settings": {"train": {"moddrop": {"enabled": False}}}}
    fields = {"id": "0", "dataset": "tiny", "dataset_id": dataset.id, "regime": "low", "seeds": [0], "grid": {}, "made": {}}
    point = Point(settings={"train.lr": 3.0}, scores=[0.5], mean=0.5)
    found = Tuned(**fields, config=config, chosen={"train": {"lr": 3.0}}, points=[point])
    path = tmp_path / "tuned/tiny-low.yaml"
    found.write(path)
    sets = [text for text in FAST if not text.startswith("train.lr")]
    own = write_grid(
        ["random"], regimes=["low", "mid"], moddrop=[False, True], tuned=str(path.parent), set=sets, **{"with": []}
    )
    read = grid.load(str(own))
    assert sweep.untuned(read) == ["tiny low", "tiny mid without moddrop", "tiny mid"]
    cells = [work.cell for work in sweep.expand(read, tmp_path, tmp_path / "runs", "cpu")]
    assert [cell.settings.train.lr == 3.0 for cell in cells] == [True, False, False, False]
    assert f"--with {path} " in sweep.expand(read, tmp_path, tmp_path / "runs", "cpu")[0].command
    done = CliRunner().invoke(app.build(), ["sweep", str(own), "--dry-run", "--gpu", "none", "--out", str(tmp_path / "none")])
    assert f"{path.parent} has no tuned settings for tiny low, tiny mid without moddrop, tiny mid: " in done.stderr
    found.model_copy(update={"dataset_id": "f" * 12}).write(path)
    with pytest.raises(UserError, match=f"was tuned for tiny with id {'f' * 12}, which now is {dataset.id}; tune it again by"):
        sweep.expand(read, tmp_path, tmp_path / "runs", "cpu")


def test_names_of_grids_and_engines_and_one_method_twice(tmp_path, write_grid):
    with pytest.raises(UserError, match=r"unknown grid 'tabel2'; did you mean 'table2'\?"):
        grid.load("tabel2")
    done = CliRunner().invoke(app.build(), ["sweep", "smoke", "--engine", "locall"])
    assert (done.exit_code, "unknown engine 'locall'; did you mean 'local'?" in done.stderr) == (2, True)
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(BROKEN.format(body=name))
    path = write_grid([tmp_path / "x/mine.py", tmp_path / "y/mine.py"])
    with pytest.raises(UserError, match=r"two query methods of the grid are called 'mine'"):
        sweep.expand(grid.load(str(path)), tmp_path, tmp_path / "runs", "cpu")


def test_cells_have_their_own_lists_where_the_grid_says_so(write_grid):
    found = sweep.places(grid.load(str(write_grid(moddrop=[True, False], cells={"tiny": {"moddrop": [True], "seeds": [7]}}))))
    assert {(place.moddrop, place.seed) for place in found} == {(True, 7)}


def test_workers_get_their_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local.devices(Options()) == ["cuda:0", "cuda:1"]
    assert local.devices(Options(jobs=3)) == ["cuda:0", "cuda:1", "cuda:0"]
    assert local.devices(Options(jobs=2, gpu="1")) == ["cuda:1", "cuda:1"]
    assert local.devices(Options(jobs=2, gpu="none")) == ["cpu", "cpu"]
    for options, message in ((Options(0), "--jobs is 0, expected 1 or more"), (Options(gpu="0,2"), "GPU 2 is not there")):
        with pytest.raises(UserError, match=message):
            local.devices(options)


def test_a_claim_is_exclusive_until_it_is_stale(tmp_path, monkeypatch):
    folder, claim = tmp_path / "seed-0", lambda token: running.claimed(tmp_path / "seed-0", token, "local", 2, 4)
    with claim("a") as mine:
        mine.progress(4, 8)
        with claim("b") as other:
            assert other is None
        assert running.read(folder).token == "a"
        long_ago = time.time() - 2 * running.STALE
        os.utime(folder / "running.yaml", (long_ago, long_ago))
        with claim("b") as other:
            assert other is not None
            monkeypatch.setattr(running, "BEAT", 0.01)
            mine.beat()
            with pytest.raises(running.Lost):
                mine.progress(5, 8)
        assert not (folder / "running.yaml").exists()
    assert list(folder.iterdir()) == []


def test_al_run_leaves_a_cell_alone_that_a_sweep_runs(mmal, tmp_path, tiny_data):
    words = ["al-run", "--data", tiny_data, "--qm", "random", "--regime", "low", "--with", "quick", "--gpu", "none"]
    with running.claimed(tmp_path / "runs/tiny/low/random/seed-0", "a", "local", 2, 4):
        said = mmal(*words, cwd=tmp_path)
    assert said.returncode == 2
    assert (
        "error: runs/tiny/low/random/seed-0 is being run by another sweep; see how far it is: mmal status runs" in said.stderr
    )


def test_an_al_run_is_seen_and_a_sweep_leaves_it_alone_and_says_so(tmp_path, works, begin):
    (tmp_path / "slow.py").write_text(WATCHED.format(here=str(tmp_path)))
    (tmp_path / "wait").touch()
    again = works(qms=[tmp_path / "slow.py"])[0].work.again
    folder = seed(tmp_path, "slow")
    folder.mkdir(parents=True)
    (folder / "error.txt").write_text("failed\n")
    single = subprocess.Popen([sys.executable, "-m", *again.replace("mmal", "mmal_cli", 1).split(), "--gpu", "none"])
    until(lambda: (tmp_path / "calls.txt").exists())
    found = running.look(folder)
    assert (found.state, found.running.engine) == ("running", "al-run")
    process = begin(tmp_path / "grid.yaml", "--jobs", "1")
    said = process.stderr.readline() + process.stderr.readline()
    assert f"waiting for others, who run {folder} (1 cell left); see how far they are: mmal status" in said
    (tmp_path / "wait").unlink()
    stdout, _ = process.communicate(timeout=60)
    assert (single.wait(), process.returncode, summary(stdout)) == (0, 0, [1, 1, 0, 0])
    assert (tmp_path / "calls.txt").read_text().count("asked") == 1
    assert not (folder / "error.txt").exists()


def test_what_a_killed_process_has_claimed_is_free_at_once(tmp_path):
    code = "import os; from pathlib import Path; from mmal_cli.core import running\n"
    code += f"with running.claimed(Path({str(tmp_path)!r}), 'a', 'local', 2, 1):\n    os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert running.read(tmp_path).token == "a"
    assert not running.taken(tmp_path)
    with running.claimed(tmp_path, "b", "local", 2, 1) as claim:
        assert claim is not None
        assert running.taken(tmp_path)


def test_an_error_that_is_removed_while_one_looks(tmp_path, monkeypatch):
    """As a sweep does whose cell has just ended."""
    (tmp_path / "error.txt").write_text("failed\n")
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: exists(path) and not (path.name == "error.txt" and not path.unlink()))
    monkeypatch.setattr(Path, "read_text", lambda path, **_: path.unlink() or path.open())
    assert running.look(tmp_path).state == "todo"


def test_a_worker_that_is_killed_while_idle_is_replaced(works):
    one, other = (seen.work for seen in works())
    worker = local.Worker("cpu")
    worker.give(one)
    assert worker.take()[1].result == "ran"
    worker.process.kill()
    worker.process.join()
    worker.give(other)
    assert worker.take()[1] == Outcome(other.folder, "ran")
    worker.end()


def test_a_cell_whose_record_is_there_has_run_whatever_became_of_its_process(works):
    work = works()[0].work
    with running.claimed(work.folder, "a", "slurm", 2, 1):
        (work.folder / "run.yaml").touch()
        (work.folder / "error.txt").touch()
        assert died(work, "a", "the Slurm task 7_1 died") == Outcome(work.folder, "ran")
        assert {path.name for path in work.folder.iterdir()} == {"run.yaml"}


def test_cells_have_the_same_threads_on_every_engine_and_models_know_them(works, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    one = works()[0].work
    assert one.threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    two = works()[0].work
    assert (two.threads, two.first == one.first) == (2, False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert first.name(two.cell, 0.0, "cpu") == two.first.name, "the run itself makes it there"
    assert first.name(two.cell, 0.0, "cuda", 1) == first.name(two.cell, 0.0, "cuda", 2)


def test_a_sign_of_life_says_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "BEAT", 0.01)
    with running.claimed(tmp_path, "a", "local", 2, 4) as claim:
        assert running.read(tmp_path).seconds_left() is None
        claim.progress(4, 8)
        (tmp_path / "cycle-00.h5").touch()
        claim.progress(6, 8)
        until(lambda: (running.read(tmp_path) or claim.said).epoch == 2)
        said = running.read(tmp_path)
        assert (said.cycle, said.epoch, said.before, said.cycles) == (1, 2, 4, 2)
        elapsed = said.seconds_left()
        assert elapsed == pytest.approx((time.time() - said.started.timestamp()), abs=0.5), "2 of 4 epochs are left"
        assert {"token", "process", "engine", "started", "before", "cycle", "cycles", "epoch", "epochs"} == set(
            yaml.safe_load((tmp_path / "running.yaml").read_text())
        )


def test_an_abandoned_claim_that_another_took_first_is_put_back(tmp_path):
    (tmp_path / "running.yaml").write_text("fresh")
    running._put_aside(tmp_path / "running.yaml")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("running.yaml", "fresh")]


def test_make_runs_what_the_figures_show_and_brings_what_an_engine_needs(tmp_path):
    def dry(*words: str) -> str:
        words = ["make", "-n", *words, "SCALE=quick", f"DATA={tmp_path}"]
        return subprocess.run(words, cwd=plugins.PACKAGE.parent, capture_output=True, text=True, check=True).stdout

    def swept(said: str) -> list[int]:
        return [int(number) for number in re.findall(r"mmal sweep table(\d+) --engine local --scale quick", said)]

    made = [7, 8, 11, 12, 13, 14]
    said = dry("figures")
    assert swept(said) == made, "share, food101 and mimic are not there and have no source"
    assert said.rindex("mmal report runs-quick") > said.rindex("mmal aulc runs-quick --grid table14")
    assert swept(dry("figures", "MIMIC_IV=a", "MIMIC_IV_ECG=b")) == [*made, 16]
    (tmp_path / "share").mkdir()
    (tmp_path / "share/dataset.yaml").touch()
    assert swept(dry("figures", "FOOD101_SOURCE=a")) == [7, 8, 9, 10, 11, 12, 13, 14, 15]
    engines = ".[slurm,ray]"
    new = ("ENV=none", "ENGINES=nothing")
    assert engines not in dry("table13", *new)
    assert engines in dry("table13", "ENGINE=slurm", *new)


def test_of_restricted_data_no_path_is_written(works):
    work = works()[0].work
    dataset = work.cell.dataset.model_copy(update={"restricted": True})
    work = replace(work, cell=replace(work.cell, dataset=dataset))
    outcome = record_failure(work, None, f"error: {work.data}/train-00000.h5 is damaged", "Traceback")
    assert outcome.error == "error: tiny/train-00000.h5 is damaged"
    text = (work.folder / "error.txt").read_text()
    assert str(work.data) not in text
    assert "--data tiny " in text
    shutil.rmtree(work.folder)
