"""Parts of the model that stand still in some stages of a training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from abe_jax.errors import ArgumentError, nearest
from abe_jax.losses.stages import TrainingStage, stage_at

if TYPE_CHECKING:
    import optax

Path = tuple[str, ...]  # the names on the way to a leaf


class FixedState(NamedTuple):
    """The number of updates so far, and what the optimiser remembers."""

    step: Any
    inner: Any


def with_fixed_parts(
    tx: "optax.GradientTransformation", stages: Sequence[TrainingStage]
) -> "optax.GradientTransformation":
    """`tx`, but in each stage the parts of the model that it names as `fixed` are left as they are.

    Such a part has no update, no decay and no share in a norm that is clipped; its momentum or
    moments wait for the next stage in which it learns (a count of steps, such as Adam's, goes on).
    One compiled step serves all stages. Without fixed parts it is `tx` itself.

    Raises:
        ArgumentError: from the transformation's `init`, of `stages`: a part that is not there.
    """
    names = sorted({name for stage in stages for name in stage.fixed})
    if not names:
        return tx
    import optax

    table = [[name in stage.fixed for name in names] for stage in stages]

    def init(params: Any) -> FixedState:
        for name in names:
            if name not in params["model"]:
                raise ArgumentError(
                    "stages",
                    f"the model has no part {name!r} to be fixed; {nearest(name, params['model'])}",
                )
        return FixedState(jnp.zeros((), jnp.int32), tx.init(params))

    def update(grads: Any, state: FixedState, params: Any = None) -> tuple[Any, FixedState]:
        flags = jnp.asarray(table)[stage_at(stages, state.step)]
        fixed = {("model", name): flags[i] for i, name in enumerate(names)}
        zero = jax.tree.map(jnp.zeros_like, grads)
        updates, inner = tx.update(_chosen(fixed, zero, grads), state.inner, params)
        inner = _chosen(fixed, state.inner, inner)
        return _chosen(fixed, zero, updates), FixedState(state.step + 1, inner)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _chosen(fixed: dict[Path, Bool[Array, ""]], still: Any, moved: Any) -> Any:
    """`moved`, but `still` in the leaves of the parts that are fixed now.

    A leaf belongs to a part whose names are on the way to it; what an optimiser keeps for each
    parameter lies under the parameter's own names.
    """

    def of(path: tuple[Any, ...], before: Any, after: Any) -> Any:
        names = tuple(key.key for key in path if isinstance(key, jax.tree_util.DictKey))
        pairs = [names[i : i + 2] for i in range(len(names)) if names[i : i + 2] in fixed]
        return jnp.where(fixed[pairs[0]], before, after) if pairs else after

    return jax.tree_util.tree_map_with_path(of, still, moved)
