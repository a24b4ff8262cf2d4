"""What this machine has for mmal to run on: one finding after the other, each with what helps where something is wrong."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.specifiers import SpecifierSet

from mmal_cli import __version__
from mmal_cli.core import minilm
from mmal_cli.core.errors import UserError, install

EXTRA = re.compile(r"extra\s*==\s*['\"](?P<extra>[\w-]+)['\"]")
OF_TORCH = re.compile(r"torch\s*(?:\((?P<asked>[^)]*)\)|(?P<bare>[=<>!~][^;]*))")
ENOUGH = 10  # GB of free disk: the paper's four made datasets take about 6
FOR_TESTS = "dev"  # an extra that only a checkout needs


@dataclass(frozen=True)
class Finding:
    """One thing: ok is False where something will fail, None where something optional is not there."""

    what: str
    found: str
    ok: bool | None = True
    helps: str = ""


def findings() -> Iterator[Finding]:
    """All of them, in the order in which they matter. Cost: imports torch and torchvision."""
    yield Finding("mmal", f"{__version__}, Python {platform.python_version()} on {sys.platform}")
    yield from packages()
    yield torch_pair()
    if "torch" in sys.modules:  # an import that fails leaves nothing there
        yield from accelerators()
    yield processor()
    yield compiled()
    yield disk()
    yield weights()
    yield slurm()


def packages() -> Iterator[Finding]:
    """Those that mmal needs in one line, and each extra."""
    wanted: dict[str, list[str]] = {"": []}
    for text in requires("mmal") or ():
        extra = EXTRA.search(text)
        wanted.setdefault(extra["extra"] if extra else "", []).append(re.match(r"[\w.-]+", text)[0])
    for extra, names in wanted.items():
        if extra == FOR_TESTS:
            continue
        found = {name: _version(name) for name in names}
        lacking = [name for name, of in found.items() if of is None]
        said = ", ".join(f"{name} {of or 'not installed'}" for name, of in found.items())
        helps = f"install {'it' if len(lacking) == 1 else 'them'} {install(extra) if extra else _again()}" if lacking else ""
        yield Finding(f"extra {extra}" if extra else "packages", said, (None if extra else False) if lacking else True, helps)


def torch_pair() -> Finding:
    """Whether torchvision was built for this torch: by what it asks for, and by calling one of its operators."""
    name, helps = "torch and torchvision", f"install a pair that belongs together {_again()}"
    try:
        import torch
    except Exception as error:  # not installed, or a library that it loads is not there
        return Finding(name, f"torch fails: {_first(error)}", False, helps)
    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:  # whatever the two say who do not fit
        return Finding(name, f"torch {torch.__version__}; torchvision fails: {_first(error)}", False, helps)
    found = next((found for text in requires("torchvision") or () if (found := OF_TORCH.match(text))), None)
    asked = (found["asked"] or found["bare"]).strip() if found else ""
    pair = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    if not SpecifierSet(asked).contains(torch.__version__.partition("+")[0], prereleases=True):
        return Finding(name, f"{pair}, which asks for torch {asked}", False, helps)
    return Finding(name, f"{pair}, which fit")


def accelerators() -> Iterator[Finding]:
    """Each GPU that torch can use; one that the system has and torch cannot use is a fault."""
    import torch

    driver = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built for CPUs alone"
    release = driver.splitlines()[0] if driver else "unknown"
    for number in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(number)
        memory = f"{of.total_memory / 2**30:.0f} GiB, compute capability {of.major}.{of.minor}"
        yield Finding(
            f"GPU {number}", f"{of.name}, {memory}, driver {driver.splitlines()[0] if driver else 'unknown'}, {built}"
        )
    if torch.cuda.device_count():
        return
    if driver:
        helps = "install a torch for a CUDA that this driver knows, or a newer driver; until then: --gpu none"
        yield Finding("GPU", f"the system has one (driver {release}), torch sees none: {built}", False, helps)
    else:
        yield Finding("GPU", f"none ({built})", None, "train on the CPU: --gpu none --with quick")


def processor() -> Finding:
    """Cores that this process may use, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return Finding("processor", f"{cores} {'core' if cores == 1 else 'cores'}, {memory:.0f} GiB of memory")


def compiled() -> Finding:
    """The part of the augmentation that a C compiler makes at installation."""
    from mmal_cli.compiled import library, state

    helps = f"for a faster one on a CPU install mmal again, where there are a C compiler and Python's headers, {_again()}"
    return Finding("augmentation in C", state) if library else Finding("augmentation in C", state, None, helps)


def disk() -> Finding:
    """Free in the working folder, where datasets and runs go by default."""
    free = shutil.disk_usage(".").free / 1e9
    if free >= ENOUGH:
        return Finding("free disk here", f"{free:.0f} GB")
    helps = f"the made datasets take about 6 GB, a run up to a few hundred MB: give --out a folder with {ENOUGH} GB"
    return Finding("free disk here", f"{free:.1f} GB", None, helps)


def weights() -> Finding:
    """Of the text encoder."""
    try:
        minilm.find()
    except UserError as error:
        return Finding("weights of minilm", "not found", None, str(error).partition("; ")[2])
    return Finding("weights of minilm", "found")


def slurm() -> Finding:
    """Slurm: the system's part and the package."""
    system, package = _said("sbatch", "--version"), find_spec("submitit") is not None
    helps = f"install submitit {install('slurm')}" if system else "run on this machine: --engine local"
    helps = "" if system and package else helps
    said = f"{system or 'no sbatch'}, submitit {'found' if package else 'not installed'}"
    return Finding("Slurm", said, True if system and package else None, helps)


def _said(*words: str) -> str:
    """What a program prints, or nothing without it."""
    if not shutil.which(words[0]):
        return ""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _again() -> str:
    return install("").replace("'.[]'", ".")
