"""The state that a training starts from: the latest checkpoint, another run's stages, or a seed."""

from pathlib import Path

from abe_jax import models, step
from abe_jax.checkpoint import Checkpoints
from abe_jax.config import Config, read_json
from abe_jax.errors import UserError
from abe_jax.run_folder import RunFolder


def starting_state(config: Config, latest: Checkpoints) -> step.TrainState:
    """The latest checkpoint where there is one, otherwise the state before the first step.

    Raises:
        UserError: a damaged checkpoint, or config.model.weights that does not fit.
    """
    if latest.steps():
        return latest.restore(step.abstract(config))[0]
    state = step.create(config)
    return _with_weights(config, state) if config.model.weights else state


def _with_weights(config: Config, state: step.TrainState) -> step.TrainState:
    source = RunFolder(Path(config.model.weights))
    if not source.config.exists():
        raise UserError(
            f"config.model.weights: {source.path} is not the folder of a run (no config.json)"
        )
    best = Checkpoints(source.best, 1)
    other, _ = best.restore(step.abstract(read_json(source.config)))
    best.close()
    grafted = models.graft(state.params["model"], models.stage_params(other.params["model"]))
    statistics = state.batch_stats
    if statistics:
        statistics = models.graft(statistics, models.stage_params(other.batch_stats))
    return state.replace(params={**state.params, "model": grafted}, batch_stats=statistics)
