"""PyTorch's networks and losses of benchmarks/gpu.py compute what ours do from the same weights.

pytest benchmarks/test_torch_networks.py --full    every backbone, and the papers' sizes
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import training
from gpu_arms import FULL, SMALL, Arm

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import gpu_jax  # noqa: E402
from torch_ensemble import Network  # noqa: E402
from torch_losses import Facts, Losses  # noqa: E402

from abe_jax.config import build  # noqa: E402

ABE = next(arm for arm in SMALL.paper if arm.name == "ABE-2")
BATCH = 4


def small(name: str, *overrides: str, config: str = "cars196_abe.py") -> Arm:
    """An arm of few learners on few small images."""
    size = ("data.resize=64", "data.size=64", f"train.batch={BATCH}", "model.learners=2")
    return Arm(name=name, config=config, overrides=(*size, "model.trunk_depth=2", *overrides))


ARMS = [
    ABE,
    *(arm for arm in SMALL.paper if arm.peers and arm is not ABE),
    *SMALL.large,
    small("ABE-2 on GoogLeNet, response normalisation"),
    small("2 heads on GoogLeNet", "model.kind=heads", "model.norm=none"),
    small("Lite0", "model.backbone=efficientnet_lite0", "model.norm=batch", "model.branch=block10"),
    small("ViT", "model.backbone=vit_s16", "model.norm=layer", "model.branch=block5",
          "model.pooling=token"),
    small("ViT, patches", "model.backbone=vit_s16", "model.norm=layer", "model.branch=block5"),
]  # fmt: skip
FAST = {"ABE-2", "single", "2 heads"}  # measured in miniature; others with --full


def torch_name(path: tuple[str, ...]) -> str:
    """The name in PyTorch of a parameter with this path in Flax."""
    ends = {"kernel": "weight", "scale": "weight"}
    last = path[-1] if path[0] == "head" else ends.get(path[-1], path[-1])
    return ".".join((*path[:-1], last))


def torch_value(path: tuple[str, ...], value: np.ndarray, like: Any) -> Any:
    """A parameter in the layout of PyTorch's of this name, `like`."""
    if path[0] == "mask_heads" and path[-1] == "kernel":  # [m, 1, 1, k, c] -> [m * c, k, ...]
        value = np.moveaxis(value[:, 0, 0], 1, 2)
    elif path[0] != "head" and path[-1] == "kernel":
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    return torch.tensor(np.ascontiguousarray(value)).reshape(like.shape)


def copied(params: Any, network: Network) -> None:
    """Puts the parameters of our model into PyTorch's; none is left over on either side."""
    own = dict(network.named_parameters())
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        path = tuple(key.key for key in keys)
        target = own.pop(torch_name(path))
        assert target.numel() == leaf.size, path
        target.data.copy_(torch_value(path, np.asarray(leaf), target))
    assert not own, sorted(own)


def both(arm: Arm) -> tuple[Any, Any, Any, Network, Facts]:
    """Our config and variables, and PyTorch's network with the same parameters."""
    made = gpu_jax.loaded(arm, "float32")
    state = jax.tree.map(lambda leaf: leaf[0], training.random_state(made))
    facts = Facts(**gpu_jax.facts(arm, made))
    network = Network(facts)
    copied(state.params["model"], network)
    return made, state, training.random_batch(made), network, facts


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_networks_embed_alike(arm: Arm, full: bool) -> None:
    if arm.name not in FAST and not full:
        pytest.skip("compiles for long: --full")
    made, state, batch, network, _ = both(arm)
    recipe = build.recipe(made)

    @jax.jit
    def embed(params: Any, stats: Any, images: Any) -> Any:
        variables = {"params": params, "batch_stats": stats}
        pixels = recipe.preprocess(images)
        return recipe.model.apply(variables, pixels, train=True, mutable=["batch_stats"])[0]

    ours = embed(state.params["model"], state.batch_stats, jnp.asarray(batch.images))
    with torch.no_grad():
        x, z = network(torch.tensor(batch.images).permute(0, 3, 1, 2).float())
    assert np.std(ours.vectors) > 0.01  # or any two networks would agree
    np.testing.assert_allclose(z.numpy(), ours.vectors, atol=1e-3)
    scale = float(np.abs(ours.unnormalised).max())
    np.testing.assert_allclose(x.numpy(), ours.unnormalised, atol=2e-3 * scale)


