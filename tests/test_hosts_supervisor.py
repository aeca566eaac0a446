"""The process beside a host: what passes through it, and with which status it ends."""

import subprocess
import sys
from typing import Any

from processes import ROOT


def supervised(child: str, **streams: Any) -> "subprocess.CompletedProcess[str]":
    """Runs some lines of Python as a host beside which a supervisor stands."""
    program = f"from abe_jax.hosts.supervisor import supervise\nsupervise(9.0)\n{child}"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, text=True, timeout=60, check=False, **streams
    )


# Far more than a pipe takes of which nobody reads.
MUCH = """
import os
for _ in range(1000):
    os.write(2, b"x" * 1000 + b"\\n")
os._exit(3)
"""


def test_a_full_disk_under_the_errors_does_not_stop_the_host() -> None:
    with open("/dev/full", "w") as full:
        assert supervised(MUCH, stderr=full).returncode == 3
