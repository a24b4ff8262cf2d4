"""A Slurm of one node on this machine, from Debian's packages: daemons of its own, without systemd or cgroups."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PIECES = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
DAEMONS = ("munged", "slurmctld", "slurmd")
# proctrack/linuxproc and task/none work in containers; cred_expire is how long a requeued job waits, two minutes by default
CONF = """
ClusterName=mmal
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munged.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=2
ReturnToService=2
JobRequeue=1
KillWait=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty if it can."""
    if lacking := [name for name in PIECES if shutil.which(name, path=_path()) is None]:
        return f"not on PATH: {', '.join(lacking)} (Debian: slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "starting Slurm's daemons needs root"


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@contextmanager
def slurm(folder: Path, cpus: int = 2) -> Iterator[None]:
    """Starts it in a folder, which also holds its logs, and sets SLURM_CONF; at the end no process of it is left."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    ctld_port, slurmd_port = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, ctld_port=ctld_port, slurmd_port=slurmd_port, cpus=cpus))
    before = {key: os.environ.get(key) for key in ("SLURM_CONF", "PATH")}
    os.environ |= {"SLURM_CONF": str(conf), "PATH": _path()}
    files = {"key-file": "munge.key", "socket": "munged.sock", "pid-file": "munged.pid", "log-file": "munged.log"}
    try:
        options = [f"--{key}={folder / name}" for key, name in (files | {"seed-file": "munged.seed"}).items()]
        _call("munged", "--force", *options)
        _call("slurmctld", "-f", str(conf))
        _call("slurmd", "-f", str(conf))
        _wait_until_idle(folder)
        yield
    finally:
        _cancel_all()
        for name in reversed(DAEMONS):
            _end(folder / f"{name}.pid")
        os.environ.pop("SLURM_CONF")
        os.environ |= {key: value for key, value in before.items() if value is not None}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _call(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def _wait_until_idle(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, timeout=30, check=False)
        if state.stdout.strip() == "idle":
            return
        logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
        assert time.monotonic() < deadline, f"{state.stdout}{state.stderr}\n{logs}"
        time.sleep(0.2)


def _cancel_all() -> None:
    """Ends what failed tests have left in the queue."""
    subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=30, check=False)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, timeout=30, check=False)
        if not left.stdout.strip():
            return
        time.sleep(0.2)


def _end(pid_file: Path) -> None:
    """Ends a daemon; one that does not end in ten seconds is killed."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and _lives(pid):
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
