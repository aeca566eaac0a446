"""Losses with a parameter for each class: by hand, their parameters' gradients, drawn classes."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_classes
import pytest

from abe_jax import losses
from abe_jax.errors import ArgumentError

B, M, C, D = 6, 2, 7, 4
LABELS = np.array([0, 0, 3, 3, 6, 2], np.int32)
OWN = {0, 2, 3, 6}
KEY = jax.random.key(5)


def draws(seed=0, classes=C):
    rng = np.random.default_rng(seed)
    shapes = (B, M, D), (M, classes, D), (M, D, classes), (M, classes)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


X, PROXIES, KERNEL, BIAS = draws()
CENTRES = draws(classes=2 * C)[1]  # two for each class
CASES = {
    "proxy_nca": (losses.proxy_nca, oracles_classes.proxy_nca, (PROXIES,)),
    "norm_softmax": (losses.norm_softmax, oracles_classes.norm_softmax, (PROXIES,)),
    "norm_softmax of own": (
        functools.partial(losses.norm_softmax, subsample=2, key=KEY),
        functools.partial(oracles_classes.norm_softmax, subsample=2),
        (PROXIES,),
    ),
    "cos_face": (
        functools.partial(losses.cos_face, scale=16.0),
        functools.partial(oracles_classes.cos_face, scale=16.0),
        (PROXIES,),
    ),
    "arc_face": (
        functools.partial(losses.arc_face, scale=16.0),
        functools.partial(oracles_classes.arc_face, scale=16.0),
        (PROXIES,),
    ),
    "arc_face of own, two centres": (
        functools.partial(losses.arc_face, scale=16.0, centres=2, subsample=2, key=KEY),
        functools.partial(oracles_classes.arc_face, scale=16.0, centres=2, subsample=2),
        (CENTRES,),
    ),
    "proxy_anchor": (losses.proxy_anchor, oracles_classes.proxy_anchor, (PROXIES,)),
    "proxy_anchor of own": (
        functools.partial(losses.proxy_anchor, subsample=2, key=KEY),
        functools.partial(oracles_classes.proxy_anchor, subsample=2),
        (PROXIES,),
    ),
    "soft_triple": (
        functools.partial(losses.soft_triple, centres=2),
        functools.partial(oracles_classes.soft_triple, centres=2),
        (CENTRES,),
    ),
    "soft_triple of own": (
        functools.partial(losses.soft_triple, centres=2, tau=3.0, subsample=2, key=KEY),
        functools.partial(oracles_classes.soft_triple, centres=2, tau=3.0, subsample=2),
        (CENTRES,),
    ),
    "cross_entropy": (losses.cross_entropy, oracles_classes.cross_entropy, (KERNEL, BIAS)),
    "smoothed": (
        functools.partial(losses.cross_entropy, smoothing=0.2),
        functools.partial(oracles_classes.cross_entropy, smoothing=0.2),
        (KERNEL, BIAS),
    ),
    "others smoothed": (
        functools.partial(losses.cross_entropy, smoothing=0.2, smoothed="others"),
        functools.partial(oracles_classes.cross_entropy, smoothing=0.2, smoothed="others"),
        (KERNEL, BIAS),
    ),
}
SLOW = [name for name in CASES if name.startswith(("cos_face", "arc_face", "proxy_a", "soft_"))]
every = pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES]
)


@functools.cache
def compiled(case):
    """Value and gradients of vectors and parameters in one program."""
    loss, _, parameters = CASES[case]
    where = tuple(range(1 + len(parameters)))

    def of(vectors, parameters, labels, mask):
        def at(vectors, *parameters):
            return loss(vectors, *parameters, labels, mask=mask)

        return jax.value_and_grad(at, where)(vectors, *parameters)

    return jax.jit(of)


def run(case, vectors=X, parameters=None, labels=LABELS, mask=None):
    parameters = CASES[case][2] if parameters is None else parameters
    mask = np.ones(len(labels), bool) if mask is None else mask
    arrays = jax.tree.map(jnp.asarray, (vectors, parameters, labels, mask))
    value, gradients = compiled(case)(*arrays)
    return float(value), [np.asarray(g, np.float64) for g in gradients]


@every
def test_gradients_of_parameters_are_the_finite_differences(case):
    _, oracle, parameters = CASES[case]
    rng = np.random.default_rng(1)
    value, (_, *actual) = run(case)
    assert value == pytest.approx(oracle(*parameters, X, LABELS), rel=1e-5)
    for index, gradient in enumerate(actual):
        towards = rng.normal(size=gradient.shape)

        def along(at, index=index):
            moved = [at if i == index else p for i, p in enumerate(parameters)]
            return oracle(*moved, X, LABELS)

        expected = oracles.slope(along, parameters[index].astype(np.float64), towards)
        assert abs(expected) > 1e-2
        assert (gradient * towards).sum() == pytest.approx(expected, rel=1e-4)


def test_proxy_nca_by_hand():
    """Unit vectors at 0, 90 and 180 degrees: d^2 is 0, 2, 4, at scale 3 nine times that."""
    proxies = jnp.array([[5.0, 0.0], [0.0, 0.1], [-1.0, 0.0]])
    x, y = jnp.array([[0.3, 0.0], [0.0, 7.0]]), jnp.array([0, 2])
    first = -math.log(1 / (math.exp(-2) + math.exp(-4)))
    second = -math.log(math.exp(-2) / (math.exp(-2) + math.exp(0)))
    value = losses.proxy_nca(x, proxies, y, scale=1.0)
    assert float(value) == pytest.approx((first + second) / 2, rel=1e-5)
    longer = -math.log(1 / (math.exp(-18) + math.exp(-36)))
    value = losses.proxy_nca(x, proxies, y, mask=jnp.array([True, False]))
    assert float(value) == pytest.approx(longer, rel=1e-5)


def test_norm_softmax_and_cross_entropy_by_hand():
    proxies, y = jnp.array([[5.0, 0.0], [0.0, 0.1]]), jnp.array([0])
    x = jnp.array([[0.6, 0.8]])
    value = losses.norm_softmax(2 * x, proxies, y, temperature=0.1)
    assert float(value) == pytest.approx(math.log(1 + math.exp(2)), rel=1e-5)
    kernel, bias = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([0.5, 0.0])
    actual = [float(losses.cross_entropy(2 * x, kernel, bias, y, smoothing=s)) for s in (0.0, 0.5)]
    total = math.log(math.exp(1.7) + math.exp(1.6))
    assert actual == pytest.approx([total - 1.7, total - (0.75 * 1.7 + 0.25 * 1.6)], rel=1e-5)


def test_of_one_class_proxy_nca_is_the_distance_and_the_others_nothing():
    x, proxies, kernel, bias = (jnp.asarray(a) for a in draws(classes=1))
    y = jnp.zeros(B, jnp.int32)
    value, gradient = jax.jit(jax.value_and_grad(losses.proxy_nca))(x, proxies, y)
    distance = oracles_classes.proxy_nca(proxies, x, y)
    assert float(value) == pytest.approx(distance, rel=1e-5) and distance > 1
    assert np.isfinite(gradient).all() and np.asarray(gradient).any()
    for actual, gradient in (
        jax.jit(jax.value_and_grad(losses.norm_softmax))(x, proxies, y),
        jax.jit(jax.value_and_grad(losses.cross_entropy))(x, kernel, bias, y),
    ):
        assert float(actual) == 0 and not np.asarray(gradient).any()


@every
def test_labels_that_are_no_class_show_and_absent_ones_do_not(case):
    complete = run(case)[0]
    for wrong in (-1, C, 2**31 - 1):
        labels = np.append(LABELS, np.int32(wrong)).astype(np.int32)
        x = np.concatenate([X, X[:1]])
        assert np.isnan(run(case, x, labels=labels)[0])
        value, gradients = run(case, x, labels=labels, mask=np.arange(B + 1) < B)
        assert value == pytest.approx(complete, rel=1e-6)
        assert all(np.isfinite(g).all() for g in gradients) and not gradients[0][B].any()


@every
def test_zero_and_equal_parameters_have_finite_gradients(case):
    parameters = CASES[case][2]
    for changed in (
        [np.zeros_like(p) for p in parameters],
        [np.ones_like(p) for p in parameters],
        [np.where(np.arange(p.shape[1])[:, None] == 3, 0, p) for p in parameters[:1]]
        + [*parameters[1:]],
    ):
        value, gradients = run(case, parameters=tuple(p.astype(np.float32) for p in changed))
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() and np.abs(g).max() < 100 for g in gradients)


@every
def test_half_precision_has_finite_gradients(case):
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), (X, CASES[case][2]))
    value, gradients = run(case, *half)
    exact = CASES[case][1](*(np.asarray(p, np.float32) for p in half[1]), half[0], LABELS)
    assert value == pytest.approx(exact, rel=1e-5)
    assert all(np.isfinite(g).all() for g in gradients)


@every
def test_nothing_there_teaches_no_parameter(case):
    value, gradients = run(case, np.full_like(X, np.nan), mask=np.zeros(B, bool))
    assert value == 0 and not any(g.any() for g in gradients)


@functools.partial(jax.jit, static_argnums=0)
def of_subsample(subsample, key, mask):
    def of(proxies):
        options = {"subsample": subsample, "key": key, "mask": mask}
        return losses.norm_softmax(jnp.asarray(X), proxies, jnp.asarray(LABELS), **options)

    return jax.value_and_grad(of)(jnp.asarray(PROXIES))


def sampled(subsample, key=KEY, mask=None):
    """The loss of a softmax over a subset, and the classes whose proxies it teaches."""
    mask = np.ones(B, bool) if mask is None else mask
    value, gradient = of_subsample(subsample, key, jnp.asarray(mask))
    touched = np.asarray(gradient).any(axis=(0, 2))
    return float(value), {int(z) for z in np.flatnonzero(touched)}


def test_a_subsample_is_the_softmax_over_the_own_and_drawn_classes():
    full = run("norm_softmax")[0]
    drawn = set()
    for seed in range(20):
        value, compared = sampled(5, jax.random.key(seed))
        assert len(compared) == 5 and compared > OWN
        drawn |= compared - OWN
        expected = oracles_classes.norm_softmax(PROXIES, X, LABELS, compared=compared)
        assert value == pytest.approx(expected, rel=1e-5) and value < full - 1e-3
    assert drawn == set(range(C)) - OWN  # each of them at times


def test_a_subsample_smaller_than_the_batchs_classes_is_those_classes():
    assert sampled(1)[1] == sampled(4)[1] == OWN
    mask = np.array([1, 1, 0, 0, 0, 1], bool)
    value, compared = sampled(2, mask=mask)
    assert compared == {0, 2}  # those of images that are not there do not count
    expected = oracles_classes.norm_softmax(PROXIES, X, LABELS, compared=compared, mask=mask)
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("subsample", [C, C + 5])
def test_a_subsample_of_all_classes_is_the_full_softmax(subsample):
    value, compared = sampled(subsample)
    assert value == pytest.approx(run("norm_softmax")[0], rel=1e-6)
    assert compared == set(range(C))


def test_a_subsample_touches_no_more_memory_than_it_needs():
    classes, subsample, d = 10_000, 8, 16
    proxies = jax.ShapeDtypeStruct((M, classes, d), jnp.float32)
    x = jax.ShapeDtypeStruct((B, M, d), jnp.float32)
    of = functools.partial(losses.norm_softmax, subsample=subsample)
    jaxpr = jax.make_jaxpr(lambda x, p: of(x, p, jnp.asarray(LABELS), key=KEY))(x, proxies)
    assert largest(jaxpr.jaxpr) <= 2 * classes
    full = jax.make_jaxpr(lambda x, p: losses.norm_softmax(x, p, jnp.asarray(LABELS)))(x, proxies)
    assert largest(full.jaxpr) >= M * classes * d


def largest(jaxpr):
    """The size of the largest array that a computation makes."""
    sizes = [0]
    for equation in jaxpr.eqns:
        inner = [p for p in equation.params.values() if hasattr(p, "jaxpr")]
        if inner:
            sizes += [largest(closed.jaxpr) for closed in inner]
        else:
            sizes += [math.prod(v.aval.shape) for v in equation.outvars]
    return max(sizes)


def test_mistakes_are_named():
    x, y = jnp.asarray(X), jnp.asarray(LABELS)
    with pytest.raises(ArgumentError, match="key: a subsample"):
        losses.norm_softmax(x, jnp.asarray(PROXIES), y, subsample=2)
