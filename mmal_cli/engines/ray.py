"""Ray: cells are tasks of an existing cluster, or of one started on this machine; several share a GPU if asked.

All machines of the cluster see the same folders under the same paths, and have mmal installed.
"""

import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from data_recipes.workers import cores
from mmal_cli.core import running
from mmal_cli.core.errors import UserError
from mmal_cli.engines import Event, OnEvent, Options, Outcome, Work, died, ready_ones, run_cell, waits_for

if TYPE_CHECKING:
    from ray import ObjectRef

NAME = "ray"
TICK = 1.0  # seconds between two looks, when nothing ends
RETRIES = 3  # of a cell whose worker dies
HELP = "start one by: ray start --head; one that wants Ray's token is joined with RAY_AUTH_MODE=token"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as will be Ray's default; without it Ray warns
    "OMP_WAIT_POLICY": "PASSIVE",
}


def devices(options: Options) -> list[str]:
    """A share of a GPU for each cell if there are GPUs, otherwise a core; as many as there is room for, or --jobs.

    Raises:
        UserError: no ray, no cluster at the address, less than one job, a share that is not in 0..1, a GPU chosen by number.
    """
    if options.gpu not in ("auto", "none"):
        raise UserError(f"--gpu {options.gpu}: Ray chooses the GPU, expected auto or none; or set CUDA_VISIBLE_DEVICES")
    if not 0 < options.gpus_per_cell <= 1:
        raise UserError(f"--gpus-per-cell is {options.gpus_per_cell}, expected more than 0 and at most 1")
    gpus, cpus = _resources(options)
    on_gpu = options.gpu == "auto" and gpus > 0
    room = min(gpus * int(1 / options.gpus_per_cell), cpus) if on_gpu else cpus
    return ["cuda:0" if on_gpu else "cpu"] * options.at_once(max(room, 1))  # Ray shows a cell its own GPU alone, as the first


def _resources(options: Options) -> tuple[int, int]:
    """GPUs and cores: of this machine, or of the cluster."""
    ray = _ray()
    if options.ray == "local":
        import torch

        return torch.cuda.device_count(), cores()
    _connect(options)
    found = ray.cluster_resources()
    return int(found.get("GPU", 0)), int(found.get("CPU", 0))


def _ray() -> ModuleType:
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--engine ray: {error}; install it in mmal's folder by: make .venv/.engines") from error
    return ray


def _connect(options: Options, **local: int) -> None:
    """Joins the cluster, or starts one here; once."""
    ray = _ray()
    if ray.is_initialized():
        return
    more = local | {"include_dashboard": False} if options.ray == "local" else {}
    try:
        ray.init(address=options.ray, log_to_driver=False, logging_level="CRITICAL", **more)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = running.last_line(str(error))
        raise UserError(f"--ray {options.ray}: no cluster there ({said}); {HELP}") from error


@dataclass(frozen=True)
class Task:
    """A cell in Ray's hands."""

    work: Work
    token: str
    ref: "ObjectRef"


def run(works: Sequence[Work], options: Options, on_event: OnEvent) -> list[Outcome]:
    """Runs all cells; at the end, or when interrupted, Ray's processes on this machine that it started are ended."""
    team = devices(options)
    waiting, tasks, outcomes = list(works), [], []
    with redirect_stdout(sys.stderr):  # where Ray says that a worker died: stdout is for results
        start = _starter(options, team)
        try:
            while waiting or tasks:
                for work in ready_ones(waiting, [task.work for task in tasks], len(team) - len(tasks)):
                    tasks.append(start(work))
                    on_event(Event("started", work))
                said = waits_for(waiting, tasks)
                for task in _ended(tasks):
                    tasks.remove(task)
                    outcome = _outcome(task)
                    if outcome.result == "busy":
                        waiting.append(task.work)
                    else:
                        outcomes.append(outcome)
                        on_event(Event("ended", task.work, outcome))
                on_event(Event("tick", said=said))
        finally:
            _end(tasks)
    return outcomes


def _starter(options: Options, team: Sequence[str]) -> Callable[[Work], Task]:
    """Joins or starts Ray; gives the function that hands it a cell."""
    ray = _ray()
    on_gpu = team[0] != "cpu"
    _connect(options, num_cpus=len(team), **({} if on_gpu else {"num_gpus": 0}))
    share = options.gpus_per_cell if on_gpu else 0
    cell = ray.remote(_task).options(num_cpus=1, num_gpus=share, max_retries=RETRIES)

    def start(work: Work) -> Task:
        token = secrets.token_hex(4)
        return Task(work, token, cell.remote(work, team[0], token, Path.cwd()))

    return start


def _ended(tasks: Sequence[Task]) -> list[Task]:
    """Those that have ended, after a second at most."""
    import ray

    if not tasks:
        time.sleep(TICK)
        return []
    refs, _ = ray.wait([task.ref for task in tasks], num_returns=len(tasks), timeout=TICK)
    return [task for task in tasks if task.ref in refs]


def _outcome(task: Task) -> Outcome:
    """What became of a cell that has ended; a failure if its worker died, and those that tried again too."""
    import ray

    try:
        return ray.get(task.ref)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        return died(task.work, task.token, f"the Ray worker died, {RETRIES + 1} times in all: {said[0]}")


def _end(tasks: Sequence[Task]) -> None:
    """Kills what runs, gives the folders back, and leaves Ray."""
    import ray

    for task in tasks:
        ray.cancel(task.ref, force=True)
    ray.shutdown()
    for task in tasks:
        running.release(task.work.folder, task.token)


def _task(work: Work, device: str, token: str, here: Path) -> Outcome:
    """What a worker does: runs a cell, in the folder where the sweep was started."""
    os.chdir(here)
    running.release(work.folder, token)  # that of this same task, whose worker was killed
    return run_cell(work, device, NAME, token)
