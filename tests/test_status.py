"""`mmal status`: what it shows is what the folders hold."""

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.commands.status import _print_page
from mmal_cli.core import grid, running
from mmal_cli.sweep import in_folder


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), ["status", *map(str, words)], catch_exceptions=False)


def cell(root: Path, path: str, *files: str) -> Path:
    folder = root / "runs" / path
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()
    return folder


def fill(root: Path) -> None:
    cell(root, "share/high/badge/seed-0", "cycle-00.h5", "run.yaml")
    cell(root, "share/low/badge/seed-0", "cycle-00.h5", "cycle-01.h5", "run.yaml", "error.txt")
    cell(root, "share/low/badge/seed-1", "cycle-00.h5", "cycle-02.h5")
    cell(root, "share/low/badge/seed-2", "run.log")
    cell(root, "share/low/badge/seed-3")
    failed = cell(root, "share/low/badge/seed-4", "cycle-00.h5")
    (failed / "error.txt").write_text("failed; try again by: mmal\nTraceback\nValueError: no\n")
    cell(root, "share/low/.first-models", "x.pt")


def lines(done) -> list[list[str]]:
    return [line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["share"]]


def test_the_table(tmp_path, invoke):
    fill(tmp_path)
    with running.claimed(tmp_path / "runs/share/low/kcg-nomoddrop/seed-0", "a", "local", 4, 10) as claim:
        claim.progress(10, 40)
        done = invoke("runs")
    assert done.exit_code == 0
    assert lines(done) == [
        ["share", "low", "badge", "1", "-", "2", "1", "-"],
        ["share", "low", "kcg-nomoddrop", "-", "1", "-", "-", "-", "cycle", "1", "of", "4"],
        ["share", "high", "badge", "1", "-", "-", "-", "-"],
    ]
    assert "6 cells: 2 done, 1 running, 1 failed, 2 part done, 0 to do" in done.stdout
    assert "failed: runs/share/low/badge/seed-4\n  ValueError: no\n" in done.stdout
    assert len(lines(invoke("runs/share/high"))) == 1


def test_with_a_grid_what_is_not_begun_is_to_do(tmp_path, invoke):
    fill(tmp_path)
    done = invoke("runs", "--grid", "table9")
    assert [line for line in lines(done) if line[2] == "badge"] == [
        ["share", "low", "badge", "1", "-", "1", "-", "1"],
        ["share", "mid", "badge", "-", "-", "-", "-", "3"],
        ["share", "high", "badge", "1", "-", "-", "-", "2"],
    ]
    assert "63 cells: 2 done" in done.stdout
    assert "63 cells: 0 done" in invoke("nowhere", "--grid", "table9").stdout


def test_a_page_of_a_terminal_begins_with_totals_and_has_room(tmp_path, capsys):
    fill(tmp_path)
    cells = in_folder(tmp_path / "runs", grid.load("table9"))
    _print_page(tmp_path, cells, 40)
    high = capsys.readouterr().out.splitlines()
    assert high[0] == "63 cells: 2 done, 0 running, 0 failed, 1 part done, 60 to do"
    assert len([line for line in high if line.split()[:1] == ["share"]]) == 21
    _print_page(tmp_path, cells, 25)
    low = capsys.readouterr().out.splitlines()
    assert low[0] == high[0]
    assert [line.split() for line in low if line.split()[:1] == ["share"]] == [
        ["share", "low", "7", "methods", "1", "-", "1", "-", "19"],
        ["share", "mid", "7", "methods", "-", "-", "-", "-", "21"],
        ["share", "high", "7", "methods", "1", "-", "-", "-", "20"],
    ]


def test_time_left_and_staleness(tmp_path, invoke):
    folder = cell(tmp_path, "share/low/badge/seed-0")
    said = "token: a\nengine: local\nstarted: 2020-01-01T00:00:00Z\nbefore: 0\ncycle: 1\ncycles: 2\nepoch: 0\nepochs: 1\n"
    (folder / "running.yaml").write_text(said)
    assert "cycle 2 of 2, " in invoke("runs").stdout
    content = json.loads(invoke("runs", "--json").stdout)
    assert content[0]["seconds_left"] > 1e8
    assert (content[0]["state"], content[0]["engine"], content[0]["cycle"]) == ("running", "local", 1)
    assert "token" not in content[0]
    old = time.time() - running.STALE - 1
    os.utime(folder / "running.yaml", (old, old))
    assert json.loads(invoke("runs", "--json").stdout) == [
        {"folder": "runs/share/low/badge/seed-0", "state": "part", "cycles_done": 0}
    ]


def test_nothing_there(tmp_path, invoke):
    done = invoke("runs")
    assert done.exit_code == 3
    assert "error: runs not found; make runs by: mmal sweep smoke" in done.stderr
    (tmp_path / "runs").mkdir()
    assert "no run under runs" in invoke("runs").stderr
    assert invoke("runs", "--watch").exit_code == 0
