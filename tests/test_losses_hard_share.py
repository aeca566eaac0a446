"""Of the hard-share loss what loops alone do not say: how many are kept, ties, both readings."""

# NumPy arrays are given where JAX arrays are annotated, as users give them.
# pyright: reportArgumentType=false, reportCallIssue=false

import functools
import math
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax.errors import ArgumentError
from abe_jax.losses import HardShare
from abe_jax.losses import hard_share as eager

NUMBER = sys.modules["abe_jax.losses.hard_share"]._number  # behind the function of that name


def hard_share(vectors, labels, **options):
    """The loss as one program: op by op it takes seconds."""
    return jax.jit(functools.partial(eager, labels=labels, **options))(vectors)


def on_a_line(*heads):
    """Vectors [b, m, 1] of which each head has the given numbers."""
    return jnp.asarray(heads, jnp.float32).T[..., None]


# Rows 0 to 2 of class 0, rows 3 and 4 of class 1: positive squared distances 1, 9, 4 and 0.25.
LABELS = np.array([0, 0, 0, 1, 1])
LINE = (0.0, 1.0, 3.0, 10.0, 10.5)


def positives(share, *, heads=1, **options):
    value = hard_share(on_a_line(*[LINE] * heads), LABELS, shares=(share,) * heads, **options)
    return float(value)


@pytest.mark.parametrize(
    ("share", "kept"), [(1.0, (9, 4, 1, 0.25)), (0.5, (9, 4)), (0.51, (9, 4, 1)), (0.01, (9,))]
)
def test_the_hardest_share_is_kept_rounded_up(share, kept):
    assert positives(share) == pytest.approx(np.mean(kept), rel=1e-6)


def test_a_share_that_is_a_whole_number_of_pairs_is_that_number():
    n = np.arange(5000)
    for share in ("1", "0.5", "0.2", "0.7", "0.3", "0.6", "0.15", "0.36", "0.01", "0"):
        exact = [math.ceil(Fraction(share) * int(pairs)) for pairs in n]
        found = NUMBER(float(share), jnp.asarray(n, jnp.float32))
        np.testing.assert_array_equal(found, exact, err_msg=share)


def test_losses_of_zero_are_kept_but_not_counted():
    # Two equal rows of one class, and negatives beyond the margin: one loss that is not zero.
    x = on_a_line((0.0, 0.0, 0.5, 9.0))
    labels = np.array([0, 0, 0, 1])
    assert float(hard_share(x, labels, shares=(1.0,))) == pytest.approx(0.25, rel=1e-6)


def test_negatives_weigh_ten_times():
    x, labels = on_a_line((0.0, 0.5)), np.array([0, 1])
    assert float(hard_share(x, labels)) == pytest.approx(10 * 0.75, rel=1e-6)
    assert float(hard_share(x, labels, negative_weight=2.0, margin=0.5)) == pytest.approx(0.5)


def test_of_equal_losses_the_nearer_negative_comes_first_and_the_earlier_pair():
    # Of head 1's negatives (0, 1), (0, 2), (0, 3) all are beyond the margin; head 2 has only what
    # head 1 kept, which is the nearest: (0, 2), and of equal distances the earlier.
    labels = np.array([0, 1, 1, 1])
    far, near = (0.0, 3.0, 2.0, 4.0), (0.0, 0.1, 0.5, 0.2)
    kept = {"shares": (0.3, 1.0), "cascade": True, "negative_weight": 1.0}
    positive = [0.4**2, 0.1**2, 0.3**2]  # head 2's, of which head 1 keeps (2, 3), its hardest

    def value(first):
        return float(hard_share(on_a_line(first, near), labels, **kept))

    own = 2.0**2  # head 1's positive; its negatives are zeros
    assert value(far) == pytest.approx(own + (positive[2] + 0.75) / 2, rel=1e-5)
    tied = (0.0, 3.0, -3.0, 3.0)  # positives (1, 2) and (2, 3) at distance 6, negatives at 3
    assert value(tied) == pytest.approx(36 + (positive[0] + 0.99) / 2, rel=1e-5)


def test_a_head_that_draws_from_the_one_before_finds_no_harder_pair():
    # The second head has its hardest positive where the first has its easiest.
    heads = on_a_line(LINE, (0.0, 0.0, 0.1, 10.0, 15.0))
    complete = float(hard_share(heads, LABELS, shares=(0.5, 0.25)))
    drawn = float(hard_share(heads, LABELS, shares=(0.5, 0.25), cascade=True))
    first = np.mean((9, 4))
    assert complete == pytest.approx(first + 25, rel=1e-5)
    assert drawn == pytest.approx(first + 0.01, rel=1e-4)  # of (0, 2) and (1, 2), both 0.1 apart


def test_of_a_cascade_no_more_are_kept_than_are_left():
    heads = on_a_line(LINE, LINE)
    value = float(hard_share(heads, LABELS, shares=(0.25, 1.0), cascade=True))
    assert value == pytest.approx(9 + 9, rel=1e-6)


def test_shares_are_the_published_ones_unless_given():
    x = np.random.default_rng(0).normal(size=(8, 5, 3)).astype(np.float32)
    labels = np.arange(8) // 2
    full = float(hard_share(x, labels))
    assert full == float(hard_share(x, labels, shares=(1.0, 0.5, 0.2, 0.2, 0.2)))
    parts = [float(hard_share(x[:, m], labels, shares=(s,))) for m, s in ((0, 1.0), (1, 0.5))]
    assert float(hard_share(x[:, :2], labels)) == pytest.approx(sum(parts), rel=1e-6)


def test_wrong_shares_are_named():
    x = np.zeros((4, 2, 3), np.float32)
    with pytest.raises(ArgumentError, match=r"^shares: 3 for 2 learners"):
        hard_share(x, np.zeros(4, int), shares=(1.0, 0.5, 0.2))
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ArgumentError, match=r"^shares: .* is not between 0 and 1"):
            HardShare(shares=(1.0, wrong))


def test_what_is_kept_is_chosen_without_gradient():
    x = jax.random.normal(jax.random.key(0), (6, 1, 2))
    labels = np.array([0, 0, 0, 1, 1, 1])
    gradient = jax.grad(lambda x: hard_share(x, labels, shares=(0.01,)))(x)
    expected = jax.grad(lambda x: _hardest(x[:, 0], labels))(x)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def _hardest(x, labels):
    """The farthest positive and the nearest negative, by hand."""
    squared = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1)
    same = labels[:, None] == labels[None]
    far = jnp.max(jnp.where(same, squared, 0))
    near = 10 * jnp.maximum(1 - jnp.min(jnp.where(same, jnp.inf, squared)), 0)
    return (far + near) / (1 + jnp.sign(near))
