"""Configurations that no memory holds: each number may be, their product may not."""

import math
import os

import jax

from abe_jax.config.schema import Config
from abe_jax.data.images import sides
from abe_jax.errors import UserError
from abe_jax.losses import (
    ArcFace,
    CosFace,
    CrossEntropy,
    NormSoftmax,
    ProxyAnchor,
    ProxyNCA,
    SoftTriple,
)

FLOAT32 = 4  # bytes
GIB = 2**30
# Which learn vectors for each class, each term its own.
OF_CLASSES = ArcFace, CosFace, CrossEntropy, NormSoftmax, ProxyAnchor, ProxyNCA, SoftTriple


def check_memory(config: Config) -> None:
    """Refuses batches whose pixels alone, or classes whose vectors alone, are more than there is.

    What is let pass can still be too much: maps and gradients take many times as much.

    Raises:
        UserError: with the greatest number that could be held.
    """
    data, evaluate, there = config.data, config.evaluate, available()
    for name, batch, size in (
        ("train.batch", config.train.batch, data.size),
        ("evaluate.batch", evaluate.batch, evaluate.longest or data.size),
    ):
        rows = batch * jax.local_device_count() / jax.device_count()  # those of this host
        image = math.prod(sides.both(size)) * data.channels * FLOAT32
        if rows * image > there:
            most = int(there * batch / rows / image)
            raise UserError(
                f"config.{name}: the pixels of {batch} images of {sides.words(size)} are "
                f"{_gib(rows * image)}, and there are {_gib(there)} of memory; at most {most}"
            )
    height, width = (side + 2 * data.padding for side in sides.both(data.resize))
    frames = data.threads * height * width * data.channels
    if frames > there:
        raise UserError(
            f"config.data.threads: {data.threads} images of {sides.words((height, width))} "
            f"are {_gib(frames)}, and there are {_gib(there)} of memory; at most "
            f"{max(1, there * data.threads // frames)}"
        )
    each = sum(getattr(t, "centres", 1) for t in config.objective if isinstance(t, OF_CLASSES))
    vectors = each * config.model.dim * FLOAT32
    if data.classes * vectors > there:
        what = "a vector" if each == 1 else f"{each} vectors"
        raise UserError(
            f"config.data.classes: {what} of {config.model.dim} numbers for each of "
            f"{data.classes} classes makes {_gib(data.classes * vectors)}, and there are "
            f"{_gib(there)} of memory; at most {there // vectors}"
        )


def available() -> int:
    """Bytes that this host's devices have together; of processors, those of the machine."""
    own = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()]
    if all(own):
        return sum(own)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB"
