"""The gradients' norm and clipping by it, on both ways."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from abe_jax import ways
from abe_jax.training import norms

WAYS = ((), ("norm",))


def gradients(parameters: int = 7) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = [(3, 4, 5), (6,), (), (2, 1), (9, 8)]
    return {
        str(i): jnp.asarray(rng.normal(size=shapes[i % len(shapes)]), jnp.float32)
        for i in range(parameters)
    }


@pytest.mark.parametrize("way", WAYS)
def test_norm_in_float64(way: tuple[str, ...]) -> None:
    tree = gradients()
    squares = sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in tree.values())
    with ways.only(*way):
        assert float(norms.norm(tree)) == pytest.approx(np.sqrt(squares), rel=1e-6)
        assert float(norms.norm({})) == 0


@pytest.mark.parametrize("most", [0.5, 1e3])
def test_clipping_is_that_of_optax(most: float) -> None:
    tree = gradients()
    theirs = optax.clip_by_global_norm(most)
    expected: Any = theirs.update(tree, theirs.init(tree))[0]
    for way in WAYS:
        with ways.only(*way):
            ours = norms.clipped(most)
            clipped: Any = ours.update(tree, ours.init(tree))
        found, state = clipped
        assert state == theirs.init(tree)
        for name, leaf in found.items():
            # To the bit on the way of all platforms, so that runs go on as they began.
            np.testing.assert_allclose(leaf, expected[name], rtol=1e-6 if way else 0.0)


def test_one_array_is_reduced_whatever_the_number_of_parameters() -> None:
    counts = []
    for way in WAYS:
        with ways.only(*way):
            text = jax.jit(norms.norm).lower(gradients(40)).as_text()
        counts.append(text.count("stablehlo.reduce("))
    assert counts[0] >= 32 and counts[1] == 1  # scalars are not reduced
