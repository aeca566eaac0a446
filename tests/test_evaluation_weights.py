"""Weights of the learners at test: in evaluations, exponents, whitening, indexes and codes."""

import functools
from pathlib import Path

import numpy as np
import pytest
import serving_examples
from index_runs import noise

from abe_jax import evaluation
from abe_jax.data import Split
from abe_jax.evaluation import measure, retrieval, whitening
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import ROUNDING
from abe_jax.index import Index

SIZES, WEIGHTS = (3, 5, 8), (1.0, 2.0, 3.0)
SCALES = np.array(WEIGHTS) * (3 / 14) ** 0.5
IMAGES = [noise(i) for i in range(12)]
LABELS = np.arange(12) % 4


@functools.cache
def embedder(weights: tuple[float, ...] = WEIGHTS) -> Embedder:
    """Three learners of 3, 5 and 8 dimensions; the same parameters for any weights."""
    return serving_examples.model(
        "data.resize=16",
        "data.size=16",
        "model.width=4",
        "model.kind=divided",
        "model.learners=3",
        f"model.dims={SIZES}",
        "model.pooling=gem",
        f"model.test_weights={weights}",
    )


def concatenated(vectors: np.ndarray) -> np.ndarray:
    """Scaled unit vectors side by side without the zeros behind them, by hand."""
    parts = [SCALES[m] * vectors[:, m, :size] for m, size in enumerate(SIZES)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def test_every_way_out_of_the_network_is_scaled_once() -> None:
    plain, scaled = embedder(()), embedder()
    units = plain.embed(IMAGES).vectors
    assert units.shape == (12, 3, 8) and scaled.dim == 8
    expected = units * SCALES[None, :, None]
    found = scaled.embed(IMAGES)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    split = _split()
    network, state = scaled.network, scaled.replicated
    both, raw = network.with_unnormalised(state, split)
    np.testing.assert_allclose(both.vectors, expected, atol=1e-6)
    alone = network.unnormalised(state, split)[0]
    np.testing.assert_allclose(raw, alone, atol=ROUNDING)  # of another program
    own = plain.network.unnormalised(plain.replicated, split)[0]
    np.testing.assert_allclose(raw, own, atol=ROUNDING)  # what a classifier sees has no weights
    (at_three,), _ = network.at_exponents(state, split, [3.0])
    np.testing.assert_allclose(at_three, expected, atol=ROUNDING)


def _split() -> Split:
    return Split(
        name="images",
        records=IMAGES,
        labels=LABELS.astype(np.int32),
        groups=None,
        class_names=tuple("abcd"),
    )


def test_the_ensemble_is_weighted_and_each_learner_is_what_it_was() -> None:
    units, scaled = embedder(()).embed(IMAGES).vectors, embedder().embed(IMAGES).vectors
    measures = evaluation.Measures(ks=(1, 2, 4), binary=True)
    plain, weighted = (retrieval.evaluate(x, LABELS, measures) for x in (units, scaled))
    by_hand = retrieval.evaluate(concatenated(units).astype(np.float32)[:, None], LABELS, measures)
    assert weighted["metrics"]["ensemble"] == by_hand["metrics"]["ensemble"]
    assert weighted["metrics"]["ensemble"] != plain["metrics"]["ensemble"]
    for same in ("learners", "learners_mean", "binary"):
        assert weighted["metrics"][same] == plain["metrics"][same]
    # Signs alone, without those of zeros that stand for nothing.
    assert weighted["metrics"]["binary"] == by_hand["metrics"]["binary"]
    for kind in ("same_image", "positive", "negative"):
        for value in ("mean", "std"):
            ours, theirs = weighted["cosine"][kind][value], plain["cosine"][kind][value]
            assert ours == pytest.approx(theirs, abs=1e-6)


def test_what_is_whitened_is_the_weighted_concatenation() -> None:
    units = embedder(()).embed(IMAGES).vectors
    fitted = whitening.fit(concatenated(units))
    expected = whitening.unit_whitened(fitted, concatenated(units).astype(np.float32))

    def fit(with_raw):
        return whitening.fit(with_raw(_split())[1])

    _, found = measure.embed_split(embedder(), _split(), fit)
    assert found is not None
    gram, ours = expected @ expected.T, found @ found.T  # components may have other signs
    np.testing.assert_allclose(ours, gram, atol=1e-3)


@pytest.mark.parametrize("storage", ["float32", "binary"])
def test_an_index_answers_by_the_weighted_vectors(storage: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, content in enumerate(IMAGES):
        (photos / f"{i:02}.png").write_bytes(content)
    index = Index.build(tmp_path / "x.index", embedder(), photos, storage=storage)
    rows = concatenated(embedder(()).embed(IMAGES).vectors)
    answer = index.search(photos / "03.png", k=11)
    assert len(answer.neighbours) == 12
    for one in answer.neighbours:
        other = rows[int(Path(one.row.path).stem)]
        difference = ((rows[3] - other) ** 2).sum()
        if storage == "binary":
            difference = ((rows[3] > 0) != (other > 0)).sum()
        assert one.distance == pytest.approx(difference, abs=1e-5)
    assert max(one.distance for one in answer.neighbours) <= (16 if storage == "binary" else 12)


def test_weights_and_sizes_are_in_the_fingerprint_where_there_are_any() -> None:
    assert embedder().fingerprint != embedder(()).fingerprint
    assert embedder().fingerprint != embedder((1.0, 2.0, 2.0)).fingerprint
