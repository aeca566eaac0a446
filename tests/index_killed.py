"""Kills real processes at every step that a change of an index takes (not a test).

Usage: index_killed.py FOLDER POINTS. Each change runs in a process of its own which kills itself
(SIGKILL: no handler, no clean-up) before or after its n-th call of the system; what is left must be
the old or the new state, and the next change must work. Prints how often which was left, as JSON.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from index_examples import MODEL, built, drawn, named

from abe_jax import index
from abe_jax.index import Threshold

CALLS = ("open", "write", "flush", "fsync", "close", "replace", "unlink", "flock", "seek")
X = drawn(60)


def transaction(folder: Path) -> None:
    """Two pieces of a build."""
    with index.transaction(folder, MODEL) as new:
        new.append(X[40:50], named(range(40, 50)))
        new.append(X[50:], named(range(50, 60)))


CHANGES: dict[str, Callable[[Path], object]] = {
    "add": lambda folder: index.add(folder, X[40:], named(range(40, 60)), MODEL),
    "transaction": transaction,
    "remove": lambda folder: index.remove(folder, np.arange(25)),
    "set_threshold": lambda folder: index.set_threshold(folder, Threshold(0.5, "precision 1")),
}


def state(folder: Path) -> tuple:
    """All that a reader sees, checksums verified."""
    now = index.read(folder)
    index.verify(now)
    return now.ids().tolist(), now.vectors(now.ids()).tolist(), list(now.rows()), now.threshold


def stopped(change: Callable[[Path], object], folder: Path, at: int) -> bool:
    """Runs a change in a process that is killed at its event `at`; whether it got so far."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = at

    def traced(_, event: str, function: Callable) -> None:
        nonlocal left
        if event in ("c_call", "c_return") and function.__name__ in CALLS:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    try:
        sys.setprofile(traced)
        change(folder)
        os._exit(0)
    finally:
        os._exit(1)


def main(folder: Path, points: int) -> dict[str, dict[str, int]]:
    """What each change left behind at so many points, spread evenly over all there are."""
    base = built(folder / "base", X[:40], pieces=5)
    old, told = state(base), {}
    for name, change in CHANGES.items():
        finished = Path(shutil.copytree(base, folder / name))
        change(finished)
        new, ends = state(finished), events(change, base, folder / "tried")
        left = {"old": 0, "new": 0, "events": ends}
        for at in sorted({int(p) for p in np.linspace(0, ends - 1, min(points, ends))}):
            tried = Path(shutil.copytree(base, folder / f"{name}-{at}"))
            assert stopped(change, tried, at)
            after = state(tried)
            assert after in (old, new), f"{name} killed at {at}: neither state"
            left["new" if after == new else "old"] += 1
            checked_next(tried, after)
            shutil.rmtree(tried)
        told[name] = left
    return told


def events(change: Callable[[Path], object], base: Path, tried: Path) -> int:
    """How many events a change has, by halving: the first at which it is not killed."""
    low, high = 0, 4096
    while low < high:
        middle = (low + high) // 2
        shutil.copytree(base, tried)
        low, high = (middle + 1, high) if stopped(change, tried, middle) else (low, middle)
        shutil.rmtree(tried)
    return low


def checked_next(folder: Path, before: tuple) -> None:
    """The next change works, and nothing is left of what was begun."""
    (id_,) = index.add(folder, X[:1], named("z"), MODEL).tolist()
    after = state(folder)
    assert id_ not in before[0]
    assert after[0] == [*before[0], id_] and after[2][:-1] == before[2]
    now = index.read(folder)
    files = {file.name for file in now.manifest.files()}
    assert set(os.listdir(folder / "segments")) == files


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
