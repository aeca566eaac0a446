"""A run tested at another resolution: p by cross-validation, p learned alone, and what is kept."""

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import run
from states import created_state, on_host

from abe_jax import config, evaluation
from abe_jax.cli import evaluate, resolution, train
from abe_jax.config import Config, build
from abe_jax.data import Split, loader
from abe_jax.errors import UserError
from abe_jax.evaluation.network import Network, at_exponents
from abe_jax.evaluation.resolution import (
    Resolution,
    best,
    cross_validated,
    exponent,
    resized,
    with_p,
)
from abe_jax.models.counting import multiply_adds
from abe_jax.runs.exponent import BATCH, PER_CLASS, ExponentLearning, order
from abe_jax.training import step
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState

TINY = Path(__file__).with_name("tiny_config.py")
GEM = (
    "model.kind=single",
    "model.learners=1",
    "model.width=4",
    "model.pooling=gem",
    "objective=[{'name': 'cross_entropy'}]",
    "data.classes=35",
)
COLOUR = ("data.channels=3", "data.mean=()", "data.std=()")
SIZE = 40


pytestmark = pytest.mark.usefixtures("as_a_user")


def made(*overrides: str) -> Config:
    return config.load(TINY, (*GEM, *overrides))


def state_of(made_of: Config) -> TrainState:
    """A state whose running statistics are no defaults."""
    state = on_host(created_state(made_of))
    stats = jax.tree.map(lambda x: x * np.float32(0.1) + np.float32(0.02), state.batch_stats)
    return state.replace(batch_stats=stats)


def split_of(made_of: Config, name: str) -> Split:
    return build.dataset(made_of.data).split(name)


def network_at(made_of: Config, size: int = SIZE) -> Network:
    return resized(build.network(made_of), size)


def learning(made_of: Config) -> ExponentLearning:
    return ExponentLearning(
        network=network_at(made_of), objective=build.objective(made_of), seed=made_of.seed
    )


def batch_of(network: Network, split: Split, count: int = 8) -> loader.Batch:
    return next(loader.in_order(split, network.preprocessing, count))


def test_each_exponent_gives_the_vectors_of_a_network_made_with_it() -> None:
    plain = made()
    tested, ps = network_at(plain), (4.5, float("inf"), 1.0)
    batch = batch_of(tested, split_of(plain, "train"))
    assert batch.images.shape[1] == SIZE
    replicated = step.replicate(state_of(plain))
    found = tested.exponents_step(ps)(replicated, batch)
    assert found.shape == (8, 3, 1, 16)
    normalise = tested.preprocessing.normalise
    for i, p in enumerate(ps[:2]):
        expected = step.embed_step(with_p(tested.model, p), normalise)(replicated, batch)
        np.testing.assert_allclose(found[:, i], expected, atol=2e-5)
    distance = np.abs(found[:, :-1] - found[:, 1:]).max(axis=(0, 2, 3))
    assert (distance > 1e-3).all()


def test_the_network_runs_once_for_all_exponents() -> None:
    model = build.model(made("model.gem_learned=True").model)
    images = jax.ShapeDtypeStruct((1, 40, 40, 1), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)

    def work(exponents: int) -> Mapping[str, int]:
        ps = jax.ShapeDtypeStruct((exponents,), jnp.float32)
        return multiply_adds(lambda *args: at_exponents(model, *args), variables, images, ps)

    one, five = work(1), work(5)
    assert one["encoder"] > 0 and one["decoder"] > 0
    assert (five["encoder"], five["decoder"]) == (one["encoder"], one["decoder"])
    assert five["head"] == 5 * one["head"]


def test_cross_validation_measures_every_exponent_and_the_training_p_as_ever() -> None:
    plain = made()
    val, state = split_of(plain, "val"), step.replicate(state_of(plain))
    network, measures = build.network(plain), build.measures(plain.evaluate)
    found = cross_validated(network, state, val, measures, [3.0, 8.0])
    embedded = network.vectors(state, val)
    labels = val.labels[embedded.image_ids]
    own = evaluation.scores(embedded.vectors, labels, plain.evaluate.ks).means()
    assert found[0] == pytest.approx(own, abs=0.003)  # two programs round a vector apart
    assert set(found[0]) == set(own) and found[1] != found[0]


