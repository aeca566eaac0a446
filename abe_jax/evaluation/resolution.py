"""A network tested at another resolution than it was trained at, with GeM's exponent for it."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from abe_jax import models
from abe_jax.data.images import sides
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.images.sides import Sides
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation import grains
from abe_jax.evaluation.grain_levels import HeldOut
from abe_jax.evaluation.measure import ensemble_metrics
from abe_jax.evaluation.network import Embedded, Network
from abe_jax.evaluation.options import Measures
from abe_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolution:
    """What a test changes of a network: the sides of its images in pixels, and GeM's exponent.

    `longest` has images embedded whole, their longest side so many px, whatever the network was
    trained on; 0: cropped. `size` is then left out.
    """

    size: Sides | None = None
    p: float | None = None
    longest: int | None = None

    @property
    def words(self) -> str:
        """Such as "at 448 px, p=4" or "whole at 500 px"; empty where nothing is changed."""
        parts = [sides.words(self.size)] if self.size is not None else []
        parts += [f"{self.longest} px"] if self.longest else []
        parts += [f"p={self.p:g}"] if self.p is not None else []
        how = "" if self.longest is None else "whole" if self.longest else "cropped"
        at = f"at {', '.join(parts)}" if parts else ""
        return " ".join(filter(None, (how, at)))

    def network(self, trained: Network) -> Network:
        """The network of the test; errors are those of `with_longest`, `resized` and `with_p`."""
        if self.size is not None and self.longest:
            raise ArgumentError(
                "size", "is of crops; of images embedded whole `longest` alone says how large"
            )
        network = trained if self.longest is None else with_longest(trained, self.longest)
        network = network if self.size is None else resized(network, self.size)
        if self.p is None:
            return network
        return dataclasses.replace(network, model=with_p(network.model, self.p))

    def state(self, trained: TrainState) -> TrainState:
        """The state as the test's network takes it: without an exponent that was learned."""
        if self.p is None:
            return trained
        model = models.with_exponent(trained.params["model"], None)
        return trained.replace(params=trained.params | {"model": model})


def with_longest(network: Network, longest: int) -> Network:
    """The network with images embedded whole, their longest side `longest` px; 0: with crops.

    Raises:
        ArgumentError: `longest`: the network takes images of its own size alone, or none as small.
    """
    if longest == network.longest:
        return network
    if longest < 0:
        raise ArgumentError("longest", f"{longest}; the longest side in pixels is 1 or more")
    changed = dataclasses.replace(network, longest=longest)
    require_maps(changed)
    return changed


def resized(network: Network, size: Sides) -> Network:
    """The network with images of `size` px, scaled before the crop in the same proportion.

    One number is the longer side of rectangles, which keep their aspect; two are height and width.
    Where images are evaluated uncropped, `size` is their longest side.

    Raises:
        ArgumentError: `size`: the network takes images of its own size alone, or none as small.
    """
    own = network.preprocessing
    if size == (network.longest or max(own.shape)):
        return network
    if min(sides.both(size)) < 1:
        raise ArgumentError("size", f"{size}; the side of an image in pixels is 1 or more")
    if network.model.sized_by:
        raise ArgumentError(
            "size",
            f"{sides.numbers(size)}; {network.model.sized_by} for images of "
            f"{sides.words(own.size)} alone",
        )
    if network.longest and not isinstance(size, int):
        raise ArgumentError(
            "size", f"{size}; uncropped images have their own aspect: name their longest side"
        )
    if network.longest:
        changed = dataclasses.replace(network, longest=size)
    else:
        changed = dataclasses.replace(network, preprocessing=resized_preprocessing(own, size))
    require_maps(changed, "size")
    return changed


def resized_preprocessing(own: Preprocessing, size: Sides) -> Preprocessing:
    """The preprocessing with crops of `size` px as `resized` has it, of frames in proportion."""
    longer = max(own.shape)
    if isinstance(size, int):
        shape = [max(1, round(side * size / longer)) for side in own.shape]
        frame = [round(side * size / longer) for side in own.frame]
    else:
        shape = list(size)
        frame = [
            round(side * new / old)
            for side, new, old in zip(own.frame, shape, own.shape, strict=True)
        ]
    frame = [max(pair) for pair in zip(shape, frame, strict=True)]
    return dataclasses.replace(own, size=(shape[0], shape[1]), resize=(frame[0], frame[1]))


