"""A run measured at all three grains: each by hand, and in a run's files."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_grains
import pytest
from processes import TINY, run
from states import created_state, resolved
from test_train_hosts import finish, said, start

from abe_jax import config
from abe_jax.cli import evaluate, train
from abe_jax.config import Config, build
from abe_jax.data import HELD_OUT, Dataset, Split
from abe_jax.data.images import copies
from abe_jax.data.split import chosen as rows_of
from abe_jax.errors import UserError
from abe_jax.evaluation import Embedder, grain_levels, measure_split
from abe_jax.evaluation.grain_levels import HeldOut
from abe_jax.losses import CrossEntropy, NormSoftmax
from abe_jax.report import grains as shown
from abe_jax.report import headline
from abe_jax.runs import exponent
from abe_jax.training.state import TrainState

MEASURED = {
    "class": {"images": 1200, "classes": 34, "top-1": 0.7614, "top-5": 0.9},
    "instance": {
        "images": 5000,
        "queries": 400,
        "map": 0.84561,
        "ukbench": 3.1049,
        "ukbench_most": 3.8,
    },
    "copy": {
        "queries": 900,
        "gallery": 5000,
        "map": 0.5,
        "recall@1": 0.25,
        "attacks": {"crop 30 %": {"map": 0.25, "recall@1": 0.125}},
    },
    "pixels": {
        "instance": {"map": 0.5, "ukbench": 1.0, "ukbench_most": 3.8},
        "copy": {"map": 0.0625, "recall@1": 0.0, "attacks": {}},
    },
}
LINES = """\
three grains:
  class                      top-1 76.1 %  top-5 90.0 %          1,200 held-out images, 34 classes
  instance                   mAP 0.846     UKBench 3.10 of 3.80  400 objects among 5,000 images
    raw pixels, no training  mAP 0.500     UKBench 1.00 of 3.80
  copy                       mAP 0.500     R@1 25.0 %            900 copies, 5,000 images
    raw pixels, no training  mAP 0.062     R@1 0.0 %
    crop 30 %                mAP 0.250     R@1 12.5 %"""


pytestmark = pytest.mark.usefixtures("promotion")


def made(root: Path, term: Any, *overrides: str) -> Config:
    """Two heads on pixels of 16 px, so small that they compile in a second."""
    settings = (
        f"data.root={root}",
        "data.resize=16",
        "data.size=16",
        "data.held_out=0.2",
        "model.kind=heads",
        "model.norm=none",
        "model.width=4",
        "model.branch=pool4",
        "evaluate.grains=True",
        "evaluate.copies=5",
        *overrides,
    )
    return resolved(dataclasses.replace(config.load(TINY, settings), objective=(term,)))


def outputs(chosen: Config, state: TrainState, split: Split) -> Any:
    """What the network makes of the images of a split, all in one batch."""
    seen = build.preprocessing(chosen.data)
    crops = [seen.crop(split.records[i]) for i in range(len(split.labels))]
    pixels = seen.normalise(jnp.asarray(np.stack(crops)))
    variables = {"params": state.params["model"], "batch_stats": state.batch_stats}
    model = build.model(chosen.model)
    return jax.tree.map(np.asarray, jax.jit(lambda v, x: model.apply(v, x))(variables, pixels))


def measured(chosen: Config, state: TrainState, split: Split) -> tuple[dict, np.ndarray]:
    """The grains of a split, and its vectors."""
    embedder = Embedder(build.network(chosen), state)
    embedded = embedder.embed(split)
    classifier = grain_levels.classifier(chosen.objective, state.params["objective"])
    images, held_out = build.dataset(chosen.data), None
    if classifier is not None and images.has_held_out:
        held_out = HeldOut(classifier, images.split(HELD_OUT))
    measures = build.measures(chosen.evaluate)
    return grain_levels.measure(embedder, split, embedded, measures, held_out), embedded.vectors


def top(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    order = np.argsort(-logits, axis=1)[:, :k]
    return float(np.mean([label in row for label, row in zip(labels, order, strict=True)]))


@pytest.mark.parametrize(
    "term",
    [
        CrossEntropy(name="cross_entropy"),
        pytest.param(NormSoftmax(name="norm_softmax"), marks=pytest.mark.slow),
    ],
)
def test_every_grain_is_what_it_says(tiny_data, term):
    chosen = made(tiny_data, term)
    state = created_state(chosen)
    rng = np.random.default_rng(0)
    moved = {
        name: np.asarray(value) + 0.05 * rng.normal(size=value.shape).astype(np.float32)
        for name, value in state.params["objective"][term.name].items()
    }
    state = state.replace(params={**state.params, "objective": {term.name: moved}})
    split, held_out = (build.dataset(chosen.data).split(name) for name in ("val", HELD_OUT))
    found, vectors = measured(chosen, state, split)
    assert json.loads(json.dumps(found)) == found

    made_of = outputs(chosen, state, held_out)
    if "proxies" in moved:
        unit = moved["proxies"] / np.linalg.norm(moved["proxies"], axis=-1, keepdims=True)
        logits = np.einsum("nmd,mcd->nc", made_of.vectors, unit)
    else:
        logits = np.einsum("nmd,mdc->nc", made_of.unnormalised, moved["kernel"])
        logits = logits + moved["bias"].sum(axis=0)
    assert found["class"] == {
        "images": len(held_out.labels),
        "classes": chosen.data.classes,
        "top-1": pytest.approx(top(logits, held_out.labels, 1)),
        "top-5": pytest.approx(top(logits, held_out.labels, 5)),
    }
    assert 0 < found["class"]["top-5"] < 1

    assert found["instance"]["map"] == pytest.approx(
        oracles_grains.holidays(vectors, split.object_ids)[0]
    )
    assert found["instance"]["ukbench"] == pytest.approx(
        oracles_grains.ukbench(vectors, split.object_ids)
    )

    rows = np.array([(2 * i + 1) * len(split.labels) // 10 for i in range(5)])
    altered = copies.altered(split, rows, build.preprocessing(chosen.data))
    queries = outputs(chosen, state, altered).vectors
    sources = np.repeat(rows, len(copies.ATTACKS))
    positions = [
        oracles.ranking(query, vectors).index(original)
        for query, original in zip(queries, sources, strict=True)
    ]
    assert found["copy"]["queries"] == 5 * len(copies.ATTACKS)
    assert found["copy"]["gallery"] == len(split.labels)
    assert found["copy"]["recall@1"] == pytest.approx(np.mean([p == 0 for p in positions]))
    area = np.mean([oracles_grains.trapezoid([i == p for i in range(p + 1)]) for p in positions])
    assert found["copy"]["map"] == pytest.approx(area)
    for kind, attack in enumerate(copies.ATTACKS):
        first = np.mean([p == 0 for p in positions[kind :: len(copies.ATTACKS)]])
        assert found["copy"]["attacks"][attack.name]["recall@1"] == pytest.approx(first)


def test_a_grain_that_cannot_be_measured_is_left_out(tiny_data):
    term = CrossEntropy(name="cross_entropy")
    chosen = made(tiny_data, term, "evaluate.copies=0", "data.held_out=0.0")
    state = created_state(chosen)
    val = build.dataset(chosen.data).split("val")
    split = dataclasses.replace(val, object_ids=None)
    assert measured(chosen, state, split)[0] == {}
    off = dataclasses.replace(build.measures(chosen.evaluate), grains=False)
    results, _ = measure_split(Embedder(build.network(chosen), state), val, off)
    assert results.recall[1] > 0 and "grains" not in results.numbers
    assert grain_levels.classifier(config.load(TINY, []).objective, {}) is None


def learning_of(chosen: Config) -> exponent.ExponentLearning:
    recipe = build.recipe(chosen)
    return exponent.ExponentLearning(network=build.network(chosen), objective=recipe.objective)


@pytest.mark.slow
def test_a_classifier_of_weight_0_is_passed_over(tiny_data):
    term = CrossEntropy(name="cross_entropy")
    unlearned = dataclasses.replace(term, weight=0.0)
    chosen = made(tiny_data, unlearned)
    assert (
        "class"
        not in measured(chosen, created_state(chosen), build.dataset(chosen.data).split("val"))[0]
    )
    with pytest.raises(UserError, match="neither 'cross_entropy' nor 'norm_softmax' with a weight"):
        learning_of(chosen).loss()
    both = dataclasses.replace(chosen, objective=(unlearned, term))
    params = created_state(both).params["objective"]
    found = grain_levels.classifier(both.objective, params)
    assert found is not None
    np.testing.assert_array_equal(found.kernel, params["cross_entropy_2"]["kernel"])


def test_held_out_images_that_cannot_be_read_leave_the_class_out(tiny_data, monkeypatch):
    chosen = made(tiny_data, CrossEntropy(name="cross_entropy"))
    state, split, read = (
        created_state(chosen),
        build.dataset(chosen.data).split("val"),
        Dataset.split,
    )

    def unreadable(self: Dataset, name: str) -> Split:
        held_out = read(self, name)
        return dataclasses.replace(held_out, records=[b""] * len(held_out.labels))

    monkeypatch.setattr(Dataset, "split", unreadable)
    assert list(measured(chosen, state, split)[0]) == ["instance", "copy"]


def test_held_out_images_of_one_a_class_are_tested_by_the_classifier_alone(tiny_data):
    chosen = made(tiny_data, CrossEntropy(name="cross_entropy"), "evaluate.grains=False")
    state, held_out = created_state(chosen), build.dataset(chosen.data).split(HELD_OUT)
    _, first = np.unique(held_out.labels, return_index=True)
    single, embedder = rows_of(held_out, first), Embedder(build.network(chosen), state)
    classifier = grain_levels.classifier(chosen.objective, state.params["objective"])
    assert classifier is not None
    results, _ = measure_split(embedder, single, held_out=HeldOut(classifier, single))
    assert results.numbers["queries"] == 0 and results.numbers["metrics"] == {}
    assert list(results.numbers["grains"]) == ["class"]
    assert results.numbers["images"] == results.numbers["grains"]["class"]["images"] == len(first)
    with pytest.raises(UserError, match=r"^held_out: no class has two images held out"):
        measure_split(embedder, single)


def test_the_rows_of_the_table():
    assert "\n".join(shown.lines({"grains": MEASURED})) == LINES
    assert shown.lines({}) == shown.lines({"grains": {}}) == []
    page = shown.section({"test": {"grains": MEASURED}, "val": {}})
    assert "UKBench 3.10 of 3.80" in page and "crop 30 %" in page and page.count("<table") == 1
    assert shown.section({"test": {}}) == ""
    measured = {"metrics": {"ensemble": {"recall@1": 0.5}}}
    assert "images of training classes" in headline.header({}, measured, "held")
    assert "test classes, which training never saw" in headline.header({}, measured, "test")


@pytest.mark.slow
def test_a_run_writes_and_shows_its_grains(tiny_data, tmp_path, capsys):
    term = CrossEntropy(name="cross_entropy")
    chosen = made(tiny_data, term, "train.steps=4", "optimizer.warmup=0")
    train.run(chosen, tmp_path / "run")
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]["grains"]
    assert list(found) == ["class", "instance", "copy", "pixels"]
    printed = capsys.readouterr().out
    assert "three grains:" in printed and f"mAP {found['copy']['map']:.3f}" in printed
    pixels = found["pixels"]
    assert list(pixels) == ["instance", "copy"] and pixels["copy"]["gallery"] == 287
    # Of the whole picture JPEG takes nearly nothing, and on raw pixels a strong crop is another.
    assert pixels["copy"]["attacks"]["jpeg 50"]["recall@1"] > 0.9
    assert pixels["copy"]["attacks"]["crop 30 %"]["recall@1"] < 0.5
    assert "Three grains" in (tmp_path / "run" / "report.html").read_text()
    evaluate.main(["--workdir", str(tmp_path / "run"), "--split", "held"])
    assert "held ·" in capsys.readouterr().out
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["held"]["images"] == found["class"]["images"]
    assert evaluation["held"]["grains"]["class"] == found["class"]


def things(folder: Path) -> Path:
    """A CSV file of 8 classes of 2 things in 3 pictures each, high, wide and square."""
    rng, lines = np.random.default_rng(0), ["path,label,thing"]
    colours = rng.integers(0, 256, (8, 2, 1, 1, 3))
    for label, thing, at in itertools.product(range(8), range(2), range(3)):
        shape = ((40, 20), (20, 40), (30, 30))[at]
        picture = np.clip(colours[label, thing] + rng.normal(0, 40, (*shape, 3)), 0, 255).astype(
            np.uint8
        )
        cv2.imwrite(str(folder / f"{label}_{thing}_{at}.png"), picture)
        lines.append(f"{label}_{thing}_{at}.png,{label},{thing}")
    (folder / "things.csv").write_text("\n".join(lines) + "\n")
    return folder / "things.csv"


@pytest.mark.slow
def test_whole_images_and_grains_on_two_hosts(tiny_data, tmp_path):
    """Two hosts measure what one with as many devices does, every split embedded whole."""
    settings = [
        "data.name=folder",
        f"data.path={things(tmp_path)}",
        "data.channels=3",
        "data.mean=()",
        "data.std=()",
        "data.instance_column=thing",
        "data.images_per_class=2",
        "data.validation_classes=2",
        "model.kind=single",
        "model.learners=1",
        "model.norm=none",
        "model.width=4",
        "train.steps=1",
        "train.batch=4",
        "optimizer.warmup=0",
        "evaluate.grains=True",
        "evaluate.copies=4",
        "evaluate.longest=32",
        "evaluate.side_step=16",
        "evaluate.batch=8",
    ]
    arguments = ["--config", TINY, *(f"--config.{setting}" for setting in settings)]
    ended = run("train", *arguments, "--workdir", tmp_path / "1", data=tiny_data, devices=2)
    assert ended.returncode == 0, ended.stderr
    first, second = finish(start("train", tmp_path / "2", tiny_data, *arguments))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "three grains:" in first[1] and said(second[1]) == []
    one, two = (
        json.loads((tmp_path / name / "evaluation.json").read_text())["test"] for name in "12"
    )
    assert list(one["grains"]) == list(two["grains"]) == ["instance", "copy", "pixels"]
    assert two["images"] == one["images"]
    assert two["metrics"]["ensemble"] == pytest.approx(one["metrics"]["ensemble"], abs=0.02)
    for grain in ("instance", "copy"):
        assert two["grains"][grain]["map"] == pytest.approx(one["grains"][grain]["map"], abs=0.02)
