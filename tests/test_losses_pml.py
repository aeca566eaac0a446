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


def mined_pairs(x):
    return miners.MultiSimilarityMiner(epsilon=0.1)(torch.tensor(x), torch.as_tensor(LABELS))


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
    "multi-similarity": (
        functools.partial(losses.multi_similarity, mined=False),
        lambda: theirs.MultiSimilarityLoss(alpha=2, beta=50, base=0.5),
        None,
    ),
    "multi-similarity, mined": (
        losses.multi_similarity,
        lambda: theirs.MultiSimilarityLoss(alpha=2, beta=50, base=0.5),
        mined_pairs,
    ),
    "circle": (  # gamma 80 would magnify rounding by as much
        functools.partial(losses.circle, margin=0.4, gamma=8.0),
        lambda: theirs.CircleLoss(m=0.4, gamma=8),
        None,
    ),
    "supervised contrastive": (
        functools.partial(losses.sup_con, temperature=0.2),
        lambda: theirs.SupConLoss(temperature=0.2),
        None,
    ),
    "NT-Xent": (  # of classes with several positives too
        functools.partial(losses.nt_xent, temperature=0.2),
        lambda: theirs.NTXentLoss(temperature=0.2),
        None,
    ),
    "fast AP": (losses.fast_ap, lambda: theirs.FastAPLoss(num_bins=10), None),
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
    x = batch()
    agree(ours, make(), x, LABELS, choose(x) if choose else None)


def agree(ours, loss, x, classes, chosen=None):
    """A loss of ours and one of theirs, which is given pairs or triplets (None: all)."""
    labels = jnp.asarray(classes, jnp.int32)
    value, gradient = jax.jit(jax.value_and_grad(ours))(jnp.asarray(x), labels)
    at = torch.tensor(x, requires_grad=True)
    actual = loss(at, torch.as_tensor(classes), chosen)
    actual.backward()
    assert float(value) == pytest.approx(float(actual.detach()), rel=1e-5)
    assert np.abs(gradient).max() > 1e-2
    assert at.grad is not None
    np.testing.assert_allclose(gradient, at.grad.numpy(), atol=1e-5)


def test_smooth_ap_is_theirs_where_queries_find_themselves():
    """Theirs takes the number of classes for that of a class's rows, one behind the other."""
    ours = functools.partial(losses.smooth_ap, temperature=0.1, includes_query=True)
    agree(ours, theirs.SmoothAPLoss(temperature=0.1), batch()[:9], np.arange(9) // 3)


def test_one_class_alone_is_where_the_supervised_contrastive_loss_differs():
    """Theirs is 0 without a negative pair; the formula is not, and says that positives spread."""
    x, one = batch(), np.zeros(len(LABELS), np.int64)
    assert float(theirs.SupConLoss()(torch.tensor(x), torch.as_tensor(one))) == 0
    assert float(losses.sup_con(jnp.asarray(x), jnp.asarray(one, jnp.int32))) > 1
