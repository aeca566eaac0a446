"""What training on many devices loses to what they send: a stated model, and a check of it.

    python benchmarks/scaling.py                     the table for 8, 64 and 512 devices, in seconds
    python benchmarks/scaling.py --check             and its rings against timed ones, 2 minutes
    python benchmarks/scaling.py --bandwidth 12.5e9 --latency 10e-6       for links of one's own

The model, of a step on n devices:

    network     6 x multiply-adds of the rows of one device / (flops x utilisation): forward pass 2,
                backward pass 4; by chunks 8
    loss        every device computes that of all pairs of the global batch: m b^2 numbers of 4
                bytes, PASSES times through its memory
    exchanges   rings over the slowest link (abe_jax/training/traffic.py): the gradients are summed
                in one array; b m d embeddings are gathered; batch normalisation sums two arrays for
                each layer, forwards and backwards. None is hidden behind the network's work, so
                that the truth is no worse

Efficiency is the time of the same images on one device, which needs neither exchanges nor others'
pairs (of a fixed global batch: by chunks), over n times that on n devices. What it leaves out:
reading images, hosts that wait for the slowest, the optimiser.
"""

import argparse
import dataclasses
import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from results import Table, machine, number
from scipy.optimize import nnls
from training import CONFIGS, model_multiply_adds

from abe_jax import config
from abe_jax.config import Config, build
from abe_jax.training.traffic import Exchange, Links, messages, seconds, sent

DEVICES = (8, 64, 512)
SYSTEMS = {  # a config, and what it leaves to its data
    "ABE-8, GoogLeNet": ("cars196_abe.py", ()),
    "NormSoftmax, ResNet-50": ("normsoftmax_cars196.py", ("data.classes=98",)),
    "HDC, GoogLeNet": ("hdc_cars196.py", ()),
}
LINKS = {  # bytes a second in one direction, seconds a message
    "NVLink or a TPU's own, 100 GB/s": Links(100e9, 2e-6),
    "400 Gb/s network": Links(50e9, 5e-6),
    "25 Gb/s network": Links(3.1e9, 30e-6),
}
FLOPS, UTILISATION, MEMORY = 400e12, 0.4, 2e12  # a device: operations, share, bytes a second
PASSES = 20
ROWS, GLOBAL = 64, 4096  # of a device, where the global batch grows; of all, where it is fixed
FLOAT32 = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """What the model needs to know of a training."""

    multiply_adds: float  # of the network, one image
    parameters: int  # numbers that are summed
    row: int  # bytes of an image that are gathered
    statistics: int  # bytes of batch normalisation that are summed, one way
    layers: int  # of batch normalisation
    learners: int

    def exchanges(self, batch: int) -> Iterator[Exchange]:
        """Of one step on a global batch."""
        yield Exchange("all-reduce", FLOAT32 * self.parameters)
        yield Exchange("all-gather", self.row * batch)
        if self.layers:
            yield Exchange("all-reduce", self.statistics // self.layers, 2 * self.layers)

    def step(self, batch: int, devices: int, links: Links, passes: int = 3) -> float:
        """Seconds of a step; `passes`: 3, or 4 by chunks."""
        operations = 2 * passes * self.multiply_adds * batch / devices
        pairs = FLOAT32 * self.learners * batch**2
        work = operations / (FLOPS * UTILISATION) + PASSES * pairs / MEMORY
        return work + seconds(self.exchanges(batch), devices, links)


def system(made: Config) -> System:
    """Of a config: nothing is computed but shapes."""
    recipe, model = build.recipe(made), made.model
    state = recipe.abstract()
    leaves = jax.tree.leaves(state.batch_stats)
    frozen = model.freeze_norm and not model.neck
    dims = max(build.model(model).sizes)
    return System(
        multiply_adds=model_multiply_adds(made),
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params)),
        row=FLOAT32 * model.learners * dims + 5,  # and its label, and whether it is there
        statistics=0 if frozen else FLOAT32 * sum(math.prod(leaf.shape) for leaf in leaves),
        layers=0 if frozen else len(leaves) // 2,
        learners=model.learners,
    )


def predicted(systems: dict[str, System], links: dict[str, Links]) -> Table:
    """Efficiency by system, link and number of devices."""
    rows = []
    for name, own in systems.items():
        for link, joined in links.items():
            grown = [own.step(ROWS, 1, joined) / own.step(ROWS * n, n, joined) for n in DEVICES]
            fixed = [
                own.step(GLOBAL, 1, joined, 4) / (n * own.step(GLOBAL, n, joined, 3 + (n < 64)))
                for n in DEVICES
            ]
            rows.append((name, link, *(f"{100 * e:.0f} %" for e in (*grown, *fixed))))
    head = ("system", "links", *(f"{n} x {ROWS} rows" for n in DEVICES))
    head += tuple(f"{GLOBAL} rows on {n}" for n in DEVICES)
    note = (
        f"Not measured: a model. A device of {FLOPS / 1e12:.0f} TFLOP/s at {UTILISATION:.0%} and "
        f"{MEMORY / 1e12:g} TB/s; {PASSES} passes over the pairs. The head of "
        "benchmarks/scaling.py has the formulas."
    )
    return Table(title="Predicted efficiency of training", note=note, head=head, rows=rows)


