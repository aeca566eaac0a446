"""Every backbone, system, pooling, head, loss and sampler works with every other.

A covering array, in which every two values of two options meet, is traced: shapes and types of a
whole training step, gradients and optimiser included. Some rows that hold every value at least once
then take two steps. The rows of the convnet, which meet every value but a token, run always.
"""

from typing import Any

import covering
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax.config import Config, build, from_mapping
from abe_jax.data.loader import Batch
from abe_jax.losses.table import OF_PREDICTIONS, TERMS
from abe_jax.models import BACKBONES, KINDS
from abe_jax.models.ensemble import HEADS
from abe_jax.models.pooling import POOLINGS
from abe_jax.training import step

B, CLASSES, SIDE = 8, 6, 32

# Backbone -> where to branch, the trunk's depth, channels of the last map.
CUTS = {
    "convnet": ("pool2", 1, 16),
    "googlenet": ("inception3a", 1, 1024),
    "googlenet_bn": ("inception4d", 1, 1024),
    "bn_inception": ("inception4c", 2, 1024),
    "resnet18": ("block1_1", 1, 512),
    "resnet50": ("block3_5", 1, 2048),
    "efficientnet_lite0": ("block4", 1, 1280),
    "efficientnet_lite1": ("block13", 1, 1280),
    "efficientnet_lite2": ("block10", 2, 1280),
    "mobilenet_v2": ("block9", 1, 1280),
    "vgg16": ("conv4_3", 1, 512),
    "vit_s16": ("block8", 1, 384),
}
# mobilenet_v2's code with other channels.
SAME_CODE = {"mobilenet_v2_1.4", "mobilenet_v2_1.4_reid"}
# Losses of HDC, A-BIER and FashionNet: test_step_devices.py and test_configs.py train them with the
# networks that they are for. With every backbone they would make this array a third longer.
WITH_THEIR_NETWORK = ("hard_share", "boosted", "adversarial", *OF_PREDICTIONS)
# Losses that read the same and take the same options: a row of the first has all in its objective.
# Each by itself would make the array twice as long.
ALIKE = {
    "multi_similarity": ("circle", "sup_con", "nt_xent", "smooth_ap", "fast_ap", "recall_at_k"),
    "proxy_anchor": ("soft_triple", "cos_face", "arc_face"),
}
BESIDE = {name for names in ALIKE.values() for name in names}
FACTORS = {
    "backbone": tuple(name for name in BACKBONES if name not in SAME_CODE),
    "kind": tuple(kind for kind in KINDS if kind != "fashion_net"),  # which has other options
    "pooling": POOLINGS,
    "head": (*HEADS, "layer_norm", "neck"),  # neck: no head, a neck behind the pooled features
    "loss": tuple(
        name for name in TERMS if name not in ("divergence", *WITH_THEIR_NETWORK, *BESIDE)
    ),
    "label": ("class", "instance"),
    "sampler": (
        "pairs",
        "class_balanced",
        "replacement",
        "shuffle",
        "repeats",
        "domains",
        "super_classes",
    ),
    "norm": ("live", "frozen", "bin", "meta"),  # meta: its gates learned by episodes
    "compute": ("float32", "bfloat16"),
}
CLASS_ONLY = {name for name, term in TERMS.items() if "label" not in term.__dataclass_fields__}
OVER_DOMAINS = {"scatter", "shuffle"}
WITHOUT_NORM = {"googlenet", "vgg16", "vit_s16"}


def allowed(row: covering.Row) -> bool:
    """Whether two options can stand together at all."""
    if row.get("kind") == "cascade" and row.get("head") in ("none", "neck"):
        return False
    if row.get("pooling") == "token" and row.get("backbone", "vit_s16") != "vit_s16":
        return False
    if row.get("head") in ("none", "neck") and row.get("kind") == "divided":
        return False
    gated, laid = row.get("norm") in ("bin", "meta"), row.get("sampler", "domains") == "domains"
    if gated and (row.get("backbone") in WITHOUT_NORM or row.get("pooling") == "token"):
        return False
    if not laid and (row.get("norm") == "meta" or row.get("loss") in OVER_DOMAINS):
        return False
    return not (row.get("loss") in CLASS_ONLY and row.get("label") == "instance")


ROWS = covering.rows(FACTORS, allowed)
ABE_8 = {  # named here for itself
    "backbone": "resnet50",
    "learners": "8",
    "kind": "attention",
    "pooling": "gem",
    "head": "linear",
    "loss": "norm_softmax",
    "label": "class",
    "sampler": "class_balanced",
    "norm": "live",
    "compute": "float32",
}


