"""The paper's tables from the shell: grids small by --scale quick, cells that have not run empty and counted, make's chain."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import fake_runs
import pytest
import tiny

from mmal_cli.core import grid
from mmal_cli.core.settings import resolve
from mmal_cli.sweep import places

ROOT = Path(__file__).resolve().parent.parent


def test_a_table_at_the_scale_quick_has_stand_ins_with_the_moddrop_of_what_they_stand_for():
    cells = places(grid.load("table2", "quick"))
    assert {(p.dataset, p.moddrop) for p in cells} == {
        ("missing-small", True), ("share", True), ("unique-small", True), ("synergy-small", False)
    }  # fmt: skip
    assert {p.seed for p in cells} == {0, 1}
    assert len(cells) == 4 * 3 * 7 * 2
    assert {(p.dataset, p.moddrop) for p in places(grid.load("table13", "quick"))} == {("synergy-small", True)}
    small = grid.load("table1", "quick")
    settings, _ = resolve(tiny.described(3), "high", "random", small.overlays, small.assignments, True)
    assert (settings.train.epochs, settings.budget.cycles, settings.model.encoders) == (8, 3, {"image": "convnet"})


def test_cells_of_a_grid_that_have_not_run_are_empty_and_counted(mmal, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "{datasets: {share: null, food: null}, regimes: [low, mid], qms: [random, badge], moddrop: [true], seeds: [0, 1]}"
    )
    curves = {"a": [0.5, 0.5], "b": [0.1, 0.3]}
    ran = [("low", "random", 0), ("low", "random", 1), ("low", "badge", 1), ("low", "entropy", 0)]
    fake_runs.write(tmp_path / "runs", *(fake_runs.record(curves, regime=r, qm=qm, seed=s) for r, qm, s in ran))
    said = mmal("aulc", "runs", "--grid", "mine.yaml", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    lines = [line.split() for line in said.stdout.splitlines()]
    assert ["low", "badge", "1", "0.50", "±", "-", "0.20", "±", "-"] in lines
    assert ["random", "2", "0.50", "±", "0.00", "0.20", "±", "0.00"] in lines
    assert ["mid", "badge", "0"] in lines
    assert ["random", "0"] in lines
    assert "entropy" not in said.stdout
    assert "5 of the grid's 8 cells have not run." in said.stdout
    assert "food, moddrop on: none of its 8 cells has run." in said.stdout
    none = mmal("aulc", "runs", "--grid", "smoke", cwd=tmp_path)
    assert none.returncode == 3
    assert "error: runs holds no finished run of grid smoke; run it: mmal sweep smoke --scale paper" in none.stderr


def test_datasets_that_are_not_there_can_be_left_out(mmal, tmp_path):
    tiny.make(tmp_path / "data" / "tiny")
    (tmp_path / "mine.yaml").write_text(
        "{datasets: {tiny: null, share: null}, regimes: [low], qms: [random], moddrop: [true], seeds: [0, 1, 2], with: [quick]}"
    )
    said = mmal("sweep", "mine.yaml", "--dry-run", "--skip-missing", "--gpu", "none", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "data/share is not there: its 3 cells stay empty; make it by: mmal prepare-share SOURCE" in said.stderr
    assert re.search(r"cells left +3 of 3", said.stdout)
    nothing = mmal("sweep", "table15", "--skip-missing", cwd=tmp_path)
    assert nothing.returncode == 3
    assert "error: none of the datasets of table15 is there: data/food101" in nothing.stderr


def test_status_in_every_format(mmal, tmp_path):
    fake_runs.write(tmp_path / "runs", fake_runs.record({"a": [0.5], "b": [0.1]}))
    said = {
        name: mmal("status", "runs", "--format", name, cwd=tmp_path).stdout for name in ("rich", "md", "csv", "latex", "json")
    }
    assert "| share | low | random |" in said["md"]
    assert "share,low,random,1" in said["csv"]
    assert r"\begin{tabular}" in said["latex"]
    assert json.loads(said["json"])[0]["state"] == "done"
    assert "1 cells: 1 done, 0 running, 0 failed" in said["rich"]


def test_make_shows_the_chain_of_every_table():
    tables = [f"table{number}" for number in (1, 2, 3, 4, *range(7, 17))]
    for table in tables:
        assert (ROOT / "mmal_cli" / "grids" / f"{table}.yaml").exists()
        command = ["make", "-n", table, "SCALE=quick", "ENGINE=slurm", "MIMIC_IV=a", "MIMIC_IV_ECG=b", "FOOD101_SOURCE=c"]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert f"mmal sweep {table} --engine slurm --scale quick --skip-missing" in said.stdout
        assert f"mmal aulc runs-quick --grid {table} --scale quick" in said.stdout
        assert ("mmal rank " in said.stdout) == (table == "table3")
        assert ("-aulc.yaml --stats --allow-incomplete --out " in said.stdout) == (table == "table3")
    said = subprocess.run(["make", "-n", "table3"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "gen-quint --setting synergy  --out data/synergy" in said
    assert "prepare-share" not in said


FAKE = """#!/bin/sh
echo "$@" >> asked
case $1 in sweep) exit {sweep};; aulc) exit {aulc};; rank) exit {rank};; esac
"""


@pytest.mark.parametrize(
    ("sweep", "aulc", "rank", "code", "asked"),
    [
        (0, 0, 0, 0, "sweep aulc rank"),
        (4, 0, 0, 4, "sweep aulc rank"),  # cells failed: tables of the others
        (4, 0, 3, 4, "sweep aulc rank"),
        (0, 0, 3, 3, "sweep aulc rank"),
        (4, 3, 0, 4, "sweep aulc"),
        (0, 3, 0, 3, "sweep aulc"),
        (130, 0, 0, 130, "sweep"),
    ],
)
def test_make_fails_as_the_sweep_did(tmp_path, sweep, aulc, rank, code, asked):
    said, calls = made(tmp_path, "table3", sweep=sweep, aulc=aulc, rank=rank)
    assert said.returncode == (2 if code else 0)  # make's own, whatever the command's
    assert (f"Error {code}\n" in said.stderr) == bool(code)
    assert [call.split()[0] for call in calls] == asked.split()
    if "rank" in asked:
        assert calls[-1] == "rank results/table3-aulc.yaml --stats --allow-incomplete --out results/table3-rank.yaml"


@pytest.mark.parametrize(("sweep", "code"), [(0, 0), (4, 2)])
def test_a_failed_cell_in_a_table_does_not_hide_the_figures_of_the_others(tmp_path, sweep, code):
    said, calls = made(tmp_path, "figures", sweep=sweep)
    assert said.returncode == code, said.stderr
    tables = [call.split()[1] for call in calls if call.startswith("sweep ")]
    assert tables == [f"table{number}" for number in (7, 8, 11, 12, 13, 14)]
    assert [call for call in calls if call.startswith("report ")] == calls[-1:] == ["report runs --out results/report"]


def made(folder: Path, target: str, **codes: int) -> tuple[subprocess.CompletedProcess, list[str]]:
    """What make says in an empty folder, with a mmal that ends with these codes; and how mmal was called."""
    shutil.copy(ROOT / "Makefile", folder)  # make calls itself for some targets
    needed = re.search(r"^\$\(ENV\): (.+)$", (folder / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)[1].split()
    for number, name in enumerate((*needed, "installed")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        os.utime(folder / name, (number, number))
    fake = folder / "mmal"
    fake.write_text(FAKE.format(**{"sweep": 0, "aulc": 0, "rank": 0} | codes))
    fake.chmod(0o755)
    there = [f"MMAL={fake}", "ENV=installed", "MISSING=", "UNIQUE=", "SYNERGY="]
    said = subprocess.run(["make", target, *there], cwd=folder, capture_output=True, text=True, check=False)
    return said, (folder / "asked").read_text().splitlines()
