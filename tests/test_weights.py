"""`mmal export --weights`: first models leave when asked, with nothing hidden in them, and another lab goes on from one."""

import hashlib

import labs
import pytest
import torch
import yaml
from labs import refused
from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app, first
from mmal_cli.core.manifest import Run

LIES = "runs/share/low/.first-models"
SENT = "weights/share/low"
NAMES = [f"{digit * 12}.pt" for digit in "0123"]


@pytest.fixture
def mmal_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)


def run_of(seed: int, good: float, **more) -> Run:
    """A record whose first cycle is this good on validation."""
    run = labs.record(seed, **more)
    first_cycle = run.cycles[0].model_copy(update={"validation": {"balanced_accuracy": good}})
    return run.model_copy(update={"cycles": [first_cycle, run.cycles[1]]})


def model(good: float, **more) -> dict:
    weights = {"encoders.a.weight": torch.arange(3.0)}
    return {"weights": weights, "best_epoch": 1, "validation": {"balanced_accuracy": good}} | more


@pytest.fixture
def lab(tmp_path):
    """Three seeds, the last of them without a model; a model beside them is of a run that is no more, one is damaged."""
    labs.write(tmp_path / "runs", *(run_of(seed, seed / 10) for seed in range(3)), cycles=False)
    folder = tmp_path / LIES
    folder.mkdir()
    for name, good in zip(NAMES, (0.0, 0.1, 0.7), strict=False):
        (folder / name).write_bytes(first.packed(model(good)))
    (folder / NAMES[3]).write_bytes(b"damaged")
    return folder


def test_models_of_exported_runs_leave_when_asked_and_no_others(tmp_path, lab, mmal_in):
    done = mmal_in("export", "runs", "--weights")
    assert done.exit_code == 0, done.stderr
    found = labs.members(tmp_path / "results.zip")
    assert [name for name in found if name.endswith(".pt")] == [f"{SENT}/{name}" for name in NAMES[:2]]
    assert "runs/share/low/random/seed-2 has no first cycle's model beside it: no weights of it leave" in done.stderr
    assert "3 runs, first models: 2, " in done.stderr
    listed = yaml.safe_load(found["export.yaml"])["weights"]
    assert [model["sha256"] for model in listed] == [hashlib.sha256(found[f"{SENT}/{n}"]).hexdigest() for n in NAMES[:2]]
    assert mmal_in("export", "runs", "--out", "plain.zip").exit_code == 0
    plain = labs.members(tmp_path / "plain.zip")
    assert not any(name.endswith(".pt") for name in plain)
    assert yaml.safe_load(plain["export.yaml"])["weights"] == []
    assert mmal_in("export", "runs", "--weights", "--out", "again.zip").exit_code == 0
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "results.zip").read_bytes()


@pytest.mark.parametrize("more", [{"patients": [10000032]}, {"validation": {"balanced_accuracy": 0.0, "subject": "x"}}])
def test_a_file_that_holds_anything_else_stays(tmp_path, lab, mmal_in, more):
    (lab / NAMES[0]).write_bytes(first.packed(model(0.0, **more)))
    assert mmal_in("export", "runs", "--weights").exit_code == 0
    assert f"{SENT}/{NAMES[0]}" not in labs.members(tmp_path / "results.zip")


def test_a_name_of_a_tensor_is_audited(tmp_path, lab, mmal_in):
    harmful = model(0.0, weights={"/home/alice/x": torch.zeros(1)})
    (lab / NAMES[0]).write_bytes(first.packed(harmful))
    refused(mmal_in("export", "runs", "--weights"), 3, f"{LIES}/{NAMES[0]}, weights", "an absolute path, '/home/alice/x'")
    assert not (tmp_path / "results.zip").exists()


def test_of_restricted_data_no_weights_leave(tmp_path, lab, mmal_in):
    labs.write(tmp_path / "runs", *(run_of(seed, seed / 10, restricted=True) for seed in range(3)), cycles=False)
    done = mmal_in("export", "runs", "--weights")
    assert "weights" in done.stderr.split("restricted data")[1]
    assert "first models: 0" in done.stderr
    assert not any(name.endswith(".pt") for name in labs.members(tmp_path / "results.zip"))


def test_an_import_writes_over_no_model(tmp_path, lab, mmal_in):
    assert mmal_in("export", "runs", "--weights").exit_code == 0
    ours = tmp_path / "ours/share/low/.first-models"
    ours.mkdir(parents=True)
    (ours / NAMES[1]).write_bytes(b"ours")
    done = mmal_in("import", "results.zip", "--out", "ours")
    assert "3 of 3 runs imported, 1 of 2 first models" in done.stderr
    assert (ours / NAMES[1]).read_bytes() == b"ours"
    assert (ours / NAMES[0]).read_bytes() == (lab / NAMES[0]).read_bytes()
    assert "0 of 3 runs imported, 0 of 2 first models" in mmal_in("import", "results.zip", "--out", "ours").stderr


@pytest.mark.parametrize("planted", [model(0.3), model(0.1, more=1), b"no model"], ids=["another's", "with more", "garbage"])
def test_a_model_that_is_not_of_a_run_beside_it_is_not_taken(tmp_path, lab, mmal_in, planted):
    assert mmal_in("export", "runs", "--weights").exit_code == 0
    found, name = labs.members(tmp_path / "results.zip"), f"{SENT}/{NAMES[1]}"
    payload = hashlib.sha256(planted).digest() + planted if isinstance(planted, bytes) else first.packed(planted)
    listed = yaml.safe_load(found["export.yaml"])
    listed["weights"][1] |= {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    found |= {name: payload, "export.yaml": yaml.safe_dump(listed).encode()}
    labs.made_by_others(tmp_path / "results.zip", found)
    refused(mmal_in("import", "results.zip", "--out", "ours"), 3, name, "is not the first cycle's model of a run beside it")
    assert not (tmp_path / "ours").exists()


def test_another_labs_method_starts_from_the_model_that_came(tmp_path, tiny_data, mmal_in):
    words = ["al-run", "--data", tiny_data, "--regime", "low", "--with", "quick", "--gpu", "none", "--progress", "none"]
    words += [word for text in FAST for word in ("--set", text)]
    assert mmal_in(*words, "--qm", "random").exit_code == 0
    assert mmal_in("export", "runs", "--weights").exit_code == 0
    assert "1 of 1 runs imported, 1 of 1 first models" in mmal_in("import", "results.zip", "--out", "ours").stderr
    (model,) = (tmp_path / "ours/tiny/low/.first-models").iterdir()
    before = model.stat()
    assert mmal_in(*words, "--qm", "entropy", "--out", "ours").exit_code == 0
    (after,) = (tmp_path / "ours/tiny/low/.first-models").iterdir()
    assert (after, after.stat().st_mtime_ns) == (model, before.st_mtime_ns)
    assert mmal_in(*words, "--qm", "entropy", "--out", "alone").exit_code == 0
    own, alone = (Run.read(tmp_path / root / "tiny/low/entropy/seed-0/run.yaml") for root in ("ours", "alone"))
    assert [cycle.metrics for cycle in own.cycles] == [cycle.metrics for cycle in alone.cycles]
