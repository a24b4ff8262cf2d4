"""Grids and their cells by hand: which there are, what they cost, what is wrong with them."""

import re
from pathlib import Path

import pytest
import tiny
from sweeps import BROKEN, FAST
from typer.testing import CliRunner

from mmal_cli import app, costs, first, sweep
from mmal_cli.core import datasets, grid, plugins, running
from mmal_cli.core.errors import UserError
from mmal_cli.core.manifest import Dataset
from mmal_cli.core.tuned import Point, Tuned
from mmal_cli.engines import ready


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


def test_settings_on_the_command_line_come_after_the_grids(tmp_path, write_grid):
    words = [
        "sweep",
        str(write_grid()),
        "--dry-run",
        "--out",
        str(tmp_path / "none"),
        "--gpu",
        "none",
        "--set",
        "train.epochs=4",
    ]
    said = CliRunner().invoke(app.build(), words, catch_exceptions=False).stdout.splitlines()
    assert "epochs          12" in said  # 3 trainings, the grid's own setting being 1
    done = CliRunner().invoke(app.build(), [*words, "--set", "train.epoch=4"])
    assert (done.exit_code, "--set train.epoch=4: unknown key" in done.stderr) == (2, True)


def test_the_cost_of_what_is_left_by_hand(works, tmp_path, write_grid):
    """Start 15, query 15, 2 cycles of 1 epoch; random and kcg share their first model, bald does not; seeds 0 and 1."""
    seen = works(qms=["random", "kcg", "bald"], seeds=[0, 1])
    left = costs.cost(seen)
    assert (left.trainings, left.epochs, left.labels, left.timed) == (12 - 2, 10, 6 * 30, 0)
    # 30 test samples, 3 classes, 3 subsets, 2 bytes; positions of 15 validation, 15 or 30 labelled, 15 or 0 selected
    one, model = 540 + 8 * 45 + 6 * costs.HEAD, first.size(seen[0].work.cell)
    assert left.disk == 6 * 2 * one + 4 * model
    folder = seen[0].work.folder
    folder.mkdir(parents=True)
    (folder / "cycle-00.h5").touch()
    left = costs.cost(works(qms=["random", "kcg", "bald"], seeds=[0, 1]))
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
    left = costs.cost([done, seen[1]])
    assert (left.trainings, left.timed, left.seconds) == (2, 2, 8.0)


def test_the_papers_grids(tmp_path):
    sizes = {name: len(sweep.places(grid.load(name))) for name in plugins.names(grid.GRIDS, ".yaml") if name != "smoke"}
    tables = {f"table{k}": 63 for k in range(7, 17)}
    others = {"pitfalls": 225, "pitfalls-self-sl": 225, "pitfalls-semi-sl": 120, "query-size": 90, "fusions": 12}
    assert sizes == {"table1": 24, "table2": 252, "table3": 252, "table4": 126} | tables | others
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
    left = costs.cost(seen)
    # 10 cycles each; in each of 36 groups 6 of the 7 methods share a first model, bald has its own
    assert left.trainings == 2520 - 36 * 5
    # 9 runs' budgets of 10 times 50, 250 and 1000, or 500, 1000 and 5000 labels, for 7 methods and 3 seeds
    assert left.labels == 21 * 10 * (2 * (50 + 250 + 1000) + 2 * (500 + 1000 + 5000))


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


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("cifar10", "mmal prepare-images SOURCE"),
        ("cifar10-lt", "mmal prepare-images SOURCE --long-tail 50"),
        ("miotcd", "mmal prepare-images SOURCE --name miotcd"),
        ("mimic", "mmal prepare-mimic MIMIC_IV MIMIC_IV_ECG"),
        ("unique", "mmal gen-quint --setting unique"),
    ],
)
def test_a_dataset_that_is_not_there_comes_with_its_command(name, command):
    assert datasets.maker(Path("data", name), name) == command


def test_small_is_what_make_makes_small():
    text = (plugins.PACKAGE.parent / "Makefile").read_text(encoding="utf-8")
    train, test, size = (re.search(rf"^DEMO_{name} := (\d+)$", text, flags=re.M)[1] for name in ("TRAIN", "TEST", "SIZE"))
    assert f" --train {train} --test {test} --size {size}" == datasets.SMALL


def test_a_grid_takes_tuned_files_where_there_are_some(tmp_path, write_grid, tiny_data, monkeypatch):
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
    reads, read_tuned = [], Tuned.read
    monkeypatch.setattr(Tuned, "read", lambda path: reads.append(path) or read_tuned(path))
    found.write(path)
    assert f"--with {path} " in sweep.expand(read, tmp_path, tmp_path / "runs", "cpu")[0].command
    done = CliRunner().invoke(app.build(), ["sweep", str(own), "--dry-run", "--gpu", "none", "--out", str(tmp_path / "none")])
    assert reads == [path], "once for all cells"
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
