"""Batch-instance normalisation against a loop, at the ends of its gate, and from plain weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from abe_jax import models
from abe_jax.errors import UserError
from abe_jax.models.backbones.batch_instance import BatchInstanceNorm, standardised
from abe_jax.models.backbones.layers import BatchNorm
from abe_jax.models.backbones.stages import Options, Stages
from abe_jax.models.backbones.table import BACKBONES, backbone

C, EPSILON = 3, 1e-3
OWN = ("gate", "instance_bias", "instance_scale")  # beside what batch normalisation has


def maps(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, 3, 2, C)) * rng.uniform(0.5, 2, (4, 1, 1, C))
    return (x + rng.normal(size=(4, 1, 1, C))).astype(np.float32)


def parameters(gate: np.ndarray | float | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    drawn = {name: rng.normal(size=C) for name in ("scale", "bias", *OWN[1:])}
    drawn["gate"] = rng.uniform(0.1, 0.9, C) if gate is None else np.full(C, gate)
    return {name: value.astype(np.float32) for name, value in drawn.items()}


STATISTICS = {
    "mean": np.array([0.3, -1.0, 2.0], np.float32),
    "var": np.array([0.5, 2.0, 1.0], np.float32),
}


def applied(
    params: dict[str, np.ndarray], x: np.ndarray, train: bool = True, frozen: bool = False
) -> tuple[np.ndarray, Any]:
    norm = BatchInstanceNorm(epsilon=EPSILON, frozen=frozen)
    given = jax.tree.map(jnp.asarray, {"params": params, "batch_stats": STATISTICS})
    y, updated = norm.apply(given, jnp.asarray(x), train, mutable=["batch_stats"])
    return np.asarray(y), updated["batch_stats"]


def by_loop(params: dict, x: np.ndarray, statistics: dict | None = None) -> np.ndarray:
    """The layer in float64, channel by channel and image by image."""
    y = np.zeros(x.shape)
    for c in range(x.shape[-1]):
        column = x[..., c]
        mean = column.mean() if statistics is None else statistics["mean"][c]
        variance = column.var() if statistics is None else statistics["var"][c]
        for b, image in enumerate(column):
            of_batch = (image - mean) / np.sqrt(variance + EPSILON)
            of_image = (image - image.mean()) / np.sqrt(image.var() + EPSILON)
            left = params["scale"][c] * of_batch + params["bias"][c]
            right = params["instance_scale"][c] * of_image + params["instance_bias"][c]
            y[b, ..., c] = params["gate"][c] * left + (1 - params["gate"][c]) * right
    return y


def doubles(tree: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: leaf.astype(np.float64) for name, leaf in tree.items()}


def test_forward_is_the_loops() -> None:
    params, x = parameters(), maps()
    exact = doubles(params), x.astype(np.float64)
    y, updated = applied(params, x)
    np.testing.assert_allclose(y, by_loop(*exact), rtol=1e-4, atol=1e-5)
    running = 0.9 * STATISTICS["mean"] + 0.1 * x.mean((0, 1, 2))
    np.testing.assert_allclose(updated["mean"], running, rtol=1e-5)
    running = 0.9 * STATISTICS["var"] + 0.1 * x.var((0, 1, 2))
    np.testing.assert_allclose(updated["var"], running, rtol=1e-5)
    for train, frozen in ((False, False), (True, True)):
        y, updated = applied(params, x, train, frozen)
        np.testing.assert_allclose(y, by_loop(*exact, STATISTICS), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(updated["mean"], STATISTICS["mean"])


def test_backward_is_the_loops_slope() -> None:
    params, x = parameters(), maps()
    rng = np.random.default_rng(4)
    weights = rng.normal(size=x.shape)
    norm = BatchInstanceNorm(epsilon=EPSILON)

    def loss(params: dict, x: jax.Array) -> jax.Array:
        given = {"params": params, "batch_stats": jax.tree.map(jnp.asarray, STATISTICS)}
        y, _ = norm.apply(given, x, True, mutable=["batch_stats"])
        return jnp.sum(y * jnp.asarray(weights, jnp.float32))

    gradients, of_x = jax.jit(jax.grad(loss, argnums=(0, 1)))(
        jax.tree.map(jnp.asarray, params), jnp.asarray(x)
    )
    exact, wide = doubles(params), x.astype(np.float64)
    towards = rng.normal(size=x.shape)
    expected = oracles.slope(lambda at: (by_loop(exact, at) * weights).sum(), wide, towards)
    assert (np.asarray(of_x) * towards).sum() == pytest.approx(expected, rel=1e-3)
    for name in params:
        along = rng.normal(size=C)
        expected = oracles.slope(
            lambda at, name=name: (by_loop({**exact, name: at}, wide) * weights).sum(),
            exact[name],
            along,
        )
        assert (np.asarray(gradients[name]) * along).sum() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("train", [True, False])
def test_at_gate_1_it_is_batch_normalisation_to_the_bit(train: bool) -> None:
    params, x = parameters(1.0), maps()
    plain = {name: jnp.asarray(params[name]) for name in ("scale", "bias")}
    given = {"params": plain, "batch_stats": jax.tree.map(jnp.asarray, STATISTICS)}
    expected, kept = BatchNorm(epsilon=EPSILON).apply(
        given, jnp.asarray(x), train, mutable=["batch_stats"]
    )
    y, updated = applied(params, x, train)
    np.testing.assert_array_equal(y, expected)
    jax.tree.map(np.testing.assert_array_equal, updated, kept["batch_stats"])


def test_at_gate_0_no_image_sees_another() -> None:
    params, x = parameters(0.0), maps()
    together = applied(params, x)[0]
    for b in range(len(x)):
        alone = applied(params, x[b : b + 1])[0]  # another program: its sums may round otherwise
        np.testing.assert_allclose(alone, together[b : b + 1], rtol=1e-6, atol=1e-5)
    scaled, _ = applied(params, 7 * x + 3)  # nor is its contrast or brightness seen
    np.testing.assert_allclose(scaled, together, atol=5e-3)


def test_a_map_without_contrast_is_0_and_has_a_finite_gradient() -> None:
    flat = jnp.full((2, 1, 1, C), 5.0)  # the maps behind many stages have one position
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(standardised(x, EPSILON) ** 2))(flat)
    assert value == 0 and not np.asarray(gradient).any()


def test_gates_start_at_1_and_half_precision_comes_out_as_it_went_in() -> None:
    norm = BatchInstanceNorm(epsilon=EPSILON, dtype=jnp.bfloat16)
    x = jnp.asarray(maps(), jnp.bfloat16)
    y, variables = jax.jit(lambda: norm.init_with_output(jax.random.key(0), x, True))()
    assert y.dtype == jnp.bfloat16
    params = variables["params"]
    assert sorted(params) == sorted(["scale", "bias", *OWN])
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    np.testing.assert_array_equal(params["gate"], 1)
    np.testing.assert_array_equal(params["instance_scale"], 1)
    np.testing.assert_array_equal(params["instance_bias"], 0)


def shapes_of(name: str, norm: str) -> dict:
    """Every leaf of a backbone's variables, by its path."""
    net, images = Stages(backbone(name).stages(Options(norm=norm))), jnp.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, False))
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    return {tuple(key.key for key in path): leaf.shape for path, leaf in leaves}


