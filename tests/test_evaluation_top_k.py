"""The selection by groups is that of `lax.top_k`, whatever ties, groups and sizes there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax.evaluation import top_k


def by_definition(values, k):
    order = np.argsort(values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, axis=1), order


def drawn(kind, columns):
    rng = np.random.default_rng(columns)
    values = rng.normal(size=(5, columns)).astype(np.float32)
    if kind == "ties":
        return np.floor(2 * np.abs(values))
    if kind == "all equal":
        return np.full_like(values, 3.0)
    if kind == "few count":
        return np.where(rng.random(values.shape) < 0.02, values, np.float32(np.inf))
    if kind == "falling":  # the nearest stand in the last group
        return np.sort(values, axis=1)[:, ::-1].copy()
    if kind == "all in one group":
        values[:, 64:72] -= 100
    return values


KINDS = ("as drawn", "ties", "all equal", "few count", "falling", "all in one group")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("columns", "k"), [(2048, 1), (2048, 16), (1024, 64), (384, 10), (96, 96)])
def test_it_is_the_stable_order(kind, columns, k):
    values = drawn(kind, columns)
    found = jax.jit(top_k.smallest, static_argnums=1)(jnp.asarray(values), k)
    expected = by_definition(values, k)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_members_are_asked_for_again_where_they_are_not_gathered():
    values = drawn("ties", 2048)
    length = top_k.group_length(2048, 16)
    asked = []

    def members(chosen, of):
        assert of == length
        asked.append(chosen.shape)
        columns = chosen[:, :, None] * length + jnp.arange(length)[None, None]
        return jnp.take_along_axis(jnp.asarray(values), columns.reshape(len(values), -1), axis=1)

    found = top_k.smallest(jnp.asarray(values), 16, members)
    np.testing.assert_array_equal(found[1], by_definition(values, 16)[1])
    assert asked == [(5, 16)]


@pytest.mark.parametrize("columns", [1, 4, 100, 128, 384, 4096, 60032, 131072])
@pytest.mark.parametrize("k", [1, 10, 16, 1000])
def test_groups_are_whole_enough_and_worth_it(columns, k):
    length = top_k.group_length(columns, min(k, columns))
    assert columns % length == 0 and length & (length - 1) == 0 and length not in (2, 3)
    assert columns // length >= min(k, columns)
    assert length == 1 or columns // length + k * length < columns


def test_long_rows_are_put_into_groups():
    assert top_k.group_length(131072, 16) == 64
    assert top_k.group_length(1024, 1000) == 1
