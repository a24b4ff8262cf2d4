"""Fixtures that many tests share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start: tiny networks only lose by threads
os.environ.pop("COLUMNS", None)  # a shell that exports it must not fold what tests read
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """A complete dataset folder: 3 classes, modalities a and b, 120 train and 30 test samples."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny.make(folder)
    return folder


@pytest.fixture
def mmal():
    """Runs `mmal` as a user does, in a process of its own; returns the finished process."""

    def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        command = [sys.executable, "-W", "error", "-m", "mmal_cli", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=300)

    return run
