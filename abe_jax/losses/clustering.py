"""The clustering loss: the labels' clustering scored above every other by a structured margin."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount, Sweeps
from abe_jax.errors import require
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


class MedoidSearch(NamedTuple):
    """One learner's rows, among which medoids are sought."""

    distances: Float[Array, "b b"]
    same: Bool[Array, "b b"]  # which pairs of rows that are there have one label
    here: Bool[Array, " b"]
    margin: float


def normalised_information(
    clusters: Float[Array, "b k"],
    shared: Float[Array, "b k"],
    classes: Float[Array, " b"],
    here: Bool[Array, " b"],
) -> Float[Array, " k"]:
    """NMI of k clusterings with the classes, I / sqrt(H H'), from counts n, o, c for each row.

    n rows are in the row's cluster, c in its class, o in both; of N rows that are there I is the
    mean of log(N o / (n c)), H that of -log(n / N) and H' that of -log(c / N): no table of clusters
    by classes is needed. One cluster against one class gives 1, as in scikit-learn, one of either
    against more 0.
    """
    number = jnp.maximum(jnp.sum(here, dtype=jnp.float32), 1.0)

    def logs(counts: Array) -> Array:
        share = jnp.where(here[:, None], counts / number, 1.0)
        return jnp.sum(jnp.log(share), axis=0) / number

    ours, theirs, both = logs(clusters), logs(classes[:, None]), logs(shared)
    product = ours * theirs
    trivial = jnp.where((ours == 0.0) & (theirs == 0.0), 1.0, 0.0)
    root = jnp.sqrt(jnp.where(product > 0.0, product, 1.0))
    return jnp.where(product > 0.0, (both - ours - theirs) / root, trivial)


def _number(relation: Array, select: Array) -> Array:
    """For each row i and column k how many related rows are selected; all columns in a product."""
    return relation.astype(jnp.float32) @ select.astype(jnp.float32)


def _delta(space: MedoidSearch, medoid: Int[Array, " b"]) -> Float[Array, ""]:
    """1 - NMI of the clustering that gives each row this medoid."""
    together = medoid[:, None] == medoid[None, :]
    every = space.here[:, None]
    clusters, shared = _number(together, every), _number(together & space.same, every)
    classes = _number(space.same, every)[:, 0]
    return 1.0 - normalised_information(clusters, shared, classes, space.here)[0]


def _nearest(space: MedoidSearch, medoids: Int[Array, " b"]) -> tuple[Array, Array]:
    """Each row's nearest medoid, the first of equals, and how far it is: -1 for a medoid itself."""
    own = jnp.eye(medoids.shape[0], dtype=bool)
    ranked = jnp.where(own, -1.0, space.distances)[:, medoids]  # whatever -1 picks is replaced
    ranked = jnp.where(medoids[None, :] >= 0, ranked, jnp.inf)
    return medoids[jnp.argmin(ranked, axis=1)], jnp.min(ranked, axis=1)


class _Additions(NamedTuple):
    """What comes of one more medoid, for each row (a column here) as that one."""

    delta: Float[Array, " b"]  # 1 - NMI of the clustering
    cost: Float[Array, " b"]  # the sum of all rows' distances to their medoids


def _additions(space: MedoidSearch, medoids: Array) -> _Additions:
    medoid, distance = _nearest(space, medoids)
    here = space.here[:, None]
    nearer = space.distances < distance[:, None]
    moves = here & (nearer | jnp.eye(medoid.shape[0], dtype=bool))  # row i to candidate k
    stays = here & ~moves
    together = medoid[:, None] == medoid[None, :]
    joined = jnp.sum(moves, axis=0, dtype=jnp.float32)[None, :]
    clusters = jnp.where(moves, joined, _number(together, stays))
    shared = jnp.where(moves, _number(space.same, moves), _number(together & space.same, stays))
    classes = _number(space.same, here)[:, 0]
    delta = 1.0 - normalised_information(clusters, shared, classes, space.here)
    cost = jnp.where(moves, space.distances, jnp.maximum(distance, 0.0)[:, None])
    return _Additions(delta, jnp.sum(jnp.where(here, cost, 0.0), axis=0))


def _best(scores: Array, candidates: Array) -> Array:
    return jnp.argmax(jnp.where(candidates, scores, -jnp.inf)).astype(jnp.int32)


def _best_addition(space: MedoidSearch, medoids: Array, candidates: Array) -> Array:
    """The candidate that with these medoids scores the highest F + margin (1 - NMI)."""
    added = _additions(space, medoids)
    return _best(space.margin * added.delta - added.cost, candidates)


def _best_of_cluster(space: MedoidSearch, medoids: Array, cluster: Array) -> Array:
    """The row of a cluster that is its best medoid by distances in it, and by everyone's NMI."""
    within = jnp.sum(jnp.where(cluster[:, None], space.distances, 0.0), axis=0)
    return _best(space.margin * _additions(space, medoids).delta - within, cluster)


def most_violating(
    space: MedoidSearch, classes: Int[Array, ""], sweeps: int, exchange: str
) -> Int[Array, " b"]:
    """The medoid of each row in the clustering into `classes` clusters that scores best.

    Greedy: the medoid that adds most, as often as there are classes; then `sweeps` times each
    medoid in turn is exchanged for a row of its cluster, as EXCHANGES say.
    """
    rows = jnp.arange(space.here.shape[0], dtype=jnp.int32)

    def add(slot: Array, medoids: Array) -> Array:
        free = space.here & ~jnp.any(rows[:, None] == medoids[None, :], axis=1)
        return medoids.at[slot].set(_best_addition(space, medoids, free))

    medoids = lax.fori_loop(0, classes, add, jnp.full_like(rows, -1))
    medoids = EXCHANGES[exchange](space, medoids, classes, sweeps)
    return jnp.maximum(_nearest(space, medoids)[0], 0)


