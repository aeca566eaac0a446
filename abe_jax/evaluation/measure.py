"""Everything that is measured of one split: its vectors, their retrieval, and the grains."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from abe_jax.data.held_out import HELD_OUT
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError
from abe_jax.evaluation import (
    benchmark_figures,
    grain_levels,
    near_duplicates,
    protocols,
    retrieval,
)
from abe_jax.evaluation.baselines import centred_pixels, small_pixels
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.grain_levels import HeldOut, RankedSplit
from abe_jax.evaluation.near_duplicates import NearDuplicates
from abe_jax.evaluation.network import Embedded
from abe_jax.evaluation.options import Measures
from abe_jax.evaluation.protocols import GroundTruth
from abe_jax.evaluation.results import Results
from abe_jax.evaluation.whitening import Whitening, unit_whitened

Raw = Float[np.ndarray, "n D"]
# Makes a whitening, or None, given what embeds a split and says what is whitened of its images
FitWhitening = Callable[[Callable[[Split], tuple[Embedded, Raw]]], Whitening | None]


class SplitVectors(NamedTuple):
    """A split's vectors and, where they are whitened too, the whitened unit vectors."""

    embedded: Embedded
    whitened: Float[np.ndarray, "n k"] | None = None


def ensemble_metrics(embedded: Embedded, split: Split, measures: Measures) -> dict[str, float]:
    """The ensemble's metrics alone, {"recall@K": .., "r_precision": .., "map@r": ..}.

    All hosts call it, with what `Network.vectors` gave each of them.
    """
    truth, measures = GroundTruth.of(split, embedded.image_ids), _divided(measures)
    return retrieval.scores(embedded.vectors, truth, measures).means()


def _divided(measures: Measures) -> Measures:
    """The measures where all hosts call with the same vectors."""
    return dataclasses.replace(measures, divided=True)


def embed_split(
    embedder: Embedder, split: Split, fit_whitening: FitWhitening | None = None
) -> SplitVectors:
    """A split's vectors and, with `fit_whitening`, the whitened ones; all hosts call it.

    The whitening is asked for first; a host that is given None has no whitened vectors. What is
    whitened of one learner is its embedding before L2, whose length the bias channel keeps; of
    several the concatenation of their vectors, by which the ensemble is compared.
    """
    if fit_whitening is None:
        return SplitVectors(embedder.embed(split))
    whitening = fit_whitening(lambda images: _with_raw(embedder, images))
    embedded, raw = _with_raw(embedder, split)
    return SplitVectors(embedded, None if whitening is None else unit_whitened(whitening, raw))


def _with_raw(embedder: Embedder, split: Split) -> tuple[Embedded, Raw]:
    """A split's vectors, and what is whitened of them."""
    if embedder.learners > 1:
        embedded = embedder.embed(split)
        return embedded, embedded.vectors.reshape(len(embedded.vectors), -1)
    embedded, raw = embedder.network.with_unnormalised(embedder.replicated, split)
    return embedded, raw[:, 0]


def measure_split(
    embedder: Embedder,
    split: Split,
    measures: Measures = Measures(),  # noqa: B008 (immutable)
    *,
    vectors: SplitVectors | None = None,
    held_out: HeldOut | None = None,
    near: NearDuplicates | None = None,
    benchmark: str = "",
) -> tuple[Results, Embedded]:
    """Everything that `measures` asks of a split, and its vectors; all hosts call it.

    The numbers are those of `retrieval.evaluate` and, under "grains", of `grain_levels.measure` and
    the benchmark, with the "pixels": of raw pixels; under "without_near_duplicates" those of
    `near_duplicates.measure`. Of single held-out images the class is measured.

    Args:
        embedder: the network.
        split: the images.
        measures: what of them.
        vectors: from `embed_split`; None: embedded here, without a whitening.
        held_out: where there are such images and the run has a classifier.
        near: which of the split's images are nearly the same photograph, where that is asked.
        benchmark: name of the data set, for figures of its own (see benchmark_figures.py).

    Raises:
        UserError: nothing at all can be measured, or as in `retrieval.evaluate`.
    """
    embedded, whitened = embed_split(embedder, split) if vectors is None else vectors
    measures = _divided(measures)
    image_ids, network, levels = embedded.image_ids, embedder.network, {}
    if measures.grains:
        levels = grain_levels.measure(embedder, split, embedded, measures, held_out)
    if nothing_to_retrieve(split, embedded):
        if "class" not in levels:
            levels |= {"class": _class_alone(embedder, held_out, measures)}
        return Results(_counts(split, embedded) | {"metrics": {}, "grains": levels}), embedded
    small, truth = small_pixels(network, split, image_ids), GroundTruth.of(split, image_ids)
    if measures.domains and not truth.group_names:  # other images than the run's have none
        measures = dataclasses.replace(measures, domains=False)
    numbers = retrieval.evaluate(embedded.vectors, truth, measures, pixels=small, whitened=whitened)
    if near is not None:
        raw = centred_pixels(small)
        without = near_duplicates.measure(embedded, split, near, measures, raw)
        numbers["without_near_duplicates"] = without
    levels |= _of_benchmark(benchmark, split, embedded, whitened)
    if levels:
        pixels = RankedSplit(split, image_ids, centred_pixels(small))
        numbers["grains"] = levels | _baseline(embedder, pixels, measures, benchmark)
    return Results(numbers), embedded


def _of_benchmark(
    name: str, split: Split, embedded: Embedded, whitened: Float[np.ndarray, "n k"] | None
) -> dict[str, Any]:
    """A data set's own figures and, under "whitened", those by the cosine of whitened vectors."""
    figures = benchmark_figures.measure(name, split, embedded.image_ids, embedded.vectors)
    if figures and whitened is not None:
        own = benchmark_figures.measure(name, split, embedded.image_ids, whitened)
        figures |= {"whitened": own}
    return figures


def nothing_to_retrieve(split: Split, embedded: Embedded) -> bool:
    """Whether these are images held out of training, one of each class: none finds another."""
    if split.name != HELD_OUT:
        return False
    return not protocols.positives(split.labels[embedded.image_ids], None).any()


def _class_alone(
    embedder: Embedder, held_out: HeldOut | None, measures: Measures
) -> dict[str, Any]:
    """The class of held-out images among which nothing can be retrieved, `grains` or not."""
    own = {}
    if held_out is not None:
        own = grain_levels.class_level(embedder, held_out, measures.block)
    if not own:
        raise ArgumentError(
            "held_out",
            "no class has two images held out, so none finds another, and no term of the objective "
            "has a classifier to test on single ones; hold out a greater share",
        )
    return own


def _counts(split: Split, embedded: Embedded) -> dict[str, int]:
    labels = split.labels[embedded.image_ids]
    return {"images": len(labels), "classes": len(np.unique(labels)), "queries": 0}


def _baseline(
    embedder: Embedder, pixels: RankedSplit, measures: Measures, benchmark: str
) -> dict[str, Any]:
    """{"pixels": what raw pixels give of the grains}; empty if nothing is measured of these."""

    def vectors_of(altered: Split) -> tuple[np.ndarray, Int[np.ndarray, " k"]]:
        rows = np.arange(len(altered.labels))
        return centred_pixels(small_pixels(embedder.network, altered, rows)), rows

    preprocessing = embedder.network.preprocessing
    levels = grain_levels.baseline(pixels, vectors_of, preprocessing, measures)
    levels |= benchmark_figures.measure(benchmark, *pixels)
    return {"pixels": levels} if levels else {}
