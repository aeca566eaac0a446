"""What a training would run, on what, with which memory and for how long (`train --dry-run`).

The step that would run is compiled, which the training's own start then finds done, and a few
steps are taken in memory. Nothing is made or written in the run's folder.
"""

import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.cli import command
from abe_jax.errors import UserError

if TYPE_CHECKING:
    from abe_jax.config import Config
    from abe_jax.runs.training import Training
    from abe_jax.training.rehearsal import Memory, Times

TRAINED = 3  # multiply-adds of an image trained, forward and backward, over those of one embedded
KEPT = 3  # checkpoints: the two latest and the best; one more lies there while it is written
MIB = 2**20


def run(config: "Config", workdir: Path) -> None:
    """Says what `train` would do; all hosts call it.

    Raises:
        UserError: what would refuse the training, or a step that the devices' memory cannot hold.
    """
    from abe_jax import hosts
    from abe_jax.config import memory
    from abe_jax.config.resume import is_finished
    from abe_jax.config.training import prepare_training
    from abe_jax.training.checkpoint import Checkpoints
    from abe_jax.training.rehearsal import Rehearsal

    with prepare_training(config, workdir, command.say, claims=False) as training:
        start = (Checkpoints.steps_in(training.folder.latest) or [0])[-1]
        for line in (*_what(config, training), _course(training, start), _where(training)):
            command.say(line)
        if start >= training.recipe.train.steps:
            left = "nothing" if is_finished(config, training.folder) else "the test"
            command.say(f"time          all steps are taken; {left} is left")
            return
        rehearsal = Rehearsal(training.recipe, training.sources.train, start)
        there = memory.available()
        command.say(_memory(rehearsal.memory, there))
        with hosts.together():
            _require_memory(rehearsal.memory, there, training.recipe.train.batch)
        command.say(_disk(training, rehearsal.memory))
        # A run that goes on has other values in the same shapes, which take the same time.
        state = training.recipe.create() if start else training.sources.start()
        command.say(_time(training, rehearsal.times(state), start))


def _require_memory(memory: "Memory", there: int, batch: int) -> None:
    import jax

    own = jax.local_device_count()
    if memory.step * own > there:
        raise UserError(
            f"config.train.batch: a step of {batch} images needs {_size(memory.step)} on each "
            f"device, and this host's {own} have {_size(there)} together; make it smaller, or take "
            "more devices"
        )


def _what(config: "Config", training: "Training") -> list[str]:
    from abe_jax import losses
    from abe_jax.config import build
    from abe_jax.config.training import resolved
    from abe_jax.models.counting import parts, size_text

    recipe, sources = training.recipe, training.sources
    model, shape = recipe.model, recipe.preprocessing
    total = parts(model, shape.size, shape.channels)[-1]
    terms = losses.terms(recipe.objective.terms)
    weighted = " + ".join(
        term.name if term.weight == 1 else f"{term.weight:g} {term.name}" for term in terms
    )
    splits = [("training", sources.train)]
    splits += [("validation", sources.validation.split)] if sources.validation else []
    data = resolved(config, folder=training.folder).data
    splits += [("the test", build.dataset(data).split("test"))]
    counts = ", ".join(
        f"{len(split.labels):,} of {len(split.class_names):,} classes for {name}"
        for name, split in splits
    )
    height, width = shape.shape
    return [
        f"model         {model.kind}, {size_text(model.sizes)} dimensions, {model.backbone}, "
        f"{height} x {width} x {shape.channels}: {total.parameters:,} parameters, "
        f"{total.multiply_adds:,} multiply-adds an image",
        f"loss          {weighted}, by {recipe.optimizer.name}",
        f"images        {data.name}: {counts}",
    ]


def _course(training: "Training", start: int) -> str:
    train, folder = training.recipe.train, training.folder
    begins = f"goes on from step {start}" if start else "begins anew"
    return f"steps         {train.steps:,} of {train.batch} images; {begins} in {folder.path}"


def _where(training: "Training") -> str:
    import jax

    hosts, devices, batch = jax.process_count(), jax.device_count(), training.recipe.train.batch
    on = "this host" if hosts == 1 else f"{hosts} hosts, the first of them"
    return (
        f"devices       {devices} x {jax.devices()[0].device_kind} of {on} {socket.gethostname()}, "
        f"{batch // devices} images of a batch on each"
    )


def _memory(memory: "Memory", there: int) -> str:
    import jax

    shared = "the machine's" if jax.devices()[0].platform == "cpu" else "all together"
    return _lines(
        f"memory        {_size(memory.step)} on each device while a step runs; this host's "
        f"{jax.local_device_count()} have {_size(there)}, {shared}",
        f"parameters {_size(memory.parameters)}, optimiser {_size(memory.optimiser)}, statistics "
        f"{_size(memory.statistics)}, images {_size(memory.batch)},",
        f"activations, gradients and whatever else XLA's program of this step holds "
        f"{_size(memory.activations)} (XLA's own count);",
        "what an evaluation holds beside the network is not counted",
    )


def _disk(training: "Training", memory: "Memory") -> str:
    each = memory.parameters + memory.optimiser + memory.statistics
    path = training.folder.path.absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    short = "" if free > (KEPT + 1) * each else "; too little"
    return _lines(
        f"disk          {_size(each)} a checkpoint, a little less where its arrays compress;",
        f"{KEPT} are kept, and one more while it is written: {_size((KEPT + 1) * each)}, and "
        f"{_size(free)} are free{short}",
    )


def _time(training: "Training", times: "Times", start: int) -> str:
    from abe_jax.training.progress import duration

    train, sources = training.recipe.train, training.sources
    left = train.steps - start
    steps = left * times.step
    validations = sum(train.validates(step) for step in range(start + 1, train.steps + 1))
    images = len(sources.validation.split.labels) if sources.validation else 0
    embedding = validations * images * times.step / train.batch / TRAINED
    unread = f"{times.unreadable} of the {times.images} images tried cannot be read"
    return _lines(
        f"time          {duration(steps + embedding + times.compiling)}, and the test at the end:",
        f"{left:,} steps {duration(steps)}, {times.step:.3g} s each (measured: the mean of "
        f"{times.steps} here and now, loading included);",
        f"{validations} validations {duration(embedding)} (not measured: an image embedded counts "
        f"1/{TRAINED} of one trained, as multiply-adds do; search comes on top);",
        f"compiling {duration(times.compiling)} (measured; the start finds it done)",
        *([unread] if times.unreadable else []),
    )


def _lines(*lines: str) -> str:
    return f"\n{' ' * 14}".join(lines)


def _size(count: float) -> str:
    """Bytes as 3.1 MiB or 2.0 GiB."""
    return f"{count / MIB:.1f} MiB" if count < 1000 * MIB else f"{count / MIB / 1024:.1f} GiB"
