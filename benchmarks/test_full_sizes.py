"""What --full runs, traced and lowered for a GPU but not run: a wrong shape shows on any machine.

pytest benchmarks/test_full_sizes.py -m ""    every system; by default the two most unlike
"""

import jax
import pytest
import test_losses
from training import (
    SYSTEMS,
    abstract_state,
    configuration,
    forward_multiply_adds,
    model_multiply_adds,
    random_batch,
)

from abe_jax.config import build

FAST = [("heads", 2, "bfloat16"), ("attention", 8, "bfloat16")]
ALL = [(kind, m, compute) for compute in ("bfloat16", "float32") for kind, m in SYSTEMS]


@pytest.mark.parametrize(
    ("kind", "learners", "compute"),
    [pytest.param(*case, marks=[] if case in FAST else pytest.mark.slow) for case in ALL],
)
def test_the_step_of_the_papers_size_lowers(kind: str, learners: int, compute: str) -> None:
    made = configuration(kind, learners, full=True, compute=compute)
    assert (made.train.batch, made.data.size, made.model.dim) == (64, 224, 512)
    assert (made.model.learners, made.model.compute) == (learners, compute)
    state, batch = abstract_state(made), random_batch(made)
    traced = jax.jit(build.recipe(made).train_step()).trace(state, batch)
    stepped, metrics = traced.out_info
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(s)] for s in (state, stepped)]
    assert shapes[0] == shapes[1]  # so that the step can be chained
    assert metrics["loss"].shape == (jax.local_device_count(),)
    assert "convolution" in traced.lower(lowering_platforms=("cuda",)).as_text()
    assert forward_multiply_adds(made) == 64 * model_multiply_adds(made)


@pytest.mark.parametrize("loss", [test_losses.contrastive, test_losses.divergence])
def test_the_losses_of_the_largest_size_lower(loss) -> None:
    batch, learners = test_losses.BATCHES[True][-1], test_losses.LEARNERS[-1]
    vectors, labels = test_losses.random_vectors(batch, learners)
    traced = jax.jit(jax.value_and_grad(loss)).trace(vectors, labels)
    value, gradient = traced.out_info
    assert (value.shape, gradient.shape) == ((), vectors.shape)
    assert traced.lower(lowering_platforms=("cuda",)).as_text()
