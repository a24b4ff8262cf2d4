"""Worker processes of this machine that live for the whole sweep and run cell after cell, several on one GPU if asked."""

import multiprocessing
import os
import secrets
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import FrameType

from data_recipes.workers import cores, held_back
from mmal_cli.core import running
from mmal_cli.core.errors import UserError
from mmal_cli.engines import Event, OnEvent, Options, Outcome, Work, died, ready, run_cell, threads, waits_for

NAME = "local"
TICK = 1.0  # seconds between two looks, when nothing ends
GRACE = 5.0  # seconds that a worker has to end its cell after Ctrl-C, before it is killed


def devices(options: Options) -> list[str]:
    """One device for each worker, the GPUs in turns; by default one worker for each GPU, or for each core.

    Raises:
        UserError: less than one worker, or a GPU that is not there.
    """
    import torch

    from mmal_cli.device import choose_device

    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs is {options.jobs}, expected 1 or more")
    every = [str(number) for number in range(torch.cuda.device_count())] or ["none"]
    found = [str(choose_device(name)) for name in (every if options.gpu == "auto" else options.gpu.split(","))]
    jobs = options.jobs or (cores() if found == ["cpu"] else len(found))
    return [found[number % len(found)] for number in range(jobs)]


def run(works: Sequence[Work], options: Options, on_event: OnEvent) -> list[Outcome]:
    """Runs all cells; at the end, or when interrupted, no process is left."""
    waiting, outcomes = list(works), []
    team = [Worker(at) for at in devices(options)]
    _share_cores(team)
    try:
        while waiting or any(worker.work for worker in team):
            for worker in team:
                at_work = [other.work for other in team if other.work]
                if worker.work is None and (work := ready(waiting, at_work)):
                    waiting.remove(work)
                    worker.give(work)
                    on_event(Event("started", work))
            said = waits_for(waiting, [worker.work for worker in team if worker.work])
            for pipe in wait([worker.pipe for worker in team if worker.work], TICK):
                worker = next(worker for worker in team if worker.pipe is pipe)
                work, outcome = worker.take()
                if outcome.result == "busy":
                    waiting.append(work)
                else:
                    outcomes.append(outcome)
                    on_event(Event("ended", work, outcome))
            on_event(Event("tick", said=said))
    finally:
        _end(team)
    return outcomes


class Worker:
    """A place for one process and the cell that it runs; the process starts with its first cell.

    It is replaced after a failure: what was out of memory, or met an error of CUDA, is not to be trusted with the next cell.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.work: Work | None = None
        self.process = self.pipe = None
        self.token = ""

    def give(self, work: Work) -> None:
        """Starts a cell."""
        if self.process and not self.process.is_alive():  # killed while it had nothing to do
            self.end()
        self.work, self.token = work, secrets.token_hex(4)
        if self.process is None:
            self._start()
        with suppress(BrokenPipeError):  # it has died meanwhile, which `take` reports
            self.pipe.send((work, self.token))

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy CUDA and the locks of other threads
        self.pipe, far = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(far, self.device))
        with held_back(signal.SIGINT):  # the process holds it back until it leaves it to its parent
            self.process.start()
        far.close()

    def take(self) -> tuple[Work, Outcome]:
        """The cell that has ended and what became of it; a failure if the process has died."""
        work, self.work = self.work, None
        try:
            outcome = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            outcome = died(work, self.token, f"the worker process died ({_cause(self.process.exitcode)})")
        if outcome.result == "failed" or not self.process.is_alive():
            self.end()
        return work, outcome

    def end(self) -> None:
        """Ends the process, and its cell at once; finished cycles stay."""
        if self.process is None:
            return
        self.process.terminate()
        self.process.join(GRACE)
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.process = self.pipe = None
        if self.work:
            running.release(self.work.folder, self.token)
            self.work = None


def _share_cores(team: Sequence[Worker]) -> None:
    """Threads of processes that start from here on: a cell's own on the CPU, an equal share beside GPUs; idle ones sleep."""
    each = threads() if team[0].device == "cpu" else max(1, cores() // len(team))
    os.environ.setdefault("OMP_NUM_THREADS", str(each))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _end(team: Sequence[Worker]) -> None:
    """Ends all processes; a second Ctrl-C does not stop that."""
    with held_back(signal.SIGINT):
        for worker in team:
            if worker.process:
                worker.process.terminate()
        for worker in team:
            worker.end()


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"{name}, as when memory ran out" if name == "SIGKILL" else name
    return f"exit {exitcode}"


def _serve(pipe: Connection, device: str) -> None:
    """The worker process: cell after cell until it is ended."""
    held: list[tuple] = []
    _obey_parent(held)
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            work, token = pipe.recv()
            held[:] = [(work.folder, token)]
            pipe.send(run_cell(work, device, NAME, token))


def _obey_parent(held: list[tuple]) -> None:
    """Leaves Ctrl-C to the parent, which then terminates; where the parent is gone, releases the cell and dies."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what tidies up is not interrupted
        raise KeyboardInterrupt

    def follow() -> None:
        wait([multiprocessing.parent_process().sentinel])
        for claim in held:
            running.release(*claim)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=follow, daemon=True).start()
