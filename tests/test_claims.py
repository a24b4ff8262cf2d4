"""Who runs a folder: claims of sweeps and of al-run, given back, killed, stale, taken over."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from sweeps import WATCHED, seed, summary, until
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.core import running
from mmal_cli.engines import run_cell


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


def test_al_run_leaves_a_cell_alone_that_a_sweep_runs(alone, tmp_path, tiny_data):
    words = ["al-run", "--data", tiny_data, "--qm", "random", "--regime", "low", "--with", "quick", "--gpu", "none"]
    with running.claimed(tmp_path / "runs/tiny/low/random/seed-0", "a", "local", 2, 4):
        said = alone(*words, cwd=tmp_path)
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


def test_an_al_run_that_finds_the_record_only_once_it_has_the_folder_says_already_done(works, monkeypatch):
    work, claimed = works(qms=["random"])[0].work, running.claimed

    def claimed_late(*words):
        monkeypatch.setattr(running, "claimed", claimed)
        assert run_cell(work, "cpu", "local", "a").result == "ran"
        return claimed(*words)

    monkeypatch.setattr(running, "claimed", claimed_late)
    words = [*shlex.split(work.again)[1:], "--gpu", "none"]
    done = CliRunner().invoke(app.build(), words, catch_exceptions=False)
    assert (done.exit_code, f"already done: {work.folder}" in done.stderr) == (0, True)


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
