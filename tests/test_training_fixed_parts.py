"""Stages that alternate: what is fixed stands still, and the rest takes the optimiser's steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from abe_jax.errors import ArgumentError
from abe_jax.losses import TrainingStage
from abe_jax.training import Optimizer
from abe_jax.training.fixed_parts import with_fixed_parts

STAGES = (TrainingStage(steps=2), TrainingStage(steps=3, fixed=("pose",)))
PARAMS = {
    "model": {
        "pose": {"kernel": jnp.ones((2, 3))},
        "pose_decoder": {"kernel": jnp.ones(4)},
        "head": {"kernel": jnp.full((3,), 2.0)},
    },
    "objective": {"proxies": jnp.ones((2, 2))},
}
OPTIMIZERS = {
    "sgd": Optimizer(rate=0.1, weight_decay=0.1),
    "adam": Optimizer(name="adam", rate=0.1),
    "adamw": Optimizer(name="adamw", rate=0.1, weight_decay=0.1),
    "stages of new layers": Optimizer(rate=0.1, new_only=1, clip=3.0),
}

pytestmark = pytest.mark.usefixtures("promotion")


def gradients(step: int) -> Any:
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), PARAMS)


def built(name: str) -> optax.GradientTransformation:
    return OPTIMIZERS[name].build(20, lambda path: 1.0, lambda path: path[-2] != "pose_decoder")


def course(tx: optax.GradientTransformation, steps: int) -> list[tuple[Any, Any]]:
    """Parameters and state behind each step."""
    params, state, found = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for step in range(steps):
        updates, state = update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
        found.append((params, state))
    return found


def under(tree: Any, part: str) -> list[np.ndarray]:
    """The leaves below a part of the model, in an optimiser's state as well."""
    return [
        np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if f"['{part}']" in jax.tree_util.keystr(path)
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fixed_part_stands_still_with_what_is_remembered_of_it(name: str) -> None:
    found = course(with_fixed_parts(built(name), STAGES), 9)
    for step in range(1, 9):
        before, after = found[step - 1], found[step]
        still = step % 5 >= 2
        for one, other in zip(under(before, "pose"), under(after, "pose"), strict=True):
            assert np.array_equal(one, other) == still, step
        moved = zip(under(before[0], "head"), under(after[0], "head"), strict=True)
        assert not any(np.array_equal(*pair) for pair in moved)
    assert len(under(found[0], "pose")) > 1  # momentum or moments among them


def test_what_is_not_fixed_takes_the_steps_that_it_takes_alone() -> None:
    found, alone = (course(tx, 9) for tx in (with_fixed_parts(built("sgd"), STAGES), built("sgd")))
    for (params, _), (expected, _) in zip(found, alone, strict=True):
        for part in ("head", "pose_decoder", "proxies"):
            for one, other in zip(under(params, part), under(expected, part), strict=True):
                np.testing.assert_array_equal(one, other)


def test_after_its_rest_a_part_goes_on_as_if_there_had_been_none() -> None:
    """Steps 0, 1 and 5, 6 are those of a training with the same gradients and without stages."""
    tx = built("sgd")
    found = course(with_fixed_parts(tx, STAGES), 7)
    params, state = PARAMS, tx.init(PARAMS)
    for step in (0, 1, 5, 6):
        updates, state = jax.jit(tx.update)(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
    for one, other in zip(under(found[-1][0], "pose"), under(params, "pose"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_fixed_part_has_no_share_in_the_norm_that_is_clipped() -> None:
    clipped = Optimizer(rate=1.0, momentum=0.0, clip=1.0).build(9, lambda path: 1.0)
    tx = with_fixed_parts(clipped, (TrainingStage(steps=1, fixed=("pose", "pose_decoder")),))
    huge = gradients(0)
    huge["model"]["pose"] = jax.tree.map(lambda x: 1e6 * x, huge["model"]["pose"])
    updates, _ = tx.update(huge, tx.init(PARAMS), PARAMS)
    assert float(optax.tree.norm(updates)) == pytest.approx(1.0, rel=1e-5)


def test_without_fixed_parts_the_optimiser_is_itself() -> None:
    tx = built("sgd")
    assert with_fixed_parts(tx, ()) is tx
    assert with_fixed_parts(tx, (TrainingStage(factors=(1.0,)),)) is tx


def test_a_part_that_is_not_there_is_told_the_nearest() -> None:
    tx = with_fixed_parts(built("sgd"), (TrainingStage(fixed=("poses",)),))
    with pytest.raises(ArgumentError, match=r"stages: the model has no part 'poses'.*'pose'"):
        tx.init(PARAMS)
