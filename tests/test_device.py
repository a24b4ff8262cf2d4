"""What the device of a run is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from sweeps import FAST
from typer.testing import CliRunner

from mmal_cli import app
from mmal_cli.core.errors import UserError
from mmal_cli.device import deterministic

FAULTS = """
import resource, sys, torch
from mmal_cli.device import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
for _ in range(10):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_kept_memory_is_not_mapped_again():
    pages = {}
    for way in ("kept", "plain"):
        said = subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True)
        pages[way] = int(said.stdout)
    assert pages["kept"] < pages["plain"] / 4


PEAKS = """
import torch
from mmal_cli.device import forget_peak_memory, keep_memory, peak_memory_mb
cpu = torch.device("cpu")
keep_memory()
before = peak_memory_mb(cpu)
many = [torch.ones(2**20) for _ in range(100)]  # 400 MB
high = peak_memory_mb(cpu)
del many
forget_peak_memory(cpu)
print(high - before, peak_memory_mb(cpu) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_run_s_peak_is_not_that_of_an_earlier_one():
    said = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    high, after = map(float, said.stdout.split())
    assert high > 390
    assert after < 40


def test_what_has_no_deterministic_form_is_one_message_and_afterwards_all_is_as_before():
    expected = r"^put_ does not have a deterministic implementation.*; run it without --deterministic$"
    with pytest.raises(UserError, match=expected), deterministic():
        torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="about something else"), deterministic():
        raise RuntimeError("about something else")
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()


def test_on_a_cpu_a_deterministic_run_is_the_usual_one_and_says_so(tiny_data, tmp_path):
    found = {}
    for name, words in {"usual": [], "same": ["--deterministic"]}.items():
        out = tmp_path / name
        said = ["al-run", "--data", str(tiny_data), "--qm", "badge", "--regime", "low", "--gpu", "none", "--out", str(out)]
        done = CliRunner().invoke(app.build(), [*said, *(word for text in FAST for word in ("--set", text)), *words])
        assert done.exit_code == 0, done.output
        found[name] = yaml.safe_load((Path(done.stdout.strip()) / "run.yaml").read_text(encoding="utf-8"))
    usual, same = found["usual"], found["same"]
    assert same["id"] == usual["id"]
    assert [cycle["metrics"] for cycle in same["cycles"]] == [cycle["metrics"] for cycle in usual["cycles"]]
    assert same["made"]["command"] == usual["made"]["command"] + " --deterministic"
    assert [cycle.get("deterministic") for cycle in same["cycles"]] == [True] * len(same["cycles"])
    assert not any("deterministic" in cycle for cycle in usual["cycles"])
