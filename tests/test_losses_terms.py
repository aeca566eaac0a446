"""Losses as terms: called on a batch, scaled and added up; one's own; what arguments they take."""

# NumPy arrays and lists are given where JAX arrays are annotated, as users give them.
# pyright: reportArgumentType=false, reportCallIssue=false

import dataclasses
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import losses
from abe_jax.bounds import Amount
from abe_jax.errors import ArgumentError
from abe_jax.losses import (
    Contrastive,
    CrossEntropy,
    Divergence,
    Margin,
    NormSoftmax,
    NPairs,
    pairs,
    table,
)
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import PlainVectors
from abe_jax.losses.term import PairTerm

B, M, D = 8, 2, 4
LABELS = jnp.arange(B) // 4
IMAGE_IDS = jnp.arange(B) // 2
MASK = jnp.arange(B) < 7
KEY = jax.random.key(4)


def vectors(seed=0, scale=1.0):
    x = np.random.default_rng(seed).normal(size=(B, M, D))
    return jnp.asarray(scale * x / np.linalg.norm(x, axis=-1, keepdims=True), jnp.float32)


def test_a_term_is_its_weight_times_its_loss():
    x = vectors()
    value = losses.contrastive(x, LABELS, margin=0.5, mask=MASK)
    assert Contrastive(margin=0.5)(x, LABELS, mask=MASK) == value > 0
    scaled = 0.25 * Contrastive(margin=0.5)
    assert scaled == Contrastive(margin=0.5, weight=0.25) == Contrastive(margin=0.5) * 0.25
    assert scaled(x, LABELS, mask=MASK) == 0.25 * value


def test_terms_add_up_in_order():
    first, second, third = Contrastive(), Divergence(weight=2.0), NPairs()
    made = first + 0.1 * second + third
    assert losses.terms(made) == tuple(made) == (first, Divergence(weight=0.2), third)
    assert losses.terms(first) == (first,) and losses.terms([first, third]) == (first, third)
    assert sum([first, second, third]) == first + (second + third)
    halved = 0.5 * (first + second)
    assert losses.terms(halved) == (Contrastive(weight=0.5), Divergence(weight=1.0))
    assert losses.keys(first + second + first) == ("contrastive", "divergence", "contrastive_2")


def test_a_sum_called_is_the_objective():
    """Terms that read either kind of vectors, draw, and learn."""
    x = PlainVectors(vectors(1, scale=3.0), vectors(1))
    made = 0.5 * Margin() + Margin(label="instance") + NPairs() + 2.0 * NormSoftmax()
    objective = losses.Objective(made, classes=2)
    assert objective.terms == losses.terms(made)
    batch = (x, LABELS, IMAGE_IDS, MASK, KEY)
    variables = objective.init(jax.random.key(0), *batch)
    total, _ = objective.apply(variables, *batch)
    given = {"image_ids": IMAGE_IDS, "mask": MASK, "key": KEY}
    called = made(x, LABELS, parameters=variables["params"], **given)
    assert float(called) == float(total)
    assert float(made(x, LABELS, parameters=variables["params"], **given | {"key": KEY})) == called
    with pytest.raises(ArgumentError, match="parameters: norm_softmax learns 'proxies'"):
        made(x, LABELS, **given)


def test_beta_is_where_it_starts_unless_it_is_given():
    x = vectors()
    every = Margin(sampling="all", beta=0.9)
    assert every(x, LABELS) == losses.margin_loss(x, LABELS, 0.9)
    assert every(x, LABELS, parameters={"beta": 0.7}) == losses.margin_loss(x, LABELS, 0.7)


def test_drawn_negatives_are_of_other_images_where_the_label_is_the_image():
    """MultiGrain's own setting: a row of the same class but another image is a negative."""
    x = vectors()
    _, values = losses.Objective(Margin(label="instance", learned=False)).apply(
        {}, PlainVectors(x, x), LABELS, IMAGE_IDS, MASK, KEY
    )
    key = jax.random.fold_in(KEY, 0)

    def drawn_by(labels):
        negatives = losses.distance_weighted(key, x, labels, mask=MASK)
        return losses.margin_loss(x, IMAGE_IDS, negatives=negatives, mask=MASK)

    assert float(values["margin"]) == pytest.approx(float(drawn_by(IMAGE_IDS)), rel=1e-6)
    assert abs(float(drawn_by(IMAGE_IDS) - drawn_by(LABELS))) > 1e-2


