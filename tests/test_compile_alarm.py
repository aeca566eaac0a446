"""XLA's alarm of a slow compilation, in a real process: our line stands in its place."""

import signal
import subprocess
import sys
import time

import pytest
from processes import ROOT

pytestmark = pytest.mark.slow

ALARM = "Very slow compile"
# Compiles for some twenty seconds, inside `compiling` or bare.
PROGRAM = """
import contextlib, sys
import jax
import jax.numpy as jnp
from abe_jax.training import progress

def unrolled(x, y):
    for i in range(300):
        x = jnp.where(x > y * i, jnp.sin(x) * y + i, jnp.cos(y) - x)
        y = jnp.roll(y, i % 7) if i % 5 == 0 else y * x
    return x, y

lowered = jax.jit(unrolled).lower(jnp.ones(64), jnp.ones(64))
says = lambda line: print(line, flush=True)
with progress.compiling(says) if sys.argv[1] == "ours" else contextlib.nullcontext():
    says("begins")
    lowered.compile()
says("ends")
"""


def test_only_our_line_says_that_a_compilation_takes_long() -> None:
    """Both processes stand still for most of the time, which their clocks count all the same."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "-u", "-c", PROGRAM, name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ours", "bare")
    }
    try:
        for process in started.values():
            assert process.stdout is not None and process.stdout.readline() == "begins\n"
        for runs, stands in ((5, 100), (3, 125)):
            time.sleep(runs)
            for process in started.values():
                process.send_signal(signal.SIGSTOP)
            time.sleep(stands)
            for process in started.values():
                process.send_signal(signal.SIGCONT)
        told = {name: process.communicate(timeout=600) for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    assert told["bare"][0] == "ends\n"
    assert ALARM in told["bare"][1]  # else this compiler raises none, and the rest shows nothing
    assert told["ours"][0].startswith("compiling, 10") and told["ours"][0].endswith("\nends\n")
    assert ALARM not in told["ours"][1]
