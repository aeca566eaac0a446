"""The adversarial loss between learners: a loop in float64, whose gradient it has, and whose."""

# NumPy arrays are given where JAX arrays are annotated, as users give them.
# pyright: reportArgumentType=false

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from abe_jax import losses, models
from abe_jax.errors import ArgumentError
from abe_jax.losses import Adversarial
from abe_jax.losses.batch import PlainVectors
from abe_jax.models.ensemble import Embeddings

B, C, SIZES, HIDDEN = 5, 6, (2, 3, 4), 5
VARIANTS = pytest.mark.parametrize("variant", ["regressor", "activation"])
NORM = 0.3


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return 0.7 * np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


FEATURES = drawn(B, 3, C)
KERNELS = tuple(drawn(C, size) for size in SIZES)


def learned() -> dict[str, np.ndarray]:
    """Regressors as the term declares them, biases on both sides of length 1."""
    embeddings = Embeddings(FEATURES, *2 * (np.zeros((B, 3, 4), np.float32),), sizes=SIZES)
    declared = Adversarial(hidden=HIDDEN).parameters(embeddings, 0)
    return {name: drawn(*p.shape, seed=len(name)) for name, p in declared.items()}


REGRESSORS = learned()


def layer(x, kernel, bias=None):
    return [
        sum(x[k] * kernel[k][j] for k in range(len(x))) + (0.0 if bias is None else bias[j])
        for j in range(len(kernel[0]))
    ]


def alike(features, kernels, regressors, variant, rows):
    """The term without norms, by the loops that define it."""
    total = 0.0
    for i, j in itertools.combinations(range(len(kernels)), 2):
        values = []
        for n in rows:
            u, v = (layer(features[n][p], kernels[p]) for p in (i, j))
            if variant == "activation":
                values += [(a * b) ** 2 for a in u for b in v]
                continue
            of = f"{j}_to_{i}"
            h = layer(v, regressors[f"hidden_{of}"], regressors[f"hidden_bias_{of}"])
            h = [max(one, 0.0) for one in h]
            g = layer(h, regressors[f"output_{of}"], regressors[f"output_bias_{of}"])
            values += [-((a * b) ** 2) for a, b in zip(u, g, strict=True)]
        total += sum(values) / len(values) if values else 0.0
    return total


def norms(kernels, regressors, variant):
    def uneven(rows):
        return sum((sum(a * a for a in row) - 1) ** 2 for row in rows) / len(rows)

    if variant == "activation":
        return sum(uneven(np.transpose(w)) for w in kernels)
    total = sum(uneven(w) for w in kernels)
    for name, array in regressors.items():
        bias = "bias" in name
        total += max(0.0, sum(b * b for b in array) - 1) if bias else uneven(array)
    return total


def by_loop(features, kernels, regressors, variant, rows=range(B)):
    given = jax.tree.map(lambda x: np.asarray(x, np.float64), (features, kernels, regressors))
    x, w, g = given
    return alike(x, w, g, variant, rows) + NORM * norms(w, g, variant)


@functools.partial(jax.jit, static_argnames="variant")
def run(features, kernels, regressors, variant, mask=None) -> Any:
    """The value, and gradients of features, kernels and regressors."""

    def of(features, kernels, regressors):
        options = {"norm_weight": NORM, "variant": variant, "mask": mask}
        return losses.adversarial(features, kernels, regressors, **options)

    return jax.value_and_grad(of, argnums=(0, 1, 2))(features, kernels, regressors)


@VARIANTS
def test_value_is_the_loops(variant: str) -> None:
    value, _ = run(FEATURES, KERNELS, REGRESSORS, variant)
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(by_loop(FEATURES, KERNELS, REGRESSORS, variant), rel=1e-5)
    lengths = [(b**2).sum() for name, b in REGRESSORS.items() if "bias" in name]
    assert min(lengths) < 1 < max(lengths)  # the norm of a bias counts from 1 on


@VARIANTS
def test_kernels_learn_against_the_regressors_and_features_not_at_all(variant: str) -> None:
    _, (of_features, of_kernels, of_regressors) = run(FEATURES, KERNELS, REGRESSORS, variant)
    assert not np.asarray(of_features).any()
    exact = jax.tree.map(lambda x: x.astype(np.float64), (KERNELS, REGRESSORS))

    def slope(value, part, name):
        """Of the whole along one array, for the gradient that is compared."""
        towards = drawn(*exact[part][name].shape, seed=9).astype(np.float64)

        def at(array):
            kernels, regressors = list(exact[0]), dict(exact[1])
            (kernels, regressors)[part][name] = array
            return value(kernels, regressors)

        return oracles.slope(at, exact[part][name], towards), towards

    def told(kernels, regressors):
        return alike(FEATURES.astype(np.float64), kernels, regressors, variant, range(B))

    def length(kernels, regressors):
        return NORM * norms(kernels, regressors, variant)

    reverse = -1.0 if variant == "regressor" else 1.0
    for part, sign, gradients in ((0, reverse, of_kernels), (1, 1.0, of_regressors)):
        for name in range(3) if part == 0 else gradients:
            (one, towards), (other, _) = slope(told, part, name), slope(length, part, name)
            found = float((np.asarray(gradients[name], np.float64) * towards).sum())
            assert found == pytest.approx(sign * one + other, rel=1e-4, abs=1e-6), name
            if part == 0:
                assert abs(one) > 1e-3
            elif variant == "activation":
                assert one == other == 0