def _clusters_anew(
    space: MedoidSearch, medoids: Array, classes: Int[Array, ""], sweeps: int
) -> Int[Array, " b"]:
    def exchange(step: Array, medoids: Array) -> Array:
        slot = step % jnp.maximum(classes, 1)
        cluster = space.here & (_nearest(space, medoids)[0] == medoids[slot])
        rest = medoids.at[slot].set(-1)
        return medoids.at[slot].set(_best_addition(space, rest, cluster))

    return lax.fori_loop(0, sweeps * classes, exchange, medoids)


def _clusters_fixed(
    space: MedoidSearch, medoids: Array, classes: Int[Array, ""], sweeps: int
) -> Int[Array, " b"]:
    def sweep(_: Array, before: Array) -> Array:
        nearest = _nearest(space, before)[0]

        def exchange(slot: Array, medoids: Array) -> Array:
            cluster = space.here & (nearest == before[slot])
            rest = medoids.at[slot].set(-1)
            return medoids.at[slot].set(_best_of_cluster(space, rest, cluster))

        return lax.fori_loop(0, classes, exchange, before)

    return lax.fori_loop(0, sweeps, sweep, medoids)


# How a sweep exchanges medoids.
EXCHANGES = {
    "anew": _clusters_anew,  # by the score of the whole clustering, which is found anew each time
    "fixed": _clusters_fixed,  # by the distances within the clusters that the sweep began with
}


def _medoids_of_classes(
    distances: Float[Array, "b b"], same: Bool[Array, "b b"]
) -> Int[Array, " b"]:
    """For each row the row of its class that is nearest to all of the class together."""
    cost = jnp.sum(jnp.where(same, distances, 0.0), axis=1)
    return jnp.argmin(jnp.where(same, cost[None, :], jnp.inf), axis=1).astype(jnp.int32)


@checked
def clustering(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    margin: float = 1.0,
    sweeps: int = 1,
    exchange: str = "anew",
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Clustering loss: the labels' clustering scores above any other, the more the worse that is.

    [max_S {F(S) + margin (1 - NMI(g(S), labels))} - F*]_+ with F(S) = -sum_i min_{j in S} D_ij, S
    as many rows (medoids) as the batch has classes, g(S) the clustering by the nearest medoid, D
    the Euclidean distance, and F* = -sum over classes of min_{j in the class} sum_i D_ij. A sum
    over images, as printed: it grows with the batch where the margin does not.

    `vectors` [b, d], or [b, m, d]: then the loss is the sum over the m learners. Images where
    `mask` is False are not there; none gives 0 with gradient 0. Computed in float32 whatever the
    type of `vectors`. The maximum is sought greedily (the paper's algorithm 1), then by `sweeps` of
    exchanges, so that it is a lower bound. Medoids are found without gradient; the loss is
    differentiated through D with them fixed. Time O(classes (1 + sweeps) b^3), memory O(b^2).

    A sweep exchanges each medoid in turn for the row of its cluster that scores best. `exchange`
    says by what: `anew` by F + margin (1 - NMI) of the whole clustering, which never falls;
    `fixed`, the paper's algorithm 2 as the public code has it, by minus the sum of distances within
    the cluster, whose rows stay those of the sweep's beginning, + margin (1 - NMI). The public code
    makes 5 such sweeps. Raises ArgumentError for another name.

    Source: Oh Song et al., Deep Metric Learning via Facility Location, CVPR 2017, arXiv 1612.01213,
    section 3; its public code is TensorFlow's `cluster_loss`. pytorch-metric-learning has no such
    loss.
    """
    pairs.choose(EXCHANGES, exchange, "exchange")
    here = pairs.present(labels, mask)
    distances = pairs.compared(vectors, labels, mask).distances
    own = jnp.eye(labels.shape[0], dtype=bool)[None]
    distances = jnp.where(own, 0.0, distances)  # not the root of a rounding error
    same = (labels[:, None] == labels[None, :]) & here[:, None] & here[None, :]
    classes = jnp.sum(here & ~jnp.any(jnp.tril(same, k=-1), axis=1), dtype=jnp.int32)

    def of_learner(distances: Array) -> Array:
        fixed = lax.stop_gradient(distances)
        space = MedoidSearch(fixed, same, here, margin)
        worst = most_violating(space, classes, sweeps, exchange)
        own = _medoids_of_classes(fixed, same)
        costs = [
            jnp.take_along_axis(distances, medoid[:, None], axis=1)[:, 0] for medoid in (own, worst)
        ]
        gap = jnp.sum(jnp.where(here, costs[0] - costs[1], 0.0))
        return jnp.where(classes > 0, jnp.maximum(gap + margin * _delta(space, worst), 0.0), 0.0)

    return jnp.sum(jax.vmap(of_learner)(distances))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clustering(PairTerm):
    """The clustering that the labels give, scored above every other by a margin."""

    name: str = "clustering"
    margin: Amount = 1.0  # gamma of the paper
    sweeps: Sweeps = 1  # exchanges of every medoid after the greedy search; published: 5
    exchange: str = "anew"  # anew | fixed (published): by what a sweep exchanges, see `clustering`

    def __post_init__(self) -> None:
        super().__post_init__()
        require("exchange", self.exchange, EXCHANGES)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return clustering(batch.vectors, labels, mask=batch.mask, **self.options())
