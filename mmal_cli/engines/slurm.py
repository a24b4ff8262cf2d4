"""Slurm: cells are tasks of job arrays, submitted by submitit; a task that is requeued goes on at its first missing cycle.

The sweep's own process submits and watches. Of what Slurm knows it reads the queue alone (`squeue`), so that clusters without
accounting do. All its jobs have one name, by which Ctrl-C cancels them. submitit's files lie in `<out>/.slurm/`, for this
sweep alone; beside them tasks write and read `<job>.stops`.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mmal_cli.core import files, running
from mmal_cli.core.errors import BAD_DATA, UserError
from mmal_cli.engines import Event, OnEvent, Options, Outcome, Work, died, ready_ones, run_cell, threads, waits_for

if TYPE_CHECKING:
    from submitit import SlurmExecutor, SlurmJob

NAME = "slurm"
JOBS = 100  # cells that are queued or run at once, where --jobs does not say
TICK = 1.0  # seconds between two looks at results
ASK = 5.0  # seconds between two questions to Slurm, and between two submissions
LATE = 90.0  # seconds by which a result may be seen later than the end of its task: file systems in a network
SOON = 10.0  # the same of a task that did not end well, and so has no result but of an error
TRIES = 3  # stops by Slurm's signal, one after the other, that finish no cycle: then a cell has failed
INTERRUPTED = 130
OURS = {"array", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "signal"}
GONE = "gone from the queue"
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", GONE}
ENDED |= {"OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}
INHERITED = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")  # what a job finds in its environment
# srun hands the task's cores on only if told so; threads that spin while they wait slow busy cores down
SETUP = "export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} OMP_WAIT_POLICY=PASSIVE"
THREADS = "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-%s}"


def devices(options: Options) -> list[str]:
    """A GPU for each cell if --slurm asks for GPUs, otherwise the CPU.

    Raises:
        UserError: no submitit, no sbatch, less than one job, --slurm with an empty value or an option that mmal sets itself.
    """
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise UserError(f"--engine slurm: {error}; install it in mmal's folder by: make .venv/.engines") from error
    if shutil.which("sbatch") is None:
        raise UserError("--engine slurm: no sbatch on PATH; give the command where jobs are submitted, or use --engine local")
    asked = _asked(options)
    has_gpu = any(key.startswith("gpus") or (key == "gres" and "gpu" in str(value)) for key, value in asked.items())
    if options.gpu not in ("auto", "none"):
        raise UserError(f"--gpu {options.gpu}: Slurm chooses the GPU; expected auto or none, with: --slurm gres=gpu:1")
    return ["cuda:0" if has_gpu and options.gpu == "auto" else "cpu"] * options.at_once(JOBS)


def _asked(options: Options) -> dict[str, str | bool]:
    """--slurm KEY=VALUE as options of sbatch; a KEY alone, such as exclusive, is True."""
    asked = {}
    for text in options.slurm:
        key, equals, value = text.partition("=")
        key = key.strip().lstrip("-").replace("_", "-")
        if not key or (equals and not value):
            raise UserError(f"--slurm {text}: expected KEY=VALUE or KEY, such as partition=gpu, time=4:00:00 or exclusive")
        if key in OURS:
            raise UserError(f"--slurm {text}: mmal sets {key} itself")
        asked[key] = value if equals else True
    return asked


@dataclass
class Task:
    """A cell in Slurm's hands. `gone`: since when it is seen ended in the queue, without a result."""

    work: Work
    token: str
    job: "SlurmJob[Outcome]"
    gone: float | None = None


def run(works: Sequence[Work], options: Options, on_event: OnEvent) -> list[Outcome]:
    """Runs all cells, those that are ready as one array; at most --jobs are queued or run at once. Ctrl-C cancels them.

    That the first cells cannot be submitted is an error; later ones wait until they can.
    """
    device, *others = devices(options)
    waiting, tasks, outcomes = list(works), [], []
    name = f"mmal-{secrets.token_hex(4)}"
    asked_at, states, has_begun, said = -ASK, {}, False, ""
    try:
        while waiting or tasks:
            if time.monotonic() - asked_at >= ASK:
                begun, refused = _submit(waiting, [task.work for task in tasks], options, device, 1 + len(others), name)
                if refused and not has_begun:
                    raise refused
                for task in begun:
                    on_event(Event("started", task.work))
                tasks += begun
                has_begun = has_begun or bool(begun)
                states, asked_at = _queue(name), time.monotonic()
                said = f"{refused}; tried again every {ASK:g} s" if refused else waits_for(waiting, tasks)
            for task in list(tasks):
                if outcome := _outcome(task, states):
                    tasks.remove(task)
                    if outcome.result == "busy":
                        waiting.append(task.work)
                    else:
                        outcomes.append(outcome)
                        on_event(Event("ended", task.work, outcome))
            on_event(Event("tick", said=said))
            time.sleep(TICK)
    except BaseException:
        _cancel(name, tasks)
        raise
    return outcomes


