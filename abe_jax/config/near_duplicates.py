"""The rule by which an evaluation leaves out near-duplicates, as a config names it."""

import contextlib
from collections.abc import Callable, Iterator

from abe_jax import pretrained
from abe_jax.choices import NEAR_DUPLICATES
from abe_jax.config import build
from abe_jax.config.schema import Config
from abe_jax.config.weights import embedder_of_weights
from abe_jax.data import Split
from abe_jax.data.images.capture_time import capture_time
from abe_jax.errors import ArgumentError, UserError, require
from abe_jax.evaluation.captures import ByColumn, ByDistance, BySequence, CaptureRule, timeless


def capture_rule(config: Config) -> Callable[[], CaptureRule] | None:
    """Makes the rule that config.evaluate names; None where it names none.

    Weights are looked for when the rule is made, so that a run is loaded without them.

    Raises:
        UserError: no such rule; when it is made, no such weights.
    """
    evaluate, data = config.evaluate, config.data
    name = evaluate.near_duplicates
    if not name:
        return None
    with build.named("config.evaluate"):
        require("near_duplicates", name, NEAR_DUPLICATES)
    if name == "column":
        return lambda: ByColumn(column=data.capture_column)
    if name == "sequence":
        return lambda: BySequence(seconds=evaluate.near_seconds, threads=data.threads)
    return lambda: _by_distance(evaluate.near_weights, evaluate.near_cosine)


def check(config: Config, split: Split) -> None:
    """Refuses, before a training, what could not be measured of a split at its end.

    Raises:
        UserError: the rule does not fit the images, or there is no such rule or no such weights.
    """
    capture_rule(config)
    name = config.evaluate.near_duplicates
    with build.named("config.evaluate"):
        if name == "column":
            ByColumn().captures(split, lambda line: None)
        # Mostly the first image has a time.
        if name == "sequence" and not any(map(capture_time, _encoded(split))):
            raise ArgumentError("near_duplicates", timeless(split))
    if name == "distance":
        with _weights_named():
            pretrained.describe(config.evaluate.near_weights)


def _encoded(split: Split) -> Iterator[bytes]:
    return (split.records[row] for row in range(len(split.labels)))


def _by_distance(weights: str, cosine: float) -> ByDistance:
    with _weights_named():
        embedder = embedder_of_weights(weights)
    return ByDistance(embedder=embedder, cosine=cosine, network=weights)


@contextlib.contextmanager
def _weights_named() -> Iterator[None]:
    """Re-raises an ArgumentError of `weights` under the name that these weights have."""
    try:
        yield
    except ArgumentError as error:
        raise UserError(f"config.evaluate.near_weights: {error.text}") from None