@VARIANTS
def test_rows_that_are_not_there_count_for_nothing(variant: str) -> None:
    mask = np.array([True, False, True, True, False])
    rows = np.flatnonzero(mask)
    for absent in (9.0, np.nan):
        features = np.where(mask[:, None, None], FEATURES, np.float32(absent))
        value, gradients = run(features, KERNELS, REGRESSORS, variant, mask)
        expected = by_loop(FEATURES, KERNELS, REGRESSORS, variant, rows)
        assert float(value) == pytest.approx(expected, rel=1e-5)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    value, gradients = run(FEATURES, KERNELS, REGRESSORS, variant, np.zeros(B, bool))
    expected = by_loop(FEATURES, KERNELS, REGRESSORS, variant, [])
    assert float(value) == pytest.approx(expected, rel=1e-5)  # the norms
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@VARIANTS
def test_what_is_not_finite_is_not_hidden_and_half_precision_is_float32s(variant: str) -> None:
    features = FEATURES.copy()
    features[3, 1, 2] = np.nan
    assert not np.isfinite(run(features, KERNELS, REGRESSORS, variant)[0])
    half = jnp.asarray(FEATURES, jnp.bfloat16)
    value, _ = run(half, KERNELS, REGRESSORS, variant)
    exact = by_loop(np.asarray(half.astype(jnp.float32)), KERNELS, REGRESSORS, variant)
    assert value.dtype == jnp.float32 and float(value) == pytest.approx(exact, rel=1e-5)


def test_one_kernel_is_that_of_all_learners() -> None:
    shared, given = (KERNELS[0],), {"variant": "activation", "norm_weight": NORM}
    value = losses.adversarial(FEATURES, shared, {}, **given)
    assert float(value) == pytest.approx(by_loop(FEATURES, 3 * shared, {}, "activation"), rel=1e-5)


def test_what_a_term_learns() -> None:
    assert {name: array.shape for name, array in REGRESSORS.items() if name.endswith("2_to_0")} == {
        "hidden_2_to_0": (4, HIDDEN),
        "hidden_bias_2_to_0": (HIDDEN,),
        "output_2_to_0": (HIDDEN, 2),
        "output_bias_2_to_0": (2,),
    }
    assert len(REGRESSORS) == 12
    x = np.zeros((B, 3, 4), np.float32)
    assert Adversarial(variant="activation").parameters(PlainVectors(x, x), 0) == {}
    assert Adversarial().parameters(PlainVectors(x[:, :1], x[:, :1]), 0) == {}


def test_what_is_wrong_is_said_by_its_name() -> None:
    x, labels = FEATURES, np.zeros(B, np.int32)
    term = Adversarial(variant="activation")
    for call, told in (
        (lambda: Adversarial(variant="activaton"), "variant: .*'activation'"),
        (lambda: losses.adversarial(x, KERNELS[:2], {}), "kernels: of shapes"),
        (lambda: losses.adversarial(x, [w[:3] for w in KERNELS], {}), r"kernels: of shapes \[\[3"),
        (lambda: losses.adversarial(x[:, 0], KERNELS, {}), r"features: expected shape \[b, m, c\]"),
        (lambda: term(x, labels), "kernels: a loss on the network's"),
        (lambda: Adversarial()(x, labels, kernels=KERNELS), "parameters: adversarial learns"),
    ):
        with pytest.raises(ArgumentError, match=f"^{told}"):
            call()


SMALL = {"backbone": "convnet", "branch": "pool2", "width": 4, "dim": 12}
NETWORKS: dict[str, Any] = {
    "divided": models.DividedHead(dims=(3, 5, 4), **SMALL),
    "heads": models.MultiHead(learners=3, **SMALL),
    "attention": models.ABE(learners=3, trunk_depth=1, **SMALL),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_of_a_network_the_kernels_alone_learn_by_it(kind: str) -> None:
    net, images = NETWORKS[kind], jnp.asarray(drawn(4, 32, 32, 1))
    params = jax.jit(lambda: net.init(jax.random.key(0, impl="rbg"), images))()["params"]
    kernels = models.head_kernels(params)
    assert [w.shape for w in kernels] == {
        "divided": [(16, 3), (16, 5), (16, 4)],
        "heads": [(16, 4)] * 3,
        "attention": [(16, 4)],
    }[kind]
    objective = losses.Objective(Adversarial(hidden=7, norm_weight=0.0, weight=1.0))
    ids = jnp.arange(4)

    def loss(params, own):
        batch = net.apply({"params": params}, images), ids, ids
        given = {"kernels": models.head_kernels(params)}
        if own is None:
            return objective.init(jax.random.key(1, impl="rbg"), *batch, **given)["params"]
        return objective.apply({"params": own}, *batch, **given)[0]

    own = jax.jit(lambda p: loss(p, None))(params)
    of_network, of_regressors = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, own)
    moved = {
        jax.tree_util.keystr(path): bool(np.asarray(leaf).any())
        for path, leaf in jax.tree_util.tree_leaves_with_path(of_network)
    }
    assert {name for name, any_ in moved.items() if any_} == {
        name for name in moved if name.startswith("['head']") and "kernel" in name
    }
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(of_regressors))
    assert models.head_kernels({"encoder": {}}) == ()
