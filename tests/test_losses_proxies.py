"""Proxy-Anchor, SoftTriple, CosFace, ArcFace: by hand, at the angles' ends, over drawn classes."""

# Options come from dictionaries, arrays as users give them.
# pyright: reportArgumentType=false, reportCallIssue=false

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_classes
import pytest
from test_losses_classes import largest

from abe_jax import losses
from abe_jax.errors import ArgumentError

pytestmark = pytest.mark.slow

B, M, C, D, K = 6, 2, 7, 4, 2
LABELS = np.array([0, 0, 3, 3, 6, 2], np.int32)
OWN = {0, 2, 3, 6}
KEY = jax.random.key(5)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, M, D)).astype(np.float32)
PROXIES, CENTRES = (RNG.normal(size=(M, n, D)).astype(np.float32) for n in (C, C * K))
# Scales at which no share of a softmax is so small that float32 has 0 for it.
OVER_CLASSES = {
    "cos_face": (losses.cos_face, oracles_classes.cos_face, {"scale": 8.0}, PROXIES),
    "arc_face": (losses.arc_face, oracles_classes.arc_face, {"scale": 8.0}, PROXIES),
    "proxy_anchor": (losses.proxy_anchor, oracles_classes.proxy_anchor, {"scale": 8.0}, PROXIES),
    "soft_triple": (
        losses.soft_triple,
        oracles_classes.soft_triple,
        {"scale": 8.0, "centres": K},
        CENTRES,
    ),
}
every = pytest.mark.parametrize("name", OVER_CLASSES)
AXES = jnp.array([[5.0, 0.0], [0.0, 0.1]])


def test_cos_face_by_hand():
    x, y = jnp.array([[1.2, 1.6]]), jnp.array([0])
    value = losses.cos_face(x, AXES, y, margin=0.1, scale=10.0)
    assert float(value) == pytest.approx(math.log(1 + math.exp(8 - 5)), rel=1e-5)


