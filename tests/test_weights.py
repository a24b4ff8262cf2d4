"""`mmal export --weights`: first models leave when asked, with nothing hidden in them, and another lab goes on from one."""

import hashlib
import pickle
from collections import OrderedDict

import labs
import pytest
import safetensors.torch
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
SENT_NAMES = [f"{SENT}/{name[:-3]}.safetensors" for name in NAMES]


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
    assert [name for name in found if name.startswith("weights/")] == SENT_NAMES[:2]
    assert safetensors.torch.load(found[SENT_NAMES[0]])["encoders.a.weight"].tolist() == [0, 1, 2]
    assert "runs/share/low/random/seed-2 has no first cycle's model beside it: no weights of it leave" in done.stderr
    assert "3 runs, first models: 2, " in done.stderr
    listed = yaml.safe_load(found["export.yaml"])["weights"]
    assert [model["sha256"] for model in listed] == [hashlib.sha256(found[name]).hexdigest() for name in SENT_NAMES[:2]]
    assert [model["run"] for model in listed] == [f"share/low/random/seed-{seed}" for seed in (0, 1)]
    assert mmal_in("export", "runs", "--out", "plain.zip").exit_code == 0
    plain = labs.members(tmp_path / "plain.zip")
    assert not any(name.startswith("weights/") for name in plain)
    assert "weights" not in yaml.safe_load(plain["export.yaml"])
    assert mmal_in("export", "runs", "--weights", "--out", "again.zip").exit_code == 0
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "results.zip").read_bytes()


@pytest.mark.parametrize("more", [{"patients": [10000032]}, {"validation": {"balanced_accuracy": 0.0, "subject": "x"}}])
def test_a_file_that_holds_anything_else_stays(tmp_path, lab, mmal_in, more):
    (lab / NAMES[0]).write_bytes(first.packed(model(0.0, **more)))
    assert mmal_in("export", "runs", "--weights").exit_code == 0
    assert SENT_NAMES[0] not in labs.members(tmp_path / "results.zip")


def test_nothing_that_hangs_on_a_tensor_leaves(tmp_path, lab, mmal_in):
    part = torch.arange(1000.0)[:3]
    part.patient = "subject 10000032"
    (lab / NAMES[0]).write_bytes(first.packed(model(0.0, weights={"x": part})))
    assert mmal_in("export", "runs", "--weights").exit_code == 0
    sent = labs.members(tmp_path / "results.zip")[SENT_NAMES[0]]
    assert (b"10000032" in sent, len(sent) < 200) == (False, True)


@pytest.mark.parametrize("payload", [b"\x80\x02c", pickle.dumps(OrderedDict(a=5)), pickle.dumps(3), b""])
def test_what_torch_did_not_write_stays(tmp_path, lab, mmal_in, payload):
    (lab / NAMES[0]).write_bytes(hashlib.sha256(payload).digest() + payload)
    (lab / "a copy.pt").write_bytes(first.packed(model(0.0)))
    assert "first models: 1" in mmal_in("export", "runs", "--weights").stderr


def test_a_name_of_a_tensor_is_audited(tmp_path, lab, mmal_in):
    harmful = model(0.0, weights={"/mnt/alice/x": torch.zeros(1)})
    (lab / NAMES[0]).write_bytes(first.packed(harmful))
    refused(mmal_in("export", "runs", "--weights"), 3, f"{LIES}/{NAMES[0]}, weights", "an absolute path, '/mnt/alice/x'")
    assert not (tmp_path / "results.zip").exists()


def test_of_restricted_data_no_weights_leave(tmp_path, lab, mmal_in):
    labs.write(tmp_path / "runs", *(run_of(seed, seed / 10, restricted=True) for seed in range(3)), cycles=False)
    done = mmal_in("export", "runs", "--weights")
    assert "weights" in done.stderr.split("restricted data")[1]
    assert "first models: 0" in done.stderr
    assert not any(name.startswith("weights/") for name in labs.members(tmp_path / "results.zip"))


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


def with_model(path, payload: bytes, **more) -> None:
    """Puts another second model into a zip, with an honest list."""
    found = labs.members(path)
    listed = yaml.safe_load(found["export.yaml"])
    listed["weights"][1] |= {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()} | more
    labs.made_by_others(path, found | {SENT_NAMES[1]: payload, "export.yaml": yaml.safe_dump(listed).encode()})


def test_what_is_no_file_of_weights_is_refused_before_anything_is_written(tmp_path, lab, mmal_in):
    assert mmal_in("export", "runs", "--weights").exit_code == 0
    before = (tmp_path / "results.zip").read_bytes()
    for payload in (b"no weights", first.packed(model(0.1))):
        with_model(tmp_path / "results.zip", payload)
        refused(mmal_in("import", "results.zip", "--out", "ours"), 3, SENT_NAMES[1], "is no file of weights")
        (tmp_path / "results.zip").write_bytes(before)
    with_model(tmp_path / "results.zip", b"", run="share/low/random/seed-7")
    refused(mmal_in("import", "results.zip", "--out", "ours"), 3, "weights name share/low/random/seed-7, which is not among")
    (tmp_path / "results.zip").write_bytes(before)
    assert not (tmp_path / "ours").exists()
    (tmp_path / "ours/share/low").mkdir(parents=True)
    (tmp_path / "ours/share/low/.first-models").write_text("in the way")
    refused(mmal_in("import", "results.zip", "--out", "ours"), 3, ".first-models is a file, expected a folder")
    assert not (tmp_path / "ours/share/low/random").exists()


def test_weights_of_another_model_are_trained_again(tmp_path, tiny_data, mmal_in, capfd):
    words = ["al-run", "--data", tiny_data, "--regime", "low", "--with", "quick", "--gpu", "none", "--progress", "none"]
    words += [word for text in FAST for word in ("--set", text)]
    assert mmal_in(*words, "--qm", "random").exit_code == 0
    (path,) = (tmp_path / "runs/tiny/low/.first-models").iterdir()
    whole = path.read_bytes()
    path.write_bytes(first.packed(first.unpacked(whole, torch.device("cpu")) | {"weights": {"a": torch.zeros(3)}}))
    done = mmal_in(*words, "--qm", "entropy")
    assert (done.exit_code, "holds another model, so the first model is trained again" in done.stderr) == (0, True)
    assert path.read_bytes() == whole


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
