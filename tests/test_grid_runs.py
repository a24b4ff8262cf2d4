"""Runs of other settings than a grid asks: they are refused by a sweep, and no table shows them."""

import copy
from dataclasses import replace

import pytest
import torch
import yaml
from sweeps import summary
from typer.testing import CliRunner

from mmal_cli import app, loop
from mmal_cli.core import grid
from mmal_cli.core.manifest import Run
from mmal_cli.engines import run_cell
from mmal_cli.grid_runs import pick


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
    plan = CliRunner().invoke(app.build(), [*words, "--dry-run"]).stdout
    assert "cannot be run: " in plan
    rows = [line.split() for line in plan.splitlines() if line.split()[:2] == ["tiny", "low"]]
    assert sorted(row[3:] for row in rows) == [["1", "-", "-", "-", "-", "-", "1"], ["1", "1", "-", "-", "-", "-", "-"]]


def test_a_folder_that_another_configuration_takes_meanwhile_is_refused_too(works):
    """Seen to be free, then an al-run of other settings was quicker."""
    work = works()[0].work
    other = replace(work.cell, settings=work.cell.settings.model_copy(update={"start_set": "random"}))
    loop.run_active_learning(other, work.data, work.out, torch.device("cpu"), "mmal al-run")
    outcome = run_cell(work, "cpu", "local", "a")
    assert (outcome.result, (work.folder / "error.txt").exists()) == ("refused", False)
    assert "config.settings.start_set (there 'random', asked 'balanced')" in outcome.error


@pytest.fixture
def finished(works):
    """Runs of random, kcg and badge as their records would be, kcg's made at another learning rate; by their folders."""
    runs = {}
    for one in works(qms=["random", "kcg", "badge"]):
        cell = one.work.cell
        config = copy.deepcopy(cell.content)
        if cell.qm == "kcg":
            config["settings"]["train"]["lr"] = 0.02
        made = {"id": "0" * 12, "config": config, "inputs": cell.inputs, "cycles": [], "made": {}}
        runs[one.work.folder] = Run.model_validate(made)
    return runs


def test_a_run_of_other_settings_is_no_cell_of_the_grid(finished, write_grid, tmp_path):
    asked = grid.load(str(write_grid(qms=["random", "kcg"], seeds=[0, 1])))
    picked = pick(finished, asked, tmp_path)
    assert [run.config["qm"] for run in picked.runs.values()] == ["random"], "badge is not of the grid"
    (said,) = picked.others.values()
    assert "config.settings.train.lr (there 0.02, asked 0.01)" in said
    assert [(row["qm"], row["seeds"]) for row in picked.not_run] == [("random", [1]), ("kcg", [0, 1])]
    assert (len(picked.wanted), picked.unknown) == (4, [])


def test_a_run_of_other_data_of_the_same_name_is_none_either(finished, write_grid, tmp_path):
    for run in finished.values():
        run.inputs["dataset"]["id"] = "f" * 12
    picked = pick(finished, grid.load(str(write_grid(qms=["random"]))), tmp_path)
    assert picked.runs == {}
    assert "dataset_id (there 'ffffffffffff'" in next(iter(picked.others.values()))


def test_without_the_dataset_settings_cannot_be_compared_and_that_is_said(finished, write_grid, tmp_path):
    gone = grid.load(str(write_grid(qms=["random", "kcg"], datasets={"tiny": None})))
    picked = pick(finished, gone, tmp_path / "nowhere")
    assert [run.config["qm"] for run in picked.runs.values()] == ["random", "kcg"]
    assert picked.unknown == [tmp_path / "nowhere/tiny"]


def test_aulc_leaves_out_what_sweep_refuses(works, write_grid, tmp_path):
    made = works()[0].work
    other = replace(made.cell, settings=made.cell.settings.model_copy(update={"start_set": "random"}))
    loop.run_active_learning(other, made.data, made.out, torch.device("cpu"), "mmal al-run")
    words = ["aulc", str(made.out), "--grid", str(write_grid()), "--out", str(tmp_path / "aulc.yaml")]
    done = CliRunner().invoke(app.build(), words)
    assert f"left out: {made.folder} belongs to another configuration: config.settings.start_set" in done.stderr
    assert done.exit_code == 3
    assert f"{made.out} holds no finished run of grid" in done.stderr
    assert not (tmp_path / "aulc.yaml").exists()
