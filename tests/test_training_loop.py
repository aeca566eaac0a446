"""The order of what a training does between two steps."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from processes import TINY

from abe_jax import config
from abe_jax.config import build
from abe_jax.data.loader import Batch
from abe_jax.data.split import Split
from abe_jax.training import loop, step
from abe_jax.training.recipe import Recipe
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState
from abe_jax.training.stop import StopRequest
from abe_jax.training.unreadable import Unreadable


def test_hosts_exchange_nothing_behind_a_step_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other hosts may wait in that step still; with what it does not wait for Gloo crashes."""
    asked: list[str] = []

    def failed(metrics: step.Metrics) -> dict[str, float]:
        asked.append("fetch")
        raise RuntimeError("UNKNOWN: Gloo: connection closed by peer")

    labels = np.zeros(1, np.int32)
    batch = Batch(np.zeros((1, 1, 1, 1), np.uint8), labels, labels, np.ones(1, bool))

    def train_step(state: TrainState, of: Batch) -> tuple[TrainState, step.Metrics]:
        return state, {"loss": jnp.zeros(())}

    monkeypatch.setattr(step, "fetch", failed)
    monkeypatch.setattr(Unreadable, "settle", lambda self: asked.append("settle"))
    monkeypatch.setattr(Recipe, "train_step", lambda self: train_step)
    monkeypatch.setattr(Recipe, "batches", lambda *_: iter([batch]))
    recipe = build.recipe(config.load(TINY, ("train.log_every=1",)))
    split = Split(name="train", records=[b""], labels=labels, class_names=("one",))
    start = TrainState(step=np.int32(0), params={}, batch_stats={}, opt_state=())
    sources = loop.Sources(split, None, lambda: start)
    with pytest.raises(RuntimeError, match="closed by peer"):
        loop.fit(recipe, sources, RunFolder(tmp_path), StopRequest(), lambda _: None)
    assert asked == ["fetch"]
