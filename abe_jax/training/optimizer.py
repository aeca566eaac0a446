"""The optax optimiser that a config names: schedule, clipping and parameter groups."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import optax

from abe_jax.config import Optimizer
from abe_jax.errors import UserError, nearest

_NAMES = ("sgd", "adam", "adamw")
_SCHEDULES = ("constant", "cosine", "step")
_DECAYED = ("kernel", "proxies")

Path = tuple[str, ...]  # of a parameter: the names on the way to it


def schedule(config: Optimizer, steps: int) -> optax.Schedule:
    """The learning rate by step: a linear warm-up, then constant, cosine to 0, or falling in steps.

    Of a training without steps it is constant: no rate is ever asked for.

    Raises:
        UserError: an unknown schedule, a warm-up as long as the training, or boundaries that do
            not rise from behind the warm-up.
    """
    if config.schedule not in _SCHEDULES:
        raise UserError(
            f"config.optimizer.schedule: no schedule is called {config.schedule!r}; "
            f"{nearest(config.schedule, _SCHEDULES)}"
        )
    if config.schedule == "step":
        _check_boundaries(config)
    if not steps:
        return optax.constant_schedule(config.rate)
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


def _check_boundaries(config: Optimizer) -> None:
    marks = (config.warmup, *config.boundaries)
    if len(marks) == 1 or any(a >= b for a, b in itertools.pairwise(marks)):
        raise UserError(
            f"config.optimizer.boundaries: {config.boundaries}; the schedule 'step' falls at one "
            f"or more rising steps, the first behind config.optimizer.warmup={config.warmup}"
        )


def build(
    config: Optimizer,
    steps: int,
    rate: Callable[[Path], float],
    new: Callable[[Path], bool] = lambda path: False,
) -> optax.GradientTransformation:
    """The optimiser: clip, decay, direction, rate, and what multiplies it for each parameter.

    Weight decay acts on the leaves named `kernel` and `proxies` (as NormSoftmax's own recipe has
    it), not on biases or normalisation. With `adam` and `sgd` it is added to the gradient; with
    `adamw` it is decoupled. Proxies that a step did not compare with move all the same where there
    is decay, or what is left of earlier steps in the momentum or the moments.

    The first `config.new_only` steps move the parameters that are `new` and no others: these have
    no update, no decay and no part in the norm that is clipped, and their momentum or moments,
    Adam's count of steps included, begin when that stage ends. Warm-up, boundaries and the cosine
    count from step 0 all the same. One compiled step serves both stages, so the gradients of what
    stands still are computed and thrown away (stages: Zhai and Wu, 2019, arXiv 1811.12649).

    Args:
        config: the optimiser's configuration.
        steps: length of training, which the schedule needs.
        rate: from a parameter's path to what multiplies the learning rate for it.
        new: from a parameter's path to whether the first stage moves it.

    Raises:
        UserError: an unknown optimiser or schedule, or a first stage as long as the training; from
            the optimiser's `init`, a first stage in which nothing would learn.
    """
    if config.name not in _NAMES:
        raise UserError(
            f"config.optimizer.name: no optimiser is called {config.name!r}; "
            f"{nearest(config.name, _NAMES)}"
        )
    _check_stages(config, steps)
    clip = [optax.clip_by_global_norm(config.clip)] if config.clip > 0 else []
    direction = _direction(config)
    if config.new_only:
        clip = [_in_stages(optax.identity(), config.new_only, new), *clip] if clip else []
        direction = [_in_stages(optax.chain(*direction), config.new_only, new)]
    parts = [*clip, *direction]
    parts.append(optax.scale_by_learning_rate(schedule(config, steps)))
    parts.append(optax.stateless(lambda updates, _: _scaled(updates, rate)))
    return optax.chain(*parts)


def _direction(config: Optimizer) -> list[optax.GradientTransformation]:
    """Where a step goes, before its length: decay, and momentum or moments."""
    decay = optax.add_decayed_weights(config.weight_decay, mask=_decayed)
    parts = [optax.trace(config.momentum) if config.name == "sgd" else optax.scale_by_adam()]
    if config.weight_decay:
        parts.insert(len(parts) if config.name == "adamw" else 0, decay)
    return parts


def _check_stages(config: Optimizer, steps: int) -> None:
    if steps and config.new_only >= steps:
        raise UserError(
            f"config.optimizer.new_only: {config.new_only} steps of new layers alone leave "
            f"nothing of config.train.steps={steps}; at most {steps - 1}"
        )


def _in_stages(
    inner: optax.GradientTransformation, new_only: int, new: Callable[[Path], bool]
) -> optax.GradientTransformation:
    """`inner` apart for new parameters and for the others, whose part begins after `new_only`.

    The number of steps so far is part of the state, so the change of stage compiles nothing and a
    resumed run makes it where a whole one does.
    """

    def begun(step: Any, **_: Any) -> Any:
        return step >= new_only

    parts: dict[Any, optax.GradientTransformation] = {"new": inner}
    parts["old"] = optax.conditionally_mask(inner, begun)
    return optax.partition(parts, lambda params: _ages(params, new))


def _ages(params: Any, new: Callable[[Path], bool]) -> Any:
    ages = _by_path(lambda path, _: "new" if new(path) else "old", params)
    if "new" not in jax.tree.leaves(ages):
        raise UserError(
            "config.optimizer.new_only: there are no new layers, and no loss has parameters, so "
            "nothing would learn; set it to 0, or take config.model.head=linear or a loss with "
            "proxies or a classifier"
        )
    return ages


def _decayed(params: Any) -> Any:
    return _by_path(lambda path, _: path[-1] in _DECAYED, params)


def _scaled(updates: Any, rate: Callable[[Path], float]) -> Any:
    def scale(path: Path, update: Any) -> Any:
        factor = rate(path)
        return update if factor == 1.0 else factor * update

    return _by_path(scale, updates)


def _by_path(make: Callable[[Path, Any], Any], tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: make(tuple(key.key for key in path), leaf), tree
    )