def moved(systems: dict[str, System]) -> Table:
    """What each device sends a step, on 64 devices."""
    rows = []
    for name, own in systems.items():
        parts = [sent(one, 64) / 2**20 for one in own.exchanges(64 * ROWS)]
        parts += [0.0] * (3 - len(parts))
        rows.append(
            (name, f"{own.parameters:,}", *(number(part) if part else "0" for part in parts))
        )
    head = ("system", "parameters", "MiB of gradients", "of embeddings", "of statistics")
    note = f"MiB that each of 64 devices sends a step, {ROWS} rows on each, by rings."
    return Table(title="What a step sends", note=note, head=head, rows=rows)


Timed = dict[tuple[str, int], float]  # seconds by kind and bytes, a call without exchange left out
SIZES = (2**12, 2**16, 2**18, 2**20, 2**22, 2**24)


def timed(devices: int, processes: int, rounds: int) -> Timed:
    """Exchanges between devices of one process, or between processes of one device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    script = Path(__file__).with_name("scaling_worker.py")
    command = [sys.executable, script, rounds, ",".join(map(str, SIZES))]
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    started = [
        subprocess.Popen(
            list(map(str, command + ([address, processes, i] if processes > 1 else []))),
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    said = [process.communicate(timeout=600)[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process that timed exchanges failed; what it printed says why")
    last = said[0].splitlines()[-1]  # Gloo says before it that the processes are connected
    found = {(kind, size): median for kind, size, median, _ in json.loads(last)}
    nothing = found.pop(("nothing", 0))
    return {key: max(1e-7, value - nothing) for key, value in found.items()}


def fitted(found: Timed, devices: int) -> Links:
    """The links by which sums take what was measured, in the least relative error."""
    own = [(Exchange(kind, size), time) for (kind, size), time in found.items()]
    sums = [(one, time) for one, time in own if one.kind == "all-reduce"]
    rows = np.array([[sent(one, devices), messages(one, devices)] for one, _ in sums])
    times = np.array([time for _, time in sums])
    per_byte, latency = nnls(rows / times[:, None], np.ones(len(times)))[0]
    return Links(1 / max(per_byte, 1e-15), float(latency))


def checked(what: str, found: dict[int, Timed]) -> tuple[Table, float]:
    """Predictions by links that the sums of the most devices gave, and the median error factor."""
    most = max(found)
    links, rows, errors = fitted(found[most], most), [], []
    for devices, times in found.items():
        for (kind, size), time in times.items():
            expected = seconds([Exchange(kind, size)], devices, links)
            if (kind, devices) != ("all-reduce", most):
                errors.append(abs(math.log(expected / time)))
            ms = [number(1e3 * one) for one in (time, expected)]
            rows.append((kind, str(devices), f"{size // 1024:,}", *ms, f"{expected / time:.2f}"))
    factor = math.exp(float(np.median(errors)))
    note = (
        f"Links fitted to the sums over {most}: {links.bandwidth / 1e9:.2f} GB/s and "
        f"{1e6 * links.latency:.0f} us a message. All else is predicted by them, within a factor "
        f"of {factor:.2f} at the median."
    )
    head = ("exchange", "devices", "KiB", "ms", "predicted", "ratio")
    return Table(
        title=f"The model of rings, checked: {what}", note=note, head=head, rows=rows
    ), factor


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bandwidth", type=float, help="bytes a second of your links")
    parser.add_argument("--latency", type=float, default=5e-6, help="seconds of a message on them")
    parser.add_argument("--check", action="store_true", help="time exchanges on this machine")
    parser.add_argument("--rounds", type=int, default=31)
    given = parser.parse_args(arguments)
    links = LINKS
    if given.bandwidth:
        links = {"as given": Links(given.bandwidth, given.latency)}
    systems = {
        name: system(config.load(CONFIGS / file, list(overrides)))
        for name, (file, overrides) in SYSTEMS.items()
    }
    print(machine(), moved(systems), predicted(systems, links), sep="\n\n")
    if given.check:
        forced = {n: timed(n, 1, given.rounds) for n in (2, 4, 8)}
        print("", checked("forced devices of one process", forced)[0], sep="\n")
        hosts = {n: timed(1, n, given.rounds) for n in (2, 3, 4)}
        print("", checked("processes", hosts)[0], sep="\n")


if __name__ == "__main__":
    main()
