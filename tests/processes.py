"""Starts the project's programs as real processes, as a user would."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
TINY = ROOT / "tests" / "tiny_config.py"
# The same program, compiled in half the time: not optimised where it does not call a library.
QUICK = " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def environment(data: Path, *, devices: int = 1, quick: bool = False) -> Mapping[str, str]:
    """The environment of a process with its data in `data` and so many devices.

    `quick`: it compiles in half the time, for what takes longer to compile than to run.
    """
    own = f"--xla_force_host_platform_device_count={devices}"
    return os.environ | {
        "ABE_JAX_DATA": str(data),
        "XLA_FLAGS": own + QUICK if quick else own,
        "PYTHONUNBUFFERED": "1",
    }


def command(module: str, *arguments: object) -> list[str]:
    """The command line of a module of the package."""
    return [sys.executable, "-m", f"abe_jax.{module}", *map(str, arguments)]


def port() -> int:
    """A free port of this machine's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run(
    module: str, *arguments: object, data: Path, devices: int = 1, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs a module to its end."""
    return python(
        "-m", f"abe_jax.{module}", *arguments, data=data, devices=devices, timeout=timeout
    )


def python(
    *arguments: object, data: Path, devices: int = 1, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments to its end."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(data, devices=devices),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def ended(hosts: "list[subprocess.Popen[str]]", within: float) -> list[tuple[int, str]]:
    """Status and errors of each process; all must end within so many seconds, and none stays."""
    last = time.monotonic() + within
    try:
        said = [host.communicate(timeout=max(0.1, last - time.monotonic()))[1] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    return [(host.returncode, errors) for host, errors in zip(hosts, said, strict=True)]


def worker(host: "subprocess.Popen[str]") -> int:
    """The process that does a host's work, the child of the one that was started."""
    children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
    return int(children[0])