def _submit(
    waiting: list[Work], at_work: Sequence[Work], options: Options, device: str, most: int, name: str
) -> tuple[list[Task], UserError | None]:
    """Submits the cells that are ready, as one array. Where it cannot be done they stay in `waiting`; the error says why."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if not (works := ready_ones(waiting, at_work, most - len(at_work))):
        return [], None
    tokens, place = [secrets.token_hex(4) for _ in works], works[0].out / ".slurm"
    try:
        with _as_from_no_job():
            jobs = _executor(place, options, most, name, device).map_array(_task, works, [device] * len(works), tokens)
    except (FailedJobError, FailedSubmissionError) as error:
        lines = [line for line in str(error).splitlines() if "error: " in line] or str(error).splitlines()
        helps = "see --slurm KEY=VALUE, and --jobs N for fewer cells at once"
        refused = UserError(f"sbatch refused the cells: {' '.join(lines)}; {helps}")
    except OSError as error:
        refused = UserError(f"{place} could not be written: {error.strerror}; choose another --out", BAD_DATA)
    else:
        return [Task(*each) for each in zip(works, tokens, jobs, strict=True)], None
    waiting[:0] = works
    return [], refused


@contextmanager
def _as_from_no_job() -> Iterator[None]:
    """Within a Slurm job, hides that job from sbatch: its cells would inherit memory and cores beside their own, and die."""
    inside = "SLURM_JOB_ID" in os.environ
    names = [key for key in os.environ if inside and key.startswith(INHERITED) and key != "SLURM_CONF"]
    hidden = {key: os.environ.pop(key) for key in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _executor(folder: Path, options: Options, most: int, name: str, device: str) -> "SlurmExecutor":
    from submitit import SlurmExecutor

    folder.mkdir(parents=True, exist_ok=True)
    executor = SlurmExecutor(folder)
    asked = {"requeue": True} | _asked(options)
    setup = [SETUP, THREADS % (threads() if device == "cpu" else "$SRUN_CPUS_PER_TASK")]
    ours = {"job_name": name, "array_parallelism": most, "setup": setup, "stderr_to_stdout": True}
    # time: the partition's own limit, not submitit's five minutes, unless asked
    executor.update_parameters(time=None, additional_parameters=asked, **ours)
    return executor


def _queue(name: str) -> dict[str, str] | None:
    """State of every job of this sweep that Slurm still knows, by its id; None if Slurm does not answer."""
    command = ["squeue", f"--name={name}", "--states=all", "--array", "--noheader", "--format=%i %T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode else dict(line.split() for line in done.stdout.splitlines())


def _outcome(task: Task, states: dict[str, str] | None) -> Outcome | None:
    """What became of a task; None while it is queued or runs, and while its result may still come."""
    result, state = task.job.paths.result_pickle, None if states is None else states.get(task.job.job_id, GONE)
    if state in ENDED:
        running.refresh(result.parent)
    if result.exists():
        error = task.job.exception()
        if error is None:
            return task.job.result()
        return died(task.work, task.token, f"the Slurm task {task.job.job_id} failed: {running.last_line(_trace(error))}")
    if state is None:  # Slurm does not answer
        return None
    if state not in ENDED:
        task.gone = None
        return None
    task.gone = task.gone or time.monotonic()
    if time.monotonic() - task.gone < (LATE if state in ("COMPLETED", GONE) else SOON):
        return None
    said = f"the Slurm task {task.job.job_id} died ({state}); what it printed: {task.job.paths.stdout}"
    return died(task.work, task.token, said)


def _trace(error: Exception) -> str:
    """The traceback that submitit frames with lines of dashes."""
    return str(error).split("-" * 22)[1]


def _cancel(name: str, tasks: Sequence[Task]) -> None:
    """Cancels all jobs of this sweep and gives their folders back; one that still runs notices it and stops."""
    done = subprocess.run(["scancel", f"--name={name}"], capture_output=True, text=True, check=False)
    for task in tasks:
        running.release(task.work.folder, task.token)
    if done.returncode and tasks:
        said = running.last_line(done.stderr)
        raise UserError(f"jobs could not be cancelled ({said}); cancel them by: scancel --name={name}", INTERRUPTED)


def _task(work: Work, device: str, token: str) -> Outcome:
    """What a Slurm task does: runs a cell. At Slurm's signal before a time limit it gives the folder back and is requeued."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        raise KeyboardInterrupt

    running.release(work.folder, token)  # that of this same task, where it was killed and requeued
    signal.signal(signal.SIGUSR2, stop)  # in place of submitit's, which would end within the cell
    cycles = running.cycles_in(work.folder)
    try:
        return run_cell(work, device, NAME, token)
    except KeyboardInterrupt:
        from submitit import JobEnvironment

        # `12_3`, not SLURM_JOB_ID: an array's last task has the number of the whole array there
        job = JobEnvironment().job_id
        stops = _stops(work.out / ".slurm" / f"{job}.stops", running.cycles_in(work.folder) > cycles)
        if stops >= TRIES:
            said = f"stopped by Slurm {stops} times without finishing a cycle; give more time: --slurm time=..."
            return died(work, token, said)
        subprocess.run(["scontrol", "requeue", job], check=True)
        sys.exit(1)  # without a result: submitit's file of this task stays for the next start


def _stops(note: Path, has_finished: bool) -> int:
    """How many stops of this task, with this one, have finished no cycle since one has; the file remembers it."""
    before = int(note.read_text()) if note.exists() else 0
    stops = 0 if has_finished else before + 1
    files.write_text(note, str(stops))
    return stops
