"""Losses over the domains of a batch: one that scatters them, one that shuffles them together.

Source: Choi et al., Meta Batch-Instance Normalization, CVPR 2021 (arXiv 2011.14670), section 3.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.losses import classes, pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters, Term


def blocks(rows: int, domains: int) -> Int[Array, " b"]:
    """The domain of each row of a batch that is `domains` equal blocks of rows: 0, 0, ..., 1 ..."""
    return jnp.arange(rows, dtype=jnp.int32) // max(1, rows // domains)


@checked
def scatter(
    vectors: Float[Array, "b *m d"],
    domains: Int[Array, " b"],
    *,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """The mean over domains of mean_i cos(f_i, c), c the mean of the domain's unit vectors f_i.

    Minimised it spreads the images of each domain, so that a domain tells less of an image. Its
    gradient goes through the centroids as well. Memory O(m b (b + d)). `vectors` [b, d], or
    [b, m, d]: then the loss is the sum over the m learners. A zero vector or centroid has cosine
    0. Images where `mask` is False are not there; where none is, 0 with gradient 0. Computed in
    float32 whatever the type of `vectors`.
    """
    here = pairs.present(domains, mask)
    x = classes.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    together = (domains[:, None] == domains[None, :]) & here[:, None] & here[None, :]
    number = jnp.sum(together, axis=1, dtype=jnp.float32)  # images of each row's domain
    total = jnp.einsum("ij,mjd->mid", together.astype(x.dtype), x, precision=lax.Precision.HIGHEST)
    centroids = classes.unit(pairs.ratio(total, number[None, :, None]))
    share = jnp.where(here, 1.0 / jnp.maximum(number, 1.0), 0.0)  # sums to the number of domains
    terms = jnp.sum(x * centroids, axis=-1) * share[None]
    return jnp.sum(pairs.ratio(jnp.sum(terms, axis=-1), jnp.sum(share)))


@checked
def shuffle(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    domains: Int[Array, " b"],
    *,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """The mean over anchors a of softplus(max d(a, other domain) - min d(a, own domain)).

    d is the Euclidean distance. The maximum is over the images of other domains, of any label; the
    minimum over those of the anchor's own domain and another label. An image without one of the
    two is no anchor. Minimised it draws the domains into each other and the identities of one
    domain apart. What is chosen has no gradient of its own. `vectors` [b, d], or [b, m, d]: then
    the loss is the sum over the m learners, each with choices of its own. Images where `mask` is
    False are not there; without anchors the loss is 0 with gradient 0. Computed in float32 whatever
    the type of `vectors`, memory O(m b^2).
    """
    here = pairs.present(labels, mask)
    compared = pairs.compared(vectors, labels, mask)
    same = domains[:, None] == domains[None, :]
    away = here[:, None] & here[None, :] & ~same
    near = compared.negative & same
    farthest = _distances_to(compared.distances, jnp.argmax, away, -jnp.inf)
    nearest = _distances_to(compared.distances, jnp.argmin, near, jnp.inf)
    anchors = jnp.any(away, axis=1) & jnp.any(near, axis=1)
    terms = jax.nn.softplus(farthest - nearest)
    return jnp.sum(pairs.masked_mean(terms, pairs.over_learners(anchors, terms.shape[0])))


def _distances_to(
    distances: Float[Array, "m b b"],
    choose: Callable[..., Array],
    among: Bool[Array, "b b"],
    never: float,
) -> Float[Array, "m b"]:
    """Each row's distance to the one that `choose` takes among the allowed ones."""
    chosen = choose(jnp.where(among[None], lax.stop_gradient(distances), never), axis=-1)
    return jnp.take_along_axis(distances, chosen[..., None], axis=-1)[..., 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scatter(Term):
    """The images of each domain spread around its centre."""

    name: str = "scatter"

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        return scatter(batch.vectors, batch.known_domains(), mask=batch.mask)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shuffle(PairTerm):
    """Other domains drawn nearer than the other classes of an image's own domain."""

    name: str = "shuffle"

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels, domains = batch.identities(self.label), batch.known_domains()
        return shuffle(batch.vectors, labels, domains, mask=batch.mask)