def configuration(row: covering.Row) -> Config:
    branch, depth, channels = CUTS[row["backbone"]]
    learners = 1 if row["kind"] == "single" else int(row.get("learners", "2"))
    head = {"layer_norm": "projection", "neck": "none"}.get(row["head"], row["head"])
    label = {} if row["loss"] in CLASS_ONLY else {"label": row["label"]}
    own = [{"name": name} | label for name in (row["loss"], *ALIKE.get(row["loss"], ()))]
    sampler = {"replacement": "class_balanced", "repeats": "shuffle"}
    return from_mapping(
        {
            "data": {
                "name": "glyphs_tiny",  # never read here
                "resize": SIDE,
                "size": SIDE,
                "classes": CLASSES,
                "sampler": sampler.get(row["sampler"], row["sampler"]),
                "images_per_class": 2,
                "replacement": row["sampler"] == "replacement",
                "repeats": 2 if row["sampler"] == "repeats" else 1,
                "domains_per_batch": 2,
                "classes_per_domain": 2,
            },
            "model": {
                "backbone": row["backbone"],
                "kind": row["kind"],
                "learners": learners,
                "dim": channels * learners if head == "none" else 4 * learners,
                "branch": branch,
                "trunk_depth": depth,
                "pooling": row["pooling"],
                "gem_learned": True,
                "head": head,
                "layer_norm": row["head"] == "layer_norm",
                "neck": "batch" if row["head"] == "neck" else "",
                "norm": "bin" if row["norm"] in ("bin", "meta") else "",
                "freeze_norm": row["norm"] == "frozen",
                "compute": row["compute"],
                "width": 4,
            },
            "objective": [*own, {"name": "divergence"}],
            "optimizer": {"rate": 1e-3, "clip": 1.0},
            "meta": {"domains": 1 if row["norm"] == "meta" else 0},
            "train": {"steps": 2, "batch": B},
        }
    )


def batch(config: Config, at: int) -> Batch:
    labels = np.arange(4 * CLASSES, dtype=np.int32) % CLASSES
    domains = np.arange(4 * CLASSES, dtype=np.int32) // (2 * CLASSES)  # all classes in both
    drawn = build.sampling(config.data).batches(labels, B, config.seed, groups=domains)
    indices = drawn(at).astype(np.int32)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), SIDE, SIDE, 3), np.uint8)
    # Those of a class count as copies of one image: else losses of instances had nothing to learn
    # where a sampler draws no image twice.
    copies = CLASSES + labels[indices]
    return Batch(pixels[indices], labels[indices], copies, np.ones(B, bool))


def name(row: covering.Row) -> str:
    return "-".join(row.values())


def test_every_pair_of_values_that_can_stand_together_occurs() -> None:
    met = set().union(*(covering.pairs(row, list(FACTORS)) for row in ROWS))
    for a, x in (("backbone", "vit_s16"), ("backbone", "resnet50")):
        for b in FACTORS:
            for y in FACTORS[b]:
                if b != a and allowed({a: x, b: y}):
                    assert ((a, x), (b, y)) in met
    # Each row takes seconds. There are at least as many as the two largest factors have pairs; with
    # a backbone more they grow by so many, and by little beyond that.
    one, other = sorted(len(values) for values in FACTORS.values())[-2:]
    assert len(ROWS) <= 1.25 * one * other
    assert all(allowed(row) for row in ROWS) and set(CUTS) == set(BACKBONES) - SAME_CODE


def runs(row: covering.Row) -> Any:
    """The row as a parameter; what is no convnet takes long."""
    marks = () if row["backbone"] == "convnet" else pytest.mark.slow
    return pytest.param(row, marks=marks, id=name(row))


@pytest.mark.parametrize("row", [*map(runs, ROWS), runs(ABE_8)])
def test_a_training_step_traces(row: covering.Row) -> None:
    config = configuration(row)
    recipe = build.recipe(config)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its counters
        state = jax.tree.map(_on_one_device, recipe.abstract())
        taken = recipe.train_step()
        after, metrics = jax.eval_shape(taken, state, batch(config, 0))
    assert jax.tree.map(_form, after) == jax.tree.map(_form, state)
    assert metrics["loss"].shape == (1,) and metrics["loss"].dtype == jnp.float32


def test_the_convnet_meets_every_value() -> None:
    met = set().union(*(row.items() for row in ROWS if row["backbone"] == "convnet"))
    impossible = {("pooling", "token")}
    every = {(factor, value) for factor in FACTORS for value in FACTORS[factor]} - impossible
    assert {pair for pair in every if pair[0] != "backbone"} <= met


def test_each_learner_has_proxies_of_its_own_in_abe_8() -> None:
    made = configuration(ABE_8)
    shapes = [
        leaf.shape for leaf in jax.tree.leaves(build.recipe(made).abstract().params["objective"])
    ]
    assert shapes == [(8, CLASSES, made.model.dim // 8)]


def _on_one_device(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype)


def _form(leaf: jax.ShapeDtypeStruct) -> tuple:
    return leaf.shape, leaf.dtype


def few(rows: list[covering.Row]) -> list[covering.Row]:
    """Some rows that hold every value of every factor."""
    chosen, met = [], set()
    while any(set(row.items()) - met for row in rows):
        chosen.append(max(rows, key=lambda row: len(set(row.items()) - met)))
        met |= set(chosen[-1].items())
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("row", [ABE_8, *few(ROWS)], ids=name)
def test_two_steps_stay_finite_and_move_the_parameters(row: covering.Row) -> None:
    config = configuration(row)
    recipe = build.recipe(config)
    with jax.numpy_dtype_promotion("standard"):
        first = recipe.create()
        state, taken = step.replicate(first), recipe.train_step()
        for at in range(2):
            state, metrics = taken(state, batch(config, at))
            assert all(
                np.isfinite(v) for k, v in step.fetch(metrics).items() if "distance" not in k
            )
    last = step.unreplicate(state)
    assert int(last.step) == 2
    moved = jax.tree.map(lambda a, b: bool(np.any(np.asarray(a) != b)), first.params, last.params)
    assert any(jax.tree.leaves(moved["model"]["encoder"]))
    assert any(jax.tree.leaves(moved["model"]["decoder"]))
    assert all(jax.tree.leaves(moved["objective"]))
