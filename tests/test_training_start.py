"""Where a training starts: a seed, its latest checkpoint, or another run's stages."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from states import created_state, on_host, resolved

from abe_jax import config, models, pretrained
from abe_jax.cli import train
from abe_jax.config import Config, build, weights
from abe_jax.config.resume import claim
from abe_jax.config.training import prepare_training, starting_state
from abe_jax.errors import UserError
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.recipe import Recipe
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState
from abe_jax.training.stop import StopRequest

TINY = Path(__file__).with_name("tiny_config.py")
SINGLE = ("model.kind=single", "model.learners=1", "seed=5")


pytestmark = pytest.mark.usefixtures("promotion")


def made(*overrides: str) -> Config:
    return config.load(TINY, overrides)


def claim_run_folder(path: Path, asked: Config) -> RunFolder:
    folder = RunFolder(path)
    with folder.alone():
        claim(folder, asked)
    return folder


def saved_run(folder: Path, made_of: Config) -> TrainState:
    """A folder as a run leaves it, with a best checkpoint whose statistics are no defaults."""
    run = claim_run_folder(folder, made_of)
    state = created_state(made_of)
    state = state.replace(batch_stats=jax.tree.map(lambda x: x + 0.5, state.batch_stats))
    state = jax.tree.map(np.asarray, state)
    best = Checkpoints(run.best, 1)
    best.save(state, {"value": 0.5})
    best.close()
    return state


def start(config: Config) -> TrainState:
    return on_host(starting_state(config, build.recipe(config)))


def same(left: Any, right: Any) -> bool:
    leaves = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(one, other) for one, other in leaves)


def test_a_seed_gives_one_state_and_another_seed_another() -> None:
    first = start(made())
    assert same(first, start(made()))
    assert not same(first.params, start(made("seed=1")).params)


def test_the_latest_checkpoint_goes_before_everything(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))
    asked = resolved(made("optimizer.warmup=0", "train.steps=7"))
    state = on_host(created_state(made("seed=9", "optimizer.warmup=0", "train.steps=7")))
    folder = claim_run_folder(tmp_path / "run", asked)
    latest = Checkpoints(folder.latest, 2)
    latest.save(state.replace(step=np.array(7, np.int32)), {})
    latest.close()
    assert prepare_training(asked, folder.path, print).fit(
        StopRequest(), print
    )  # nothing left to train
    best = Checkpoints(folder.best, 1)
    restored, _ = best.restore(build.recipe(asked).abstract())
    best.close()
    assert restored.step == 7
    assert same(restored.params, state.params)


@pytest.mark.parametrize("kind", ["attention", "heads"])
def test_another_runs_stages_and_statistics_are_taken_and_the_rest_is_new(
    kind: str, tmp_path: Path
) -> None:
    source = saved_run(tmp_path / "single", made(*SINGLE))
    given, fresh = source.params["model"], created_state(made(f"model.kind={kind}"))
    state = start(made(f"model.kind={kind}", f"model.weights={tmp_path / 'single'}"))
    found = state.params["model"]
    assert state.step == 0
    assert same(found["encoder"], given["encoder"])
    assert same(state.batch_stats["encoder"], source.batch_stats["encoder"])
    if kind == "attention":
        assert same(found["decoder"], given["decoder"])
        assert same(found["trunk"]["conv3"], given["decoder"]["conv3"])
        assert same(state.batch_stats["trunk"]["conv3"], source.batch_stats["decoder"]["conv3"])
        assert same(found["mask_heads"], fresh.params["model"]["mask_heads"])
    else:
        assert same(found["decoder"]["head0"], given["decoder"])
        assert same(found["decoder"]["head1"], given["decoder"])
    assert same(found["head"], fresh.params["model"]["head"])
    assert not same(found["encoder"], fresh.params["model"]["encoder"])


def test_a_runs_positions_are_made_to_fit_another_size_of_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_run(tmp_path / "run", made(*SINGLE))
    given = {"embed": {"pos": np.ones((1, 5, 3), np.float32)}}  # of a vision transformer
    monkeypatch.setattr(weights, "_of_run", lambda folder: (given, {}))
    params = {"model": {"encoder": {"embed": {"pos": np.zeros((1, 10, 3), np.float32)}}}}
    state = TrainState(step=0, params={**params, "objective": {}}, batch_stats={}, opt_state=0)
    asked = made(f"model.weights={tmp_path / 'run'}", "data.size=48", "data.resize=48")
    monkeypatch.setattr(Recipe, "create", lambda self: state)
    found = starting_state(asked, build.recipe(asked))
    np.testing.assert_allclose(found.params["model"]["encoder"]["embed"]["pos"], 1, rtol=1e-6)


def stored(path: Path, made_of: Config) -> pretrained.Weights:
    """A file of weights for the config's backbone, drawn from its seed and normalised oddly."""
    state = jax.tree.map(np.asarray, created_state(made_of))
    statistics = jax.tree.map(lambda x: x + 0.5, state.batch_stats)
    found = pretrained.Weights(
        backbone="convnet",
        norm="batch",
        mean=(20.0,),
        std=(60.0,),
        source="a test",
        params=models.stage_params(state.params["model"]),
        batch_stats=models.stage_params(statistics),
    )
    pretrained.write(found, path)
    return found


