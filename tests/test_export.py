"""`mmal export`: what leaves, what does not, and that nothing is written where something may not."""

import io
import os
import shutil
import zipfile
from unittest.mock import Mock

import fake_runs
import labs
import numpy as np
import pytest
import yaml
from labs import refused
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.core import shards
from mmal_cli.core.manifest import Run
from mmal_cli.exchange import pack

FIRST = "runs/share/low/random/seed-0"


@pytest.fixture
def export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), ["export", *map(str, words)], catch_exceptions=False)


def read_h5(data: bytes):
    return shards.read_arrays(io.BytesIO(data))


def test_records_alone_leave(tmp_path, export):
    labs.write(tmp_path / "runs", labs.record(0), labs.record(1, paradigm="semi-sl"), labs.record(0, "badge", moddrop=False))
    (tmp_path / FIRST / "run.log").write_text("on node17")
    (tmp_path / "runs/share/low/.first-models").mkdir()
    (tmp_path / "runs/share/low/.first-models/x.pt").write_bytes(b"weights")
    done = export("runs")
    assert (done.exit_code, done.stdout) == (0, "results.zip\n")
    found = labs.members(tmp_path / "results.zip")
    folders = ["share/low/badge-nomoddrop/seed-0", "share/low/random-semi-sl/seed-1", "share/low/random/seed-0"]
    assert list(found) == [*(f"runs/{folder}/run.yaml" for folder in folders), "export.yaml"]
    assert b"alice" not in b"".join(found.values())
    listed = yaml.safe_load(found["export.yaml"])
    assert [run["folder"] for run in listed["runs"]] == folders
    assert listed.keys() == {"format", "kind", "id", "mmal", "runs"}
    before = Run.read(tmp_path / FIRST / "run.yaml")
    left = Run.model_validate(yaml.safe_load(found[FIRST + "/run.yaml"]))
    assert left.made["command"] == "mmal al-run --data data/share --qm random --regime low --seed 0"
    assert left.model_copy(update={"made": before.made}) == before


def test_of_how_it_was_made_only_what_is_known_leaves(tmp_path, export):
    run = labs.record()
    labs.write(tmp_path / "runs", run.model_copy(update={"made": run.made | {"host": "node17", "commit": "0123456789ab+"}}))
    assert export("runs").exit_code == 0
    made = yaml.safe_load(labs.members(tmp_path / "results.zip")[FIRST + "/run.yaml"])["made"]
    assert made.keys() == {"command", "mmal", "versions", "device", "commit"}


@pytest.mark.parametrize("logits", [False, True])
def test_cycles_leave_when_asked(tmp_path, export, logits):
    run = labs.record()
    labs.write(tmp_path / "runs", run)
    arrays, attributes = labs.cycle(run, 1)
    shards.write_arrays(tmp_path / FIRST / "cycle-01.h5", arrays | {"ids": np.array([b"10000032"])}, attributes | {"host": "x"})
    assert export("runs", "--cycles", *["--logits"] * logits).exit_code == 0
    found = labs.members(tmp_path / "results.zip")
    assert list(found) == [*(f"{FIRST}/{name}" for name in ("cycle-00.h5", "cycle-01.h5", "run.yaml")), "export.yaml"]
    left, said = read_h5(found[f"{FIRST}/cycle-01.h5"])
    expected = arrays if logits else {name: array for name, array in arrays.items() if "logits" not in name}
    assert left.keys() == expected.keys()
    assert all(np.array_equal(left[name], expected[name]) for name in left)
    assert said.pop("command") == "mmal al-run --data data/share --qm random --regime low --seed 0"
    assert said == {"identity": attributes["identity"], "cycle": attributes["cycle"]}
    assert not any(b"alice" in data or b"10000032" in data for data in found.values())


def test_a_run_without_all_its_cycles_leaves_its_record(tmp_path, export):
    labs.write(tmp_path / "runs", labs.record())
    (tmp_path / FIRST / "cycle-00.h5").unlink()
    done = export("runs", "--cycles")
    assert list(labs.members(tmp_path / "results.zip")) == [FIRST + "/run.yaml", "export.yaml"]
    assert f"{FIRST} has not all files of its cycles: its record alone leaves" in done.stderr


