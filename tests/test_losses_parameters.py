"""An objective's parameters: names and sizes, start and rate; and what draws at random."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import config, losses
from abe_jax.config import build
from abe_jax.errors import ArgumentError
from abe_jax.losses import (
    ArcFace,
    CosFace,
    CrossEntropy,
    Divergence,
    NormSoftmax,
    ProxyAnchor,
    ProxyNCA,
    SoftTriple,
    Term,
)
from abe_jax.losses.batch import PlainVectors
from abe_jax.training.recipe import Recipe

TINY = Path(__file__).with_name("tiny_config.py")
B, M, C, D = 6, 2, 20, 16
KEY = jax.random.key(0)
OBJECTIVE = (
    "data.classes=20",
    "objective=[{'name': 'proxy_nca'}, {'name': 'norm_softmax', 'subsample': 4}, "
    "{'name': 'cross_entropy'}, {'name': 'norm_softmax'}]",
)


pytestmark = pytest.mark.usefixtures("promotion")


def batch() -> tuple[PlainVectors, jax.Array, jax.Array, jax.Array]:
    x = 3 * jax.random.normal(jax.random.key(1), (B, M, D))
    vectors = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    made = PlainVectors(x, vectors)
    return made, jnp.array([0, 0, 3, 3, 6, 19]), jnp.arange(B), jnp.arange(B) < 5


def initial(*terms: Term, classes: int = C) -> tuple[losses.Objective, Any]:
    objective = losses.Objective(terms, classes)
    return objective, jax.jit(objective.init)(jax.random.key(2), *batch(), KEY)


def recipe(*overrides: str) -> Recipe:
    return build.recipe(config.load(TINY, (*OBJECTIVE, *overrides)))


def test_each_term_has_parameters_of_its_own_for_each_learner_and_class() -> None:
    _, variables = initial(
        ProxyNCA(), NormSoftmax(), Divergence(), CrossEntropy(), NormSoftmax(subsample=2)
    )
    assert jax.tree.map(jnp.shape, variables["params"]) == {
        "proxy_nca": {"proxies": (M, C, D)},
        "norm_softmax": {"proxies": (M, C, D)},
        "cross_entropy": {"kernel": (M, D, C), "bias": (M, C)},
        "norm_softmax_2": {"proxies": (M, C, D)},
    }
    first, second = (
        np.asarray(variables["params"][key]["proxies"])
        for key in ("norm_softmax", "norm_softmax_2")
    )
    assert not np.allclose(first, second) and not np.allclose(first[0], first[1])


def test_a_class_of_several_centres_has_a_proxy_for_each() -> None:
    terms = ArcFace(), ArcFace(centres=3), SoftTriple(centres=2), CosFace(), ProxyAnchor()
    _, variables = initial(*terms)
    assert jax.tree.map(jnp.shape, variables["params"]) == {
        "arc_face": {"proxies": (M, C, D)},
        "arc_face_2": {"proxies": (M, 3 * C, D)},
        "soft_triple": {"proxies": (M, 2 * C, D)},
        "cos_face": {"proxies": (M, C, D)},
        "proxy_anchor": {"proxies": (M, C, D)},
    }


def test_parameters_start_as_they_should() -> None:
    _, variables = initial(NormSoftmax(), ProxyNCA(), CrossEntropy(), classes=500)
    for key in ("norm_softmax", "proxy_nca"):
        proxies = np.asarray(variables["params"][key]["proxies"])
        assert np.abs(proxies).max() == pytest.approx(D**-0.5, rel=0.01)
        assert proxies.min() == pytest.approx(-(D**-0.5), rel=0.01)
        assert proxies.std() == pytest.approx(D**-0.5 / 3**0.5, rel=0.02)
    classifier = variables["params"]["cross_entropy"]
    assert np.asarray(classifier["kernel"]).std() == pytest.approx(D**-0.5, rel=0.03)
    assert not np.asarray(classifier["bias"]).any()


def test_the_terms_are_the_losses_on_the_right_vectors() -> None:
    objective, variables = initial(
        ProxyNCA(scale=2.0), NormSoftmax(temperature=0.2), CrossEntropy(smoothing=0.1, weight=3.0)
    )
    x, y, image_ids, mask = batch()
    total, values = jax.jit(objective.apply)(variables, x, y, image_ids, mask)
    p = variables["params"]
    classifier = p["cross_entropy"]
    proxy_nca = jax.jit(partial(losses.proxy_nca, scale=2.0))
    norm_softmax = jax.jit(partial(losses.norm_softmax, temperature=0.2))
    cross_entropy = jax.jit(partial(losses.cross_entropy, smoothing=0.1))
    kernel, bias = classifier["kernel"], classifier["bias"]
    expected = {
        "proxy_nca": proxy_nca(x.vectors, p["proxy_nca"]["proxies"], y, mask=mask),
        "norm_softmax": norm_softmax(x.vectors, p["norm_softmax"]["proxies"], y, mask=mask),
        "cross_entropy": cross_entropy(x.unnormalised, kernel, bias, y, mask=mask),
    }
    for name, value in expected.items():
        assert float(values[name]) == pytest.approx(float(value), rel=1e-5)
    by_hand = sum(float(v) for v in values.values()) + 2 * float(values["cross_entropy"])
    assert float(total) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("term", "loss"),
    [
        (ProxyAnchor(scale=16.0, margin=0.2), partial(losses.proxy_anchor, scale=16.0, margin=0.2)),
        (CosFace(scale=16.0, margin=0.2), partial(losses.cos_face, scale=16.0, margin=0.2)),
        (
            ArcFace(scale=16.0, margin=0.2, centres=2, subsample=8),
            partial(losses.arc_face, scale=16.0, margin=0.2, centres=2),
        ),
        (
            SoftTriple(centres=2, scale=9.0, gamma=0.3, margin=0.1, tau=0.7, subsample=8),
            partial(losses.soft_triple, centres=2, scale=9.0, gamma=0.3, margin=0.1, tau=0.7),
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_terms_over_proxies_are_the_losses_on_the_vectors(term: Term, loss: Any) -> None:
    objective, variables = initial(term)
    x, y, image_ids, mask = batch()
    _, values = jax.jit(objective.apply)(variables, x, y, image_ids, mask, KEY)
    drawn: dict[str, Any] = {}
    if getattr(term, "subsample", 0):
        drawn = {"subsample": 8, "key": jax.random.fold_in(KEY, 0)}
    expected = jax.jit(partial(loss, **drawn))(
        x.vectors, variables["params"][term.name]["proxies"], y, mask=mask
    )
    assert float(values[term.name]) == pytest.approx(float(expected), rel=1e-5)
    raw = loss(x.unnormalised, variables["params"][term.name]["proxies"], y, mask=mask, **drawn)
    assert float(raw) == pytest.approx(float(expected), rel=1e-4)  # lengths do not matter


def test_what_is_drawn_hangs_on_the_key_and_the_terms_place() -> None:
    terms = NormSoftmax(subsample=8), NormSoftmax(subsample=8)
    objective, variables = initial(*terms)
    alike = variables["params"]["norm_softmax"]
    variables = {"params": {"norm_softmax": alike, "norm_softmax_2": alike}}
    apply = jax.jit(objective.apply)

    def values(seed: int) -> list[float]:
        actual = apply(variables, *batch(), jax.random.key(seed))[1]
        return [float(value) for value in actual.values()]

    assert values(0) == values(0)
    assert len({*values(0), *values(1)}) == 4
    with pytest.raises(ArgumentError, match="key: a loss that draws"):
        objective.apply(variables, *batch())


@pytest.mark.parametrize(
    "term",
    [
        ProxyNCA(),
        NormSoftmax(),
        CrossEntropy(),
        ProxyAnchor(),
        SoftTriple(),
        CosFace(),
        ArcFace(),
    ],
)
def test_without_the_number_of_classes_there_is_no_such_loss(term: Term) -> None:
    with pytest.raises(ArgumentError, match="classes: the number of training classes"):
        losses.Objective((term,)).init(KEY, *batch(), KEY)


def test_an_objective_without_the_number_of_classes_is_refused_when_the_state_is_made() -> None:
    with pytest.raises(ArgumentError, match="classes: the number of training classes"):
        recipe("data.classes=0").create()


def change(*overrides: str) -> dict[str, list[np.ndarray]]:
    """By part, how one step by gradients of 1 changes the parameters."""
    options = "optimizer.name=sgd", "optimizer.schedule=constant", "optimizer.warmup=0"
    given = recipe(*options, *overrides)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), given.abstract().params)
    grads = jax.tree.map(np.ones_like, params)
    tx = given.transformation
    updates: Any = tx.update(grads, tx.init(params), params)[0]
    parts = updates["objective"] | updates["model"]
    return {
        name: [np.asarray(leaf) for leaf in jax.tree.leaves(part)] for name, part in parts.items()
    }


@pytest.mark.parametrize(
    ("override", "term"),
    [
        ("objective.norm_softmax.rate=10", "norm_softmax"),
        ("objective.3.rate=10", "norm_softmax_2"),
        ("objective.cross_entropy.rate=10", "cross_entropy"),
        ("objective.proxy_nca.rate=10", "proxy_nca"),
    ],
)
def test_a_terms_rate_multiplies_the_step_of_its_parameters_alone(override: str, term: str) -> None:
    plain, faster = change(), change(override)
    assert {"proxy_nca", "norm_softmax", "norm_softmax_2", "cross_entropy"} < plain.keys()
    assert len(plain) > 5  # and parts of the model
    for name, before in plain.items():
        factor = 10.0 if name == term else 1.0
        for one, other in zip(before, faster[name], strict=True):
            assert one.all()
            np.testing.assert_allclose(other, factor * one, rtol=1e-6)
