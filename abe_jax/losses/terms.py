"""From a config's term to the loss that it names."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array

from abe_jax.config import (
    Clustering,
    Contrastive,
    CrossEntropy,
    Divergence,
    LiftedStructure,
    Margin,
    NormSoftmax,
    NPairs,
    ProxyNCA,
    Triplet,
)
from abe_jax.losses.clustering import clustering
from abe_jax.losses.contrastive import contrastive
from abe_jax.losses.cross_entropy import CrossEntropyLoss
from abe_jax.losses.divergence import divergence
from abe_jax.losses.lifted_structure import lifted_structure
from abe_jax.losses.margin import LearnedMargin
from abe_jax.losses.n_pairs import n_pairs
from abe_jax.losses.norm_softmax import NormSoftmaxLoss
from abe_jax.losses.proxy_nca import ProxyNCALoss
from abe_jax.losses.rows import Rows
from abe_jax.losses.triplet import triplet

Loss = Callable[[Rows], Array]  # a term's value before its weight, a float32 scalar


class Place(NamedTuple):
    """Where a term stands: the name of its parameters, and how many classes they are for."""

    key: str
    classes: int


def _contrastive(term: Contrastive, place: Place) -> Loss:
    return lambda rows: contrastive(
        rows.embeddings.vectors,
        rows.identities(term.label),
        margin=term.margin,
        squared=term.squared,
        pairs=term.pairs,
        reduction=term.reduction,
        mask=rows.mask,
    )


def _triplet(term: Triplet, place: Place) -> Loss:
    return lambda rows: triplet(
        rows.embeddings.vectors,
        rows.identities(term.label),
        mining=term.mining,
        margin=term.margin,
        soft=term.soft,
        squared=term.squared,
        reduction=term.reduction,
        mask=rows.mask,
    )


def _margin(term: Margin, place: Place) -> Loss:
    return LearnedMargin(term, name=place.key)


def _lifted_structure(term: LiftedStructure, place: Place) -> Loss:
    return lambda rows: lifted_structure(
        rows.embeddings.embedding,
        rows.identities(term.label),
        margin=term.margin,
        mask=rows.mask,
    )


def _n_pairs(term: NPairs, place: Place) -> Loss:
    return lambda rows: n_pairs(
        rows.embeddings.embedding,
        rows.identities(term.label),
        length_weight=term.length_weight,
        mask=rows.mask,
    )


def _clustering(term: Clustering, place: Place) -> Loss:
    return lambda rows: clustering(
        rows.embeddings.vectors,
        rows.identities(term.label),
        margin=term.margin,
        sweeps=term.sweeps,
        mask=rows.mask,
    )


def _divergence(term: Divergence, place: Place) -> Loss:
    return lambda rows: divergence(
        rows.embeddings.vectors,
        margin=term.margin,
        squared=term.squared,
        reduction=term.reduction,
        mask=rows.mask,
    )


def _proxy_nca(term: ProxyNCA, place: Place) -> Loss:
    return ProxyNCALoss(place.classes, term.scale, name=place.key)


def _norm_softmax(term: NormSoftmax, place: Place) -> Loss:
    return NormSoftmaxLoss(place.classes, term.temperature, term.subsample, name=place.key)


def _cross_entropy(term: CrossEntropy, place: Place) -> Loss:
    return CrossEntropyLoss(place.classes, term.smoothing, name=place.key)


# Config term -> what makes its loss, inside the objective's scope. A term with parameters (proxies,
# a classifier) makes a Linen module named `place.key`, which is called like any Loss.
LOSSES: dict[type, Callable[..., Loss]] = {
    Contrastive: _contrastive,
    ProxyNCA: _proxy_nca,
    NormSoftmax: _norm_softmax,
    CrossEntropy: _cross_entropy,
    Triplet: _triplet,
    Margin: _margin,
    LiftedStructure: _lifted_structure,
    NPairs: _n_pairs,
    Clustering: _clustering,
    Divergence: _divergence,
}