def test_of_restricted_data_aggregates_leave_and_the_command_says_so(tmp_path, export):
    labs.write(tmp_path / "runs", labs.record(), labs.record(dataset="mimic", restricted=True))
    done = export("runs", "--cycles", "--logits")
    assert "restricted data (mimic, 1 of 2 runs): settings and aggregate metrics leave; files of cycles, logits," in done.stderr
    found = labs.members(tmp_path / "results.zip")
    assert [name for name in found if "mimic" in name] == ["runs/mimic/low/random/seed-0/run.yaml"]
    left = yaml.safe_load(found["runs/mimic/low/random/seed-0/run.yaml"])
    assert [cycle.keys() & {"asked", "metrics"} for cycle in left["cycles"]] == [{"metrics"}, {"metrics"}]
    assert [run["restricted"] for run in yaml.safe_load(found["export.yaml"])["runs"]] == [True, False]


def more(run: Run, **update) -> Run:
    return run.model_copy(update=update)


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda run: more(run, inputs=run.inputs | {"patients": [1]}), "inputs.patients"),
        (lambda run: more(run, inputs={"dataset": run.inputs["dataset"] | {"deaths": 3}}), "inputs.dataset.deaths"),
        (
            lambda run: more(
                run, cycles=[more(run.cycles[0], metrics=run.cycles[0].metrics | {"p1": {"balanced_accuracy": 1.0}})]
            ),
            "cycles.0.metrics.p1.balanced_accuracy",
        ),
        (lambda run: more(run, cycles=[more(run.cycles[0], validation={"recall_3": 1.0})]), "cycles.0.validation.recall_3"),
    ],
)
def test_a_restricted_record_with_more_is_refused(tmp_path, export, edit, key):
    labs.write(tmp_path / "runs", edit(labs.record(restricted=True)), cycles=False)
    refused(export("runs"), 3, FIRST, key, "aggregate metrics alone may leave", "leave that run out")
    assert not (tmp_path / "results.zip").exists()


def test_what_cannot_be_made_clean_ends_the_export(tmp_path, export):
    planted = {"train": {"lr": 0.1}, "query_options": {"mine": {"cache": "/mnt/home/alice/cache", "hadm_id": 1}}}
    labs.write(tmp_path / "runs", labs.record(), labs.record(1, "badge", planted))
    place = "runs/share/low/badge/seed-1/run.yaml, config.settings.query_options.mine"
    message = f"{place}.cache: an absolute path, '/mnt/home/alice/cache'"
    refused(
        export("runs"), 3, "nothing was written", message, f"{place}.hadm_id: a name of MIMIC's identifiers", "--allow TEXT"
    )
    assert not (tmp_path / "results.zip").exists()


def test_what_only_looks_so_is_allowed_by_name_but_not_of_restricted_data(tmp_path, export):
    planted = {"query_options": {"mine": {"key": "10000032"}}}
    labs.write(tmp_path / "runs", labs.record(settings=planted))
    refused(export("runs"), 3, "10000032")
    assert export("runs", "--allow", "10000032").exit_code == 0
    labs.write(tmp_path / "hospital", labs.record(settings=planted, restricted=True))
    refused(export("hospital", "--allow", "10000032", "--out", "b.zip"), 3, "10000032")


def test_a_user_with_the_name_of_a_method_says_so(tmp_path, export, monkeypatch):
    monkeypatch.setenv("USER", "random")
    labs.write(tmp_path / "runs", labs.record(restricted=True))
    refused(export("runs"), 3, "config.qm: the user's name, 'random'", "--allow TEXT (of restricted data: names)")
    assert export("runs", "--allow", "random").exit_code == 0


def test_an_interrupted_export_leaves_the_older_one(tmp_path, export, monkeypatch):
    labs.write(tmp_path / "runs", labs.record(0))
    assert export("runs").exit_code == 0
    before = labs.tree(tmp_path)
    monkeypatch.setattr(pack, "_add", Mock(side_effect=KeyboardInterrupt))
    assert export("runs").exit_code == 130
    assert labs.tree(tmp_path) == before


def test_a_date_may_be_a_seed(tmp_path, export):
    command = "mmal al-run --qm random --regime low --seed 20260115"
    fake_runs.write(tmp_path / "runs", fake_runs.record(labs.CURVES, seed=20260115, command=command))
    assert export("runs").exit_code == 0


