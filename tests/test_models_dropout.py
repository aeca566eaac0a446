"""Dropout: its share, and that no number of devices changes what a row of the batch draws."""

import jax
import jax.numpy as jnp
import numpy as np

from abe_jax.models.dropout import Dropout


def dropped(key, devices, rate=0.7, rows=8, width=6):
    """What dropout leaves of ones, the rows spread over so many devices."""
    x = jnp.ones((devices, rows // devices, width))
    axis = "devices" if devices > 1 else None

    def one(part):
        return Dropout(rate, axis).apply({}, part, True, rngs={"dropout": key})

    found = jax.jit(jax.vmap(one, axis_name=axis) if axis else lambda x: one(x[0]))(x)
    return np.asarray(found).reshape(rows, width)


def test_dropout_of_a_row_hangs_on_its_place_in_the_global_batch():
    alone = dropped(jax.random.key(5), 1)
    for devices in (2, 4, 8):
        np.testing.assert_array_equal(dropped(jax.random.key(5), devices), alone)
    assert len({row.tobytes() for row in alone}) > 4  # rows draw each for itself
    assert (dropped(jax.random.key(6), 1) != alone).any()


def test_dropout_keeps_its_share_and_the_mean():
    found = dropped(jax.random.key(0), 1, rows=64, width=500)
    kept = found != 0
    np.testing.assert_allclose(found[kept], 1 / 0.3, rtol=1e-6)
    assert abs(kept.mean() - 0.3) < 0.01
    assert np.abs(kept.mean(1) - 0.3).max() < 0.1  # in each row


def test_nothing_is_dropped_without_training_or_without_a_key():
    x = jnp.ones((4, 5))
    for train, rngs in ((False, {"dropout": jax.random.key(0)}), (True, {})):
        np.testing.assert_array_equal(Dropout(0.7).apply({}, x, train, rngs=rngs), x)