@pytest.mark.parametrize("kind", ["attention", "heads"])
def test_a_files_stages_and_statistics_are_taken_and_the_rest_is_new(
    kind: str, tmp_path: Path
) -> None:
    given = stored(tmp_path / "w.npz", made(*SINGLE))
    asked, fresh = made(f"model.kind={kind}"), created_state(made(f"model.kind={kind}"))
    state = start(made(f"model.kind={kind}", f"model.weights={tmp_path / 'w.npz'}"))
    net, statistics = state.params["model"], state.batch_stats
    decoders = [net["decoder"]] if kind == "attention" else list(net["decoder"].values())
    parts = [net["encoder"], *decoders]
    if kind == "attention":
        parts.append(net["trunk"])
        assert same(statistics["trunk"]["conv3"], given.batch_stats["conv3"])
    for part in parts:
        for name, stage in part.items():
            assert same(stage, given.params[name])
    assert same(statistics["encoder"]["conv2"], given.batch_stats["conv2"])
    assert same(net["head"], fresh.params["model"]["head"])
    assert jax.tree.structure(state) == jax.tree.structure(build.recipe(asked).abstract())


def test_a_file_trained_with_batch_normalisation_fits_batch_instance_normalisation(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))
    given = stored(tmp_path / "w.npz", made(*SINGLE))
    saved_run(tmp_path / "run", made(*SINGLE))  # of the same seed
    for source in ("w.npz", "run"):
        asked = resolved(made("model.norm=bin", f"model.weights={tmp_path / source}"))
        state = start(asked)
        assert jax.tree.structure(state) == jax.tree.structure(build.recipe(asked).abstract())
        own, norm = given.params["conv2"], state.params["model"]["encoder"]["conv2"]["norm"]
        assert same(state.params["model"]["encoder"]["conv2"]["conv"], own["conv"])
        for name in ("scale", "bias"):
            assert same(norm[name], own["norm"][name])
            assert same(norm[f"instance_{name}"], own["norm"][name])
        assert (norm["gate"] == 1).all()
        assert same(state.batch_stats["encoder"]["conv2"], given.batch_stats["conv2"])


def test_a_file_of_another_network_is_one_line(tmp_path: Path) -> None:
    stored(tmp_path / "w.npz", made(*SINGLE, "model.width=12"))
    with pytest.raises(UserError, match=r"not fit this model: conv1 has shapes"):
        start(made(f"model.weights={tmp_path / 'w.npz'}"))
    for override, says in [
        ("model.norm=none", "set config.model.norm to 'batch'"),
        ("model.norm=", "set config.model.norm to 'batch'"),
        ("model.backbone=googlenet", "set config.model.backbone to 'convnet'"),
        ("data.channels=3", "set config.data.channels to 1"),
    ]:
        with pytest.raises(UserError, match=says) as caught:
            resolved(made(override, f"model.weights={tmp_path / 'w.npz'}"))
        assert "\n" not in str(caught.value)


OPEN = ("data.mean=()", "data.std=()")


def test_what_a_config_leaves_open_is_filled_in(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))
    stored(tmp_path / "w.npz", made(*SINGLE))
    saved_run(tmp_path / "run", made(*SINGLE))
    named = f"model.weights={tmp_path / 'w.npz'}"
    classes = build.dataset(made().data).classes

    def found(*overrides: str) -> tuple:
        data = resolved(made(*overrides)).data
        return data.mean, data.std, data.classes

    assert found() == ((40.0,), (75.0,), classes)
    assert found(*OPEN) == ((), (), classes)
    assert found(*OPEN, named) == ((20.0,), (60.0,), classes)
    assert found(*OPEN, f"model.weights={tmp_path / 'run'}") == ((40.0,), (75.0,), classes)
    assert found("data.std=()", named) == ((40.0,), (), classes)  # what is said stays as said
    assert found("data.classes=99")[-1] == 99
    once = resolved(made(*OPEN, named))
    assert resolved(once) == once


