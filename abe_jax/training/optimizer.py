"""The optimiser: schedule, clipping and parameter groups, as one optax transformation."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from abe_jax.bounds import Amount, Natural
from abe_jax.errors import ArgumentError, require
from abe_jax.training import norms

# Optax takes a quarter of a second to import, which a search does without.
if TYPE_CHECKING:
    import optax

_NAMES = ("sgd", "adam", "adamw")
_SCHEDULES = ("constant", "cosine", "step")
_DECAYED = ("kernel", "proxies")
_BIAS, _GATE = "bias", "gate"  # ends of the names of biases; a gate of batch-instance normalisation

Path = tuple[str, ...]  # of a parameter: the names on the way to it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optax optimiser, its schedule and its parameter groups."""

    name: str = "sgd"  # sgd | adam | adamw
    rate: Amount = 0.01  # peak learning rate
    momentum: Amount = 0.9  # sgd only
    weight_decay: Amount = 0.0
    schedule: str = "constant"  # constant | cosine | step
    warmup: Natural = 0  # steps of linear rise to `rate`
    boundaries: tuple[Natural, ...] = ()  # schedule `step`: where the rate falls
    factor: Amount = 0.1  # schedule `step`: by what it is multiplied there
    clip: Amount = 0.0  # largest global gradient norm; 0: unclipped
    # Multiplies the rate of new layers: masks, and heads; of side heads the last layer alone.
    new_rate: Amount = 1.0
    bias_rate: Amount = 1.0  # multiplies the rate of the network's biases, normalisations' as well
    decay_all: bool = False  # weight decay of all but gates, biases and normalisation as well
    new_only: Natural = 0  # first steps in which only new layers and the losses' parameters learn
    new_restart: bool = False  # what these moved begins anew behind them: empty momentum or moments

    def rates(self, steps: int) -> "optax.Schedule":
        """The learning rate by step: a linear warm-up, then constant, cosine to 0, or in steps.

        Of a training without steps it is constant: no rate is ever asked for.

        Raises:
            ArgumentError: an unknown schedule, a warm-up as long as the training, or boundaries
                that do not rise after the warm-up.
        """
        import optax

        require("schedule", self.schedule, _SCHEDULES)
        if self.schedule == "step":
            self._check_boundaries()
        if not steps:
            return optax.constant_schedule(self.rate)
        if self.warmup >= steps:
            raise ArgumentError(
                "warmup", f"{self.warmup} steps of warm-up leave nothing of {steps} steps"
            )
        if self.schedule == "cosine":
            main = optax.cosine_decay_schedule(self.rate, steps - self.warmup)
        elif self.schedule == "step":
            falls = {boundary - self.warmup: self.factor for boundary in self.boundaries}
            main = optax.piecewise_constant_schedule(self.rate, falls)
        else:
            main = optax.constant_schedule(self.rate)
        if not self.warmup:
            return main
        rise = optax.linear_schedule(0.0, self.rate, self.warmup)
        return optax.join_schedules([rise, main], [self.warmup])

    def _check_boundaries(self) -> None:
        marks = (self.warmup, *self.boundaries)
        if len(marks) == 1 or any(a >= b for a, b in itertools.pairwise(marks)):
            raise ArgumentError(
                "boundaries",
                f"{self.boundaries}; the schedule 'step' falls at one or more rising steps, the "
                f"first after warmup={self.warmup}",
            )

    def build(
        self,
        steps: int,
        rate: Callable[[Path], float],
        new: Callable[[Path], bool] = lambda path: False,
    ) -> "optax.GradientTransformation":
        """The transformation: clip, decay, direction, rate, and each parameter's own factor.

        Weight decay acts on the leaves named `kernel` and `proxies`, not on biases or
        normalisation; with `decay_all` on every leaf but gates (on what losses learn too), as
        MetaBIN's public code has it (with `bias_rate` 2). With `adam` and `sgd` it is added to the
        gradient; with `adamw` it is decoupled. Proxies that a step did not compare with move all
        the same where there is decay, or what is left of earlier steps in the momentum or the
        moments.

        The first `new_only` steps move the parameters that are `new` and no others: these have no
        update, no decay and no part in the norm that is clipped, and their momentum or moments,
        Adam's count of steps included, begin when that stage ends. With `new_restart` those of the
        new parameters begin then as well, as in the public code of Zhai and Wu (2019, arXiv
        1811.12649), whose stages these are: it makes an optimiser for each. Warm-up, boundaries
        and the cosine count from step 0 all the same. One compiled step serves both stages, so the
        gradients of what stands still are computed and thrown away.

        Args:
            steps: length of training, which the schedule needs.
            rate: from a parameter's path to what multiplies the learning rate for it.
            new: from a parameter's path to whether the first stage moves it.

        Raises:
            ArgumentError: an unknown optimiser or schedule, or a first stage as long as the
                training; from the transformation's `init`, a first stage in which nothing learns.
        """
        import optax

        require("name", self.name, _NAMES)
        if steps and self.new_only >= steps:
            raise ArgumentError(
                "new_only",
                f"{self.new_only} steps of new layers alone leave nothing of {steps} steps; at "
                f"most {steps - 1}",
            )
        clip = [norms.clipped(self.clip)] if self.clip > 0 else []
        direction = self._direction()
        if self.new_only:
            clip = [_in_stages(optax.identity(), self.new_only, new), *clip] if clip else []
            chained = optax.chain(*direction)
            direction = [_in_stages(chained, self.new_only, new, restart=self.new_restart)]
        parts = [*clip, *direction]
        parts.append(optax.scale_by_learning_rate(self.rates(steps)))
        parts.append(optax.stateless(lambda updates, _: _scaled(updates, self._own(rate))))
        return optax.chain(*parts)

    def _own(self, rate: Callable[[Path], float]) -> Callable[[Path], float]:
        """What multiplies the learning rate of a parameter, biases' own factor with it."""
        return lambda path: rate(path) * (self.bias_rate if path[-1].endswith(_BIAS) else 1.0)

    def _direction(self) -> "list[optax.GradientTransformation]":
        """Where a step goes, before its length: decay, and momentum or moments."""
        import optax

        mask = _all_but_gates if self.decay_all else _decayed
        decay = optax.add_decayed_weights(self.weight_decay, mask=mask)
        parts = [optax.trace(self.momentum) if self.name == "sgd" else optax.scale_by_adam()]
        if self.weight_decay:
            parts.insert(len(parts) if self.name == "adamw" else 0, decay)
        return parts


