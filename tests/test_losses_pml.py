"""Where the definitions are the same, values and gradients are pytorch-metric-learning's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import losses

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
theirs = pytest.importorskip(
    "pytorch_metric_learning.losses", reason="needs pytorch-metric-learning", exc_type=ImportError
)
from pytorch_metric_learning import distances, miners, reducers  # noqa: E402

LABELS = np.array([0, 0, 1, 1, 2, 3, 0, 4, 2, 2, 1, 3], np.int64)
KEY = jax.random.key(3)


def batch(seed=0):
    x = np.random.default_rng(seed).normal(size=(len(LABELS), 6))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def euclidean(power=1):
    return distances.LpDistance(normalize_embeddings=False, p=2, power=power)


def drawn_triplets(x):
    """The triplets of the margin loss's draw, as index lists."""
    labels = jnp.asarray(LABELS, jnp.int32)
    drawn = np.asarray(losses.distance_weighted(KEY, jnp.asarray(x), labels)[0])
    same = (LABELS[:, None] == LABELS[None]) & ~np.eye(len(LABELS), dtype=bool)
    anchors, positives = np.nonzero(same)
    rows = (anchors, positives, drawn[anchors, positives])
    return tuple(torch.as_tensor(np.array(part, np.int64)) for part in rows)


def margin(x, labels):
    return losses.margin_loss(x, labels, negatives=losses.distance_weighted(KEY, x, labels))


def batch_hard(x):
    return miners.BatchHardMiner(distance=euclidean())(torch.tensor(x), torch.as_tensor(LABELS))


# Ours; theirs; and the pairs or triplets that theirs is given (None: all).
SAME = {
    "triplet, all": (
        functools.partial(losses.triplet, margin=0.3),
        lambda: theirs.TripletMarginLoss(margin=0.3, distance=euclidean()),
        None,
    ),
    "triplet, all, mean, squared": (
        functools.partial(losses.triplet, margin=0.3, reduction="mean", squared=True),
        lambda: theirs.TripletMarginLoss(
            margin=0.3, distance=euclidean(power=2), reducer=reducers.MeanReducer()
        ),
        None,
    ),
    "triplet, all, soft": (
        functools.partial(losses.triplet, soft=True),
        lambda: theirs.TripletMarginLoss(margin=0, smooth_loss=True, distance=euclidean()),
        None,
    ),
    "triplet, batch-hard": (
        functools.partial(losses.triplet, mining="batch_hard", reduction="mean"),
        lambda: theirs.TripletMarginLoss(
            margin=0.2, distance=euclidean(), reducer=reducers.MeanReducer()
        ),
        batch_hard,
    ),
    "margin": (
        margin,
        lambda: theirs.MarginLoss(margin=0.2, beta=1.2, distance=euclidean()),
        drawn_triplets,
    ),
    "lifted structure": (
        losses.lifted_structure,
        lambda: theirs.LiftedStructureLoss(neg_margin=1, pos_margin=0, distance=euclidean()),
        None,
    ),
    "N-pairs": (
        losses.n_pairs,
        lambda: theirs.NPairsLoss(
            distance=distances.DotProductSimilarity(normalize_embeddings=False)
        ),
        None,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_value_and_gradient_are_the_same(name):
    ours, make, choose = SAME[name]
    x, labels = batch(), jnp.asarray(LABELS, jnp.int32)
    value, gradient = jax.jit(jax.value_and_grad(ours))(jnp.asarray(x), labels)
    at = torch.tensor(x, requires_grad=True)
    actual = make()(at, torch.as_tensor(LABELS), choose(x) if choose else None)
    actual.backward()
    assert float(value) == pytest.approx(float(actual.detach()), rel=1e-5)
    assert np.abs(gradient).max() > 1e-2
    assert at.grad is not None
    np.testing.assert_allclose(gradient, at.grad.numpy(), atol=1e-5)
