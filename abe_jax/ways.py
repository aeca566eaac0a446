"""Which way the heavy pieces of a training step are computed on which platform: the one place.

A piece below has two ways: one for every platform, which is what a CPU takes, and one for GPUs.
Both have the same parameters, so a checkpoint fits either, and the same numbers but for rounding;
the file that a piece names says what differs.

On a GPU the pieces of ON_GPU go its way. That is a prediction: each answers something that took
time in a step traced on an H100, but no way for GPUs has been timed on a GPU yet. One that turns
out slower comes out of ON_GPU; `siblings` and `heads` copy parameters at every step, and wait for
their first measurement. docs/WAYS.md says what each answers, what was counted without a GPU, and
the command that measures it. The environment says otherwise, before the first step and on whatever
platform:

    ABE_JAX_GPU_WAYS=pooling,bias python -m abe_jax.train ...    these, and no others
    ABE_JAX_GPU_WAYS=none python -m abe_jax.train ...            none, as on a CPU

Within one process `only` chooses, for what is traced inside of it: to measure ways in turns, or to
lower for a GPU where there is none.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from abe_jax.errors import UserError, nearest

PIECES = (
    "pooling",  # maximum pooling keeps the places of its maxima: models/backbones/max_pooling.py
    "bias",  # gradients of biases as matrix products: models/backbones/bias.py
    "siblings",  # one product for 1x1 convolutions of one map: models/backbones/siblings.py
    "response",  # response normalisation keeps its input alone: models/backbones/response.py
    "masks",  # the masks are computed again for their gradient: models/masking.py
    "norm",  # the gradients' norm, of one array: training/norms.py
    "heads",  # decoders of M-heads mapped over stacked parameters: models/multi_head.py
)
ON_GPU = frozenset(PIECES) - {"siblings", "heads"}
VARIABLE = "ABE_JAX_GPU_WAYS"
_NONE = "none"


def taken(piece: str) -> bool:
    """Whether a piece goes the way for GPUs, in what is being traced now.

    Raises:
        UserError: the environment names a piece that there is not.
    """
    chosen = _chosen().value
    return piece in (pieces() if chosen is None else chosen)


def pieces() -> frozenset[str]:
    """The pieces that go the way for GPUs, by the environment or else by the platform.

    Raises:
        UserError: the environment names a piece that there is not.
    """
    named = by_environment()
    if named is not None:
        return named
    import jax

    return ON_GPU if jax.default_backend() == "gpu" else frozenset()


def by_environment() -> frozenset[str] | None:
    """The pieces that the environment names; None: it leaves them to the platform.

    Raises:
        UserError: one that there is not.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    words = {word.strip() for word in text.split(",")} - {""}
    if words == {_NONE}:
        return frozenset()
    if _NONE in words:
        raise UserError(f"{VARIABLE}: {_NONE!r} stands alone, or leave it out")
    for word in sorted(words - set(PIECES)):
        raise UserError(f"{VARIABLE}: no piece is called {word!r}; {nearest(word, PIECES)}")
    return frozenset(words)


@contextmanager
def only(*pieces: str) -> Iterator[None]:
    """The pieces that go the way for GPUs in what is traced inside, and no others."""
    assert set(pieces) <= set(PIECES), pieces
    with _chosen()(tuple(sorted(set(pieces)))):
        yield


@functools.cache
def _chosen() -> Any:
    """What `only` chose. Commands look at the environment before they import JAX, in seconds.

    Part of what JAX keeps traced functions by: one that was traced another way is traced again.
    """
    import jax

    return jax.make_user_context(default_value=None)
