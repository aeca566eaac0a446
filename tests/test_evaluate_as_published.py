"""A run trained on crops, tested as MultiGrain is published: whole images, p by top-1."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import oracles
import pytest
from states import created_state, on_host
from test_evaluate_other_data import section
from test_evaluation_whitened import saved

from abe_jax import config, evaluation
from abe_jax.cli import evaluate, index, resolution
from abe_jax.config import Config, build, stored
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation import whitening
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.resolution import Resolution, with_p
from abe_jax.training import step
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState

PLAIN = (
    "model.kind=single",
    "model.learners=1",
    "model.width=4",
    "model.pooling=gem",
    "objective=[{'name': 'cross_entropy'}]",
    "data.channels=3",
    "data.mean=()",
    "data.std=()",
    "evaluate.side_step=16",
    "evaluate.ks=(1,2)",
    "evaluate.copies=2",
)


pytestmark = pytest.mark.usefixtures("as_a_user")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes of five pictures, upright and lying."""
    folder = tmp_path_factory.mktemp("pictures")
    for label in range(12):
        (folder / f"thing {label}").mkdir()
        own = np.random.default_rng(label).integers(0, 256, (5, 5, 3))
        for at in range(5):
            noise = np.random.default_rng(100 * label + at).normal(0, 70, own.shape)
            size = (48, 80) if at % 2 else (80, 48)
            picture = cv2.resize(np.clip(own + noise, 0, 255).astype(np.uint8), size)
            cv2.imwrite(str(folder / f"thing {label}" / f"{at}.png"), picture)
    return folder


def of(pictures: Path, *more: str) -> tuple[str, ...]:
    held_out = ("data.held_out=0.3", "data.classes=5", "data.validation_classes=1")
    return (*PLAIN, "data.name=folder", f"data.path={pictures}", *held_out, *more)


def whole_of(run: RunFolder, name: str) -> tuple[Config, Any, Any]:
    """A split's embedding by a network that was made for whole images, and the split."""
    made = config.overridden(config.read_json(run.config), ["evaluate.longest=64"])
    split = build.dataset(made.data).split(name)
    state = step.replicate(created_state(made))
    return made, build.network(made).with_unnormalised(state, split), split


@pytest.mark.slow
def test_a_run_trained_on_crops_is_measured_on_whole_images(pictures, tmp_path):
    run = saved(tmp_path / "run", *of(pictures, "evaluate.whiten=99", "evaluate.grains=True"))
    for asked in (("--longest", "64"), ("--config.evaluate.longest=64",)):
        run.evaluation.unlink(missing_ok=True)
        evaluate.main(["--workdir", str(run.path), *asked])
        assert list(json.loads(run.evaluation.read_text())) == ["test whole at 64 px"]
        found = section(run, "test whole at 64 px")
        _, (embedded, raw), split = whole_of(run, "test")
        expected, _ = oracles.retrieval(embedded.vectors, split.labels, (1, 2))
        assert found["metrics"]["ensemble"] == pytest.approx(expected, abs=1e-3)
        fitted = whitening.fit(whole_of(run, "train")[1][1][:, 0])
        unit = whitening.unit_whitened(fitted, raw[:, 0])
        expected = evaluation.scores(unit, split.labels, (1, 2)).means()
        assert found["metrics"]["whitened"] == pytest.approx(expected, abs=0.01)
        assert set(found["grains"]) == {"class", "copy", "pixels"}
        assert found["grains"]["class"]["images"] == 10  # 2 of each of 5 classes
    kept = {path.name for path in run.path.glob("whitening*.npz")}
    assert kept == {"whitening whole at 64 px.npz"}


def test_an_index_of_a_run_trained_on_crops_takes_whole_images(pictures, tmp_path):
    run = saved(tmp_path / "run", *of(pictures))
    found = stored.at_size(stored.embedder_of_run(run.path), None, 64)
    made = config.overridden(config.read_json(run.config), ["evaluate.longest=64"])
    state = on_host(created_state(made))
    expected = Embedder.of(build.network(made), state.params["model"], state.batch_stats, {})
    assert found.fingerprint == expected.fingerprint
    assert found.description["evaluate"]["longest"] == 64


