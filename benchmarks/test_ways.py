"""What the ways for GPUs save, counted in the traced step of the paper's sizes; nothing is run.

    pytest benchmarks/test_ways.py          ABE-8 with no piece on its way for GPUs, and with all
    pytest benchmarks/test_ways.py -m ""    and each piece alone, of ABE-8 and of 8 heads

Operations are those of the trace, before XLA fuses them; "large" are those that make 1 MiB or more.
`benchmarks/gpu.py` measures the same ways where there is a GPU.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import Jaxpr, JaxprEqn
from results import Table
from training import abstract_state, configuration, random_batch

from abe_jax import ways
from abe_jax.config import Config, build
from abe_jax.models import counting

LARGE = 2**20  # bytes
PRODUCTS = ("conv_general_dilated", "dot_general")
NOTE = "Of the trace, before XLA fuses; sums are of arrays of 1 MiB or more, small sums of smaller."
HEAD = ("way for GPUs", "products", "sums", "small sums", "other large", "kept MiB")

NONE_AND_ALL = [(), ways.PIECES]
ALONE = [pytest.param((piece,), marks=pytest.mark.slow) for piece in ways.PIECES]


def operations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Every operation, at any depth, those of a function as often as it is called."""
    for eqn in jaxpr.eqns:
        inner = [one for value in eqn.params.values() for one in counting.nested(value)]
        if not inner:
            yield eqn
        for one in inner:
            yield from operations(one)


def size(variable: Any) -> int:
    """The bytes of an operand or a result; 0 of what is no array."""
    shape, dtype = getattr(variable.aval, "shape", None), getattr(variable.aval, "dtype", None)
    return 0 if shape is None or dtype is None else math.prod(shape) * dtype.itemsize


def counted(made: Config) -> Counter[str]:
    """The operations of a step by kind."""
    step = build.recipe(made).train_step()
    trace = jax.make_jaxpr(step)(abstract_state(made), random_batch(made))
    kinds: Counter[str] = Counter()
    for eqn in operations(trace.jaxpr):
        name = eqn.primitive.name
        if name in PRODUCTS:
            kinds["products"] += 1
        elif name == "reduce_sum":
            kinds["sums" if size(eqn.invars[0]) >= LARGE else "small sums"] += 1
        elif sum(map(size, eqn.outvars)) >= LARGE:
            kinds["other large"] += 1
    return kinds


def kept(made: Config) -> float:
    """MiB that the network's forward pass keeps for its gradient, parameters included."""
    model, state = build.model(made.model), build.recipe(made).abstract()
    shape = (made.train.batch, made.data.size, made.data.size, made.data.channels)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)

    def vectors(params: Any, images: jax.Array) -> Any:
        embeddings: Any = model.apply({"params": params}, images, train=True)
        return embeddings.vectors

    def backward(params: Any, images: jax.Array) -> Any:
        return jax.vjp(lambda p: vectors(p, images), params)[1]

    leaves = jax.tree.leaves(jax.eval_shape(backward, state.params["model"], images))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves) / 2**20


@pytest.mark.parametrize("kind", ["attention", pytest.param("heads", marks=pytest.mark.slow)])
@pytest.mark.parametrize("taken", [*NONE_AND_ALL, *ALONE], ids=lambda taken: "+".join(taken))
def test_the_steps_operations(taken: tuple[str, ...], kind: str, tables: list[Table]) -> None:
    made = configuration(kind, 8, full=True, compute="bfloat16")
    with ways.only(*taken):
        kinds, size_kept = counted(made), kept(made)
    # Each has its bias, whose gradient is a sum over a large map; the way for GPUs has none left.
    # Of 8 heads a hundred sums of large kernels' squares stay, those of the gradients' norm.
    most = 50 if kind == "attention" else 150
    assert (kinds["sums"] > most) != ("bias" in taken)
    name = {(): "none", ways.PIECES: "all"}.get(taken, "+".join(taken))
    row = (name, *(f"{kinds[word]:,}" for word in HEAD[1:-1]), f"{size_kept:,.0f}")
    title = f"Operations in the trace of a step: {kind}, M = 8, 224 px, batch 64, bfloat16"
    before = next((table for table in tables if table.title == title), None)
    rows = [*before.rows, row] if before else [row]
    made_table = Table(title=title, note=NOTE, head=HEAD, rows=rows)
    if before:
        tables.remove(before)
    tables.append(made_table)
