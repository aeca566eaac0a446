"""Dropout whose draws hang on a row's place in the global batch, and on no device."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

STREAM = "dropout"  # of Flax's random streams


class Dropout(nn.Module):
    """Sets each number of a row to 0 with probability `rate`, the others times 1 / (1 - rate).

    It drops in training alone, and there alone where `apply` is given the stream "dropout": the
    training step gives one for each (seed, step), MetaBIN's episodes none. Row r of the global
    batch draws by a key of its own, which is folded from the stream's key and r, so that 1, 2, 4
    and 8 devices draw alike. Over `axis_name` device i holds the rows from i b on; without it all
    rows are here. Of a batch that comes in parts, `first` is the number of a part's first row.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *n"], train: bool, first: Int[Array, ""] | None = None
    ) -> Float[Array, "b *n"]:
        if not (train and self.rate and self.has_rng(STREAM)):
            return x
        key, kept = self.make_rng(STREAM), 1.0 - self.rate
        here = 0 if self.axis_name is None else lax.axis_index(self.axis_name)
        rows = (here * len(x) if first is None else first) + jnp.arange(len(x), dtype=jnp.int32)

        def drawn(row: Array) -> Array:
            return jax.random.bernoulli(jax.random.fold_in(key, row), kept, x.shape[1:])

        return jnp.where(jax.vmap(drawn)(rows), x / kept, 0.0)
