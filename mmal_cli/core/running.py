"""What a run's folder says while it is run and after it failed: `running.yaml`, kept fresh by who runs it, and `error.txt`."""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.core.manifest import Strict, check

RUNNING, ERROR, RECORD = "running.yaml", "error.txt", "run.yaml"
BEAT = 5.0  # seconds between two signs of life
STALE = 120.0  # seconds without one, after which a run counts as abandoned: file systems in a network may show it late
State = Literal["done", "running", "failed", "part", "todo"]


class Running(Strict):
    """`running.yaml`: how far a run is. Its time of change is the sign of life; `token` tells whose it is."""

    token: str
    process: str | None = None  # on which machine, by an opaque name, and its number there
    engine: str
    started: datetime
    before: int | None = None  # epochs that were done when it started; None while it reads data
    cycle: int
    cycles: int
    epoch: int
    epochs: int

    def seconds_left(self) -> float | None:
        """By the pace so far; None before the first epoch has ended."""
        done = self.cycle * self.epochs + self.epoch
        if self.before is None or done <= self.before:
            return None
        elapsed = (datetime.now(UTC) - self.started).total_seconds()
        return elapsed / (done - self.before) * (self.cycles * self.epochs - done)


class Lost(Exception):
    """Another sweep has taken this run over, since it saw no sign of life for too long."""


@dataclass
class Claim:
    """A run folder that this process, and no other, runs in."""

    path: Path
    said: Running
    ended: threading.Event = field(default_factory=threading.Event)
    lost: bool = False

    def progress(self, done: int, total: int) -> None:
        """Notes how many epochs are done, which the next sign of life says; raises Lost if the folder is another's."""
        if self.lost:
            raise Lost
        said = self.said
        cycle = min(cycles_in(self.path.parent), said.cycles - 1)  # not done // epochs: a trained cycle still tests and asks
        before = done if said.before is None else said.before
        self.said = said.model_copy(update={"before": before, "cycle": cycle, "epoch": done - cycle * said.epochs})

    def beat(self) -> None:
        """Writes a sign of life every few seconds, until the end."""
        while not self.ended.wait(BEAT) and not self.lost:
            if (there := read(self.path.parent)) is None or there.token != self.said.token:
                self.lost = True
                return
            with suppress(UserError):  # a full disk is reported by the cycle that cannot be written
                files.write_text(self.path, files.dump_yaml(self.said.model_dump(mode="json")))


@contextmanager
def claimed(folder: Path, token: str, engine: str, cycles: int, epochs: int) -> Iterator[Claim | None]:
    """Takes a run folder for this process by creating running.yaml, and gives it back at the end; None if it is taken.

    A file without a sign of life for `STALE` seconds is taken over, and at once where its process is known to be gone.
    """
    path = folder / RUNNING
    now = datetime.now(UTC).replace(microsecond=0)
    process = f"{_machine()}:{os.getpid()}"
    said = Running(token=token, process=process, engine=engine, started=now, cycle=0, cycles=cycles, epoch=0, epochs=epochs)
    if not _created(path, files.dump_yaml(said.model_dump(mode="json"))):
        yield None
        return
    claim = Claim(path, said)
    beating = threading.Thread(target=claim.beat, daemon=True)
    try:
        beating.start()
        yield claim
    finally:
        claim.ended.set()
        beating.join()
        release(folder, token)


def _created(path: Path, text: str) -> bool:
    """Whether the file was not there, or abandoned, and is now this process's."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not _fresh(path):
            _put_aside(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
        except OSError:
            path.unlink(missing_ok=True)  # else it would look for a while as if somebody ran there
            raise
    except FileExistsError:
        if path.exists():
            return False
        raise UserError(f"{path.parent} could not be written: it is a file; choose another folder", BAD_DATA) from None
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror}; make room or take another folder", BAD_DATA) from error
    return True


def _put_aside(path: Path) -> None:
    """Takes an abandoned file away; if another sweep was quicker, its fresh one is put back."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    with suppress(FileNotFoundError):
        os.rename(path, aside)
        if _fresh(aside):
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def release(folder: Path, token: str) -> None:
    """Removes running.yaml if it has this token."""
    if (there := read(folder)) is not None and there.token == token:
        (folder / RUNNING).unlink(missing_ok=True)


def read(folder: Path) -> Running | None:
    """What running.yaml says; None without one, or while it is being created."""
    return _read(folder / RUNNING)


def _read(path: Path) -> Running | None:
    try:
        return check(Running, files.read_yaml(path), RUNNING)
    except UserError:
        return None


def taken(folder: Path) -> bool:
    """Whether somebody runs there and has given a sign of life lately."""
    return _fresh(folder / RUNNING)


def _fresh(path: Path) -> bool:
    return _is_recent(path) and not _is_dead(_read(path))


def _is_recent(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < STALE
    except OSError:
        return False


def _is_dead(said: Running | None) -> bool:
    """Whether what runs there was a process of this machine, and is gone: killed, since otherwise it gives its folder back."""
    machine, _, number = ((said and said.process) or "").partition(":")
    return bool(machine) and machine == _machine() and not Path("/proc", number).exists()


@cache
def _machine() -> str:
    """Equal where the numbers of processes mean the same, until the next boot; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
        return files.identity([boot, os.readlink("/proc/self/ns/pid")])
    except OSError:
        return ""


def refresh(folder: Path) -> None:
    """Makes a file system in a network look anew at what a folder holds: it remembers for a minute that a file is not there."""
    with suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # as submitit does


def cycles_in(folder: Path) -> int:
    """How many cycles are on disk, from the first on without a gap."""
    number = 0
    while (folder / f"cycle-{number:02d}.h5").exists():
        number += 1
    return number


@dataclass(frozen=True)
class Found:
    """What a run folder holds: finished cycles, who runs in it, and the last line of what went wrong."""

    state: State
    cycles: int
    running: Running | None = None
    error: str = ""


def look(folder: Path) -> Found:
    """The state of a run from its folder alone; a folder that is not there is to do.

    done: run.yaml is there. running: running.yaml is, and fresh. failed: error.txt is. part: there are cycles.
    """
    cycles = cycles_in(folder)
    if (folder / RECORD).exists():
        return Found("done", cycles)
    if _is_recent(folder / RUNNING) and not _is_dead(said := read(folder)):
        return Found("running", cycles, said)
    with suppress(FileNotFoundError):
        return Found("failed", cycles, error=last_line((folder / ERROR).read_text(encoding="utf-8")))
    return Found("part" if cycles else "todo", cycles)


def last_line(text: str) -> str:
    """Of a traceback: the error itself."""
    return (text.strip().splitlines() or [""])[-1]