def require_maps(network: Network, argument: str = "longest") -> None:
    """Raises ArgumentError of `argument` where the network takes no images of this size.

    Of uncropped images those up to twice as long as wide are tried, in steps that stand for all.
    """
    model, channels = network.model, network.preprocessing.channels
    for height, width in _sides(network):
        images = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
        try:
            jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)
        except ArgumentError as error:  # what a backbone itself says of its maps
            raise ArgumentError(argument, error.text) from None
        except UserError:
            raise
        except (ValueError, ZeroDivisionError):  # of a map without a position
            raise ArgumentError(
                argument,
                f"images of {height} x {width} px are too small for {model.backbone}; name a "
                "greater size",
            ) from None


def _sides(network: Network) -> list[tuple[int, int]]:
    longest, unit = network.longest, network.side_step
    if not longest:
        return [network.preprocessing.shape]
    half = -(-longest // (2 * unit)) * unit
    return [(longest, min(longest, width)) for width in (longest, half, half + unit)]


def with_p(model: models.Ensemble, p: float) -> models.Ensemble:
    """The model with p as GeM's exponent, no longer learned.

    Raises:
        ArgumentError: another pooling than GeM, or p below 1.
    """
    require_gem(model)
    if not p >= 1:
        raise ArgumentError(
            "p", f"{p:g}; GeM's exponent is 1 (the average) or more; inf is the maximum"
        )
    return model.clone(gem_p=p, gem_learned=False)


def require_gem(model: models.Ensemble) -> None:
    """Raises ArgumentError where a model has no exponent to choose."""
    if model.pooling != "gem":
        raise ArgumentError(
            "pooling",
            f"is {model.pooling!r}, and of all poolings 'gem' alone has an exponent p",
        )


def exponent(model: models.Ensemble, state: TrainState) -> float:
    """The exponent p that a training ended with: learned, or that of the model."""
    require_gem(model)
    if not model.gem_learned:
        return model.gem_p
    return float(state.params["model"]["pool"]["p"])


def cross_validated(
    network: Network, state: TrainState, split: Split, measures: Measures, ps: Sequence[float]
) -> list[dict[str, float]]:
    """The metrics of the ensemble on a split for each exponent p, other parts as they are.

    Args:
        network: at the size of the test.
        state: the replicated train state.
        split: validation classes: what is chosen by them must not have seen the test classes.
        measures: whose `ks` and `block` count.
        ps: exponents from 1 on, inf included.
    """
    for p in ps:
        with_p(network.model, p)
    each, image_ids = network.at_exponents(state, split, ps)
    unreadable = image_ids[:0]
    return [
        ensemble_metrics(Embedded(vectors, image_ids, unreadable), split, measures)
        for vectors in each
    ]


def top_1(
    network: Network,
    state: TrainState,
    held_out: HeldOut,
    ps: Sequence[float],
    block: int = 256,
) -> list[dict[str, float]]:
    """{"top-1": share of held-out images that the run's classifier names right}, for each p.

    What the classifier sees (unit vectors, or embeddings before L2) is computed anew with each p.

    Args:
        network: at the size of the test.
        state: the replicated train state.
        held_out: images of the training classes that training has not seen, and the classifier.
        ps: exponents from 1 on, inf included.
        block: images classified at once.
    """
    for p in ps:
        with_p(network.model, p)
    linear, split = held_out
    each, image_ids = network.at_exponents(state, split, ps, unnormalised=not linear.of_vectors)
    labels = split.labels[image_ids]
    return [
        grains.top_k(seen, linear.kernel, linear.bias, labels, (1,), block=block) for seen in each
    ]


def best(metrics: Sequence[dict[str, float]], select: str) -> int:
    """The index of the highest value of a metric, the first of equals; NaN is never the best."""
    values = [one[select] for one in metrics]
    return max(range(len(values)), key=lambda i: -math.inf if math.isnan(values[i]) else values[i])
