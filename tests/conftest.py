"""Fixtures that many tests share."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, suppress
from pathlib import Path

import campaigns
import fake_own
import fake_runs
import own_data
import pytest
import tiny
import torch
import yaml
from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app, sweep
from mmal_cli.core import grid

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start: tiny networks only lose by threads
os.environ["COLUMNS"] = ""  # set, so that taking it away reaches the C library, where readline may have put it too
del os.environ["COLUMNS"]  # who exports it must not fold what tests read
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """A complete dataset folder: 3 classes, modalities a and b, 120 train and 30 test samples."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny.make(folder)
    return folder


@pytest.fixture(scope="session")
def mmal():
    """Runs `mmal` in this process, which spares importing torch each time; returns what a process would have."""

    def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        with chdir(cwd or Path()):
            done = CliRunner().invoke(app.build(), list(map(str, words)), catch_exceptions=False)
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def alone():
    """Runs `mmal` as a user does, in a process of its own; returns the finished process."""

    def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        command = [sys.executable, "-W", "error", "-m", "mmal_cli", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=300)

    return run


@pytest.fixture
def write_grid(tmp_path, tiny_data):
    """Writes a grid file of cells on the tiny dataset; returns its path."""

    def write(qms=("random", "kcg"), seeds=(0,), sets=(), **more) -> Path:
        content = {
            "datasets": {"tiny": str(tiny_data)},
            "regimes": ["low"],
            "qms": [str(qm) for qm in qms],
            "moddrop": [False],
            "seeds": list(seeds),
            "with": ["quick"],
            "set": [*FAST, *sets],
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(content | more))
        return path

    return write


@pytest.fixture
def works(tmp_path, write_grid):
    """The cells of a grid, seen."""

    def expanded(**more) -> list[sweep.Seen]:
        content = grid.load(str(write_grid(**more)))
        return [sweep.see(work) for work in sweep.expand(content, tmp_path / "data", tmp_path / "runs", "cpu")]

    return expanded


@pytest.fixture
def begin(tmp_path):
    """Starts a sweep as a process group of its own; what is left of it at the end is killed."""
    started = []

    def start(path: Path, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-W", "error", "-m", "mmal_cli", "sweep", str(path), "--out", str(tmp_path / "runs")]
        command += ["--gpu", "none", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session")
def withheld_data(tmp_path_factory) -> Path:
    """60 samples with labels, 60 without, some of which lack a modality."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny.make(folder, train=60, unlabelled=60, absent={"a": 0.3, "b": 0.2})
    return folder


@pytest.fixture(scope="session")
def asked_once(withheld_data, tmp_path_factory) -> Path:
    """A folder in which one batch was asked for; not changed by any test."""
    place = tmp_path_factory.mktemp("asked")
    (place / "data").mkdir()
    (place / "data/tiny").symlink_to(withheld_data)
    with chdir(place):
        assert campaigns.ask().stdout.splitlines()[-1] == str(campaigns.CAMPAIGN / "ask-00.csv")
    return place


@pytest.fixture
def campaign_place(asked_once, tmp_path) -> Iterator[Path]:
    """A copy of it, to work in."""
    shutil.copytree(asked_once, tmp_path / "w", symlinks=True)
    with chdir(tmp_path / "w"):
        yield tmp_path / "w"


@pytest.fixture(scope="session")
def clinic_source(tmp_path_factory) -> Path:
    """The card of docs/datasets/own.md and its table; not changed by any test."""
    place = tmp_path_factory.mktemp("source")
    fake_own.make(place)
    return place


@pytest.fixture(scope="session")
def clinic(clinic_source) -> Path:
    """The dataset that comes of them; not changed either."""
    said = own_data.prepare(clinic_source)
    assert said.stdout.splitlines()[-1] == own_data.OUT
    return clinic_source / own_data.OUT


@pytest.fixture
def spare(clinic_source, tmp_path) -> Path:
    """The same card and table, to be spoilt."""
    shutil.copytree(clinic_source, tmp_path / "c", ignore=shutil.ignore_patterns("data"))
    return tmp_path / "c"


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Gives a command in this process, with tmp_path as the folder where it is given."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app.build(), [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def after_aulc(tmp_path, invoke):
    """Makes runs of (dataset, regime, moddrop) -> qm -> aulc per seed and their aulc.yaml; gives `mmal rank` with options."""

    def make(scores, *words, **more):
        fake_runs.write(tmp_path / "runs", *fake_runs.grid(scores, **more))
        assert invoke("aulc", "runs").exit_code == 0
        return invoke("rank", *words)

    return make
