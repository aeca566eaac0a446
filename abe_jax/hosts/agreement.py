"""What the hosts of one job must agree on; with one host, nothing."""

import contextlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped

from abe_jax.errors import UserError
from abe_jax.hosts import marks


def is_first() -> bool:
    """Whether this host writes the run's files and speaks for all."""
    return jax.process_index() == 0


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What one host refuses inside, all hosts refuse, so that none waits for another in vain.

    Nothing inside may wait for the other hosts.

    Raises:
        UserError: this host's own, or one that says which other host stopped.
    """
    refused = None
    try:
        yield
    except UserError as error:
        refused = error
    stopped = np.flatnonzero(gather_rows(np.array([refused is not None])))
    if refused is not None:
        raise refused
    if len(stopped):
        raise UserError(f"host {stopped[0]} stopped; what it printed says why")


def first_says(answer: Callable[[], bool]) -> bool:
    """What the first host answers, which alone is asked, told to all; its refusal is all hosts'."""
    with together():
        own = is_first() and answer()
    return bool(gather_rows(np.array([own]))[0])


def gather_rows(values: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "hosts_n ..."]:
    """The rows of all hosts, one host after the other."""
    if jax.process_count() == 1:
        return values
    marks.reached("an exchange between the hosts")
    return np.asarray(multihost_utils.process_allgather(values, tiled=True))


def gather_bits(values: Shaped[np.ndarray, "*n"]) -> Shaped[np.ndarray, "hosts *n"]:
    """An array of one shape from each host, to the bit: JAX keeps only 32 bits of 64."""
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return gather_rows(bits[None]).view(values.dtype).reshape(-1, *values.shape)