def test_a_loss_of_ones_own_sees_vectors_labels_and_mask():
    x, seen = vectors(), []

    def spread(vectors, labels, mask):
        seen.append((vectors.shape, labels.shape, mask.dtype))
        return jnp.sum(jnp.where(mask[:, None, None], vectors, 0.0) * labels[:, None, None])

    made = Contrastive() + 3.0 * losses.custom(spread, name="spread")
    batch = PlainVectors(9 * x, x), LABELS.astype(jnp.float32).astype(jnp.int32), None, MASK
    with jax.numpy_dtype_promotion("standard"):
        total, values = jax.jit(losses.Objective(made).apply)({}, *batch)
        losses.custom(spread)(x[:, 0], LABELS)
    assert list(values) == ["contrastive", "spread"]
    assert float(values["spread"]) == pytest.approx(float(x[4:7].sum()), rel=1e-5)
    assert float(total) == pytest.approx(float(values["contrastive"] + 3 * values["spread"]))
    assert seen == [((B, M, D), (B,), bool), ((B, 1, D), (B,), bool)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.custom(lambda *_: 0.0, name="loss"), "name: 'loss' is a metric"),
        (
            lambda: losses.custom(lambda x, y, mask: x[:, 0, 0])(vectors(), LABELS),
            "custom: the function must give one number, not shape [8]",
        ),
        (lambda: losses.terms(["contrastive"]), "terms: expected losses such as Contrastive()"),
        (lambda: losses.terms(jnp.sum), "or custom(function), not <"),
        (lambda: -1 * Contrastive(), "weight: -1.0 is not between 0 and 3.4e+38"),
        (lambda: CrossEntropy(smoothing=1.5), "smoothing: 1.5 is not between 0 and 1"),
        (lambda: CrossEntropy(smoothed="other"), "did you mean 'others'"),
        (lambda: Margin()(vectors(), LABELS), "key: a loss that draws"),
        (lambda: Contrastive(label="instance")(vectors(), LABELS), "image_ids: a term with"),
        (lambda: Contrastive(label="image"), "label: nothing is called 'image'; choose"),
        (lambda: losses.Scatter()(vectors(), LABELS), "domains: a loss over domains"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        call()


def test_lists_and_numpy_arrays_are_taken_as_arrays():
    x = vectors()
    expected = losses.contrastive(x, LABELS, mask=MASK)
    assert losses.contrastive(np.asarray(x), LABELS.tolist(), mask=MASK.tolist()) == expected
    assert losses.contrastive(x.tolist(), np.asarray(LABELS, np.int64), mask=MASK) == expected
    assert Contrastive()(x.tolist(), LABELS.tolist(), mask=np.asarray(MASK)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"labels": LABELS[:, None]},
            "labels: expected integers of shape [b] = [8], one for each row of the vectors, "
            "not [8, 1]",
        ),
        ({"labels": LABELS[1:]}, "labels: expected integers of shape [b] = [8]"),
        ({"labels": LABELS.astype(jnp.float32)}, "labels: expected integers, not float32"),
        ({"labels": ["car"] * B}, "labels: expected integers [b], not ['car', "),
        ({"mask": LABELS}, "mask: expected booleans, not int32"),
        ({"mask": [[True]] * B}, "mask: expected booleans of shape [b] = [8]"),
        ({"vectors": jnp.ones(B)}, "vectors: expected shape [b, d] or [b, m, d], not [8]"),
        ({"vectors": [[1.0], [1.0, 2.0]]}, "vectors: expected vectors [b, d] or [b, m, d]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("loss", [losses.contrastive, losses.triplet, Contrastive(), NPairs()])
def test_arrays_that_do_not_fit_are_named(loss, change, message):
    given = {"vectors": vectors(), "labels": LABELS} | change
    with pytest.raises(ArgumentError, match=re.escape(message)):
        loss(**given)


def test_the_skeleton_of_a_loss_is_a_loss():
    """As losses/table.py prints it; the same as a loop over the pairs."""
    skeleton = re.findall(r"^ {9}.*|^$", table.__doc__ or "", re.MULTILINE)
    names = {"dataclasses": dataclasses, "jnp": jnp, "pairs": pairs, "checked": checked}
    names |= {"PairTerm": PairTerm, "Amount": Amount}
    exec(textwrap.dedent("\n".join(skeleton)), names)  # the text stands in this project
    x = np.asarray(vectors(), np.float64)
    inside = [
        [
            max(1.5 - np.linalg.norm(x[i, m] - x[j, m]), 0)
            for i in range(7)
            for j in range(7)
            if LABELS[i] != LABELS[j]
        ]
        for m in range(M)
    ]
    expected = sum(np.mean(row) for row in inside)
    assert expected > 0
    term = 2.0 * names["MyLoss"](margin=1.5)
    np.testing.assert_allclose(term(vectors(), LABELS, mask=MASK), 2 * expected, rtol=1e-5)
