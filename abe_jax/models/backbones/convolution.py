"""A convolution; where heads with kernels of their own are computed at once, one for each of them.

Mapped over kernels, XLA's convolution becomes a grouped one, for which the heads' channels are
brought side by side and which few processors compute well. Inside `heads_apart` a mapped
convolution is a loop, while all that stands around it is computed for the heads together.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from abe_jax.models.backbones.kernel_gradient import Padding, convolved, plain

# Part of what JAX keeps traced functions by.
_apart_now = jax.make_user_context(default_value=False)


@contextmanager
def heads_apart() -> Iterator[None]:
    """What is traced inside has a convolution for each head where heads are mapped over."""
    with _apart_now(True):
        yield


def convolution(
    x: Float[Array | np.ndarray, "b h w c"],
    kernel: Float[Array | np.ndarray, "k l c f"],
    stride: int,
    padding: Padding,
) -> Float[Array, "b i j f"]:
    """The convolution of maps with a kernel.

    Args:
        x: maps.
        kernel: in the type of `x`.
        stride: of both sides.
        padding: rows and columns of zeros.
    """
    made = one_by_one if _apart_now.value else convolved
    return made(jnp.asarray(x), jnp.asarray(kernel), stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def one_by_one(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k l c f"], stride: int, padding: Padding
) -> Float[Array, "b i j f"]:
    """`convolution` whose map over heads is a loop, as are those of its gradients."""
    return _kept(x, kernel, stride, padding)[0]


def _kept(x: Array, kernel: Array, stride: int, padding: Padding) -> tuple[Array, Any]:
    forward = functools.partial(plain, stride=stride, padding=padding)
    return _looped(lambda x, kernel: forward(x, kernel))(x, kernel), (x, kernel)


def _gradients(stride: int, padding: Padding, kept: Any, g: Array) -> tuple[Array, Array]:
    def of_one(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        to_x = jax.linear_transpose(lambda x: plain(x, kernel, stride, padding), x)
        to_kernel = jax.linear_transpose(lambda k: plain(x, k, stride, padding), kernel)
        return to_x(g)[0], to_kernel(g)[0]

    return _looped(of_one)(*kept, g)


one_by_one.defvjp(_kept, _gradients)


def _looped(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` whose map is a loop over its calls."""
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def loop(size: int, is_mapped: Any, *arguments: Any) -> tuple[Any, Any]:
        each = [
            function(
                *(
                    given[i] if own else given
                    for given, own in zip(arguments, is_mapped, strict=True)
                )
            )
            for i in range(size)
        ]
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *each)
        return stacked, jax.tree.map(lambda _: True, stacked)

    return mapped
