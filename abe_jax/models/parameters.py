"""Parameters by stage: which are new, how stages are taken from one network into another."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.tree_util import DictKey
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError
from abe_jax.models.backbones.batch_instance import completed

SIDES = "sides"  # what side heads begin with
NEW = ("head", "neck", "mask_heads", "pool", SIDES)  # parts that no backbone brings
NEW += ("pose", "local_branch", "global_branch", "category_head", "attribute_head")  # FashionNet's
STAGED = ("encoder", "trunk", "decoder", "pose_decoder")  # made of a backbone's stages

Tree = Mapping[str, Any]


def new_parameters(path: Sequence[Any]) -> bool:
    """Whether the parameter at `path` (of names, or of jax's DictKeys) is no backbone's."""
    return _part(path) in NEW


def last_layer(path: Sequence[Any]) -> bool:
    """Whether a new parameter stands at a network's end: all but what a side head begins with."""
    return new_parameters(path) and _part(path) != SIDES


def _part(path: Sequence[Any]) -> Any:
    return path[0].key if isinstance(path[0], DictKey) else path[0]


def head_kernels(params: Tree) -> tuple[Float[Array, "c d"], ...]:
    """The kernel [c, d] of each learner's fully connected layer, or the one that all share.

    Empty without such a layer.
    """
    head = params.get("head", {})
    if "learner0" in head:
        return tuple(head[f"learner{m}"]["kernel"] for m in range(len(head)))
    if "kernel" not in head:
        return ()
    kernel = head["kernel"]
    return (kernel,) if kernel.ndim == 2 else tuple(kernel)


def side_stage(stage: str) -> str:
    """The name among stages of what a side head behind `stage` begins with."""
    return f"side_{stage}"


def stage_params(params: Tree) -> dict[str, Tree]:
    """Stage name -> parameters, of the encoder and the decoder; works on batch_stats as well.

    Of kind `heads` it is the first head's decoder.
    """
    decoder = params.get("decoder", {})
    return {**params.get("encoder", {}), **decoder.get("head0", decoder)}


def graft(params: Tree, stages: Mapping[str, Tree]) -> dict[str, Any]:
    """`params` with every stage of encoder, trunk and decoder replaced by the stage of its name.

    The attention trunk starts from the same stages as the decoder, and of kind `heads` every
    head's decoder does. A side head begins with what `stages` has for its place, where that has its
    shapes. Other heads and mask heads stay as they are. Stages trained with batch
    normalisation fit a network with batch-instance normalisation: see `completed`.

    Raises:
        ArgumentError: a stage that `stages` does not have, or whose parameters have other names or
            shapes; all such stages are named.
    """
    wrong: dict[str, str] = {}
    grafted = dict(params)
    for part in STAGED:
        if part not in params:
            continue
        if "head0" in params[part]:
            grafted[part] = {h: _fill(own, stages, wrong) for h, own in params[part].items()}
        else:
            grafted[part] = _fill(params[part], stages, wrong)
    if SIDES in params:
        grafted[SIDES] = {name: _side(own, name, stages) for name, own in params[SIDES].items()}
    if wrong:
        listed = "; ".join(f"{name} {reason}" for name, reason in wrong.items())
        raise ArgumentError("weights", f"they do not fit this model: {listed}")
    return grafted


def with_exponent(params: Tree, p: float | Float[Array, ""] | None) -> dict[str, Any]:
    """A network's parameters with GeM's exponent p, as `gem_learned` has it; None: without one."""
    others = {name: part for name, part in params.items() if name != "pool"}
    return others if p is None else others | {"pool": {"p": p}}


def _fill(targets: Tree, stages: Mapping[str, Tree], wrong: dict[str, str]) -> dict[str, Tree]:
    """The stages that `targets` names; where one does not fit, `wrong` says why."""
    stages = {name: completed(own, targets.get(name)) for name, own in stages.items()}
    for name, target in targets.items():
        if name not in stages:
            wrong[name] = "is missing"
        elif jax.tree.structure(target) != jax.tree.structure(stages[name]):
            wrong[name] = "has other parameters"
        else:
            needed, given = _shapes(target), _shapes(stages[name])
            if needed != given:
                wrong[name] = f"has shapes {given} where {needed} are needed"
    return {name: stages.get(name, target) for name, target in targets.items()}


def _side(own: Tree, stage: str, stages: Mapping[str, Tree]) -> Tree:
    given = stages.get(side_stage(stage), {})
    same = jax.tree.structure(given) == jax.tree.structure(own) and _shapes(given) == _shapes(own)
    return given if same else own


def _shapes(tree: Tree) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]
