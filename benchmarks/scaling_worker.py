"""Times exchanges between the devices of this process, or of several processes (a part of
scaling.py): prints a line of JSON, seconds by kind and size.

    python benchmarks/scaling_worker.py DEVICES ROUNDS SIZE,SIZE [ADDRESS PROCESSES PROCESS]
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


def call(kind: str, size: int, devices: int) -> Callable[[], Any]:
    """An exchange of arrays of so many bytes: those that are summed, or all that are gathered."""
    own = jax.local_devices()[:devices]
    numbers = size // 4 if kind == "all-reduce" else size // 4 // (devices * jax.process_count())
    mapped = jax.pmap(
        OPERATIONS[kind], axis_name=AXIS, devices=None if jax.process_count() > 1 else own
    )
    rows = mapped(np.zeros((len(own), max(1, numbers)), np.float32))  # compiles
    placed = jax.pmap(lambda x: x, devices=None if jax.process_count() > 1 else own)(
        np.ones((len(own), max(1, numbers)), np.float32)
    )
    jax.block_until_ready(rows)
    return lambda: mapped(placed)


def main(devices: int, rounds: int, sizes: list[int]) -> None:
    calls = {(kind, size): call(kind, size, devices) for kind in OPERATIONS for size in sizes}
    nothing = jax.pmap(lambda x: x + 1)
    x = nothing(np.zeros(jax.local_device_count(), np.float32))
    calls["nothing", 0] = lambda: nothing(x)
    found: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):  # the same order in all processes
        for key, one in calls.items():
            jax.block_until_ready(one())
            begun = time.perf_counter()
            jax.block_until_ready(one())
            found[key].append(time.perf_counter() - begun)
    if jax.process_index() == 0:
        medians = [[*key, statistics.median(times), min(times)] for key, times in found.items()]
        print(json.dumps(medians))


if __name__ == "__main__":
    if len(sys.argv) > 4:
        address, processes, process = sys.argv[4:]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(address, int(processes), int(process))
    main(int(sys.argv[1]), int(sys.argv[2]), [int(size) for size in sys.argv[3].split(",")])