def test_a_learned_exponent_is_replaced_by_the_tests() -> None:
    run_of = made("model.gem_learned=True", "model.gem_p=2.5")
    network, state, test = build.network(run_of), state_of(run_of), Resolution(size=SIZE, p=4)
    plain = build.model(made().model)
    assert exponent(network.model, state) == 2.5 and exponent(plain, state_of(made())) == 3
    assert "pool" in state.params["model"] and "pool" not in test.state(state).params["model"]
    split = split_of(run_of, "val")
    found = test.network(network).vectors(step.replicate(test.state(state)), split)
    each, _ = network_at(run_of).at_exponents(step.replicate(state), split, (4.0,))
    np.testing.assert_allclose(found.vectors, each[0], atol=2e-5)


@pytest.mark.parametrize("term", ["cross_entropy", "norm_softmax"])
def test_gradient_of_p_is_that_of_finite_differences(term: str) -> None:
    subsample = ", 'subsample': 4" if term == "norm_softmax" else ""
    run_of = made(f"objective=[{{'name': '{term}', 'weight': 0.25{subsample}}}]")
    tested, state = learning(run_of), state_of(run_of)
    run_loss = jax.jit(tested.loss())

    def loss(p: Any, batch: loader.Batch) -> Any:
        return run_loss(jnp.float32(p), state, batch)

    batch, p, h = batch_of(tested.network, split_of(run_of, "train")), 2.5, 0.05
    found = float(jax.jit(jax.grad(loss))(p, batch))
    up, down = (float(loss(p + h * side, batch)) for side in (1, -1))
    assert abs(found) > 1e-3
    assert found == pytest.approx((up - down) / (2 * h), rel=0.01)
    black = batch._replace(images=batch.images * np.uint8(0), mask=batch.mask & False)
    both = jax.tree.map(lambda *pair: np.concatenate(pair), batch, black)
    assert float(loss(p, both)) == pytest.approx(float(loss(p, batch)))


def test_p_alone_is_learned_by_the_recipes_steps() -> None:
    run_of = made("data.padding=3", "data.flip=True")
    tested, split, state, said = learning(run_of), split_of(run_of, "train"), state_of(made()), []
    before = jax.tree.map(np.copy, state)
    found = tested.exponent(state, split, 3.0, 3, said.append)
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True)
    assert all(np.array_equal(one, other) for one, other in leaves)
    gradient, p, speed = jax.jit(jax.grad(tested.loss())), 3.0, 0.0
    rows = order(split.labels, run_of.seed, 3)
    images = batch_of(tested.network, split, len(split.labels))  # neither random crop nor flip
    for i in range(3):
        batch = jax.tree.map(lambda part, i=i: part[rows[i * BATCH : (i + 1) * BATCH]], images)
        speed = 0.9 * speed + float(gradient(jnp.float32(p), state, batch))
        p -= 0.005 * (1 - i / 3) ** 0.9 * speed
    assert abs(p - 3) > 1e-4
    assert found - 3 == pytest.approx(p - 3, rel=0.01)
    assert said[-1] == f"step 3 of 3: p = {found:.4f}" and len(said) == 3


def test_images_of_a_pass_are_few_of_each_class_in_an_order_of_the_seed() -> None:
    labels = np.repeat(np.arange(3), (70, 20, 51)).astype(np.int32)
    rows = order(labels, 0, 0)
    assert np.bincount(labels[rows]).tolist() == [PER_CLASS, 20, PER_CLASS]
    assert len(set(rows)) == len(rows) and np.abs(np.diff(labels[rows])).mean() > 0.3
    assert np.array_equal(rows, order(labels, 0, 0))
    assert set(rows) != set(order(labels, 1, 0))
    assert np.array_equal(order(labels, 0, 10), rows[:40])
    many = order(labels, 0, 100)
    assert len(many) == 400 and set(many) == set(rows)


