"""The worker of benchmarks/gpu.py that runs our training steps (started by it)."""

import time

STARTED = time.perf_counter()

import contextlib  # noqa: E402 (the time until all is imported is told)
import dataclasses  # noqa: E402
import functools  # noqa: E402
import importlib  # noqa: E402
import math  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NamedTuple  # noqa: E402

import gpu_programs  # noqa: E402
import gpu_trace  # noqa: E402
import gpu_workers  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import training  # noqa: E402
from gpu_arms import Arm  # noqa: E402
from results import machine  # noqa: E402

from abe_jax import config  # noqa: E402
from abe_jax.comparison import timing  # noqa: E402
from abe_jax.config import Config  # noqa: E402
from abe_jax.data.images.sides import both  # noqa: E402
from abe_jax.models.backbones import table  # noqa: E402
from abe_jax.training import step  # noqa: E402

IMPORTED = time.perf_counter()


class Ready(NamedTuple):
    """What can be timed: a call without arguments, its compiled program, the backbone's stages."""

    run: Callable[[], Any]
    program: Any = None
    stages: Sequence[str] = ()


def loaded(arm: Arm, compute: str, overrides: Sequence[str] = ()) -> Config:
    """The config of an arm; `overrides` come last."""
    changes = [f"model.compute={compute}", *arm.overrides, *overrides]
    return config.load(training.CONFIGS / arm.config, changes)


def facts(arm: Arm, made: Config) -> dict[str, Any]:
    """What a peer is made of: the fields of `torch_losses.Facts`."""
    model, data = made.model, made.data
    known = table.backbone(model.backbone)
    names = ("backbone", "kind", "learners", "dim", "trunk_depth", "pooling", "gem_p")
    names = (*names, "layer_norm", "head", "width", "compute")
    optimizer = ("rate", "momentum", "weight_decay", "clip")
    return {
        **{name: getattr(model, name) for name in names},
        "norm": model.norm or known.norms[0],
        "branch": model.branch or known.branch,
        "size": both(data.size)[0],
        **{name: getattr(data, name) for name in ("channels", "mean", "std", "classes")},
        "batch": made.train.batch,
        "copies": arm.copies,
        "objective": [dataclasses.asdict(term) for term in made.objective],
        **{name: getattr(made.optimizer, name) for name in optimizer},
    }


class Steps:
    """The commands of this worker, and what they have made ready."""

    def __init__(self) -> None:
        self._ready: dict[str, Ready] = {}

    def about(self) -> dict[str, Any]:
        """The machine, in words, and the seconds that imports and the first device took."""
        text = machine()
        now = time.perf_counter()
        times = {"import_s": IMPORTED - STARTED, "device_s": now - IMPORTED}
        return {"machine": text, "platform": jax.default_backend(), **times}

    def ceiling(self, name: str, side: int, compute: str) -> float:
        """Makes a matrix product ready; its floating-point operations on all devices."""
        self._ready[name] = Ready(training.matrix_product(side, compute))
        return 2.0 * side**3

    def prepare(
        self,
        name: str,
        arm: dict[str, Any],
        compute: str,
        overrides: Sequence[str] = (),
        ways: str | None = None,
    ) -> dict[str, Any]:
        """Compiles a step and runs it once, from a random state.

        `first_s` are the seconds of that call, tracing and compilation included; `peer` is what
        another framework needs to know to do the same; `gib` is the memory of the program, with
        arguments and results, `instructions` how many of its main computation do work, both None
        where `untold` says why.
        """
        own = Arm(**arm)
        made = loaded(own, compute, overrides)
        run_step, state = training.train_step(made), training.random_state(made)
        batch = training.random_batch(made)
        ids = np.arange(made.train.batch, dtype=np.int32) // own.copies
        batch = batch._replace(image_ids=ids)
        parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params["model"]))
        placed = batch if own.from_host else jax.device_put(batch)
        run = _within(_chosen(ways), timing.chained(run_step, state, placed))
        programs = gpu_programs.Programs()
        start = time.perf_counter()
        _, metrics = jax.block_until_ready(run())
        first = time.perf_counter() - start
        program, about = programs.newest()
        stages = [s.name for s in table.stages(made.model.backbone, norm=made.model.norm)]
        self._ready[name] = Ready(run, program, stages)
        return {
            "first_s": first,
            "loss": step.fetch(metrics)["loss"],
            "parameters": parameters // jax.local_device_count(),
            "multiply_adds": made.train.batch * training.model_multiply_adds(made),
            "peer": facts(own, made),
            **about,
        }

    def seconds(self, name: str, steps: int) -> float:
        """Seconds of a step: of so many steps without waiting between them, over their number.

        One step before them is not counted.
        """
        run = self._ready[name].run
        jax.block_until_ready(run())
        start = time.perf_counter()
        jax.block_until_ready(_times(run, steps))
        return (time.perf_counter() - start) / steps

    def trace(self, name: str, steps: int) -> dict[str, Any]:
        """The kernels of so many steps, as `gpu_trace.summary` has them."""
        ready = self._ready[name]
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        jax.block_until_ready(ready.run())
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder, profiler_options=options):
                jax.block_until_ready(_times(ready.run, steps))
            profile = jax.profiler.ProfileData.from_file(str(gpu_trace.newest(Path(folder))))
        found = gpu_trace.events(profile)
        if not found:
            raise ValueError("the profiler saw no kernel; may this user read the card's counters?")
        text = "" if ready.program is None else gpu_programs.text(ready.program)
        return gpu_trace.summary(found, text, ready.stages, steps)


def _times(run: Callable[[], Any], steps: int) -> Any:
    for _ in range(steps - 1):
        run()
    return run()


def _chosen(ways: str | None) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """The context in which a step goes the ways for GPUs that are named, as WAYS names them."""
    if ways is None:
        return contextlib.nullcontext
    module = importlib.import_module("abe_jax.ways")
    pieces = [piece for piece in ways.split(",") if piece not in ("", "none")]
    if unknown := set(pieces) - set(module.PIECES):
        raise ValueError(f"abe_jax.ways has no {', '.join(sorted(unknown))}")
    return functools.partial(module.only, *pieces)


def _within(
    context: Callable[[], contextlib.AbstractContextManager[None]], run: Callable[[], Any]
) -> Callable[[], Any]:
    def call() -> Any:
        with context():
            return run()

    return call


if __name__ == "__main__":
    steps = Steps()
    names = ("about", "ceiling", "prepare", "seconds", "trace")
    gpu_workers.serve({name: getattr(steps, name) for name in names})
