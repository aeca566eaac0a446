"""From a config's term to the loss that it names."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array

from abe_jax import config
from abe_jax.losses.clustering import clustering
from abe_jax.losses.contrastive import contrastive
from abe_jax.losses.cross_entropy import CrossEntropyLoss
from abe_jax.losses.divergence import divergence
from abe_jax.losses.domains import scatter, shuffle
from abe_jax.losses.lifted_structure import lifted_structure
from abe_jax.losses.margin import LearnedMargin
from abe_jax.losses.n_pairs import n_pairs
from abe_jax.losses.norm_softmax import NormSoftmaxLoss
from abe_jax.losses.proxy_nca import ProxyNCALoss
from abe_jax.losses.rows import Embedded, Rows
from abe_jax.losses.triplet import triplet

Loss = Callable[[Rows], Array]  # a term's value before its weight, a float32 scalar


class Place(NamedTuple):
    """Where a term stands: the name of its parameters, and how many classes they are for."""

    key: str
    classes: int


Maker = Callable[[Any, Place], Loss]  # of a term's loss, inside the objective's scope


def _options(term: config.OfPairs | config.Divergence) -> dict[str, Any]:
    """The term's options: a loss takes those that are its own by the names that a config has."""
    shared = ("name", "weight", "label")
    return {name: value for name, value in dataclasses.asdict(term).items() if name not in shared}


def _of_rows(loss: Callable[..., Array], read: Callable[[Embedded], Array]) -> Maker:
    """Makes a loss between the rows of a batch, on what `read` takes of the embeddings."""

    def make(term: config.OfPairs, place: Place) -> Loss:
        options = _options(term)
        return lambda rows: loss(
            read(rows.embeddings), rows.identities(term.label), mask=rows.mask, **options
        )

    return make


def _on_vectors(loss: Callable[..., Array]) -> Maker:
    return _of_rows(loss, lambda embeddings: embeddings.vectors)


def _on_embedding(loss: Callable[..., Array]) -> Maker:
    return _of_rows(loss, lambda embeddings: embeddings.embedding)  # before L2


def _divergence(term: config.Divergence, place: Place) -> Loss:
    options = _options(term)
    return lambda rows: divergence(rows.embeddings.vectors, mask=rows.mask, **options)


def _scatter(term: config.Scatter, place: Place) -> Loss:
    return lambda rows: scatter(rows.embeddings.vectors, rows.of_domains(), mask=rows.mask)


def _shuffle(term: config.Shuffle, place: Place) -> Loss:
    return lambda rows: shuffle(
        rows.embeddings.vectors, rows.identities(term.label), rows.of_domains(), mask=rows.mask
    )


def _margin(term: config.Margin, place: Place) -> Loss:
    return LearnedMargin(term, name=place.key)


def _proxy_nca(term: config.ProxyNCA, place: Place) -> Loss:
    return ProxyNCALoss(place.classes, term.scale, name=place.key)


def _norm_softmax(term: config.NormSoftmax, place: Place) -> Loss:
    return NormSoftmaxLoss(place.classes, term.temperature, term.subsample, name=place.key)


def _cross_entropy(term: config.CrossEntropy, place: Place) -> Loss:
    return CrossEntropyLoss(place.classes, term.smoothing, name=place.key)


# A term with parameters (proxies, a classifier, beta) makes a Linen module named `place.key`, which
# is called like any Loss.
LOSSES: dict[type, Maker] = {
    config.Contrastive: _on_vectors(contrastive),
    config.Triplet: _on_vectors(triplet),
    config.Margin: _margin,
    config.LiftedStructure: _on_embedding(lifted_structure),
    config.NPairs: _on_embedding(n_pairs),
    config.Clustering: _on_vectors(clustering),
    config.ProxyNCA: _proxy_nca,
    config.NormSoftmax: _norm_softmax,
    config.CrossEntropy: _cross_entropy,
    config.Divergence: _divergence,
    config.Scatter: _scatter,
    config.Shuffle: _shuffle,
}
