"""What the device of a run is asked for."""

import subprocess
import sys

import pytest

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
