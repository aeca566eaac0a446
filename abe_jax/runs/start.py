"""The state that a training starts from: the latest checkpoint, others' stages, or a seed."""

from typing import Any

from abe_jax import models, pretrained
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.config import Config, read_json
from abe_jax.runs.folder import RunFolder
from abe_jax.config.resolve import require_fit, run_of

Stages = dict[str, Any]  # stage -> tree of arrays


def starting_state(config: Config, latest: Checkpoints) -> step.TrainState:
    """The latest checkpoint where there is one, otherwise the state before the first step.

    Raises:
        UserError: a damaged checkpoint, or config.model.weights that does not fit.
    """
    if latest.steps():
        return latest.restore(step.abstract(config))[0]
    state = step.create(config)
    return _with_weights(state, config) if config.model.weights else state


def _with_weights(state: step.TrainState, config: Config) -> step.TrainState:
    folder = run_of(config.model.weights)
    params, batch_stats = _of_run(folder) if folder else _named(config)
    # Position embeddings are those of one size of image.
    params = pretrained.fitted(params, models.stage_params(state.params["model"]))
    grafted = models.graft(state.params["model"], params)
    statistics = state.batch_stats
    if statistics:
        statistics = models.graft(statistics, batch_stats)
    return state.replace(params={**state.params, "model": grafted}, batch_stats=statistics)


def _of_run(folder: RunFolder) -> tuple[Stages, Stages]:
    """The stages of a run's best checkpoint and their statistics."""
    best = Checkpoints(folder.best, 1)
    other, _ = best.restore(step.abstract(read_json(folder.config)))
    best.close()
    return models.stage_params(other.params["model"]), models.stage_params(other.batch_stats)


def _named(config: Config) -> tuple[Stages, Stages]:
    """The stages of weights that others trained."""
    found = pretrained.load(config.model.weights)
    require_fit(config.model, found)
    return found.params, found.batch_stats
