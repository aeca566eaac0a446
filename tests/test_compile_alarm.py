"""XLA's alarm of a slow compilation, in a real process: our line stands in its place."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def await_file(folder: Path, pattern: str) -> None:
    for _ in range(600):
        if any(folder.glob(pattern)):
            return
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} in a minute")


def test_only_our_line_says_that_a_compilation_takes_long(tmp_path: Path) -> None:
    """Both processes stand still for most of the time, which their clocks count all the same.

    XLA counts from where it generates code, of which the files that it is told to write tell.
    """
    started = {
        name: subprocess.Popen(
            [sys.executable, "-u", "-c", PROGRAM, name],
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": f"--xla_dump_to={tmp_path / name}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ours", "bare")
    }
    try:
        for process in started.values():
            assert process.stdout is not None and process.stdout.readline() == "begins\n"
        for name in started:
            await_file(tmp_path / name, "*unrolled*after_optimizations.txt")
        for runs, stands in ((0.5, 95), (2, 40)):
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
    lines = r"(compiling, \d+ s so far\n)+ends\n"
    assert re.fullmatch(lines, told["ours"][0])
    assert ALARM not in told["ours"][1]
