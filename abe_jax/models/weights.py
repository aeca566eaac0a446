"""Parameters by stage: what is new, taking stages out of a network, putting them into another."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import DictKey

from abe_jax.errors import UserError

NEW = ("head", "mask_heads")  # parts that no backbone brings
STAGED = ("encoder", "trunk", "decoder")  # parts that are made of a backbone's stages

Tree = Mapping[str, Any]


def new_parameters(path: Sequence[Any]) -> bool:
    """Whether the parameter at `path` (of names, or of jax's DictKeys) is no backbone's."""
    first = path[0]
    return (first.key if isinstance(first, DictKey) else first) in NEW


def stage_params(params: Tree, *, per_head: bool = False) -> dict[str, Tree]:
    """Stage name -> parameters, of the encoder and the decoder; works on batch_stats as well.

    per_head: the network is of kind `heads`, and the first head's decoder is taken.
    """
    decoder = params.get("decoder", {})
    if per_head:
        decoder = jax.tree.map(lambda leaf: leaf[0], decoder)
    return {**params.get("encoder", {}), **decoder}


def graft(params: Tree, stages: Mapping[str, Tree]) -> dict[str, Any]:
    """`params` with every stage of encoder, trunk and decoder replaced by the stage of its name.

    The attention trunk starts from the same stages as the decoder, and every head of kind `heads`
    from a copy of its own. Heads and mask heads stay as they are.

    Raises:
        UserError: a stage that `stages` does not have, or whose parameters have other names or
            shapes; all such stages are named.
    """
    wrong: dict[str, str] = {}
    grafted = dict(params)
    for part in STAGED:
        if part in params:
            grafted[part] = {
                name: _fill(name, target, stages.get(name), wrong)
                for name, target in params[part].items()
            }
    if wrong:
        listed = "; ".join(f"{name}: {reason}" for name, reason in wrong.items())
        raise UserError(f"config.model.weights does not fit this model: {listed}")
    return grafted


def _fill(name: str, target: Tree, source: Tree | None, wrong: dict[str, str]) -> Tree:
    """`source` in the shapes of `target`, repeated over heads; notes in `wrong` why it cannot be."""
    if source is None:
        wrong[name] = "missing"
    elif jax.tree.structure(target) != jax.tree.structure(source):
        wrong[name] = "has other parameters"
    else:
        pairs = zip(jax.tree.leaves(target), jax.tree.leaves(source), strict=True)
        for to, given in pairs:
            if given.shape not in (to.shape, to.shape[1:]):
                wrong[name] = f"shape {given.shape}, needed {to.shape}"
    if name in wrong or source is None:
        return target
    return jax.tree.map(lambda to, given: jnp.broadcast_to(given, to.shape), target, source)