@pytest.mark.slow
def test_index_build_takes_whole_images(pictures, tmp_path, capsys):
    run = saved(tmp_path / "run", *of(pictures))
    out = ("--images", str(pictures), "--out", str(tmp_path / "index"))
    index.main(["build", "--workdir", str(run.path), *out, "--longest", "64"])
    assert stored.index(tmp_path / "index").embedder.network.longest == 64
    with pytest.raises(UserError, match="not allowed with argument"):
        index.main(["build", "--workdir", "x", *out, "--longest", "64", "--size", "32"])


def test_what_whole_and_cropped_are_called_and_what_they_exclude(pictures):
    network = build.network(config.load(Path(__file__).with_name("tiny_config.py"), of(pictures)))
    tests = [Resolution(longest=64, p=4), Resolution(longest=0), Resolution(size=40)]
    assert [one.words for one in tests] == ["whole at 64 px, p=4", "cropped", "at 40 px"]
    complete = tests[0].network(network)
    assert (complete.longest, complete.preprocessing) == (64, network.preprocessing)
    assert tests[1].network(complete).longest == 0 and tests[1].network(network) is network
    with pytest.raises(ArgumentError, match=r"^size: is of crops"):
        Resolution(size=40, longest=64).network(network)
    for longest, said in ((-1, "^longest: -1; the longest"), (4, "^longest: a map of")):
        with pytest.raises(ArgumentError, match=said):
            Resolution(longest=longest).network(network)


def with_biases(made: Config) -> TrainState:
    """A first state whose biases count, so that the length of what is classified counts as well."""
    state = created_state(made)
    (own,) = state.params["objective"].values()
    own["bias"] = np.linspace(0.0, 0.1, own["bias"].size, dtype=np.float32).reshape(1, -1)
    return state


def top_1(run: RunFolder, longest: int, p: float) -> float:
    """By a loop: of the held-out images the share whose logit is the greatest of all classes."""
    made = config.overridden(config.read_json(run.config), [f"evaluate.longest={longest}"])
    network, state = build.network(made), with_biases(made)
    split = build.dataset(made.data).split("held")
    object.__setattr__(network, "model", with_p(network.model, p))
    raw, image_ids = network.unnormalised(step.replicate(state), split)
    (own,) = state.params["objective"].values()
    right = 0
    for row, image in enumerate(image_ids):
        logits = [
            float(raw[row, 0].astype(np.float64) @ own["kernel"][0, :, label])
            + float(own["bias"][0, label])
            for label in range(made.data.classes)
        ]
        right += int(np.argmax(logits)) == split.labels[image]
    return right / len(image_ids)


@pytest.mark.slow
def test_p_is_chosen_by_top_1_of_held_out_images(pictures, tmp_path, capsys):
    run = saved(tmp_path / "run", *of(pictures), of=with_biases)
    ask = ["--workdir", str(run.path), "--longest", "64", "--p", "1,3,9", "--by", "top1"]
    resolution.main(ask)
    header, _, trained, *tried, command = capsys.readouterr().out.splitlines()
    assert header.split("|")[1:-1] == ["p", "px", "top-1 %"] or "top-1 %" in header
    expected = [top_1(run, 64, p) for p in (1.0, 3.0, 9.0)]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (trained, *tried)]
    assert cells[0] == ["3, as trained", "32", f"{100 * top_1(run, 0, 3.0):.1f}"]
    assert [float(own[-1]) for own in cells[1:]] == pytest.approx(
        [100 * one for one in expected], abs=0.06
    )
    best = (1, 3, 9)[int(np.argmax(expected))]
    assert command.startswith("best on held-out images of training classes: ")
    assert command.endswith(f"--longest 64 --p {best}")


def test_top_1_needs_a_classifier_and_held_out_images(pictures, tmp_path):
    asked = ("--size", "32", "--by", "top1")
    for at, more in enumerate(("data.held_out=0.0", "objective=[{'name': 'triplet'}]")):
        run = saved(tmp_path / str(at), *of(pictures, more))
        with pytest.raises(UserError, match=r"^--by top1: the run has no classifier, or no imag"):
            resolution.main(["--workdir", str(run.path), *asked])
    with pytest.raises(UserError, match=r"^--by: nothing is called 'top-1'; did you mean 'top1'"):
        resolution.main(["--workdir", str(run.path), "--size", "32", "--by", "top-1"])
