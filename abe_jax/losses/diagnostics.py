"""What one training batch shows of the embedding, beside its losses."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.contrastive import all_pairs
from abe_jax.losses.divergence import learner_pairs


@checked
def diagnostics(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    mask: Bool[Array, " b"] | None = None,
) -> dict[str, Float[Array, ""]]:
    """Means over one batch that tell a collapse from a spread, without gradients.

    cosine             between different learners on the same image; left out for one learner
    positive_distance  squared distance of positive pairs, mean over learners (that is, of the
                       concatenated vectors scaled to unit length), in [0, 4] for unit vectors
    negative_distance  the same of negative pairs
    `vectors` [b, d] or [b, m, d]. A mean over nothing is NaN here, not 0: 0 would say collapse.
    """
    here = pairs.present(labels, mask)
    x = pairs.without_absent(pairs.per_learner(lax.stop_gradient(vectors)), here)
    every = all_pairs(x, labels, here)
    squared = jnp.mean(every.squared, axis=0)
    result = {
        "positive_distance": _mean(squared, every.positive[0]),
        "negative_distance": _mean(squared, every.negative[0]),
    }
    if x.shape[0] > 1:
        left, right = learner_pairs(x)
        lengths = jnp.linalg.norm(left, axis=-1) * jnp.linalg.norm(right, axis=-1)
        cosine = jnp.sum(left * right, axis=-1) / jnp.where(lengths == 0.0, 1.0, lengths)
        result["cosine"] = _mean(cosine, jnp.broadcast_to(here[None], cosine.shape))
    return result


def _mean(values: Array, select: Array) -> Array:
    number = jnp.sum(select, dtype=jnp.float32)
    return jnp.where(number > 0.0, pairs.masked_mean(values[None], select[None])[0], jnp.nan)
