"""Every loss's and system's steps, and an evaluation, on all devices of a job (not a test).

python tests/hosts_steps.py TARGET [--coordinator HOST:PORT --processes N --process I] [CASE ...]

All hosts compute together, and each writes to a TARGET of its own what it has in the end: of the
cases that are named, or of all. In float64 where JAX_ENABLE_X64 says so, as in device_steps.py.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from abe_jax.cli import command, several


def main(argv: Sequence[str]) -> None:
    """Joins the other hosts, as commands do, and writes what all cases come to."""
    parser = command.Parser("hosts_steps", __doc__, example="")
    parser.add_argument("target", type=Path)
    parser.add_argument("cases", nargs="*")
    several.add_hosts(parser)
    arguments, _ = parser.parse(argv)
    several.join_hosts(arguments)
    import hosts_cases  # not before: JAX joins before it looks for devices
    import jax

    written = {"devices": np.array([jax.device_count(), jax.local_device_count()])}
    for name in arguments.cases or hosts_cases.CASES:
        began = time.process_time()
        values = hosts_cases.CASES[name]()
        written |= {f"{name}: {key}": np.asarray(value) for key, value in values.items()}
        print(f"{name}: {time.process_time() - began:.1f} s of processors", file=sys.stderr)
    np.savez(arguments.target, **written)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    command.run(main)