def test_arc_face_by_hand():
    x, y = jnp.array([[1.2, 1.6]]), jnp.array([0])
    own = 10 * math.cos(math.acos(0.6) + 0.5)
    value = losses.arc_face(x, AXES, y, scale=10.0)
    assert float(value) == pytest.approx(math.log(1 + math.exp(8 - own)), rel=1e-5)
    opposite = 10 * (-1 - 0.5 * math.sin(0.5))
    value = losses.arc_face(jnp.array([[-3.0, 0.0]]), AXES, y, scale=10.0)
    assert float(value) == pytest.approx(math.log(1 + math.exp(0 - opposite)), rel=1e-5)
    centres = jnp.array([[-1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    value = losses.arc_face(x, centres, y, scale=10.0, centres=2)
    nearest = 8 - 10 * math.cos(0.5)
    assert float(value) == pytest.approx(math.log(1 + math.exp(nearest)), rel=1e-5)


def test_proxy_anchor_by_hand():
    proxies = jnp.concatenate([AXES, jnp.array([[-1.0, 0.0]])])
    x, y = jnp.array([[2.0, 0.0], [0.0, 3.0]]), jnp.array([0, 1])
    near, right, opposite = (math.exp(e) for e in (-2 * 0.9, 2 * 0.1, 2 * -0.9))
    pull = math.log(1 + near)  # of both classes that have an image
    push = 2 * math.log(1 + right) + math.log(1 + opposite + right)
    value = losses.proxy_anchor(x, proxies, y, scale=2.0)
    assert float(value) == pytest.approx(pull + push / 3, rel=1e-5)


def test_soft_triple_by_hand():
    centres = jnp.array([[7.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-2.0, 0.0]])
    x, y = jnp.array([[0.5, 0.0]]), jnp.array([0])
    options = {"centres": 2, "scale": 2.0, "gamma": 0.5, "margin": 0.1, "tau": 0.3}
    own = math.exp(2) / (math.exp(2) + 1)
    cross_entropy = math.log(1 + math.exp(2 * (-1 - own + 0.1)))
    spread = (math.sqrt(2) + 0) / 2 / (2 * 1)
    value = losses.soft_triple(x, centres, y, **options)
    assert float(value) == pytest.approx(cross_entropy + 0.3 * spread, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        functools.partial(losses.cos_face, margin=0.0, scale=20.0),
        functools.partial(losses.arc_face, margin=0.0, scale=20.0),
        functools.partial(losses.soft_triple, margin=0.0, scale=20.0, centres=1),
    ],
    ids=["cos_face", "arc_face", "soft_triple"],
)
def test_without_a_margin_it_is_the_normalised_softmax(loss):
    given = jnp.asarray(X), jnp.asarray(PROXIES), jnp.asarray(LABELS)
    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(*given)
    expected, theirs = jax.jit(jax.value_and_grad(losses.norm_softmax, (0, 1)))(*given)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for one, other in zip(gradients, theirs, strict=True):
        bound = 1e-5 * float(jnp.abs(other).max())
        np.testing.assert_allclose(one, other, atol=bound)


def at_angle(angle):
    """A vector at an angle from the first of two proxies, and at a right angle to the other."""
    proxy, across, away = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    x = math.cos(angle) * proxy + math.sin(angle) * across
    return x.astype(np.float32), np.stack([proxy, away]).astype(np.float32), across


@functools.partial(jax.jit, static_argnames=("margin", "scale"))
def of_one(x, proxies, margin=0.5, scale=64.0):
    def of(x, proxies):
        y = jnp.zeros(1, jnp.int32)
        return losses.arc_face(x[None], proxies, y, margin=margin, scale=scale)

    return jax.value_and_grad(of, (0, 1))(x, proxies)


ENDS = (0.0, 1e-20, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


@pytest.mark.parametrize("angle", [*ENDS, *(math.pi - end for end in ENDS), math.pi - 0.5])
def test_arc_face_is_right_and_its_gradient_bounded_where_the_sine_vanishes(angle):
    x, proxies, _ = at_angle(angle)
    scale = 4.0  # of a greater one nothing is left at angle 0
    value, gradients = of_one(x, proxies, scale=scale)
    if angle != math.pi - 0.5:  # a step, on whose either side rounding may put it
        expected = oracles_classes.arc_face(
            proxies[None], x[None], np.zeros(1, np.int32), scale=scale
        )
        # With sqrt(1 - cos^2) it would be wrong by some 1e-4.
        assert float(value) == pytest.approx(expected, rel=2e-5)
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        assert float(jnp.sqrt(jnp.sum(jnp.square(gradient)))) < 2.01 * scale


@pytest.mark.parametrize("angle", [1e-3, 1e-2, 1.0, math.pi - 0.51, math.pi - 0.49, math.pi - 0.01])
def test_the_gradient_of_arc_face_is_the_finite_difference_near_the_ends(angle):
    x, proxies, across = at_angle(angle)
    _, (gradient, _) = of_one(x, proxies, scale=4.0)
    towards = (math.cos(angle) * across - math.sin(angle) * proxies[0]).astype(np.float64)
    y = np.zeros(1, np.int32)

    def along(at):
        return oracles_classes.arc_face(proxies[None], at[None], y, scale=4.0)

    expected = oracles.slope(along, x.astype(np.float64), towards)
    assert (np.asarray(gradient) * towards).sum() == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("margin", [0.1, 0.5, math.pi / 2])
def test_arc_face_rises_with_the_angle_all_the_way(margin):
    angles = np.linspace(0, math.pi, 300)
    _, proxies, _ = at_angle(0.0)
    rows = np.stack([at_angle(angle)[0] for angle in angles])
    found = jax.vmap(lambda x: of_one(x, proxies, margin=margin, scale=8.0)[0])(jnp.asarray(rows))
    assert (np.diff(np.asarray(found, np.float64)) > 0).all()


def test_a_loss_far_below_1_keeps_its_digits():
    x, proxies = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    value = losses.cos_face(x, proxies, jnp.array([0]), scale=20.0)
    assert float(value) == pytest.approx(math.exp(-20 - 20 * 0.65), rel=1e-4)


def test_centres_that_nearly_coincide_have_their_distances():
    rng = np.random.default_rng(1)
    first = rng.normal(size=(1, C, 1, D))
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    centres = (first + 1e-4 * rng.normal(size=(1, C, 3, D))).reshape(1, C * 3, D)
    equal = np.broadcast_to(first, (1, C, 3, D)).reshape(1, C * 3, D)
    options = {"centres": 3, "scale": 0.0, "tau": 1e3}

    @jax.jit
    def of(proxies):
        def at(proxies):
            x, y = jnp.asarray(X[:, :1]), jnp.asarray(LABELS)
            return losses.soft_triple(x, proxies, y, **options)

        return jax.value_and_grad(at)(proxies)

    value, gradient = of(jnp.asarray(centres, jnp.float32))
    expected = oracles_classes.soft_triple(centres, X[:, :1], LABELS, **options)
    spread = expected - math.log(C)
    assert 0.01 < spread < 1
    assert float(value) - math.log(C) == pytest.approx(spread, rel=1e-2)
    assert np.isfinite(gradient).all() and np.asarray(gradient).any()
    value, gradient = of(jnp.asarray(equal, jnp.float32))
    assert float(value) == pytest.approx(math.log(C), abs=1e-2) and np.isfinite(gradient).all()


def test_of_one_class_there_is_nothing_to_tell_from():
    x, y = jnp.asarray(X), jnp.zeros(B, jnp.int32)
    for loss in (losses.cos_face, losses.arc_face):
        value, gradient = jax.jit(jax.value_and_grad(loss))(x, jnp.asarray(PROXIES[:, :1]), y)
        assert float(value) == 0 and not np.asarray(gradient).any()
    soft = functools.partial(losses.soft_triple, centres=K)
    value, gradient = jax.jit(jax.value_and_grad(soft))(x, jnp.asarray(CENTRES[:, :K]), y)
    expected = oracles_classes.soft_triple(CENTRES[:, :K], X, y, centres=K)
    assert float(value) == pytest.approx(expected, rel=1e-5) and expected > 0.01
    assert not np.asarray(gradient).any()
    value = losses.proxy_anchor(x, jnp.asarray(PROXIES[:, :1]), y)
    expected = oracles_classes.proxy_anchor(PROXIES[:, :1], X, y)
    assert float(value) == pytest.approx(expected, rel=1e-5)


@functools.partial(jax.jit, static_argnums=(0, 1))
def of_subsample(name, subsample, key, mask):
    loss, _, options, proxies = OVER_CLASSES[name]

    def of(proxies):
        x, y = jnp.asarray(X), jnp.asarray(LABELS)
        return loss(x, proxies, y, subsample=subsample, key=key, mask=mask, **options)

    return jax.value_and_grad(of)(jnp.asarray(proxies))


def sampled(name, subsample, key=KEY, mask=None):
    """The loss over a subset of the classes, and the classes whose proxies it teaches."""
    mask = np.ones(B, bool) if mask is None else mask
    value, gradient = of_subsample(name, subsample, key, jnp.asarray(mask))
    touched = np.asarray(gradient).any(axis=(0, 2)).reshape(C, -1).any(axis=1)
    return float(value), {int(z) for z in np.flatnonzero(touched)}


def by_oracle(name, compared=None, mask=None):
    _, oracle, options, proxies = OVER_CLASSES[name]
    return oracle(proxies, X, LABELS, compared=compared, mask=mask, **options)


@every
def test_a_subsample_is_the_loss_over_the_own_and_drawn_classes(name):
    drawn = set()
    for seed in range(20):
        value, compared = sampled(name, 5, jax.random.key(seed))
        assert len(compared) == 5 and compared > OWN
        drawn |= compared - OWN
        assert value == pytest.approx(by_oracle(name, compared), rel=1e-5)
    assert drawn == set(range(C)) - OWN  # each of them at times
    mask = np.array([1, 1, 0, 0, 0, 1], bool)
    value, compared = sampled(name, 2, mask=mask)
    assert compared == {0, 2}  # those of images that are not there do not count
    assert value == pytest.approx(by_oracle(name, compared, mask), rel=1e-5)
    value, compared = sampled(name, C)
    assert compared == set(range(C)) and value == pytest.approx(by_oracle(name), rel=1e-5)


@every
def test_a_subsample_touches_no_more_memory_than_it_needs(name):
    loss, _, options, _ = OVER_CLASSES[name]
    classes, d, centres = 10_000, 16, int(options.get("centres", 1))
    proxies = jax.ShapeDtypeStruct((M, classes * centres, d), jnp.float32)
    x = jax.ShapeDtypeStruct((B, M, d), jnp.float32)
    of = functools.partial(loss, **options)
    y = jnp.asarray(LABELS)
    jaxpr = jax.make_jaxpr(lambda x, p: of(x, p, y, subsample=8, key=KEY))(x, proxies)
    assert largest(jaxpr.jaxpr) <= 2 * classes
    full = jax.make_jaxpr(lambda x, p: of(x, p, y))(x, proxies)
    # No array of rows times classes times dimensions.
    assert M * classes * d * centres <= largest(full.jaxpr) <= M * classes * centres * (d + B)


@every
def test_mistakes_are_named(name):
    loss, _, options, proxies = OVER_CLASSES[name]
    given = jnp.asarray(X), jnp.asarray(proxies), jnp.asarray(LABELS)
    with pytest.raises(ArgumentError, match="key: a subsample"):
        loss(*given, subsample=2, **options)
    with pytest.raises(ArgumentError, match="subsample: -1 is not at least 0"):
        loss(*given, subsample=-1, **options)


@pytest.mark.parametrize("name", ["arc_face", "soft_triple"])
def test_proxies_that_are_not_so_many_for_each_class_are_refused(name):
    loss = OVER_CLASSES[name][0]
    with pytest.raises(ArgumentError, match="proxies: 7 are not 3 for each class"):
        loss(jnp.asarray(X), jnp.asarray(PROXIES), jnp.asarray(LABELS), centres=3)
    with pytest.raises(ArgumentError, match="centres: 0 is not at least 1"):
        loss(jnp.asarray(X), jnp.asarray(PROXIES), jnp.asarray(LABELS), centres=0)


def test_a_margin_beyond_a_right_angle_is_refused():
    with pytest.raises(ArgumentError, match=r"^margin: 28\.6 is not between 0 and 1\.5708"):
        losses.ArcFace(margin=28.6)  # degrees
    with pytest.raises(ArgumentError, match=r"^margin: 28\.6 is not between .* in radians"):
        losses.arc_face(jnp.asarray(X), jnp.asarray(PROXIES), jnp.asarray(LABELS), margin=28.6)
