"""Queries divided among the hosts of a job: each host ranks some, and all know every value.

Every host has all vectors, as `network.py` leaves them, and its devices hold the gallery, each a
share. So a host ranks its queries alone, in float64 where that must decide, and hosts meet once for
each ranking. Were the gallery in shares over hosts too, each would have that work to do for every
query, and they would meet at every block. Rankings are exact (`order.py`): who ranked a query
changes no bit.
"""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Int, Shaped

from abe_jax import hosts


@contextlib.contextmanager
def together(divided: bool) -> Iterator[None]:
    """What one host refuses inside, all refuse, if queries are divided: see `hosts.together`."""
    with hosts.together() if divided else contextlib.nullcontext():
        yield


def own_blocks(count: int, block: int, divided: bool) -> Iterator[slice]:
    """This host's blocks of `count` queries, or all blocks if they are not divided.

    Hosts take turns: where queries ask for more the later they come, none has the hard ones alone.
    """
    first, step = (jax.process_index(), jax.process_count()) if divided else (0, 1)
    for start in range(0, count, block)[first::step]:
        hosts.at_work()
        yield slice(start, min(start + block, count))


def own_queries(count: int, block: int, divided: bool) -> Int[np.ndarray, " own"]:
    """The queries of `own_blocks`: cut at every `block` of them, they are these blocks again."""
    every = np.arange(count)
    return np.concatenate([every[:0], *(every[at] for at in own_blocks(count, block, divided))])


def of_all_hosts(
    values: Shaped[np.ndarray, "v n"], block: int, divided: bool
) -> Shaped[np.ndarray, "v n"]:
    """The values of n queries, of which each host brings those of its own blocks."""
    if not divided or not values.size or jax.process_count() == 1:
        return values
    each = hosts.gather_bits(values)
    query = np.arange(values.shape[1])
    return np.ascontiguousarray(each[query // block % len(each), :, query].T)
