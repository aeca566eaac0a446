"""Parameters and multiply-adds of a model, counted in the traced computation.

Multiply-adds are those of convolutions and matrix products for one image. A convolution counts
output size x kernel size x channels in x channels out / groups, positions in the zero padding
included, as papers count. Additions, pooling, activations and normalisation do not count.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from abe_jax.data.images.sides import Sides, both
from abe_jax.models.backbones.stages import Stage
from abe_jax.models.ensemble import Ensemble
from abe_jax.models.fashion_net import blank_points

PARTS = {
    "encoder": "encoder",
    "trunk": "attention trunk",
    "mask_heads": "attention masks",
    "decoder": "decoder",
    "sides": "side heads",
    "pool": "pooling",
    "head": "fully connected",
    "neck": "neck",
}
OF_FASHION_NET = {
    "pose_decoder": "pose, convolutions",
    "pose": "pose, landmarks",
    "local_branch": "local branch",
    "global_branch": "global branch",
    "category_head": "categories",
    "attribute_head": "attributes",
}
_NAMES = PARTS | OF_FASHION_NET
_KEY = jax.eval_shape(lambda: jax.random.key(0))  # abstract: parameters are traced, not drawn
OTHER = "other"  # a computation outside all parts; models have none so far


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartCount:
    """One part of a model, or its total."""

    name: str
    detail: str
    parameters: int
    multiply_adds: int


def parts(model: Ensemble, size: Sides, channels: int) -> list[PartCount]:
    """One entry for each part of the model that has parameters or work, then the total.

    Nothing is allocated: parameters and computation are traced with abstract values.

    Args:
        model: the network.
        size: px of its images: one number, or height and width.
        channels: of its images.
    """
    image = jax.ShapeDtypeStruct((1, *both(size), channels), jnp.float32)
    given = {"train": False, **blank_points(model, 1)}
    macs, (_, variables) = traced(lambda k, x: model.init_with_output(k, x, **given), _KEY, image)
    details = _details(model)
    counts = [
        PartCount(
            name=_NAMES.get(part, part),
            detail=details.get(part, ""),
            parameters=_size(variables["params"].get(part, {})),
            multiply_adds=macs[part],
        )
        for part in (*_NAMES, OTHER)
        if part in variables["params"] or macs[part]
    ]
    total = PartCount(
        name="total",
        detail="",
        parameters=_size(variables["params"]),
        multiply_adds=sum(macs.values()),
    )
    return [*counts, total]


def multiply_adds(function: Callable[..., Any], *args: Any) -> Counter[str]:
    """Multiply-adds of `function(*args)` by the model's part; the arguments may be abstract.

    Raises:
        ValueError: a while loop with a product in it, whose number of turns no trace tells.
    """
    return traced(function, *args)[0]


def traced(function: Callable[..., Any], *args: Any) -> tuple[Counter[str], Any]:
    """`multiply_adds`, and the shapes of what `function` returns, from one trace."""
    counted: Counter[str] = Counter()
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    for stack, macs in _products(closed.jaxpr, "", 1):
        # Flax puts the modules' names on the stack, such as MultiHead/decoder/head0/inception5a.
        part = next((word for word in re.findall(r"\w+", stack) if word in _NAMES), OTHER)
        counted[part] += macs
    return counted, shapes


def _products(jaxpr: Jaxpr, outer: str, times: int) -> Iterator[tuple[str, int]]:
    """The name stack and multiply-adds of every convolution and matrix product, at any depth."""
    for eqn in jaxpr.eqns:
        stack = f"{outer}/{eqn.source_info.name_stack}"
        name = eqn.primitive.name
        if name in COUNTS:
            yield stack, times * COUNTS[name](eqn)
            continue
        inner = [one for value in eqn.params.values() for one in nested(value)]
        turns = times * eqn.params["length"] if name == "scan" else times
        products = [list(_products(one, stack, turns)) for one in inner]
        if name == "while" and any(products):
            raise ValueError(f"{stack}: a while loop whose number of turns is unknown")
        if name == "cond":  # one branch runs: the costliest is counted
            products = [max(products, key=lambda branch: sum(macs for _, macs in branch))]
        for counted in products:
            yield from counted


def nested(value: Any) -> Iterator[Jaxpr]:
    """The traced functions in a parameter of an operation."""
    if isinstance(value, ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, Jaxpr):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from nested(item)


def _convolution(eqn: JaxprEqn) -> int:
    kernel = _shape(eqn.invars[1])  # its channels in are those of one group
    channels_out = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return math.prod(_shape(eqn.outvars[0])) * math.prod(kernel) // channels_out


def _matrix_product(eqn: JaxprEqn) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = _shape(eqn.invars[0])
    return math.prod(_shape(eqn.outvars[0])) * math.prod(left[axis] for axis in contracted)


def _shape(operand: Any) -> tuple[int, ...]:
    return operand.aval.shape


COUNTS = {"conv_general_dilated": _convolution, "dot_general": _matrix_product}


def _size(params: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def size_text(sizes: Sequence[int]) -> str:
    """The learners' dimensions in words, such as "8 x 64" or "96 + 160 + 256"."""
    if min(sizes) == max(sizes):
        return f"{len(sizes)} x {sizes[0]}"
    return " + ".join(map(str, sizes))


def _details(model: Ensemble) -> dict[str, str]:
    def span(part: Sequence[Stage]) -> str:
        return f"{part[0].name} .. {part[-1].name}" if part else ""

    m, cut = model.learners, model.cut
    own = "one for each learner"
    kept, connected = {
        "heads": (own, own),
        "divided": ("shared", own),
        "cascade": ("", own),
    }.get(model.kind, ("shared", "shared"))
    shared, of_head = (f", {word}" if word and m > 1 else "" for word in (kept, connected))
    return {
        "encoder": span(cut.encoder),
        "trunk": span(cut.trunk),
        "mask_heads": f"{m} x 1x1 convolution",
        "decoder": span(cut.decoder) + shared,
        "pose_decoder": span(cut.decoder),
        "sides": f"behind {', '.join(getattr(model, 'side_names', ()))}",
        "head": f"to {size_text(model.sizes)}{of_head}",
        "neck": "batch normalisation",
    }
