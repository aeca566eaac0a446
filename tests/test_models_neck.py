"""The neck: a plain loop's values and gradients, what losses read of it, and its statistics."""

# NumPy arrays are given where JAX arrays are annotated, as users give them, and flax's `apply`
# gives what its arguments say.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles_classes
import oracles_pairs
import pytest
from processes import TINY

from abe_jax import config, losses, models
from abe_jax.config import build
from abe_jax.errors import ArgumentError, UserError
from abe_jax.losses.batch import PlainVectors
from abe_jax.models.neck import Neck
from abe_jax.training.optimizer import Optimizer

B, M, D, CLASSES = 6, 2, 5, 4
LABELS = np.array([0, 0, 1, 1, 2, 2], np.int32)


def embedding(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(rng.normal(size=(M, D)), 2.0, (B, M, D)).astype(np.float32)


def loop(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Each number less its mean over the batch, over its deviation, times its scale."""
    y = np.zeros(x.shape, np.float64)
    for m in range(M):
        for d in range(D):
            column = [float(row[m][d]) for row in x]
            mean = sum(column) / B
            variance = sum((value - mean) ** 2 for value in column) / B
            for b in range(B):
                y[b, m, d] = float(scale[m * D + d]) * (column[b] - mean) / (variance + 1e-5) ** 0.5
    return y


def drawn(size: int = M * D) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "params": {"scale": rng.uniform(0.5, 2, size).astype(np.float32)},
        "batch_stats": {
            "mean": rng.normal(size=size).astype(np.float32),
            "var": rng.uniform(0.5, 2, size).astype(np.float32),
        },
    }


def test_value_and_gradient_are_the_loops() -> None:
    x, variables = embedding(), drawn()
    shapes = jax.eval_shape(lambda: Neck().init(jax.random.key(0), jnp.asarray(x), False))
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == {
        "params": {"scale": (M * D,)},  # no bias
        "batch_stats": {"mean": (M * D,), "var": (M * D,)},
    }
    weights = np.random.default_rng(2).normal(size=x.shape)

    def total(x: Any, scale: Any) -> Any:
        own = {**variables, "params": {"scale": scale}}
        y, _ = Neck().apply(own, x, True, mutable=["batch_stats"])
        return jnp.sum(jnp.asarray(weights, jnp.float32) * y), y

    scale = variables["params"]["scale"]
    (_, y), gradients = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(
        jnp.asarray(x), scale
    )
    np.testing.assert_allclose(y, loop(x, scale), rtol=1e-4, atol=1e-5)
    for at, found in enumerate(gradients):
        point = [x.astype(np.float64), scale.astype(np.float64)]
        towards = np.random.default_rng(3).normal(size=point[at].shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = [p + step * towards if i == at else p for i, p in enumerate(point)]
            ends.append((weights * loop(*moved)).sum())
        slope = (ends[0] - ends[1]) / 2e-5
        assert abs(slope) > 0.1
        assert (np.asarray(found, np.float64) * towards).sum() == pytest.approx(slope, rel=1e-3)


def test_running_statistics_are_learned_in_training_and_used_at_test() -> None:
    x, variables = embedding(), drawn()
    y, kept = Neck().apply(variables, jnp.asarray(x), True, mutable=["batch_stats"])
    flat, old = x.reshape(B, -1).astype(np.float64), variables["batch_stats"]
    for name, batch in (("mean", flat.mean(axis=0)), ("var", flat.var(axis=0))):
        expected = 0.9 * old[name] + 0.1 * batch
        np.testing.assert_allclose(kept["batch_stats"][name], expected, rtol=1e-5)
    tested = Neck().apply(variables, jnp.asarray(x), False)
    scale = variables["params"]["scale"]
    expected = scale * (flat - old["mean"]) / np.sqrt(old["var"] + 1e-5)
    np.testing.assert_allclose(np.reshape(tested, (B, -1)), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(tested) - np.asarray(y)).max() > 0.1


MAPS = np.random.default_rng(0).normal(size=(B, M, 3, 2, 4)).astype(np.float32)


def network(kind: str = "heads", **options: Any) -> models.Ensemble:
    return models.build(
        kind, backbone="convnet", branch="pool2", norm="batch", width=4, learners=M, **options
    )


@pytest.mark.parametrize(
    ("kind", "head"), [("heads", "none"), ("heads", "linear"), ("attention", "projection")]
)
def test_a_network_has_it_behind_its_head(kind: str, head: str) -> None:
    d = 4 if head == "none" else 5
    made, plain = (network(kind, dim=M * d, head=head, neck=neck) for neck in ("batch", ""))
    rng = np.random.default_rng(1)
    of = (M,) if kind == "heads" else ()  # an ensemble by attention has one head
    own = {"kernel": rng.normal(size=(*of, 4, d)).astype(np.float32)}
    own |= {"bias": rng.normal(size=(*of, d)).astype(np.float32)} if head == "linear" else {}
    head_params = {} if head == "none" else {"head": own}
    variables = drawn(size=M * d)
    given = {
        "params": {**head_params, "neck": variables["params"]},
        "batch_stats": {"neck": variables["batch_stats"]},
    }
    maps = jnp.asarray(MAPS)
    before = plain.apply({"params": head_params}, maps, True, method="embed")
    assert before.before_neck is None
    for train in (False, True):
        found, _ = made.apply(given, maps, train, method="embed", mutable=["batch_stats"])
        np.testing.assert_array_equal(found.before_neck, before.unnormalised)
        expected, _ = Neck().apply(variables, before.unnormalised, train, mutable=["batch_stats"])
        np.testing.assert_allclose(found.unnormalised, expected, rtol=1e-5, atol=1e-6)
        lengths = np.linalg.norm(expected, axis=-1, keepdims=True)
        np.testing.assert_allclose(found.vectors, expected / lengths, rtol=1e-4, atol=1e-6)


def test_frozen_normalisation_is_the_backbones_alone() -> None:
    made, variables = network(dim=8, head="none", neck="batch", freeze_norm=True), drawn(size=8)
    given = {name: {"neck": tree} for name, tree in variables.items()}
    _, kept = made.apply(given, jnp.asarray(MAPS), True, method="embed", mutable=["batch_stats"])
    moved = kept["batch_stats"]["neck"]["mean"] - variables["batch_stats"]["mean"]
    assert np.abs(moved).min() > 0


@dataclasses.dataclass
class Embedded:
    """What a model with a neck gives."""

    before_neck: Any
    unnormalised: Any
    vectors: Any


def embedded(seed: int = 4) -> Embedded:
    rng = np.random.default_rng(seed)
    before, after = (rng.normal(size=(B, M, D)).astype(np.float32) for _ in range(2))
    return Embedded(before, after, after / np.linalg.norm(after, axis=-1, keepdims=True))


def triplet_loop(x: np.ndarray) -> float:
    return oracles_pairs.triplet(
        vectors=x, labels=LABELS, mining="batch_hard", margin=0.3, reduction="mean"
    )


@pytest.mark.parametrize("reads", ["vectors", "before_neck", "unit_before_neck"])
def test_a_triplet_reads_what_it_is_told(reads: str) -> None:
    x = embedded()
    before = x.before_neck.astype(np.float64)
    seen = {
        "vectors": x.vectors,
        "before_neck": before,
        "unit_before_neck": before / np.linalg.norm(before, axis=-1, keepdims=True),
    }
    term = losses.Triplet(mining="batch_hard", margin=0.3, reduction="mean", reads=reads)
    assert float(term(x, LABELS)) == pytest.approx(triplet_loop(seen[reads]), rel=1e-5)
    values = {name: triplet_loop(x) for name, x in seen.items()}
    assert len({round(value, 3) for value in values.values()}) == 3

    def value(before: Any) -> Any:
        return term(dataclasses.replace(x, before_neck=before), LABELS)

    gradient = np.asarray(jax.jit(jax.grad(value))(jnp.asarray(x.before_neck)), np.float64)
    towards = np.random.default_rng(5).normal(size=before.shape)

    def moved(step: float) -> float:
        at = before + step * towards
        at = at / np.linalg.norm(at, axis=-1, keepdims=True) if "unit" in reads else at
        return triplet_loop(at)

    slope = 0.0 if reads == "vectors" else (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert (gradient * towards).sum() == pytest.approx(slope, rel=1e-4, abs=1e-7)
    assert reads == "vectors" or abs(slope) > 0.01


def test_without_a_neck_it_is_what_stands_before_l2() -> None:
    x = embedded()
    plain = PlainVectors(x.unnormalised, x.vectors)
    term = losses.Triplet(mining="batch_hard", margin=0.3, reduction="mean", reads="before_neck")
    assert float(term(plain, LABELS)) == pytest.approx(triplet_loop(x.unnormalised), rel=1e-5)


def test_a_classifier_without_bias_reads_what_is_behind_the_neck() -> None:
    x, term = embedded(), losses.CrossEntropy(bias=False, smoothing=0.1)
    assert term.parameters(x, CLASSES).keys() == {"kernel"}
    kernel = np.random.default_rng(6).normal(size=(M, D, CLASSES)).astype(np.float32)
    none = np.zeros((M, CLASSES))

    def expected(x: np.ndarray, kernel: np.ndarray) -> float:
        return oracles_classes.cross_entropy(kernel, none, x, LABELS, smoothing=0.1)

    def value(unnormalised: Any, kernel: Any) -> Any:
        own = dataclasses.replace(x, unnormalised=unnormalised)
        return term(own, LABELS, parameters={"kernel": kernel})

    at = (jnp.asarray(x.unnormalised), jnp.asarray(kernel))
    found, gradients = jax.jit(jax.value_and_grad(value, (0, 1)))(*at)
    assert float(found) == pytest.approx(expected(x.unnormalised, kernel), rel=1e-5)
    for i, gradient in enumerate(gradients):
        point = [np.asarray(one, np.float64) for one in at]
        towards = np.random.default_rng(7).normal(size=point[i].shape)
        ends = [
            expected(*(p + step * towards if i == j else p for j, p in enumerate(point)))
            for step in (1e-5, -1e-5)
        ]
        slope = (ends[0] - ends[1]) / 2e-5
        assert (np.asarray(gradient, np.float64) * towards).sum() == pytest.approx(slope, rel=1e-4)


def test_the_neck_is_a_new_layer() -> None:
    assert models.new_parameters(("neck", "scale"))
    tx = Optimizer(name="sgd", rate=1.0, momentum=0.0, new_only=3).build(
        9, lambda path: 1.0, lambda path: models.new_parameters(path)
    )
    params = {"neck": {"scale": jnp.ones(2)}, "encoder": {"scale": jnp.ones(2)}}
    updates: Any = tx.update(params, tx.init(params), params)[0]
    assert float(jnp.abs(updates["neck"]["scale"]).sum()) == 2
    assert float(jnp.abs(updates["encoder"]["scale"]).sum()) == 0


def test_it_stands_in_a_config_and_in_the_fingerprint_where_it_is_set() -> None:
    def determining(*overrides: str) -> dict[str, Any]:
        chosen = config.load(TINY, ["data.classes=9", *overrides])
        from abe_jax.evaluation.embedder import Embedder

        return Embedder.of(build.network(chosen), {}, {}, {})._determining()["model"]

    plain = determining()
    assert not {"neck", "last_stride"} & plain.keys()  # an index made before them has this one
    assert determining("model.neck=batch") == {**plain, "neck": "batch"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.neck=bacth", "^config.model.neck: .*bacth.*batch"),
        ("objective=[{'name': 'triplet', 'reads': 'before'}]", "reads: .*before_neck"),
        ("meta.reads=neck", "^config.meta.reads: .*before_neck"),
    ],
)
def test_other_names_are_one_line(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        build.model(config.load(TINY, [override]).model)
    assert "\n" not in str(caught.value)


def test_batches_of_other_embeddings_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^reads: "):
        losses.Triplet(reads="after")