@pytest.mark.parametrize(
    ("arrays", "attributes", "message"),
    [
        ({"selected": np.array([b"10000032"])}, {}, "cycle-01.h5, selected: a number as MIMIC's identifiers are, '10000032'"),
        ({"selected": np.array([b"cat.png"])}, {}, "cycle-01.h5, selected: text where numbers belong"),
        ({}, {"cycle": {"seen by": "alice@lab.example"}}, "cycle-01.h5, cycle.seen by: an e-mail address, 'alice@lab.example'"),
    ],
)
def test_cycles_are_audited(tmp_path, export, arrays, attributes, message):
    run = labs.record()
    labs.write(tmp_path / "runs", run)
    a, b = labs.cycle(run, 1)
    shards.write_arrays(tmp_path / FIRST / "cycle-01.h5", a | arrays, b | attributes)
    refused(export("runs", "--cycles"), 3, message)
    assert not (tmp_path / "results.zip").exists()
    assert export("runs").exit_code == 0


def test_a_cycle_that_is_damaged_or_of_another_run(tmp_path, export):
    labs.write(tmp_path / "runs", labs.record())
    path = tmp_path / FIRST / "cycle-01.h5"
    shards.write_arrays(path, *labs.cycle(labs.record(3), 1))
    refused(export("runs", "--cycles"), 3, "cycle-01.h5 belongs to another configuration: config.seed (there 3, asked 0)")
    path.write_bytes(path.read_bytes()[:100])
    refused(export("runs", "--cycles"), 3, "cycle-01.h5 is damaged")


def test_the_user_and_the_machine_do_not_leave(tmp_path, export, monkeypatch):
    monkeypatch.setenv("USER", "alice")
    monkeypatch.setattr("socket.gethostname", lambda: "node17")
    labs.write(tmp_path / "runs", labs.record(settings={"query_options": {"mine": {"by": "Alice", "on": "node17"}}}))
    refused(export("runs"), 3, "mine.by: the user's name, 'Alice'", "mine.on: this machine's name, 'node17'")


@pytest.mark.parametrize("words", [(), ("--cycles", "--logits")])
def test_the_same_runs_give_the_same_bytes_wherever_they_lie(tmp_path, export, words):
    labs.write(tmp_path / "runs", labs.record(1), labs.record(0), labs.record(0, "badge"))
    shutil.copytree(tmp_path / "runs", tmp_path / "elsewhere/all")
    for path in (tmp_path / "elsewhere").rglob("*"):
        os.utime(path, (1, 1))
    assert export("runs", *words).exit_code == 0
    assert export("elsewhere/all", *words, "--out", "again.zip").exit_code == 0
    assert (tmp_path / "results.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_older_export_is_written_over_and_nothing_else(tmp_path, export):
    labs.write(tmp_path / "runs", labs.record(0))
    assert export("runs").exit_code == 0
    labs.write(tmp_path / "runs", labs.record(1))
    assert export("runs").exit_code == 0
    assert len(labs.members(tmp_path / "results.zip")) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "a.zip").write_text("mine")
    labs.made_by_others(tmp_path / "b.zip", {"thesis.txt": b"mine"})
    before = labs.tree(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("mine", "a.zip", "b.zip", "pipe"):
        refused(export("runs", "--out", name), 2, f"{name} is not an older export; choose another --out")
    assert labs.tree(tmp_path) == before


def test_bad_input(tmp_path, export):
    refused(export("runs"), 3, "runs not found; make runs by: mmal al-run")
    (tmp_path / FIRST).mkdir(parents=True)
    refused(export("runs"), 3, "runs holds no finished run")
    refused(export("runs", "--logits"), 2, "--logits adds to the files of cycles; give --cycles --logits")
    labs.write(tmp_path / "runs", labs.record(dataset="my/data"))
    refused(export("runs"), 3, "run.yaml names a place 'my/data/low/random/seed-0', expected letters, digits")
    assert not (tmp_path / "results.zip").exists()


def test_what_is_not_finished_is_left_out_and_named(tmp_path, export):
    labs.write(tmp_path / "runs", labs.record(0), labs.record(1))
    (tmp_path / "runs/share/low/random/seed-1/run.yaml").unlink()
    assert "runs/share/low/random/seed-1 is not finished and left out" in export("runs").stderr


def test_runs_that_cannot_stand_in_one_table_do_not_leave(tmp_path, export):
    labs.write(tmp_path / "runs", labs.record(0), labs.record(1, settings={"train": {"lr": 0.2}}))
    refused(export("runs"), 2, "settings.train.lr (there 0.2, asked 0.1)")
    shutil.copytree(tmp_path / FIRST, tmp_path / "more/seed-0")
    shutil.copytree(tmp_path / FIRST, tmp_path / "more/again/seed-0")
    refused(export("more"), 3, "are the same cell (seed 0); leave one of them out")
