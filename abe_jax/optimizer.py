"""The optax optimiser that a config names: schedule, clipping and parameter groups."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from abe_jax.config import Optimizer, nearest
from abe_jax.errors import UserError

_NAMES = ("sgd", "adam", "adamw")
_SCHEDULES = ("constant", "cosine", "step")


def schedule(config: Optimizer, steps: int) -> optax.Schedule:
    """The learning rate by step: a linear warm-up, then constant, cosine to 0, or falling in steps.

    Raises:
        UserError: an unknown schedule, or a warm-up as long as the training.
    """
    if config.schedule not in _SCHEDULES:
        raise UserError(
            f"config.optimizer.schedule: no schedule is called {config.schedule!r}; "
            f"{nearest(config.schedule, _SCHEDULES)}"
        )
    if config.warmup >= steps:
        raise UserError(
            f"config.optimizer.warmup: {config.warmup} steps of warm-up leave nothing of "
            f"config.train.steps={steps}"
        )
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(config.rate, steps - config.warmup)
    elif config.schedule == "step":
        falls = {boundary - config.warmup: config.factor for boundary in config.boundaries}
        main = optax.piecewise_constant_schedule(config.rate, falls)
    else:
        main = optax.constant_schedule(config.rate)
    if not config.warmup:
        return main
    rise = optax.linear_schedule(0.0, config.rate, config.warmup)
    return optax.join_schedules([rise, main], [config.warmup])


def build(
    config: Optimizer, steps: int, is_new: Callable[[tuple[str, ...]], bool]
) -> optax.GradientTransformation:
    """The optimiser: clip, decay, direction, rate, and the new layers' own rate.

    Weight decay acts on the leaves named `kernel`, not on biases or normalisation. With `adam`
    and `sgd` it is added to the gradient; with `adamw` it is decoupled.

    Args:
        config: the optimiser's configuration.
        steps: length of training, which the schedule needs.
        is_new: from a parameter's path to whether it is in the group of new layers.

    Raises:
        UserError: an unknown optimiser or schedule.
    """
    if config.name not in _NAMES:
        raise UserError(
            f"config.optimizer.name: no optimiser is called {config.name!r}; "
            f"{nearest(config.name, _NAMES)}"
        )
    parts = []
    if config.clip > 0:
        parts.append(optax.clip_by_global_norm(config.clip))
    decay = optax.add_decayed_weights(config.weight_decay, mask=_kernels)
    if config.weight_decay and config.name != "adamw":
        parts.append(decay)
    parts.append(optax.trace(config.momentum) if config.name == "sgd" else optax.scale_by_adam())
    if config.weight_decay and config.name == "adamw":
        parts.append(decay)
    parts.append(optax.scale_by_learning_rate(schedule(config, steps)))
    if config.new_rate != 1.0:
        parts.append(
            optax.masked(optax.scale(config.new_rate), lambda params: _where(is_new, params))
        )
    return optax.chain(*parts)


def _kernels(params: Any) -> Any:
    return _where(lambda path: path[-1] == "kernel", params)


def _where(is_new: Callable[[tuple[str, ...]], bool], params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: is_new(tuple(key.key for key in path)), params
    )
