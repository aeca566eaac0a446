"""Every shipped config says what it is, and takes two steps on tiny data."""

import ast
import dataclasses
import math
from pathlib import Path
from typing import Any

import inshop_data
import jax
import numpy as np
import pytest
from processes import ROOT
from states import created_state, resolved

from abe_jax import config, models
from abe_jax.config import Config, build
from abe_jax.data.sources.glyphs import typefaces
from abe_jax.losses import Margin
from abe_jax.training import step
from abe_jax.training.state import TrainState

FILES = sorted((ROOT / "configs").glob("*.py"))
SMALL = (
    "data.name=glyphs_tiny",
    "data.sources=()",
    "data.validation_classes=0",
    "data.unseen_domains=()",
    "data.validation_domains=()",
    "data.domains_per_batch=2",
    "data.classes_per_domain=2",
    "data.resize=64",
    "data.size=64",
    "data.images_per_class=4",
    "train.steps=2",
    "optimizer.warmup=1",
)


def test_there_are_configs_to_test() -> None:
    abe = {"quickstart", "photographs", "cars196_abe", "cars196_heads", "cars196_single"}
    sets = ("cars196", "cub", "sop", "inshop", "glyphs", "photographs")
    norm_softmax = {f"normsoftmax_{name}" for name in sets}
    metabin = {"metabin_glyphs", "metabin_photographs", "metabin_reid"}
    multigrain = {f"multigrain_{name}" for name in ("imagenet", "glyphs", "photographs")}
    hdc = {f"hdc_{name}" for name in ("cars196", "cub", "sop", "inshop", "glyphs")}
    abier = {f"abier_{name}" for name in ("sop", "cars196", "cub", "inshop", "glyphs")}
    systems = hdc | abier | norm_softmax | multigrain | metabin | {"fashionnet_inshop"}
    assert {file.stem for file in FILES} >= abe | systems


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_config_opens_with_what_command_and_expected_result(file: Path) -> None:
    header = ast.get_docstring(ast.parse(file.read_text())) or ""
    assert f"python -m abe_jax.train --config configs/{file.name}" in header
    assert "Expected" in header
    assert "Time" in header or "minutes" in header
    config.load(file)


# Training images as published; images of a class in a batch, rate (Zhai and Wu, 2019).
NORM_SOFTMAX = {
    "normsoftmax_cars196": (8_054, 25, 0.01),
    "normsoftmax_cub": (5_864, 25, 0.001),
    "normsoftmax_sop": (59_551, 5, 0.01),
    "normsoftmax_inshop": (25_882, 5, 0.01),
}


@pytest.mark.parametrize("name", NORM_SOFTMAX)
def test_norm_softmax_has_its_epochs_and_its_batches(name: str) -> None:
    images, each, rate = NORM_SOFTMAX[name]
    made = config.load(ROOT / "configs" / f"{name}.py")
    epoch = images // 75
    assert (made.train.steps, made.optimizer.new_only) == (31 * epoch, epoch)
    assert made.optimizer.boundaries == (16 * epoch,)
    assert made.optimizer.new_restart
    rates = made.optimizer.rates(made.train.steps)
    found = [float(rates(at)) for at in (16 * epoch - 1, 16 * epoch)]
    assert found == pytest.approx([rate, rate / 10])
    assert made.optimizer.rate == rate
    assert (made.data.images_per_class, made.data.replacement) == (each, True)
    labels = np.repeat(np.arange(100), 50)
    build.sampling(made.data).batches(labels, made.train.batch, made.seed)
    half = config.load(ROOT / "configs" / f"{name}.py", ["model.dim=512", "model.head=projection"])
    full = dataclasses.replace(half, data=dataclasses.replace(half.data, classes=9))
    found = build.recipe(full).abstract()
    assert found.params["model"]["head"]["kernel"].shape == (2048, 512)
    assert found.params["objective"]["norm_softmax"]["proxies"].shape == (1, 9, 512)


def test_multigrain_falls_in_the_epochs_31_61_and_91() -> None:
    made = config.load(ROOT / "configs" / "multigrain_imagenet.py")
    rates, epoch = made.optimizer.rates(made.train.steps), 2 * 1_281_167 // 504
    for fallen, epochs in enumerate((31, 61, 91)):
        last, first = (float(rates(epochs * epoch + step)) for step in (-1, 0))
        assert (last, first) == pytest.approx((0.2 * 0.1**fallen, 0.02 * 0.1**fallen))
    assert float(rates(120 * epoch - 1)) == pytest.approx(0.0002)
    margin = made.objective[1]
    assert isinstance(margin, Margin)
    assert (margin.numerics, margin.replacement) == ("global_maximum", False)


def test_metabin_keeps_families_that_there_are_from_training() -> None:
    data = config.load(ROOT / "configs" / "metabin_glyphs.py").data
    kept = [*data.unseen_domains, *data.validation_domains]
    families = {family.name for family in typefaces.FAMILIES}
    assert set(kept) <= families and len(set(kept)) == len(kept)
    assert len(families) - len(kept) == 10  # as its header says


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_trains_over_domains_is_evaluated_by_them(file: Path) -> None:
    made = config.load(file)
    # Where sources train, the set that is tested is of none of their domains.
    tested = made.data.sampler == "domains" and not made.data.sources
    assert made.evaluate.domains == tested


def shrunk(file: Path, root: Path) -> Config:
    """The config with its data and its length made small; two stages become one step each."""
    whole = config.load(file)
    model = whole.model
    own = model.dims or model.test_weights or model.side_stages
    overrides = [
        *SMALL,
        f"data.root={root}",
        # Each learner may compile a decoder of its own; those with something of their own are kept.
        f"model.learners={whole.model.learners if own else min(2, whole.model.learners)}",
        f"train.batch={8 * whole.data.repeats}",
        f"data.held_out={0.1 if whole.data.held_out else 0.0}",  # the classes are small
        f"optimizer.new_only={min(1, whole.optimizer.new_only)}",
        f"meta.domains={min(1, whole.meta.domains)}",
        "meta.start=0",
        *(["data.images_per_class=2"] if whole.data.sampler == "domains" else []),
    ]
    if whole.model.kind == "fashion_net":
        overrides += inshop_data.OVERRIDES
        widths = ("pose_width", "local_width", "global_width")
        overrides += ["model.dim=32", *(f"model.fashion.{width}=16" for width in widths)]
    return resolved(config.load(file, overrides))


def learning(state: TrainState) -> dict[str, Any]:
    """The parameters by what a config may leave out: new layers, losses' own, the backbone's, its
    gates."""
    model = state.params["model"]
    new = {name: tree for name, tree in model.items() if models.new_parameters((name,))}
    old = {name: tree for name, tree in model.items() if name not in new}
    own = {"new": new, "losses": state.params["objective"], "backbone": old}
    return own | {"gates": models.gates(jax.device_put(model))}


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_config_takes_two_steps(file: Path, tiny_data: Path) -> None:
    inshop_data.prepare(tiny_data)
    made = shrunk(file, tiny_data)
    split = build.dataset(made.data).split("train")
    state, run = step.replicate(created_state(made)), build.recipe(made).train_step()
    before = learning(step.unreplicate(state))
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules promote their counters
        for batch in build.recipe(made).batches(split):
            state, metrics = run(state, batch)
            assert math.isfinite(step.fetch(metrics)["loss"])
    after = step.unreplicate(state)
    assert after.step == 2
    for part, tree in learning(after).items():
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), before[part], tree)
        assert any(jax.tree.leaves(moved)) == bool(jax.tree.leaves(tree)), part
