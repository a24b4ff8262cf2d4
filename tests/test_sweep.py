"""Sweeps: real processes on a tiny dataset, to the end, failing, killed, interrupted, two at once; their workers."""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace

import pytest
import torch
from sweeps import BROKEN, FAST, WATCHED, alive, seed, summary, until
from typer.testing import CliRunner

from mmal_cli import app, first
from mmal_cli.core import plugins, running
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Run
from mmal_cli.engines import Options, Outcome, died, local, record_failure

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


def test_a_sweep_to_its_end_shares_first_models_and_makes_what_al_run_makes(alone, tmp_path, tiny_data, write_grid):
    (tmp_path / "counting.py").write_text(COUNTING.format(here=str(tmp_path)))
    own = f"model.encoders.image={tmp_path / 'counting.py'}"
    path = write_grid(sets=[own])
    words = ("--out", tmp_path / "runs", "--gpu", "none")
    done = alone("sweep", path, *words, "--jobs", 2)
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
    assert "already done" in alone("al-run", *one, *words).stderr
    assert Run.read(record).made["command"].startswith(f"mmal al-run --data {tiny_data} --qm random --regime low --seed 0")
    again = alone("sweep", path, *words)
    assert (again.returncode, summary(again.stdout)) == (0, [2, 2, 0, 0])
    assert record.stat().st_mtime_ns == written


def test_cells_that_fail_or_die_leave_the_others_alone_and_a_second_sweep_mends_them(alone, tmp_path, write_grid, works):
    (tmp_path / "bad.py").write_text(BROKEN.format(body="raise ValueError('no idea')"))
    (tmp_path / "dies.py").write_text(BROKEN.format(body="os.kill(os.getpid(), 9)"))
    path = write_grid([tmp_path / "bad.py", tmp_path / "dies.py", "random"])
    words = ("sweep", path, "--out", tmp_path / "runs", "--gpu", "none", "--jobs", 1)
    done = alone(*words)
    assert done.returncode == 4, done.stderr
    assert summary(done.stdout) == [3, 0, 1, 2]
    said = "error: query method bad, cycle 0: asked for 15 of 90: bad.py, line 7: ValueError: no idea"
    assert f"failed: {seed(tmp_path, 'bad')}\n  {said}\n  again: mmal al-run --data " in done.stdout
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
    done = alone(*words)
    assert (done.returncode, summary(done.stdout)) == (0, [3, 1, 2, 0])
    assert not list((tmp_path / "runs").rglob("error.txt"))


def test_ctrl_c_leaves_no_process_and_the_next_sweep_goes_on(alone, tmp_path, write_grid, begin):
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
    done = alone("sweep", path, "--out", tmp_path / "runs", "--gpu", "none", "--jobs", 1)
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


def test_workers_get_their_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local.devices(Options()) == ["cuda:0", "cuda:1"]
    assert local.devices(Options(jobs=3)) == ["cuda:0", "cuda:1", "cuda:0"]
    assert local.devices(Options(jobs=2, gpu="1")) == ["cuda:1", "cuda:1"]
    assert local.devices(Options(jobs=2, gpu="none")) == ["cpu", "cpu"]
    for options, message in ((Options(0), "--jobs is 0, expected 1 or more"), (Options(gpu="0,2"), "GPU 2 is not there")):
        with pytest.raises(UserError, match=message):
            local.devices(options)


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


def test_a_damaged_record_is_called_damaged_and_left_as_it_is(works, tmp_path, write_grid):
    random, kcg = (seen.work for seen in works())
    random.folder.mkdir(parents=True)
    record = random.folder / "run.yaml"
    record.write_text("kind: ru")
    one, other = works()
    assert (one.refused, one.open, other.open) == ("", False, True)
    words = ["sweep", str(write_grid(["random"])), "--out", str(tmp_path / "runs"), "--gpu", "none"]
    said = f"{record} holds 'ru', expected kind 'run'"
    plan = CliRunner().invoke(app.build(), [*words, "--dry-run"]).stdout
    assert f"cannot be run: {said}" in plan
    done = CliRunner().invoke(app.build(), words)
    assert (done.exit_code, summary(done.stdout)) == (3, [1, 0, 0, 0, 1])
    assert f"damaged: {said}" in done.stdout
    assert "1 record cannot be read (above: why); without its run.yaml the same sweep makes it anew" in done.stderr
    assert "of other settings" not in done.stderr
    assert record.read_text() == "kind: ru"
    kcg.folder.mkdir(parents=True)
    run = Run(id="0" * 12, config=kcg.cell.content | {"regime": "mid"}, inputs=kcg.cell.inputs, cycles=[], made={})
    run.write(kcg.folder / "run.yaml")
    write_grid()
    done = CliRunner().invoke(app.build(), words)
    assert (done.exit_code, summary(done.stdout)) == (2, [2, 0, 0, 0, 1, 1]), "other settings come before damage"


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
    assert first.name(two.cell, 0.0, "cuda") != first.name(two.cell, 0.0, "cuda", deterministic=True)
    assert first.name(two.cell, 0.0, "cpu") == first.name(two.cell, 0.0, "cpu", deterministic=True)


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
