"""Times exchanges between the devices of this process, or of several processes (a part of
scaling.py): prints a line of JSON, seconds by kind and size.

    python benchmarks/scaling_worker.py ROUNDS SIZE,SIZE [ADDRESS PROCESSES PROCESS]
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax

AXIS = "devices"
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "all-reduce": lambda x: lax.psum(x, AXIS),
    "all-gather": lambda x: lax.all_gather(x, AXIS, tiled=True),
}


def call(kind: str, size: int) -> Callable[[], Any]:
    """An exchange of arrays of so many bytes: those that are summed, or all that are gathered."""
    numbers = size // 4 if kind == "all-reduce" else size // 4 // jax.device_count()
    rows = np.ones((jax.local_device_count(), numbers), np.float32)
    placed = jax.pmap(lambda x: x)(rows)
    mapped = jax.pmap(OPERATIONS[kind], axis_name=AXIS)
    return lambda: mapped(placed)


def main(rounds: int, sizes: list[int]) -> None:
    calls = {(kind, size): call(kind, size) for kind in OPERATIONS for size in sizes}
    nothing = jax.pmap(lambda x: x + 1)
    x = nothing(np.zeros(jax.local_device_count(), np.float32))
    calls["nothing", 0] = lambda: nothing(x)
    for one in calls.values():  # which compiles
        jax.block_until_ready(one())
    found: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):  # the same order in all processes
        for key, one in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(one())
            found[key].append(time.perf_counter() - begun)
    if jax.process_index() == 0:
        medians = [[*key, statistics.median(times), min(times)] for key, times in found.items()]
        print(json.dumps(medians))


if __name__ == "__main__":
    rounds, sizes, *hosts = sys.argv[1:]
    if hosts:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(hosts[0], int(hosts[1]), int(hosts[2]))
    main(int(rounds), [int(size) for size in sizes.split(",")])
