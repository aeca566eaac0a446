"""A run tested at another resolution: p by cross-validation, p learned alone, and what is kept."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import run

from abe_jax import config, evaluation, models
from abe_jax.cli import evaluate, resolution, train
from abe_jax.config import Config
from abe_jax.data import dataset, loader
from abe_jax.errors import UserError
from abe_jax.evaluation.embed import at_exponents, embed, exponents_step
from abe_jax.evaluation.resolution import At, best, cross_validated, exponent, sized, with_p
from abe_jax.models.counting import multiply_adds
from abe_jax.runs.exponent import BATCH, PER_CLASS, classification, learned, order
from abe_jax.runs.folder import RunFolder
from abe_jax.training import step

TINY = Path(__file__).with_name("tiny_config.py")
GEM = (
    "model.kind=single",
    "model.learners=1",
    "model.width=4",
    "model.pooling=gem",
    "objective=[{'name': 'cross_entropy'}]",
    "data.classes=35",
)
SIZE = 40


@pytest.fixture(autouse=True)
def _settings(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam promotes its counter
        yield


def made(*overrides: str) -> Config:
    return config.load(TINY, (*GEM, *overrides))


def state_of(made_of: Config) -> step.TrainState:
    """A state whose running statistics are no defaults."""
    state = jax.tree.map(np.asarray, step.create(made_of))
    stats = jax.tree.map(lambda x: x * np.float32(0.1) + np.float32(0.02), state.batch_stats)
    return state.replace(batch_stats=stats)


def batch_of(made_of: Config, count: int = 8) -> loader.Batch:
    return next(loader.in_order(dataset.load(made_of.data, "train"), made_of.data, count))


def test_each_exponent_gives_the_vectors_of_a_network_made_with_it() -> None:
    plain = made()
    state = state_of(plain)
    tested, ps = sized(plain, SIZE), (4.5, float("inf"), 1.0)
    batch = batch_of(tested)
    assert batch.images.shape[1] == SIZE
    replicated = step.replicate(state)
    found = exponents_step(tested, ps)(replicated, batch)
    assert found.shape == (8, 3, 1, 16)
    for place, p in enumerate(ps[:2]):
        wanted = step.embed_step(with_p(tested, p))(replicated, batch)
        np.testing.assert_allclose(found[:, place], wanted, atol=2e-5)
    apart = np.abs(found[:, :-1] - found[:, 1:]).max(axis=(0, 2, 3))
    assert (apart > 1e-3).all()


def test_the_network_runs_once_for_all_exponents() -> None:
    learned_p = made("model.gem_learned=True").model
    model, images = models.build(learned_p), jax.ShapeDtypeStruct((1, 40, 40, 1), jnp.float32)
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
    val, state = dataset.load(plain.data, "val"), step.replicate(state_of(plain))
    found = cross_validated(state, val, plain, [3.0, 8.0])
    embedded = embed(state, step.embed_step(plain), val, plain)
    labels = val.labels[embedded.instances]
    own = evaluation.scores(embedded.vectors, labels, plain.evaluate.ks).means()
    assert found[0] == pytest.approx(own, abs=0.003)  # two programs round a vector apart
    assert set(found[0]) == set(own) and found[1] != found[0]


def test_a_learned_exponent_is_replaced_by_the_tests() -> None:
    run_of = made("model.gem_learned=True", "model.gem_p=2.5")
    state, at = state_of(run_of), At(size=SIZE, p=4)
    assert exponent(run_of, state) == 2.5 and exponent(made(), state_of(made())) == 3
    assert "pool" in state.params["model"] and "pool" not in at.of_state(state).params["model"]
    batch = batch_of(at.of(run_of))
    found = step.embed_step(at.of(run_of))(step.replicate(at.of_state(state)), batch)
    each = exponents_step(sized(run_of, SIZE), (4.0,))(step.replicate(state), batch)
    np.testing.assert_allclose(found, each[:, 0], atol=2e-5)


@pytest.mark.parametrize("term", ["cross_entropy", "norm_softmax"])
def test_gradient_of_p_is_that_of_finite_differences(term: str) -> None:
    subsample = ", 'subsample': 4" if term == "norm_softmax" else ""
    tested = sized(made(f"objective=[{{'name': '{term}', 'weight': 0.25{subsample}}}]"), SIZE)
    run_loss, state = jax.jit(classification(tested)), state_of(tested)

    def loss(p: Any, batch: loader.Batch) -> Any:
        return run_loss(jnp.float32(p), state, batch)

    batch, p, h = batch_of(tested), 2.5, 0.05
    found = float(jax.jit(jax.grad(loss))(p, batch))
    up, down = (float(loss(p + h * side, batch)) for side in (1, -1))
    assert abs(found) > 1e-3
    assert found == pytest.approx((up - down) / (2 * h), rel=0.01)
    black = batch._replace(images=batch.images * np.uint8(0), mask=batch.mask & False)
    both = loader.Batch(*(np.concatenate(pair) for pair in zip(batch, black, strict=True)))
    assert float(loss(p, both)) == pytest.approx(float(loss(p, batch)))


def test_p_alone_is_learned_by_the_recipes_steps() -> None:
    tested = sized(made("data.padding=3", "data.flip=True"), SIZE)
    split, state, said = dataset.load(tested.data, "train"), state_of(made()), []
    before = jax.tree.map(np.copy, state)
    found = learned(state, split, tested, 3, said.append)
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True)
    assert all(np.array_equal(one, other) for one, other in leaves)
    gradient, p, speed = jax.jit(jax.grad(classification(tested))), 3.0, 0.0
    rows = order(split.labels, tested.seed, 3)
    whole = next(loader.in_order(split, tested.data, len(split.labels)))  # neither crop nor flip
    for i in range(3):
        batch = loader.Batch(*(part[rows[i * BATCH : (i + 1) * BATCH]] for part in whole))
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
    data = At(size=48).of(plain).data
    assert (data.size, data.resize) == (48, 54)
    assert At().of(plain) is plain and sized(plain, 32) is plain
    words = [At().words, At(size=48).words, At(p=2.5).words, At(size=48, p=4).words]
    assert words == ["", "at 48 px", "at p=2.5", "at 48 px, p=4"]
    tested = At(p=2.5).of(made("model.gem_learned=True")).model
    assert (tested.gem_p, tested.gem_learned) == (2.5, False)


def test_best_is_the_first_of_the_highest() -> None:
    values = [{"map@r": v} for v in (float("nan"), 0.2, 0.5, 0.5, 0.1)]
    assert best(values, "map@r") == 2


def test_what_has_no_exponent_or_no_classifier_is_one_line() -> None:
    vit = ("model.backbone=vit_s16", "model.branch=block6", "model.norm=", "data.channels=3")
    unlike: list[tuple[Any, str]] = [
        (lambda: with_p(made("model.pooling=average"), 3), "'gem' alone has an exponent"),
        (lambda: with_p(made(), 0.5), "--p 0.5: GeM's exponent is 1"),
        (lambda: sized(made(), 2), "--size 2: a map of 1 x 1 cannot be pooled"),
        (lambda: sized(made(), -1), "--size -1: the side"),
        (lambda: sized(made(*vit), SIZE), "positions for images of 32 px alone"),
        (lambda: resolution.exponents("1,two"), "is written --p 1,2,3,4,5"),
    ]
    for refused, said in unlike:
        with pytest.raises(UserError, match=said) as caught:
            refused()
        assert "\n" not in str(caught.value)
    split = dataset.load(made().data, "train")
    for name, said in (("objective=[{'name': 'triplet'}]", "neither"), ("model.gem_p=inf", "inf")):
        with pytest.raises(UserError, match=said):
            learned(state_of(made(name)), split, made(name), 1, print)


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
    figures = f"{100 * val['recall@1']:.1f} | {val['map@r']:.3f} |"
    assert re.sub(" +", " ", trained) == f"| 3, as trained | 32 | {figures}"
    assert all(line.split("|")[2].strip() == str(SIZE) for line in (one, three, learnt))
    assert "learned" in learnt and len({one.split("|")[-2], three.split("|")[-2]}) == 2
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
