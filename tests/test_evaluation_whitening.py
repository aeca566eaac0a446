"""PCA whitening: its oracle, what it does to the data, and the classifier folded into it."""

import numpy as np
import pytest

from abe_jax.errors import UserError
from abe_jax.evaluation import whitening
from abe_jax.evaluation.knn import knn

D, CLASSES = 12, 7


def embeddings(n: int = 300, seed: int = 0, mean: float = 1.5) -> np.ndarray:
    """Correlated, of spreads from 0.02 to 3, off the origin and of different lengths."""
    mixing = np.random.default_rng(77).normal(size=(D, D)) * np.geomspace(0.02, 3, D)
    return np.random.default_rng(seed).normal(size=(n, D)) @ mixing + mean


def oracle(fitted: np.ndarray, e: np.ndarray, keep: int) -> np.ndarray:
    """Whitening by a singular value decomposition, every vector on its own."""
    z = [np.append(row, 1.0) / np.sqrt(row @ row + 1) for row in fitted]
    mean = sum(z) / len(z)
    centred = np.stack(z) - mean
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    deviation = singular / np.sqrt(len(z) - 1)
    rows = []
    for row in e:
        away = np.append(row, 1.0) / np.sqrt(row @ row + 1) - mean
        rows.append([components[j] @ away / deviation[j] for j in range(keep)])
    return np.array(rows)


def cosines(y: np.ndarray) -> np.ndarray:
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    return y @ y.T


def classifier(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(CLASSES, D)), rng.normal(size=CLASSES)


@pytest.mark.parametrize("keep", [D + 1, 5])
def test_whitened_vectors_are_the_oracles_up_to_sign(keep: int) -> None:
    fitted, e = embeddings(), embeddings(40, seed=1)
    made = whitening.fit(fitted, keep)
    y, expected = whitening.apply(made, e), oracle(fitted, e, keep)
    assert y.shape == (40, keep)
    np.testing.assert_allclose(
        y * np.sign(y[0]), expected * np.sign(expected[0]), rtol=1e-7, atol=1e-9
    )
    np.testing.assert_allclose(cosines(y), cosines(expected), atol=1e-9)


def test_data_it_was_fitted_on_is_decorrelated() -> None:
    e = embeddings()
    y = whitening.apply(whitening.fit(e), e)
    assert y.shape[1] == D + 1  # the bias channel is a direction of its own
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(y, rowvar=False), np.eye(D + 1), atol=1e-9)
    before = np.corrcoef(e, rowvar=False)
    assert np.abs(before - np.eye(D)).max() > 0.3


def test_length_of_an_embedding_is_told_by_its_bias_channel() -> None:
    e = embeddings(40, seed=1)
    made = whitening.fit(embeddings())
    assert np.abs(whitening.apply(made, 3 * e) - whitening.apply(made, e)).max() > 0.1


def test_folded_classifier_says_what_the_classifier_says() -> None:
    weight, bias = classifier()
    made, e = whitening.fit(embeddings()), embeddings(500, seed=2)
    folded = whitening.fold(made, weight, bias)
    logits = e @ weight.T + bias
    for dtype, bound in ((np.float64, 1e-10), (np.float32, 2e-5)):
        y = whitening.apply(made, e.astype(dtype))
        assert y.dtype == dtype
        found = y @ folded.weight.astype(dtype).T + folded.bias.astype(dtype)
        length = np.sqrt((e * e).sum(axis=1, keepdims=True) + 1)
        np.testing.assert_allclose(found, logits / length, atol=bound, rtol=0)
        assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert len(set(logits.argmax(axis=1))) > 3


def test_retrieval_by_the_cosine_of_y_is_the_unfolded_whitenings() -> None:
    fitted, e = embeddings(), embeddings(200, seed=2)
    made = whitening.fit(fitted)
    distance = cosines(oracle(fitted, e, D + 1))
    np.fill_diagonal(distance, -np.inf)
    expected = np.argsort(-distance, axis=1, kind="stable")[:, :5]
    y = whitening.apply(made, e)
    double = cosines(y)
    np.fill_diagonal(double, -np.inf)
    assert (np.argsort(-double, axis=1, kind="stable")[:, :5] == expected).all()
    for unit in (whitening.unit_whitened(made, e), unit_of(whitening.apply(made, e.astype("f4")))):
        assert unit.dtype == np.float32
        _, found = knn(unit, unit, 5, exclude_self=True)
        assert (found == expected).all()
    plain = unit_of(e.astype(np.float32))
    _, other = knn(plain, plain, 5, exclude_self=True)
    assert (other != expected).mean() > 0.3


def unit_of(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_few_embeddings_span_few_directions_and_fold_exactly_along_these() -> None:
    weight, bias = classifier()
    few = embeddings(6)
    made = whitening.fit(few)
    assert made.projection.shape == (D + 1, 5)
    folded = whitening.fold(made, weight, bias)
    for e, close in ((few, True), (embeddings(30, seed=5), False)):
        z = whitening.lifted(e)
        found = whitening.apply(made, e) @ folded.weight.T + folded.bias
        expected = z @ np.concatenate([weight, bias[:, None]], axis=1).T
        assert np.allclose(found, expected, atol=1e-10) == close
        # what the whitening leaves out is exactly what the logits lack
        basis = np.linalg.qr(made.projection)[0]
        left_out = (z - made.mean) - (z - made.mean) @ basis @ basis.T
        np.testing.assert_allclose(
            expected - found,
            left_out @ np.concatenate([weight, bias[:, None]], axis=1).T,
            atol=1e-10,
        )


def test_several_learners_unit_vectors_lose_their_bias_channel_and_nothing_else() -> None:
    rng = np.random.default_rng(0)

    def vectors(n: int) -> np.ndarray:
        x = rng.normal(size=(n, 3, 4)) + 0.3
        return (x / np.linalg.norm(x, axis=-1, keepdims=True)).reshape(n, 12)

    made, e = whitening.fit(vectors(200)), vectors(50)
    assert made.projection.shape == (13, 12)
    weight, bias = classifier()
    folded = whitening.fold(made, weight, bias)
    logits = whitening.apply(made, e) @ folded.weight.T + folded.bias
    np.testing.assert_allclose(logits, (e @ weight.T + bias) / 2, atol=1e-10)  # |[e; 1]| = 2


def test_blocks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    made, e = whitening.fit(embeddings()), embeddings(25).astype(np.float32)
    complete = whitening.unit_whitened(made, e)
    np.testing.assert_allclose(np.linalg.norm(complete, axis=1), 1, rtol=1e-6)
    monkeypatch.setattr(whitening, "ROWS", 10)
    np.testing.assert_allclose(whitening.unit_whitened(made, e), complete, atol=1e-6)


@pytest.mark.parametrize(
    ("e", "dim", "said"),
    [
        (embeddings(1), None, "2 embeddings or more, not on 1"),
        (np.tile(embeddings(1), (9, 1)), None, "all alike"),
        (np.full((4, 3), np.nan), None, "finite"),
        (embeddings(6), 6, "1 to 5 directions, not 6"),
        (embeddings(6), 0, "1 to 5 directions, not 0"),
    ],
)
def test_what_cannot_be_whitened_is_refused(e: np.ndarray, dim: int | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        whitening.fit(e, dim)
