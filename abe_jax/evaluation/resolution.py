"""A run tested at another resolution than it was trained at, with an exponent of GeM for it."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from abe_jax import models
from abe_jax.config import Config
from abe_jax.data.dataset import Split
from abe_jax.errors import UserError
from abe_jax.evaluation.embed import embed_exponents, exponents_step
from abe_jax.evaluation.measure import of_split
from abe_jax.models.backbones.table import backbone
from abe_jax.training import step


@dataclasses.dataclass(frozen=True, kw_only=True)
class At:
    """What a test changes of a run: the side of its images in pixels, and GeM's exponent."""

    size: int | None = None
    p: float | None = None

    @property
    def words(self) -> str:
        """Such as "at 448 px, p=4"; empty where nothing is changed."""
        parts = [f"{self.size} px"] if self.size is not None else []
        parts += [f"p={self.p:g}"] if self.p is not None else []
        return f"at {', '.join(parts)}" if parts else ""

    def of(self, config: Config) -> Config:
        """The configuration of the test; errors are those of `sized` and `with_p`."""
        config = config if self.size is None else sized(config, self.size)
        return config if self.p is None else with_p(config, self.p)

    def of_state(self, state: step.TrainState) -> step.TrainState:
        """The state of the run as the test's network takes it: without the exponent it learned."""
        if self.p is None:
            return state
        kept = models.with_exponent(state.params["model"], None)
        return state.replace(params=state.params | {"model": kept})


def sized(config: Config, size: int) -> Config:
    """The configuration with images of `size` px, scaled before the crop in the same proportion.

    Of a run whose images are evaluated whole, `size` is their longest side.

    Raises:
        UserError: the network takes images of its own size alone, or none as small.
    """
    data = config.data
    if size == (config.evaluate.longest or data.size):
        return config
    if size < 1:
        raise UserError(f"--size {size}: the side of an image in pixels is 1 or more")
    if backbone(config.model.backbone).tokens:
        raise UserError(
            f"--size {size}: {config.model.backbone} has positions for images of {data.size} px "
            "alone"
        )
    if config.evaluate.longest:
        evaluate = dataclasses.replace(config.evaluate, longest=size)
        found = dataclasses.replace(config, evaluate=evaluate)
    else:
        resize = max(size, round(data.resize * size / data.size))
        larger = dataclasses.replace(data, size=size, resize=resize)
        found = dataclasses.replace(config, data=larger)
    require_maps(found, f"--size {size}")
    return found


def require_maps(config: Config, option: str) -> None:
    """Raises UserError, which names `option`, where the network takes no images of the test's size.

    Of whole images those up to twice as long as wide are tried, in steps that stand for all.
    """
    network = models.build(config.model)
    for height, width in _sides(config):
        images = jax.ShapeDtypeStruct((1, height, width, config.data.channels), jnp.float32)
        try:
            jax.eval_shape(lambda x: network.init(jax.random.key(0), x), images)
        except UserError as error:  # what a backbone itself says of its maps; JAX adds lines to it
            said = str(error).splitlines()[0].removeprefix("config.data.size: ")
            raise UserError(f"{option}: {said}") from None
        except (ValueError, ZeroDivisionError):  # of a map without a position
            raise UserError(
                f"{option}: images of {height} x {width} px are too small for "
                f"{config.model.backbone}; name a greater size"
            ) from None


def _sides(config: Config) -> list[tuple[int, int]]:
    size, longest, unit = config.data.size, config.evaluate.longest, config.evaluate.side_step
    if not longest:
        return [(size, size)]
    half = -(-longest // (2 * unit)) * unit
    return [(longest, min(longest, width)) for width in (longest, half, half + unit)]


def with_p(config: Config, p: float) -> Config:
    """The configuration with p as GeM's exponent, no longer learned.

    Raises:
        UserError: another pooling than GeM, or p below 1.
    """
    require_gem(config)
    if not p >= 1:
        raise UserError(f"--p {p:g}: GeM's exponent is 1 (the average) or more; inf is the maximum")
    model = dataclasses.replace(config.model, gem_p=p, gem_learned=False)
    return dataclasses.replace(config, model=model)


def require_gem(config: Config) -> None:
    """Raises UserError where a run has no exponent to choose."""
    if config.model.pooling != "gem":
        raise UserError(
            f"config.model.pooling is {config.model.pooling!r}: of all poolings 'gem' alone has an "
            "exponent p"
        )


def exponent(config: Config, state: step.TrainState) -> float:
    """The exponent p that a run ended with: learned, or that of its configuration."""
    require_gem(config)
    if not config.model.gem_learned:
        return config.model.gem_p
    return float(state.params["model"]["pool"]["p"])


def cross_validated(
    state: step.TrainState, split: Split, config: Config, ps: Sequence[float]
) -> list[dict[str, float]]:
    """The metrics of the ensemble on a split for each exponent p, other parts as they are.

    Args:
        state: the replicated train state.
        split: validation classes: what is chosen by them must not have seen the test classes.
        config: of the run, at the size of the test.
        ps: exponents from 1 on, inf included.
    """
    for p in ps:
        with_p(config, p)
    embed = exponents_step(config, ps)
    each, read = embed_exponents(state, embed, split, config)
    return [of_split(vectors, read, split, config.evaluate) for vectors in each]


def best(found: Sequence[dict[str, float]], select: str) -> int:
    """The place of the highest value of a metric, the first of equals; NaN is never the best."""
    values = [one[select] for one in found]
    return max(range(len(values)), key=lambda i: -math.inf if math.isnan(values[i]) else values[i])
