"""Where a training starts: a seed, its latest checkpoint, or another run's stages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from abe_jax import config, step, train
from abe_jax.checkpoint import Checkpoints
from abe_jax.config import Config
from abe_jax.errors import UserError
from abe_jax.run_folder import RunFolder
from abe_jax.training.start import starting_state

TINY = Path(__file__).with_name("tiny_config.py")
SINGLE = ("model.kind=single", "model.learners=1", "seed=5")


@pytest.fixture(autouse=True)
def _promotion() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam promotes its counter
        yield


def made(*overrides: str) -> Config:
    return config.load(TINY, overrides)


def saved_run(folder: Path, made_of: Config) -> step.TrainState:
    """A folder as a run leaves it, with a best checkpoint whose statistics are no defaults."""
    run = RunFolder.create(folder, made_of)
    state = step.create(made_of)
    state = state.replace(batch_stats=jax.tree.map(lambda x: x + 0.5, state.batch_stats))
    state = jax.tree.map(np.asarray, state)
    best = Checkpoints(run.best, 1)
    best.save(state, {"value": 0.5})
    best.close()
    return state


def start(config: Config, folder: Path) -> step.TrainState:
    latest = Checkpoints(folder / "latest", 2)
    try:
        return jax.tree.map(np.asarray, starting_state(config, latest))
    finally:
        latest.close()


def same(left: Any, right: Any) -> bool:
    leaves = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(one, other) for one, other in leaves)


def test_a_seed_gives_one_state_and_another_seed_another(tmp_path: Path) -> None:
    first = start(made(), tmp_path)
    assert same(first, start(made(), tmp_path))
    assert not same(first.params, start(made("seed=1"), tmp_path).params)


def test_the_latest_checkpoint_goes_before_everything(tmp_path: Path) -> None:
    state = jax.tree.map(np.asarray, step.create(made("seed=9")))
    latest = Checkpoints(tmp_path / "latest", 2)
    latest.save(state.replace(step=np.array(7, np.int32)), {})
    latest.close()
    found = start(made("model.weights=/nowhere"), tmp_path)
    assert found.step == 7
    assert same(found.params, state.params)


@pytest.mark.parametrize("kind", ["attention", "heads"])
def test_another_runs_stages_and_statistics_are_taken_and_the_rest_is_new(
    kind: str, tmp_path: Path
) -> None:
    source = saved_run(tmp_path / "single", made(*SINGLE))
    given, fresh = source.params["model"], step.create(made(f"model.kind={kind}"))
    state = start(made(f"model.kind={kind}", f"model.weights={tmp_path / 'single'}"), tmp_path)
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


def test_weights_that_are_none_or_do_not_fit_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.model\.weights: .* is not the folder of a run"):
        start(made(f"model.weights={tmp_path}"), tmp_path)
    RunFolder.create(tmp_path / "untrained", made())
    with pytest.raises(UserError, match="no checkpoint in it"):
        start(made(f"model.weights={tmp_path / 'untrained'}"), tmp_path)
    saved_run(tmp_path / "wide", made(*SINGLE, "model.width=12"))
    with pytest.raises(UserError, match=r"does not fit this model: conv1 has shapes"):
        start(made(f"model.weights={tmp_path / 'wide'}"), tmp_path)
    saved_run(tmp_path / "plain", made(*SINGLE, "model.norm=none"))
    with pytest.raises(UserError, match="has other parameters") as caught:
        start(made(f"model.weights={tmp_path / 'plain'}"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_another_configs_only_once_something_was_saved(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", made())
    again = RunFolder.create(tmp_path / "run", made("seed=1"))
    assert config.read_json(again.config).seed == 1
    saved_run(tmp_path / "run", made("seed=1"))
    RunFolder.create(tmp_path / "run", made("seed=1"))
    with pytest.raises(UserError, match=r"another config \(config.seed: 1, 2\)"):
        RunFolder.create(tmp_path / "run", made("seed=2"))


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
