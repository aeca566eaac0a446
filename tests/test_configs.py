"""Every shipped config says what it is, and takes two steps on tiny data."""

import ast
import dataclasses
import math
import runpy
from pathlib import Path
from typing import Any

import inshop_data
import jax
import numpy as np
import pytest
from processes import ROOT
from states import created_state, resolved

from abe_jax import config, losses, models
from abe_jax.config import Config, build
from abe_jax.config.other_data import PUBLISHED_KS
from abe_jax.data.sources.glyphs import typefaces
from abe_jax.errors import UserError
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
    abe |= {"cars196_abe_printed", "cub_abe", "sop_abe", "inshop_abe", "compared_losses"}
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


OF_ABE = ("cars196_abe", "cars196_abe_printed", "cub_abe", "sop_abe", "inshop_abe")
# A row of the paper's tables: kind, learners, numbers of all learners, terms of the objective.
ABE_ROWS = {
    "abe-8": ("attention", 8, 512, 2),
    "abe-4": ("attention", 4, 512, 2),
    "abe-2": ("attention", 2, 512, 2),
    "abe-1": ("attention", 1, 512, 1),
    "abe-4-256": ("attention", 4, 256, 2),
    "abe-2-128": ("attention", 2, 128, 2),
    "abe-1-64": ("attention", 1, 64, 1),
    "abe-8-without-divergence": ("attention", 8, 512, 1),
    "8-heads": ("heads", 8, 512, 1),
    "4-heads": ("heads", 4, 512, 1),
    "2-heads": ("heads", 2, 512, 1),
    "1-head": ("single", 1, 512, 1),
}


def of_row(name: str, row: str) -> Config:
    return config.load(f"{ROOT / 'configs' / name}.py:{row}")


def rows(name: str) -> tuple[str, ...]:
    return tuple(runpy.run_path(str(ROOT / "configs" / f"{name}.py"))["ROWS"])


@pytest.mark.parametrize("name", OF_ABE)
def test_every_row_of_the_papers_tables_has_its_model(name: str) -> None:
    assert set(rows(name)) == set(ABE_ROWS)
    for row, (kind, learners, dim, terms) in ABE_ROWS.items():
        made = of_row(name, row)
        model = made.model
        assert (model.kind, model.learners, model.dim, len(made.objective)) == (
            kind,
            learners,
            dim,
            terms,
        ), row
        header = ast.get_docstring(ast.parse((ROOT / "configs" / f"{name}.py").read_text()))
        assert row in (header or "") or name.startswith("cars196"), row
    assert config.load(ROOT / "configs" / f"{name}.py") == of_row(name, "abe-8")


@pytest.mark.parametrize("name", ["cub_abe", "sop_abe", "inshop_abe"])
def test_another_data_set_changes_the_data_alone(name: str) -> None:
    cars, made = of_row("cars196_abe", "abe-4"), of_row(name, "abe-4")
    assert (made.model, made.objective, made.optimizer, made.train) == (
        cars.model,
        cars.objective,
        cars.optimizer,
        cars.train,
    )
    kept = {"cub_abe": 20, "sop_abe": 500, "inshop_abe": 200}[name]
    own = dataclasses.replace(cars.data, name=name.removesuffix("_abe"), validation_classes=kept)
    assert made.data == own
    assert made.evaluate.ks == PUBLISHED_KS.get(own.name, (1, 2, 4, 8))


def test_the_printed_losses_are_unsquared_sums_over_all_classes() -> None:
    made = of_row("cars196_abe_printed", "abe-8")
    metric, divergence = made.objective
    assert metric == losses.Contrastive(squared=False, reduction="sum_per_image")
    assert divergence == losses.Divergence(squared=False, reduction="sum")
    assert not made.data.validate


# Backbone, numbers, and a class with one option that the loss has in its paper.
COMPARED = {
    "contrastive": ("googlenet", 128, losses.Contrastive, ("form", "hadsell")),
    "lifted_structure": ("googlenet", 64, losses.LiftedStructure, ("margin", 1.0)),
    "n_pairs": ("googlenet", 64, losses.NPairs, ("weight", 1.0)),
    "clustering": ("bn_inception", 64, losses.Clustering, ("margin", 1.0)),
    "proxy_nca": ("bn_inception", 64, losses.ProxyNCA, ("scale", 3.0)),
    "margin": ("resnet50", 128, losses.Margin, ("sampling", "distance_weighted")),
}


def test_every_compared_loss_has_a_row_for_each_of_its_data_sets() -> None:
    sets = {"cars196": (1, 2, 4, 8), "cub": (1, 2, 4, 8), "sop": (1, 10, 100, 1000)}
    expected = {f"{data}-{loss}" for data in sets for loss in COMPARED}
    assert set(rows("compared_losses")) == expected
    labels = np.repeat(np.arange(100), 60)
    for row in expected:
        data, loss = row.split("-")
        made = of_row("compared_losses", row)
        backbone, dim, term, (option, value) = COMPARED[loss]
        assert (made.data.name, made.evaluate.ks) == (data, sets[data])
        assert (made.model.kind, made.model.backbone, made.model.dim) == ("single", backbone, dim)
        (own,) = made.objective
        assert isinstance(own, term) and getattr(own, option) == value
        build.sampling(made.data).batches(labels, made.train.batch, made.seed)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sop_abe.py:abe-3", r"sop_abe.py: no row is called 'abe-3'; did you mean 'abe-\d"),
        ("quickstart.py:abe-4", "quickstart.py: one config and no rows; leave out ':abe-4'"),
        ("sop_abee.py:abe-4", "sop_abee.py: no such config file; did you mean '.*sop_abe.py'"),
    ],
)
def test_a_row_that_is_not_there_is_refused(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        config.load(ROOT / "configs" / name)


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
    found = [float(np.asarray(rates(at))) for at in (16 * epoch - 1, 16 * epoch)]
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
        last, first = (float(np.asarray(rates(epochs * epoch + step))) for step in (-1, 0))
        assert (last, first) == pytest.approx((0.2 * 0.1**fallen, 0.02 * 0.1**fallen))
    assert float(np.asarray(rates(120 * epoch - 1))) == pytest.approx(0.0002)
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
    complete = config.load(file)
    model = complete.model
    own = model.dims or model.test_weights or model.side_stages
    overrides = [
        *SMALL,
        f"data.root={root}",
        # Each learner may compile a decoder of its own; those with something of their own are kept.
        f"model.learners={complete.model.learners if own else min(2, complete.model.learners)}",
        f"train.batch={8 * complete.data.repeats}",
        f"data.held_out={0.1 if complete.data.held_out else 0.0}",  # the classes are small
        f"optimizer.new_only={min(1, complete.optimizer.new_only)}",
        f"meta.domains={min(1, complete.meta.domains)}",
        "meta.start=0",
        *(["data.images_per_class=2"] if complete.data.sampler == "domains" else []),
    ]
    if complete.model.kind == "fashion_net":
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


# The networks of these are those of cars196_abe, cars196_single and the normsoftmax configs (as the
# tests above say), of hdc_cars196 and abier_sop, or in test_combinations.py; test_seeds.py trains
# every row of them, made small.
SAME_NETWORKS = ("cub_abe", "sop_abe", "inshop_abe", "cars196_abe_printed", "compared_losses")
SAME_NETWORKS += ("hdc_cub", "hdc_inshop", "abier_cars196", "abier_cub", "abier_inshop")
STEPPED = [file for file in FILES if file.stem not in SAME_NETWORKS]


@pytest.mark.slow
@pytest.mark.parametrize("file", STEPPED, ids=lambda file: file.stem)
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