WITH_NORM = [name for name in BACKBONES if "bin" in backbone(name).norms]


def test_every_backbone_with_batch_normalisation_takes_it() -> None:
    without = {"googlenet", "vgg16", "vit_s16"}
    assert set(WITH_NORM) == BACKBONES.keys() - without


# The convnet is below; two are others with wider stages.
WIDER = {"efficientnet_lite2", "mobilenet_v2_1.4"}


@pytest.mark.parametrize("name", sorted({*WITH_NORM} - {"convnet"} - WIDER))
def test_a_backbone_has_the_parameters_of_the_plain_one_and_three_more_a_layer(name: str) -> None:
    plain, gated = shapes_of(name, "batch"), shapes_of(name, "bin")
    more = {path: shape for path, shape in gated.items() if path[-1] in OWN}
    assert gated == plain | more
    scales = {path[:-1]: shape for path, shape in plain.items() if path[-1] == "mean"}
    assert more == {
        ("params", *at[1:], name): shape for at, shape in scales.items() for name in OWN
    }


PLAIN = models.SingleHead(backbone="convnet", dim=8, branch="conv4", width=4, norm="batch")
GATED = PLAIN.clone(norm="bin")


def variables(net: models.Ensemble, seed: int = 0) -> dict:
    images = jnp.zeros((2, 32, 32, 1))
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, train=False))
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32), shapes
    )


@pytest.mark.parametrize("kind", ["single", "heads", "attention"])
def test_from_plain_weights_it_embeds_as_the_plain_network(kind: str) -> None:
    learners = 1 if kind == "single" else 2
    changes = {"kind": kind, "learners": learners, "branch": "pool2", "trunk_depth": 2}
    plain, gated = (models.build(**models.options(model) | changes) for model in (PLAIN, GATED))
    given, target = variables(plain, seed=1), variables(gated, seed=2)
    params = models.graft(target["params"], models.stage_params(given["params"]))
    stats = models.graft(target["batch_stats"], models.stage_params(given["batch_stats"]))
    assert jax.tree.structure(params) == jax.tree.structure(target["params"])
    norm = params["encoder"]["conv2"]["norm"]
    np.testing.assert_array_equal(norm["gate"], 1)
    for name in ("scale", "bias"):
        np.testing.assert_array_equal(norm[f"instance_{name}"], norm[name])
    # Of the plain one what the gated one has for itself: the head, the masks.
    same = {**models.graft(given["params"], models.stage_params(given["params"]))}
    same |= {part: params[part] for part in ("head", "mask_heads") if part in params}
    old = models.graft(given["batch_stats"], models.stage_params(given["batch_stats"]))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, 32, 32, 1)), jnp.float32)

    def embedded(net: models.Ensemble, params: Any, stats: Any) -> Any:
        given: Any = {"params": params, "batch_stats": stats}
        made: Any = net.apply(given, images, train=False)
        return made.vectors

    found, expected = embedded(gated, params, stats), embedded(plain, same, old)
    np.testing.assert_array_equal(found, expected)


def test_gates_of_a_network_with_gates_are_kept_and_a_plain_one_takes_none() -> None:
    given = variables(GATED, seed=1)["params"]
    grafted = models.graft(variables(GATED, seed=2)["params"], models.stage_params(given))
    for part in ("encoder", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, grafted[part], given[part])
    with pytest.raises(UserError, match="conv1 has other parameters"):
        models.graft(variables(PLAIN)["params"], models.stage_params(given))


def test_gates_are_found_and_put_back_by_their_paths() -> None:
    params = variables(GATED)["params"]
    gates = models.gates(params)
    assert len(gates) == 6 and not models.gates(variables(PLAIN)["params"])
    moved = models.with_gates(params, {at: gate + 1 for at, gate in gates.items()})
    before, after = (
        {tuple(k.key for k in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(t)}
        for t in (params, moved)
    )
    for path, leaf in after.items():
        np.testing.assert_array_equal(leaf, before[path] + float(path[-1] == "gate"))
