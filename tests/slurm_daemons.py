"""A SLURM cluster of two nodes on this machine, of its real daemons: no root, munge or cgroups."""

import contextlib
import getpass
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from processes import ROOT, port

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo")
PATH = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))

# Every address of 127.0.0.0/8 is this machine: two nodes, whose names need no looking up. JAX takes
# the first one's as its coordinator's. A job of `high` preempts those of `low` and `grace`, which
# are requeued, the latter some time after being told.
CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
GresTypes=gpu
NodeName={nodes[0]} NodeHostname={nodes[0]} NodeAddr={nodes[0]} Port={first} CPUs=1 Gres=gpu:2
NodeName={nodes[1]} NodeHostname={nodes[1]} NodeAddr={nodes[1]} Port={second} CPUs=1 Gres=gpu:2
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1
PartitionName=grace Nodes=ALL MaxTime=60 PriorityTier=1 GraceTime=60
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=2 PreemptMode=OFF
"""
# GPUs for SLURM to hand out, which no program finds.
GRES = """
Name=gpu File=/dev/null
Name=gpu File=/dev/zero
"""
NODES = ("127.0.0.1", "127.0.0.2")


def absent() -> list[str]:
    """The programs that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


class Slurm:
    """A running cluster."""

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self.folder = folder
        # A job has the environment and the folder of who submits it: `python` is that of this test.
        path = os.pathsep.join((str(Path(sys.executable).parent), PATH))
        self.environment = {**environment, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Runs one of SLURM's commands."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def call(self, *command: object) -> str:
        """What one of SLURM's commands prints, which must not fail."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def cancel(self) -> None:
        """Cancels all jobs."""
        self.call("scancel", "--user", getpass.getuser())

    def job(self, job: str) -> dict[str, str]:
        """What SLURM knows about a job: JobState, Restarts, ExitCode and so on."""
        return dict(re.findall(r"(\S+?)=(\S*)", self.call("scontrol", "show", "job", job)))

    def processes(self, job: str, number: int) -> dict[int, dict[str, str]]:
        """The environments of a job's Python processes of this number, by process id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                words = (folder / "cmdline").read_text(errors="replace").split("\0")
                pairs = (folder / "environ").read_text(errors="replace").split("\0")
                known = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                ours = known.get("SLURM_JOB_ID"), known.get("SLURM_PROCID"), known.get("SLURM_CONF")
                if ours == (job, str(number), self.environment["SLURM_CONF"]) and "-m" in words:
                    found[int(folder.name)] = known
        return found

    def wait(self, what: str, reached: Callable[[], bool], seconds: float = 600) -> None:
        """Waits until something is so; the daemons' logs are shown if it does not come."""
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, f"waited in vain for {what}\n{self.said()}"
            time.sleep(0.1)

    def said(self) -> str:
        """The end of every log and of every job's output."""
        files = sorted((*self.folder.glob("*.log"), *self.folder.glob("*.out")))
        return "\n".join(f"== {f.name}\n{f.read_text()[-3000:]}" for f in files)


@contextlib.contextmanager
def cluster(folder: Path, environment: Mapping[str, str]) -> Iterator[Slurm]:
    """The daemons in a new folder, with two idle nodes; they end with the block.

    `environment` is that of all jobs.
    """
    ports = dict(zip(("controller", "first", "second"), (port(), port(), port()), strict=True))
    (folder / "state").mkdir(parents=True)
    conf = CONF.format(folder=folder, user=getpass.getuser(), nodes=NODES, **ports)
    (folder / "slurm.conf").write_text(conf)
    (folder / "gres.conf").write_text(GRES)
    slurm = Slurm(folder, environment)
    commands = [["slurmctld", "-D", "-c"], *(["slurmd", "-D", "-N", node] for node in NODES)]
    with (folder / "daemons.log").open("w") as log, contextlib.ExitStack() as stack:
        for command in commands:
            # Popen looks a name up in this process's own PATH.
            program = shutil.which(command[0], path=PATH)
            assert program is not None
            daemon = subprocess.Popen(
                [program, *command[1:]], env=slurm.environment, stdout=log, stderr=log
            )
            stack.callback(_end, daemon)
        slurm.wait("two idle nodes", lambda: _idle(slurm) == len(NODES), 60)
        try:
            yield slurm
        finally:
            slurm.cancel()
            slurm.wait("the end of all jobs", lambda: _idle(slurm) == len(NODES), 150)


def _idle(slurm: Slurm) -> int:
    """How many nodes have no job."""
    done = slurm.run("sinfo", "--noheader", "--Node", "--partition=low", "--format=%t")
    return done.stdout.split().count("idle")


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.terminate()
    try:
        daemon.wait(30)
    except subprocess.TimeoutExpired:
        daemon.kill()