def test_losses_and_gradients_agree() -> None:
    made, state, batch, network, facts = both(ABE)
    recipe = build.recipe(made)

    def loss(params: Any) -> Any:
        embeddings, _ = recipe.model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            recipe.preprocess(jnp.asarray(batch.images)),
            train=True,
            mutable=["batch_stats"],
        )
        rows = embeddings, *map(jnp.asarray, (batch.labels, batch.image_ids, batch.mask))
        total, _ = recipe.objective.apply({"params": {}}, *rows, jax.random.key(0))
        return total

    value, gradient = jax.jit(jax.value_and_grad(loss))(state.params["model"])
    x, z = network(torch.tensor(batch.images).permute(0, 3, 1, 2).float())
    labels = torch.tensor(batch.labels)
    theirs = Losses(facts)(x, z, labels, torch.tensor(batch.image_ids))
    theirs.backward()
    np.testing.assert_allclose(theirs.item(), value, rtol=1e-4)
    own = dict(network.named_parameters())
    for keys, leaf in jax.tree_util.tree_flatten_with_path(gradient)[0]:
        path = tuple(key.key for key in keys)
        found = own[torch_name(path)].grad
        expected = torch_value(path, np.asarray(leaf), found)
        scale = max(float(expected.abs().max()), 1e-4)
        torch.testing.assert_close(found, expected, atol=2e-3 * scale, rtol=0, msg=str(path))


@pytest.mark.parametrize("arm", [*FULL.paper, *FULL.large, *FULL.others], ids=lambda arm: arm.name)
def test_networks_of_the_papers_size_have_as_many_parameters(arm: Arm, full: bool) -> None:
    if not full:
        pytest.skip("traces for long: --full")
    made = gpu_jax.loaded(arm, FULL.compute)
    ours = build.recipe(made).abstract().params["model"]
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(ours))
    network = Network(Facts(**gpu_jax.facts(arm, made)))
    assert sum(p.numel() for p in network.parameters()) == count


def test_losses_of_classes_and_margins_by_their_formulas() -> None:
    """Against loops over rows, in float64."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((6, 2, 3))
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    labels, ids = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 1, 1])
    made = gpu_jax.loaded(SMALL.large[0], "float32")
    facts = Facts(**gpu_jax.facts(SMALL.large[0], made))
    facts = dataclasses.replace(facts, learners=2, dim=6, classes=4)
    losses = Losses(facts).double()
    with torch.no_grad():
        losses.beta.fill_(1.0)
    given = torch.tensor(z), torch.tensor(z), torch.tensor(labels), torch.tensor(ids)
    kernel, expected = losses.kernel.detach().numpy(), 0.0
    weight = {term["name"]: term["weight"] for term in facts.objective}
    for m in range(2):
        for i in range(6):
            logits = z[i, m] @ kernel[m]
            expected -= (
                weight["cross_entropy"] / 6 * (logits[labels[i]] - np.log(np.exp(logits).sum()))
            )
        hinges = []
        for i in range(6):
            for j in range(6):
                away = np.linalg.norm(z[i, m] - z[j, m])
                if i != j:
                    hinges.append(away - 1.0 + 0.2 if ids[i] == ids[j] else 1.0 - away + 0.2)
        active = [h for h in hinges if h > 0]
        expected += weight["margin"] * sum(active) / max(1, len(active))
    np.testing.assert_allclose(losses(*given).item(), expected, rtol=1e-6)
