"""What doctor finds: on this machine, and on machines that lack or mix things up."""

import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mmal_cli import app, doctor

FIELDS = {"what", "found", "ok", "helps"}


def invoke(*words):
    return CliRunner().invoke(app.build(), ["doctor", *words])


def test_this_machine_is_well():
    done = invoke()
    assert done.exit_code == 0, done.stdout
    assert f"torch {torch.__version__}, torchvision " in " ".join(done.stdout.split())
    found = json.loads(invoke("--json").stdout)
    assert {key for one in found for key in one} == FIELDS
    names = [one["what"] for one in found]
    assert names[:2] == ["mmal", "packages"]
    assert {"extra mimic", "torch and torchvision", "processor", "free disk here", "weights of minilm", "Slurm"} <= {*names}
    assert "extra dev" not in names
    assert any(name.startswith("GPU") for name in names)


def test_a_pair_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.0.1+cpu")
    found = doctor.torch_pair()
    assert (found.ok, "torch 2.0.1+cpu" in found.found, "which asks for torch " in found.found) == (False, True, True)
    assert "pip install" in found.helps
    assert "[" not in found.helps


def test_a_torchvision_that_fails_is_wrong_and_ends_with_2(monkeypatch):
    import torchvision

    def broken(*_):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(torchvision.ops, "nms", broken)
    found = doctor.torch_pair()
    assert found.found.endswith("torchvision fails: operator torchvision::nms does not exist")
    done = invoke()
    assert (done.exit_code, "WRONG torch and torchvision" in done.stdout) == (2, True)


def test_a_torch_that_cannot_be_imported_is_wrong_and_the_rest_is_said(tmp_path):
    (tmp_path / "torch.py").write_text('raise OSError("libcudart.so.13: cannot open shared object file")')
    place = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, Path(doctor.__file__).parent.parent)))}
    words = [sys.executable, "-m", "mmal_cli", "doctor", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=place, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert found["torch and torchvision"]["found"] == "torch fails: libcudart.so.13: cannot open shared object file"
    assert found["torch and torchvision"]["ok"] is False
    assert {"processor", "Slurm"} <= found.keys()


def test_a_gpu_that_torch_cannot_use_is_wrong(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(doctor, "_said", lambda *words: "535.104\n" if words[0] == "nvidia-smi" else "")
    (found,) = doctor.accelerators()
    assert found.ok is False
    assert found.found.startswith("the system has one (driver 535.104), torch sees none: torch is built for")
    monkeypatch.setattr(doctor, "_said", lambda *words: "")
    (found,) = doctor.accelerators()
    assert (found.ok, found.helps) == (None, "train on the CPU: --gpu none --with quick")


def test_every_gpu_is_named(monkeypatch):
    of = namedtuple("of", "name total_memory major minor")("NVIDIA H100", 80 * 2**30, 9, 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: of)
    monkeypatch.setattr(doctor, "_said", lambda *words: "570.1\n570.1")
    found = list(doctor.accelerators())
    assert [one.what for one in found] == ["GPU 0", "GPU 1"]
    assert found[0].found.startswith("NVIDIA H100, 80 GiB, compute capability 9.0, driver 570.1, torch is built for")


def test_packages_that_are_not_there(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("wfdb", "numpy") else "1.0")
    found = {one.what: one for one in doctor.packages()}
    assert found["packages"].ok is False
    assert "numpy not installed" in found["packages"].found
    assert found["extra mimic"].ok is None
    assert "wfdb not installed" in found["extra mimic"].found
    assert "'.[mimic]'" in found["extra mimic"].helps
    assert found["extra report"] == doctor.Finding("extra report", "matplotlib 1.0")


def test_little_disk_and_no_weights(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: namedtuple("usage", "free")(2.5e9))
    assert (doctor.disk().ok, doctor.disk().found) == (None, "2.5 GB")

    def nowhere():
        raise doctor.UserError("all-MiniLM-L6-v2 not found: nowhere; install it so")

    monkeypatch.setattr(doctor.minilm, "find", nowhere)
    assert doctor.weights() == doctor.Finding("weights of minilm", "not found", None, "install it so")


@pytest.mark.parametrize(("system", "package", "ok", "helps"), [
    ("slurm 23.11", True, True, ""),
    ("slurm 23.11", False, None, "install submitit"),
    ("", True, None, "run on this machine: --engine local"),
])  # fmt: skip
def test_slurm(monkeypatch, system, package, ok, helps):
    monkeypatch.setattr(doctor, "_said", lambda *words: system)
    monkeypatch.setattr(doctor, "find_spec", lambda name: object() if package else None)
    assert (doctor.slurm().ok, doctor.slurm().helps.startswith(helps)) == (ok, True)


def test_a_program_that_fails_or_hangs_says_nothing(monkeypatch):
    assert doctor._said("no-such-program") == ""
    assert doctor._said("false") == ""

    def hangs(*words, **options):
        raise subprocess.TimeoutExpired(words, 30)

    monkeypatch.setattr(doctor.subprocess, "run", hangs)
    assert doctor._said("true") == ""
