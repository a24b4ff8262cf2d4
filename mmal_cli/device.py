"""The device of a run: chosen, named, and how much memory it took."""

import ctypes
import resource
from functools import cache

import torch

from mmal_cli.core.errors import UserError

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


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far: of the device's allocator on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)


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
