"""A real Slurm on the loopback: controller and one node with fake GPUs, for whoever runs the tests."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
GPUS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")  # device files that are everywhere
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ReturnToService=2
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=60
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=1000 Gres=gpu:4
PartitionName=gpu Nodes={host} Default=YES PriorityTier=1
PartitionName=urgent Nodes={host} PriorityTier=10
"""


def lacking() -> list[str]:
    """Programs of Slurm's and munge's that are not on this machine."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class Slurm:
    """A running cluster; `environment` is what its commands need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}

    def run(self, *command: str) -> str:
        """Run a command of Slurm's and return what it prints."""
        result = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout

    def tasks(self) -> dict[str, str]:
        """How each task in the queue stands, by its array and number."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%F_%K %T").splitlines()
        return dict(line.split() for line in lines)

    def preempt(self) -> None:
        """Run a job that takes the node from all others, and wait for its end."""
        self.run("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wait", "--wrap=true")


@contextmanager
def running() -> Iterator[Slurm]:
    """Start a cluster, and end it."""
    # In a short path: that of a socket is limited.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(host=host, folder=folder, user=getpass.getuser(), ports=[_free_port(), _free_port()])
    (folder / "slurm.conf").write_text(text)
    devices = [f"NodeName={host} Name=gpu File={device}\n" for device in GPUS]
    (folder / "gres.conf").write_text("".join(devices))
    slurm = Slurm(folder)
    munged = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("key-file", "pid-file", "log-file")]
    munged += [f"--seed-file={folder}/munge.seed", f"--socket={folder}/munge.socket"]
    commands = (
        ["munged", "--foreground", "--force", *munged],
        ["slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf")],
        ["slurmd", "-D", "-c", "-f", str(folder / "slurm.conf")],
    )
    daemons = []
    try:
        for command in commands:
            with open(folder / f"{command[0]}.out", "w") as out:
                daemons.append(subprocess.Popen(command, env=os.environ | slurm.environment, stdout=out, stderr=out))
            if command[0] == "munged":
                wait_for((folder / "munge.socket").exists, "munged's socket", 30)
        wait_for(lambda: _is_idle(slurm), f"a node that is idle; see {folder}", 60)
        yield slurm
    finally:
        subprocess.run(["scancel", "--me", "--signal=KILL"], env=os.environ | slurm.environment, capture_output=True)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    """Wait until something is so; after `seconds` there is no hope."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.1)


def _is_idle(slurm: Slurm) -> bool:
    result = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=os.environ | slurm.environment, capture_output=True, text=True
    )
    return result.returncode == 0 and "idle" in result.stdout


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]
