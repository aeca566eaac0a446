"""A split measured at all three grains: what is embedded for each, and how it is judged."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from abe_jax import models
from abe_jax.data.images import copies
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.split import Split, chosen
from abe_jax.errors import ArgumentError
from abe_jax.evaluation import grains
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.network import Embedded
from abe_jax.evaluation.options import Measures
from abe_jax.losses import objective
from abe_jax.losses.cross_entropy import CrossEntropy
from abe_jax.losses.term import Term

# The vectors of a split's readable images, and which rows these are.
VectorsOf = Callable[[Split], tuple[Vectors, Int[np.ndarray, " k"]]]


class LinearClassifier(NamedTuple):
    """A term's classifier: of unit vectors (their cosines to proxies), or of embeddings before L2.

    With `of_vectors` it is the former.
    """

    kernel: Float[np.ndarray, "m d c"]
    bias: Float[np.ndarray, "m c"]
    of_vectors: bool


class HeldOut(NamedTuple):
    """Images held out of the training classes, and the run's classifier of these classes."""

    classifier: LinearClassifier
    split: Split


def classifier(terms: Sequence[Term], params: Any) -> LinearClassifier | None:
    """The classifier of the term that `objective.classifier` names, from the objective's `params`.

    None where no term has one. Of normalised softmax it is the unit proxies, without their
    temperature, which changes no rank.
    """
    named = objective.classifier(terms)
    if named is None:
        return None
    term, key = named
    if isinstance(term, CrossEntropy):
        kernel = np.asarray(params[key]["kernel"])
        none = np.zeros((kernel.shape[0], kernel.shape[2]), np.float32)
        return LinearClassifier(kernel, np.asarray(params[key].get("bias", none)), False)
    proxies = np.asarray(params[key]["proxies"])
    unit = proxies / np.maximum(np.linalg.norm(proxies, axis=-1, keepdims=True), 1e-12)
    zeros = np.zeros(proxies.shape[:2], np.float32)
    return LinearClassifier(np.swapaxes(unit, 1, 2), zeros, True)


class RankedSplit(NamedTuple):
    """The images `image_ids` of a split, and a vector of each to rank it by."""

    split: Split
    image_ids: Int[np.ndarray, " n"]
    vectors: Vectors


def measure(
    embedder: Embedder,
    split: Split,
    embedded: Embedded,
    measures: Measures,
    held_out: HeldOut | None,
) -> dict[str, Any]:
    """{"class", "instance", "copy"} of one split, each where the data and the run allow it.

    class     `grains.top_k` of the classifier on the held-out images; where these are given
    instance  `grains.instance` on the split; where its images show known objects
    copy      `grains.copies`: `measures.copies` of the split's images, evenly spaced, are altered
              in every way that `copies.ATTACKS` names and look for themselves in the whole split

    All hosts call it with the same arguments, `embedded` the split's embedding.

    Raises:
        ArgumentError: of `copies`: the network pools at points that come with its images.
    """

    if measures.copies and models.asks_points(embedder.network.model):
        raise ArgumentError(
            "copies",
            f"{measures.copies}, but altered copies of images have no points to pool at; set it "
            "to 0",
        )

    def vectors_of(altered: Split) -> tuple[Vectors, Int[np.ndarray, " k"]]:
        vectors, image_ids, _ = embedder.embed(altered)
        return vectors, image_ids

    ranked = RankedSplit(split, embedded.image_ids, embedded.vectors)
    first = {} if held_out is None else class_level(embedder, held_out, measures.block)
    preprocessing = embedder.network.preprocessing
    levels = {"class": first} | _ranked_levels(ranked, vectors_of, preprocessing, measures)
    return {name: values for name, values in levels.items() if values}


def baseline(
    ranked: RankedSplit,
    vectors_of: VectorsOf,
    preprocessing: Preprocessing,
    measures: Measures,
) -> dict[str, Any]:
    """The instance and the copy by what the images give without any training, as in `measure`.

    `ranked` has that of the split's images, and `vectors_of` gives that of the altered ones.
    """
    levels = _ranked_levels(ranked, vectors_of, preprocessing, measures)
    return {name: values for name, values in levels.items() if values}


def _ranked_levels(
    ranked: RankedSplit,
    vectors_of: VectorsOf,
    preprocessing: Preprocessing,
    measures: Measures,
) -> dict[str, Any]:
    return {
        "instance": _instance(ranked, measures.block),
        "copy": _copy(ranked, vectors_of, preprocessing, measures),
    }


def class_level(embedder: Embedder, held_out: HeldOut, block: int) -> dict[str, Any]:
    """The class as in `measure`; empty where no held-out image can be read. All hosts call it.

    Cosines to proxies count by the learners' weights at test, where there are any.
    """
    linear, split = held_out
    if linear.of_vectors:
        embeddings, image_ids, _ = embedder.embed(split)
    else:
        embeddings, image_ids = embedder.network.unnormalised(embedder.replicated, split)
    labels = split.labels[image_ids]
    if not len(labels):
        return {}
    return {
        "images": len(labels),
        "classes": len(split.class_names),
        **grains.top_k(embeddings, linear.kernel, linear.bias, labels, block=block),
    }


def _instance(ranked: RankedSplit, block: int) -> dict[str, Any]:
    if ranked.split.object_ids is None:
        return {}
    read = chosen(ranked.split, ranked.image_ids)
    assert read.object_ids is not None
    return grains.instance(ranked.vectors, read.object_ids, read.gallery, block=block)


def _copy(
    ranked: RankedSplit,
    vectors_of: VectorsOf,
    preprocessing: Preprocessing,
    measures: Measures,
) -> dict[str, Any]:
    split, image_ids, gallery = ranked
    number = min(measures.copies, len(image_ids))
    if not number:
        return {}
    rows = ((np.arange(number) + 0.5) * len(image_ids) / number).astype(np.int64)
    vectors, readable = vectors_of(copies.altered(split, image_ids[rows], preprocessing))
    original_rows, kinds = np.divmod(readable, len(copies.ATTACKS))
    names = [attack.name for attack in copies.ATTACKS]
    block = measures.block
    return grains.copies(vectors, rows[original_rows], kinds, names, gallery, block=block)
