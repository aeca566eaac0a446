"""A run's state measured at all three grains: what is embedded for each, and by whom judged."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from abe_jax.config import Config, CrossEntropy
from abe_jax.data import dataset
from abe_jax.data.dataset import HELD, Split
from abe_jax.data.images import copies
from abe_jax.data.split import chosen
from abe_jax.errors import UserError
from abe_jax.evaluation import grains
from abe_jax.evaluation.embed import Embedded, embed
from abe_jax.evaluation.knn import Vectors
from abe_jax.losses import objective
from abe_jax.training import step

Found = tuple[Vectors, Int[np.ndarray, " k"]]  # of a split's readable images, and which these are


class Classifier(NamedTuple):
    """A term's linear classifier: of unit vectors (their cosines to proxies) or of embeddings."""

    kernel: Float[np.ndarray, "m d c"]
    bias: Float[np.ndarray, "m c"]
    of_vectors: bool


def measure(
    config: Config,
    state: step.TrainState,
    replicated: step.TrainState,
    embed_step: Callable,
    split: Split,
    own: Embedded,
    *,
    learned: bool = True,
) -> dict[str, Any]:
    """{"class", "instance", "copy"} of one split, each where config, data and objective allow it.

    class     `grains.top_k` of the classifier on the held-out images of the training classes; where
              `data.held_out` is above 0 and the objective has a classifier
    instance  `grains.instance` on the split; where its images show known objects
    copy      `grains.copies`: `evaluate.copies` of the split's images, evenly spaced, are altered
              in every way that `copies.ATTACKS` names and look for themselves in the whole split

    `learned` is False of another data set, whose classes the classifier knows nothing of. All hosts
    call it with the same arguments, `own` the split's embedding by `embed_step`, which is
    `step.embed_step(config)`; `state` is the one that `replicated` is a copy of. Empty where
    `evaluate.grains` is False.
    """
    if not config.evaluate.grains:
        return {}

    def vectors(made: Split) -> Found:
        embedded = embed(replicated, embed_step, made, config)
        return embedded.vectors, embedded.instances

    found = {
        "class": _class(config, state, replicated, embed_step) if learned else {},
        "instance": _instance(config, split, own, own.vectors),
        "copy": _copy(config, split, own, own.vectors, vectors),
    }
    return {name: values for name, values in found.items() if values}


def class_alone(
    config: Config, state: step.TrainState, replicated: step.TrainState, embed_step: Callable
) -> dict[str, Any]:
    """The class as in `measure`, for held-out images among which nothing can be retrieved.

    Raises:
        UserError: the objective has no classifier, so nothing at all can be measured of them.
    """
    found = _class(config, state, replicated, embed_step)
    if not found:
        raise UserError(
            f"config.data.held_out is {config.data.held_out}: no class has two images held out, so "
            "none finds another, and no term of config.objective has a classifier to test on "
            "single ones; hold out a greater share"
        )
    return {"class": found}


def floor(
    config: Config,
    split: Split,
    own: Embedded,
    pixels: Float[np.ndarray, "n p"],
    of: Callable[[Split], Found],
) -> dict[str, Any]:
    """The instance and the copy by what the images give without any training, as in `measure`.

    `pixels` are those of the images in `own`, `of` gives those of another split, and of which rows.
    """
    found = {
        "instance": _instance(config, split, own, pixels),
        "copy": _copy(config, split, own, pixels, of),
    }
    return {name: values for name, values in found.items() if values}


def classifier(config: Config, params: Any) -> Classifier | None:
    """The classifier of the term that `objective.classifier` names, from its parameters.

    Of normalised softmax it is the unit proxies, without their temperature, which changes no rank.
    """
    named = objective.classifier(config.objective)
    if named is None:
        return None
    term, key = named
    if isinstance(term, CrossEntropy):
        return Classifier(np.asarray(params[key]["kernel"]), np.asarray(params[key]["bias"]), False)
    proxies = np.asarray(params[key]["proxies"])
    unit = proxies / np.maximum(np.linalg.norm(proxies, axis=-1, keepdims=True), 1e-12)
    return Classifier(np.swapaxes(unit, 1, 2), np.zeros(proxies.shape[:2], np.float32), True)


def _class(
    config: Config, state: step.TrainState, replicated: step.TrainState, embed_step: Callable
) -> dict[str, Any]:
    found = classifier(config, state.params["objective"])
    if found is None or not dataset.has_held(config.data):
        return {}
    held = dataset.load(config.data, HELD)
    compiled = embed_step if found.of_vectors else _embedding_step(config)
    embedded = embed(replicated, compiled, held, config)
    labels = held.labels[embedded.instances]
    if not len(labels):  # none of them can be read
        return {}
    block = config.evaluate.block
    return {
        "images": len(labels),
        "classes": len(held.class_names),
        **grains.top_k(embedded.vectors, found.kernel, found.bias, labels, block=block),
    }


def _embedding_step(config: Config) -> Callable:
    """The embeddings before L2, which a cross-entropy's classifier sees."""
    return step.apply_step(
        config,
        lambda model, variables, pixels: model.apply(variables, pixels, train=False).embedding,
    )


def _instance(config: Config, split: Split, own: Embedded, vectors: Vectors) -> dict[str, Any]:
    if split.objects is None:
        return {}
    read = chosen(split, own.instances)
    assert read.objects is not None
    return grains.instance(vectors, read.objects, read.gallery, block=config.evaluate.block)


def _copy(
    config: Config,
    split: Split,
    own: Embedded,
    gallery: Vectors,
    of: Callable[[Split], Found],
) -> dict[str, Any]:
    number = min(config.evaluate.copies, len(own.instances))
    if not number:
        return {}
    places = ((np.arange(number) + 0.5) * len(own.instances) / number).astype(np.int64)
    made = copies.of_split(split, own.instances[places], config.data)
    vectors, rows = of(made)
    originals, kinds = np.divmod(rows, len(copies.ATTACKS))
    names = [attack.name for attack in copies.ATTACKS]
    block = config.evaluate.block
    return grains.copies(vectors, places[originals], kinds, names, gallery, block=block)
