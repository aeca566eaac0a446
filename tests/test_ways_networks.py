"""Whole networks with every piece on its way for GPUs, against the way of all platforms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models, ways

pytestmark = pytest.mark.slow  # GoogLeNet is compiled four times


@pytest.mark.parametrize("kind", ["attention", "heads"])
def test_googlenets_vectors_and_gradients_agree(kind: str) -> None:
    model = models.build(kind, backbone="googlenet", norm="lrn", learners=2, dim=8)
    rng = np.random.default_rng(0)
    # As the configs have it: pixels less their mean, so that response normalisation does something.
    images = jnp.asarray(rng.uniform(-120, 130, size=(2, 64, 64, 3)), jnp.float32)
    variables = model.init(jax.random.key(0), images)
    target = jnp.asarray(rng.normal(size=(2, 2, 4)), jnp.float32)

    def loss(variables: Any) -> Any:
        vectors = model.apply(variables, images, train=True).vectors
        return (vectors * target).sum(), vectors

    found = []
    for way in ((), ways.PIECES):
        with ways.only(*way):
            found.append(jax.jit(jax.grad(loss, has_aux=True))(variables))
    (plain, vectors), (other, others) = found
    np.testing.assert_allclose(others, vectors, atol=1e-5)
    assert jax.tree.structure(plain) == jax.tree.structure(other)
    for ours, theirs in zip(jax.tree.leaves(other), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