def test_a_run_that_goes_on_asks_for_its_weights_no_more(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))
    weights_file = tmp_path / "w.npz"
    stored(weights_file, made(*SINGLE))
    asked = made(*SINGLE, *OPEN, f"model.weights={weights_file}")
    saved_run(tmp_path / "run", resolved(asked))
    begun = RunFolder(tmp_path / "run")
    weights_file.unlink()
    assert resolved(asked, begun) == config.read_json(begun.config)
    with pytest.raises(UserError, match="names no weights"):
        resolved(asked, RunFolder(tmp_path / "new"))


def test_another_normalisation_than_the_weights_own_is_warned_of(tmp_path: Path) -> None:
    stored(tmp_path / "w.npz", made(*SINGLE))  # mean 20, std 60
    named = f"model.weights={tmp_path / 'w.npz'}"
    for near in (("data.mean=(20.,)", "data.std=(60.,)"), ("data.mean=(21.,)", "data.std=(61.,)")):
        assert not weights.normalisation_warnings(made(*near, named))
    for far in (("data.mean=(20.,)", "data.std=()"), ("data.mean=(60.,)", "data.std=(60.,)")):
        (line,) = weights.normalisation_warnings(made(*far, named))
        assert "left empty" in line and "(20.0,) and (60.0,)" in line


def test_without_steps_the_weights_are_evaluated_as_they_are(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))
    stored(tmp_path / "w.npz", made(*SINGLE))
    named = (*SINGLE, *OPEN, f"model.weights={tmp_path / 'w.npz'}")
    asked = made(*named, "model.head=none", "model.dim=32", "train.steps=0")
    folder = RunFolder(tmp_path / "run")
    train.run(asked, folder.path)
    kept = config.read_json(folder.config)
    assert kept.data.mean == (20.0,) and kept.data.classes > 0
    for place in (folder.latest, folder.best):
        held_out = Checkpoints(place, 1)
        state, _ = held_out.restore(build.recipe(kept).abstract())
        held_out.close()
        assert state.step == 0
        assert same(state.params, start(kept).params)
    found = json.loads(folder.evaluation.read_text())["test"]
    assert found["step"] == 0 and 0.05 < found["metrics"]["ensemble"]["recall@1"] <= 1
    rows = folder.metrics.read_text().splitlines()
    assert len(rows) == 2 and rows[1].startswith("0,")
    folder.evaluation.unlink()
    train.run(asked, folder.path)  # goes on: there is nothing more to do
    assert json.loads(folder.evaluation.read_text())["test"]["metrics"] == found["metrics"]
    assert folder.metrics.read_text().splitlines() == rows


def test_weights_that_are_none_or_do_not_fit_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.model\.weights: .* is not the folder of a run"):
        start(made(f"model.weights={tmp_path}"))
    claim_run_folder(tmp_path / "untrained", made())
    with pytest.raises(UserError, match="no checkpoint in it"):
        start(made(f"model.weights={tmp_path / 'untrained'}"))
    saved_run(tmp_path / "wide", made(*SINGLE, "model.width=12"))
    with pytest.raises(UserError, match=r"not fit this model: conv1 has shapes"):
        start(made(f"model.weights={tmp_path / 'wide'}"))
    saved_run(tmp_path / "plain", made(*SINGLE, "model.norm=none"))
    with pytest.raises(UserError, match="has other parameters") as caught:
        start(made(f"model.weights={tmp_path / 'plain'}"))
    assert "\n" not in str(caught.value)


def test_a_folder_is_another_configs_only_once_something_was_saved(tmp_path: Path) -> None:
    claim_run_folder(tmp_path / "run", made())
    again = claim_run_folder(tmp_path / "run", made("seed=1"))
    assert config.read_json(again.config).seed == 1
    saved_run(tmp_path / "run", made("seed=1"))
    claim_run_folder(tmp_path / "run", made("seed=1"))
    with pytest.raises(UserError, match=r"another config \(config.seed: 1, 2\)"):
        claim_run_folder(tmp_path / "run", made("seed=2"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        SINGLE,
        ("model.kind=heads",),
        ("model.compute=bfloat16",),
        ("optimizer.name=sgd", "data.sampler=pairs", "objective.0.pairs=adjacent"),
    ],
    ids=["single", "heads", "bfloat16", "pairs"],
)
def test_every_kind_trains_to_the_end(
    overrides: tuple[str, ...], tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))
    train.run(made(*overrides, "train.steps=6"), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]
    learners = 1 if overrides is SINGLE else 2
    assert len(found["metrics"]["learners"]) == learners
    assert 0.05 < found["metrics"]["ensemble"]["recall@1"] <= 1  # chance is 1 in 18
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
