"""Which way the heavy pieces of a training step are computed on which platform: the one place.

A piece below has two ways: one for every platform, which is what a CPU takes, and one for GPUs.
Both have the same parameters, so a checkpoint fits either, and the same numbers but for rounding;
the file that a piece names says what differs. On a GPU the pieces of ON_GPU go its way, unless the
environment says otherwise before the first step:

    ABE_JAX_GPU_WAYS=pooling,bias python -m abe_jax.train ...    these, on whatever platform
    ABE_JAX_GPU_WAYS=none python -m abe_jax.train ...            none, as on a CPU

Within one process `only` chooses, for what is traced inside of it: to measure ways in turns, or to
lower for a GPU where there is none.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import jax

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
ON_GPU = frozenset(PIECES)
VARIABLE = "ABE_JAX_GPU_WAYS"
_NONE = "none"

# Part of what JAX keeps traced functions by: one that was traced another way is traced again.
_chosen = jax.make_user_context(default_value=None)


def taken(piece: str) -> bool:
    """Whether a piece goes the way for GPUs, in what is being traced now.

    Raises:
        UserError: the environment names a piece that there is not.
    """
    if _chosen.value is not None:
        return piece in _chosen.value
    named = os.environ.get(VARIABLE)
    if named is not None:
        return piece in _named(named)
    return piece in ON_GPU and jax.default_backend() == "gpu"


@contextmanager
def only(*pieces: str) -> Iterator[None]:
    """The pieces that go the way for GPUs in what is traced inside, and no others."""
    assert set(pieces) <= set(PIECES), pieces
    with _chosen(tuple(sorted(set(pieces)))):
        yield


def _named(text: str) -> set[str]:
    """The pieces of the environment's list."""
    words = {word.strip() for word in text.split(",")} - {"", _NONE}
    for word in sorted(words - set(PIECES)):
        raise UserError(f"{VARIABLE}: no piece is called {word!r}; {nearest(word, PIECES)}")
    return words
