"""The k smallest numbers of long rows: groups of columns first, then what the best groups hold.

`lax.top_k` goes through every number of a row; on a CPU it does so on one core (XLA's TopK is one
call of `std::partial_sort` after another), which takes longer than the distances themselves where
these are cheap. The least of every group of columns costs a reduction, done by
all cores on several numbers at once; only these minima and the members of k groups are left to
select from.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

SHORTEST = 8  # groups of fewer columns save nothing: by 4, 1024 of 16,384 took 1.3 times as long

# The values [q, g * length] of the members of the groups [q, g], of `length` columns each
Members = Callable[[Int[Array, "q g"], int], Float[Array, "q members"]]


def group_length(columns: int, k: int) -> int:
    """How many columns stand in a group: a power of two that divides `columns`, 1 for no groups.

    Selecting from n / g minima and from k g members is least at g = sqrt(n / k). Then there are
    n / g >= k groups, for g <= sqrt(n / k) and k <= n give n / g >= sqrt(n k) >= k.
    """
    length = 1
    while (2 * length) ** 2 * k <= columns and columns % (2 * length) == 0:
        length *= 2
    return length if length >= SHORTEST else 1


def group_minima(values: Float[Array, "q n"], length: int) -> Float[Array, "q g"]:
    """The least of every group of `length` neighbouring columns."""
    return jnp.min(values.reshape(len(values), -1, length), axis=2)


def smallest(
    values: Float[Array, "q n"], k: int, members: Members | None = None
) -> tuple[Float[Array, "q k"], Int[Array, "q k"]]:
    """The k smallest of every row and their columns, by rising value, equal ones by rising column.

    What `lax.top_k` finds, to the bit. Proof: let fewer than k numbers stand before x in this
    order, and let x be in a group that is not among the k of the least minima, equal minima by
    rising group. Each of those k groups has a minimum that is smaller than x, or equal to it in a
    group of lower columns: a number that stands before x. These are k, which contradicts.

    Args:
        values: no NaN; infinite where a column does not count.
        k: 1 to n.
        members: computes the values of a group's members again, from which the last selection is
            made. Without it they are gathered from `values`; with it `values` are used for nothing
            but their minima, so that a compiler need not keep them.
    """
    length = group_length(values.shape[1], k)
    if length == 1:
        score, column = lax.top_k(-values, k)
        return -score, column
    _, chosen = lax.top_k(-group_minima(values, length), k)
    chosen = jnp.sort(chosen, axis=1)  # columns rise, so that top_k keeps the lower one of equals
    near = _gathered(values, chosen, length) if members is None else members(chosen, length)
    score, place = lax.top_k(-near, k)
    group = jnp.take_along_axis(chosen, place // length, axis=1)
    return -score, group * length + place % length


def _gathered(
    values: Float[Array, "q n"], chosen: Int[Array, "q g"], length: int
) -> Float[Array, "q members"]:
    groups = values.reshape(len(values), -1, length)
    near = jnp.take_along_axis(groups, chosen[:, :, None], axis=1)
    return near.reshape(len(values), -1)