class _Counted(NamedTuple):
    """A transformation's state, and how many steps it has made."""

    inner: Any
    step: Any


def _anew(inner: "optax.GradientTransformation", at: int) -> "optax.GradientTransformation":
    """`inner` whose state before the step `at` is its first one again."""
    import optax

    def init(params: Any) -> _Counted:
        return _Counted(inner.init(params), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, _Counted]:
        begins = state.step == at
        fresh = inner.init(params)
        own = jax.tree.map(lambda first, now: jnp.where(begins, first, now), fresh, state.inner)
        updates, own = inner.update(updates, own, params)
        return updates, _Counted(own, state.step + 1)

    return optax.GradientTransformation(init, update)


def _in_stages(
    inner: "optax.GradientTransformation",
    new_only: int,
    new: Callable[[Path], bool],
    *,
    restart: bool = False,
) -> "optax.GradientTransformation":
    """`inner` apart for new parameters and for the others, whose part begins after `new_only`.

    With `restart` the new parameters' part begins again then.

    The number of steps so far is part of the state, so the change of stage compiles nothing and a
    resumed run makes it where a whole one does.
    """

    import optax

    def begun(step: Any, **_: Any) -> Any:
        return step >= new_only

    parts: dict[Any, Any] = {"new": _anew(inner, new_only) if restart else inner}
    parts["old"] = optax.conditionally_mask(inner, begun)
    return optax.partition(parts, lambda params: _new_or_old(params, new))


def _new_or_old(params: Any, new: Callable[[Path], bool]) -> Any:
    ages = _by_path(lambda path, _: "new" if new(path) else "old", params)
    if "new" not in jax.tree.leaves(ages):
        raise ArgumentError(
            "new_only",
            "there are no new layers, and no loss has parameters, so nothing would learn; set it "
            "to 0, or take a model with head='linear' or a loss with proxies or a classifier",
        )
    return ages


def _decayed(params: Any) -> Any:
    return _by_path(lambda path, _: path[-1] in _DECAYED, params)


def _all_but_gates(params: Any) -> Any:
    return _by_path(lambda path, _: path[-1] != _GATE, params)


def _scaled(updates: Any, rate: Callable[[Path], float]) -> Any:
    def scale(path: Path, update: Any) -> Any:
        factor = rate(path)
        return update if factor == 1.0 else factor * update

    return _by_path(scale, updates)


def _by_path(make: Callable[[Path, Any], Any], tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: make(tuple(key.key for key in path), leaf), tree
    )
