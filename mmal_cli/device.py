"""The device of a run: chosen, named, and how much memory it took."""

import ctypes
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mmal_cli.core.errors import UserError

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # glibc's malloc.h


@cache
def keep_memory() -> None:
    """Lets this process keep what tensors on the CPU free, for the next ones; does nothing where the C library is not glibc.

    By default glibc maps large blocks anew each time, and the system fills every page with zeros: a fifth to a third of the
    time of a training step (docs/decisions.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: None)
    mallopt(MMAP_MAX, 0)
    mallopt(TRIM_THRESHOLD, -1)


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, while the host goes on: a GPU fetches it when it comes to it. `x` itself if it is there.

    Cost: a copy of `x` to memory from which a GPU can fetch by itself; for what is small.
    """
    return x if x.device == device else x.pin_memory().to(device, non_blocking=True)


@contextmanager
def deterministic(asked: bool = True) -> Iterator[None]:
    """Inside, the same run on the same machine gives the same bits, on a GPU too; on a CPU it does so anyway.

    Cost: some GPU kernels are slower (`mmal bench deterministic`); nothing on a CPU.

    Raises:
        UserError: an operation of the run has no such form on this device.
    """
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it begins
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a help against bugs, which costs a pass over memory
    try:
        yield
    except RuntimeError as error:
        if not asked or "deterministic" not in str(error):
            raise
        raise UserError(f"{str(error).partition('. ')[0]}; run it without --deterministic") from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        torch.utils.deterministic.fill_uninitialized_memory = filling


def forget_peak_memory(device: torch.device) -> None:
    """Lets `peak_memory_mb` count from here on, so that a run's does not hold that of those before it in this process.

    On a CPU only where Linux allows it; elsewhere the peak stays that of the process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)  # gives back what keep_memory has kept
        with suppress(OSError):
            CLEAR.write_text("5", encoding="ascii")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far: of the device's allocator on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(resident_peak() / 2**20, 1)


def resident_peak() -> int:
    """Bytes of memory that this process held at most, since `forget_peak_memory` where Linux can tell."""
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text(encoding="utf-8")) if STATUS.exists() else None
    return 2**10 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def device_name(device: torch.device) -> str:
    """`cpu`, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def choose_device(gpu: str) -> torch.device:
    """`auto`: a GPU if there is one; `none`: the CPU; a number: that GPU, or an error."""
    count = torch.cuda.device_count()
    if gpu == "none" or (gpu == "auto" and count == 0):
        return torch.device("cpu")
    if gpu == "auto":
        return torch.device("cuda", 0)
    if not (gpu.isascii() and gpu.isdecimal()):
        raise UserError(f"--gpu {gpu!r} is not auto, none or a number")
    if int(gpu) >= count:
        seen = f"torch {torch.__version__} sees {count or 'no'} GPU"
        raise UserError(f"GPU {gpu} is not there: {seen}; run on the CPU: --gpu none")
    return torch.device("cuda", int(gpu))
