"""The two stages of a training: new layers alone first, then everything."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from processes import TINY
from states import created_state, resolved

from abe_jax import config
from abe_jax.config import build
from abe_jax.errors import UserError
from abe_jax.training import step
from abe_jax.training.optimizer import Optimizer

STEPS, FIRST = 12, 3
SHAPES = {"encoder": {"kernel": (2, 3), "scale": (3,)}, "head": {"kernel": (3, 2), "bias": (2,)}}
OPTIMISERS = [
    {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    {"name": "adam", "weight_decay": 0.1},
    {"name": "adamw", "weight_decay": 0.1},
    {"name": "sgd", "momentum": 0.9, "schedule": "step", "boundaries": (5,)},
]


pytestmark = pytest.mark.usefixtures("promotion")


def drawn(seed: int) -> Any:
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return jax.tree.map(draw, SHAPES, is_leaf=lambda node: isinstance(node, tuple))


def built(**options: Any) -> Any:
    made = Optimizer(rate=0.1, **options)
    return made.build(STEPS, lambda path: 1.0, lambda path: path[0] == "head")


def course(tx: Any, steps: range) -> list[Any]:
    """The updates of these steps, each with gradients of its own, parameters staying."""
    params, found = drawn(0), []
    state = tx.init(params)
    for at in steps:
        update, state = tx.update(drawn(1 + at), state, params)
        found.append(jax.tree.map(np.asarray, update))
    return found


def assert_close(found: Any, expected: Any) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), found, expected
    )


@pytest.mark.parametrize("options", OPTIMISERS, ids=lambda o: "-".join(map(str, o.values())))
def test_the_trunk_stands_still_and_then_begins_as_if_nothing_had_been(options: Any) -> None:
    found = course(built(new_only=FIRST, **options), range(STEPS))
    complete = course(built(**options), range(STEPS))
    for one, other in zip(found, complete, strict=True):
        assert_close(one["head"], other["head"])
    for one in found[:FIRST]:
        assert not any(leaf.any() for leaf in jax.tree.leaves(one["encoder"]))
    if "boundaries" in options:  # the schedule counts from step 0, in the second stage as well
        options = options | {"boundaries": (5 - FIRST,)}
    begun = course(built(**options), range(FIRST, STEPS))
    for one, other in zip(found[FIRST:], begun, strict=True):
        assert_close(one["encoder"], other["encoder"])
        assert all(leaf.any() for leaf in jax.tree.leaves(one["encoder"]))


def momentum_by_hand(steps: int, restart: bool) -> list[Any]:
    """SGD's updates in float64: m = 0.9 m + g + 0.1 w, -0.1 m, the trunk's from FIRST on alone."""
    params, momentum, found = drawn(0), jax.tree.map(lambda x: 0.0 * x, drawn(0)), []
    for at in range(steps):
        if at == FIRST and restart:
            momentum = jax.tree.map(lambda x: 0.0 * x, momentum)
        gradient = drawn(1 + at)
        update = {}
        for part, leaves in gradient.items():
            update[part] = {}
            for name, leaf in leaves.items():
                moves = at >= FIRST or part == "head"
                decay = 0.1 * params[part][name] if name == "kernel" else 0.0
                if moves:
                    own = momentum[part][name].astype(np.float64)
                    momentum[part][name] = 0.9 * own + leaf + decay
                update[part][name] = -0.1 * momentum[part][name] * moves
        found.append(update)
    return found


@pytest.mark.parametrize("restart", [False, True])
def test_the_momentum_of_new_layers_goes_on_or_begins_anew(restart: bool) -> None:
    options = {"momentum": 0.9, "weight_decay": 0.1, "new_only": FIRST, "new_restart": restart}
    found = course(built(**options), range(STEPS))
    for one, other in zip(found, momentum_by_hand(STEPS, restart), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_begun_anew_the_second_stage_is_a_training_of_its_own(name: str) -> None:
    options: Any = {"name": name, "weight_decay": 0.1}
    found = course(built(new_only=FIRST, new_restart=True, **options), range(STEPS))
    alone = course(built(**options), range(FIRST, STEPS))
    for one, other in zip(found[FIRST:], alone, strict=True):
        assert_close(one, other)
    kept = course(built(new_only=FIRST, **options), range(STEPS))
    assert (kept[FIRST]["head"]["kernel"] != found[FIRST]["head"]["kernel"]).any()


def test_only_what_moves_has_a_part_in_the_norm_that_is_clipped() -> None:
    found = course(built(new_only=1, clip=0.5, momentum=0.0), range(2))
    norms = [np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(one))) for one in found]
    np.testing.assert_allclose(norms, [0.05, 0.05], rtol=1e-5)
    assert not found[0]["encoder"]["kernel"].any()


def test_the_change_of_stage_compiles_nothing() -> None:
    tx, traced = built(name="adam", new_only=FIRST, clip=1.0), []

    def update(grads: Any, state: Any, params: Any) -> Any:
        traced.append(1)
        return tx.update(grads, state, params)

    compiled, params = jax.jit(update), drawn(0)
    state, moved = tx.init(params), []
    for at in range(FIRST + 2):
        updates, state = compiled(drawn(1 + at), state, params)
        moved.append(bool(np.asarray(updates["encoder"]["kernel"]).any()))
    assert moved == [False] * FIRST + [True] * 2
    assert len(traced) == 1


def test_what_makes_no_first_stage_is_refused() -> None:
    with pytest.raises(UserError, match=r"^new_only: 12 .* nothing of 12 steps; at most 11"):
        built(new_only=STEPS)
    made = Optimizer(new_only=2)
    made.build(0, lambda path: 1.0)  # weights evaluated as they are
    with pytest.raises(UserError, match=r"^new_only: .*nothing would learn"):
        made.build(STEPS, lambda path: 1.0).init(drawn(0))


NORM_SOFTMAX = [
    "objective=[{'name':'norm_softmax'}]",
    "model.kind=single",
    "model.learners=1",
    "model.head=projection",
    "model.width=4",
    "data.resize=16",
    "data.size=16",
    "optimizer.new_only=2",
    "optimizer.warmup=0",
    "optimizer.weight_decay=0.01",
    "train.steps=4",
]


def test_training_moves_new_layers_and_proxies_first_and_statistics_all_the_time(
    tiny_data: Path,
) -> None:
    made = resolved(config.load(TINY, [*NORM_SOFTMAX, f"data.root={tiny_data}"]))
    split = build.dataset(made.data).split("train")
    state, run = step.replicate(created_state(made)), build.recipe(made).train_step()
    before, moved = step.unreplicate(state), []
    for batch in build.recipe(made).batches(split):
        state, _ = run(state, batch)
        after = step.unreplicate(state)
        trees = [(one.params, one.batch_stats) for one in (before, after)]
        moved.append(jax.tree.map(lambda a, b: bool((a != b).any()), *trees))
        before = after
    for at, (params, statistics) in enumerate(moved):
        model = dict(params["model"])
        new = jax.tree.leaves((model.pop("head"), params["objective"]["norm_softmax"]["proxies"]))
        assert len(new) == 2
        assert all(new)
        assert len(jax.tree.leaves(model)) > 10
        assert all(moves == (at >= 2) for moves in jax.tree.leaves(model))
        assert all(jax.tree.leaves(statistics))


def test_a_training_in_which_nothing_is_new_is_refused() -> None:
    overrides = ["model.head=none", "model.kind=single", "model.learners=1", "model.dim=32"]
    made = config.load(TINY, [*overrides, "optimizer.new_only=2"])
    with pytest.raises(UserError, match="nothing would learn"):
        build.recipe(made).abstract()
    build.recipe(config.load(TINY, overrides)).abstract()