def test_a_test_names_what_it_changes_and_keeps_the_crops_proportion() -> None:
    plain = made("data.resize=36")
    network = build.network(plain)
    changed = Resolution(size=48).network(network).preprocessing
    assert (changed.size, changed.resize) == (48, 54)
    assert Resolution().network(network) is network and resized(network, 32) is network
    tests = [{}, {"size": 48}, {"p": 2.5}, {"size": 48, "p": 4}]
    words = [Resolution(**test).words for test in tests]
    assert words == ["", "at 48 px", "at p=2.5", "at 48 px, p=4"]
    tested = Resolution(p=2.5).network(build.network(made("model.gem_learned=True"))).model
    assert (tested.gem_p, tested.gem_learned) == (2.5, False)


def test_best_is_the_first_of_the_highest() -> None:
    values = [{"map@r": v} for v in (float("nan"), 0.2, 0.5, 0.5, 0.1)]
    assert best(values, "map@r") == 2


def test_what_has_no_exponent_or_no_classifier_is_one_line() -> None:
    vit = ("model.backbone=vit_s16", "model.branch=block6", "model.norm=", *COLOUR)

    def model(*overrides: str) -> Any:
        return build.model(made(*overrides).model)

    unlike: list[tuple[Any, str]] = [
        (lambda: with_p(model("model.pooling=average"), 3), "^pooling: .*'gem' alone has an expo"),
        (lambda: with_p(model(), 0.5), "^p: 0.5; GeM's exponent is 1"),
        (lambda: network_at(made(), 2), "^size: a map of 1 x 1 cannot be pooled"),
        (lambda: network_at(made(), -1), "^size: -1; the side"),
        (lambda: network_at(made(*vit)), "^size: 40; .*positions for images of 32 px alone"),
        (lambda: resolution.exponents("1,two"), "--p 1,two: expected --p 1,2,3$"),
    ]
    for refused, said in unlike:
        with pytest.raises(UserError, match=said) as caught:
            refused()
        assert "\n" not in str(caught.value)
    split = split_of(made(), "train")
    triplet = "objective=[{'name': 'triplet'}]"
    for name, start, said in ((triplet, 3.0, "neither"), ("model.gem_p=inf", math.inf, "inf")):
        with pytest.raises(UserError, match=said):
            learning(made(name)).exponent(state_of(made(name)), split, start, 1, print)


@pytest.mark.slow
def test_a_run_is_tested_at_another_size_and_stays_as_it_is(
    tmp_path: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    train.run(made("train.steps=12", "evaluate.whiten=60"), folder.path)
    own = json.loads(folder.evaluation.read_text())["test"]
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    sizes = ("--workdir", folder.path, "--size", SIZE, "--p", "1,3", "--learn", 8)
    done = run("resolution", *sizes, data=tiny_data)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in before} == before
    *_, trained, one, three, learnt, command = done.stdout.splitlines()
    evaluate.main(["--workdir", str(folder.path), "--split", "val"])
    val = json.loads(folder.evaluation.read_text())["val"]["metrics"]["ensemble"]
    figures = f"{val['map@r']:.3f} | {100 * val['recall@1']:.1f} |"
    assert re.sub(" +", " ", trained) == f"| 3, as trained | 32 | {figures}"
    assert all(line.split("|")[2].strip() == str(SIZE) for line in (one, three, learnt))
    assert "learned" in learnt and len({one.split("|")[-3], three.split("|")[-3]}) == 2
    asked = command.partition("abe_jax.evaluate ")[2].split()
    p = float(asked[-1])
    assert 1 <= p <= 4 and asked[-3:-1] == [str(SIZE), "--p"]
    evaluate.main(asked)
    evaluate.main(["--workdir", str(folder.path), "--size", "32", "--p", "3"])
    said = capsys.readouterr().out
    found = json.loads(folder.evaluation.read_text())
    named = f"test at {SIZE} px, p={p:g}"
    assert set(found) == {"test", "val", named, "test at 32 px, p=3"} and named in said
    assert found["test"] == own  # what was measured before is not written over
    assert found["test at 32 px, p=3"]["metrics"] == own["metrics"]  # the run's own p and size
    assert found[named]["metrics"] != own["metrics"]
    assert len(list(folder.path.glob("whitening*.npz"))) == 3
    assert named in folder.report.read_text()
    shutil.rmtree(folder.best)
    again = run("resolution", *sizes, data=tiny_data)
    assert again.returncode == 2 and again.stderr.startswith("error: ")
