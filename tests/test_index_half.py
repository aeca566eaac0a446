"""float16 by its bits: every number there is, and the distances of an index's rows."""

import jax
import jax.numpy as jnp
import numpy as np

from abe_jax.evaluation import frame
from abe_jax.index import half


def test_every_number_is_what_numpy_makes_of_it() -> None:
    every = np.arange(2**16, dtype=np.uint16)
    numbers = np.asarray(jax.jit(half.numbers)(every))
    expected = every.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(numbers), np.isnan(expected))
    real = ~np.isnan(expected)
    np.testing.assert_array_equal(numbers[real].view(np.uint32), expected[real].view(np.uint32))


def test_distances_are_those_of_the_numbers() -> None:
    rng = np.random.default_rng(0)
    stored = rng.standard_normal((9, 16)).astype(np.float16)
    stored[3, 2], stored[4] = np.nan, 2.0**-24  # no number; the least that float16 holds
    queries = rng.standard_normal((1, 5, 16)).astype(np.float32)
    asked, bits = jnp.asarray(queries), jnp.asarray(half.bits(stored))
    least = np.asarray(half.least_squared(asked, bits))
    of_numbers = frame.least_squared(asked, jnp.asarray(stored.astype(np.float32)[None]))
    np.testing.assert_allclose(least, np.asarray(of_numbers), rtol=1e-6)
