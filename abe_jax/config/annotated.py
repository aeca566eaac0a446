"""What a config asks of the annotations of images: points, categories, attributes."""

import dataclasses
from collections.abc import Sequence

from abe_jax.config import build
from abe_jax.config.schema import Config
from abe_jax.data import Dataset, Split
from abe_jax.errors import UserError
from abe_jax.losses import OF_PREDICTIONS

# Of each loss the column of annotations that it reads, and the option that has its width.
READS = {
    "landmarks": ("points", "landmarks"),
    "visibility": ("points", "landmarks"),
    "category": ("categories", "categories"),
    "attributes": ("attributes", "attributes"),
}
FASHION = "config.model.fashion"


def with_shares(config: Config, dataset: Dataset | None = None) -> Config:
    """`config` with the shares of the training images that have each attribute, if asked for.

    The images are those of `dataset`; None: those that the config names.
    """
    asked = any(term.name == "attributes" for term in config.objective)
    if not asked or config.data.attribute_shares:
        return config
    known = (dataset or build.dataset(config.data)).split("train").annotations
    if known is None or known.attributes is None:
        return config  # `check` says so
    counted = tuple(float(share) for share in known.attributes.mean(axis=0))
    data = dataclasses.replace(config.data, attribute_shares=counted)
    return dataclasses.replace(config, data=data)


def check(config: Config, train: Split, evaluated: Sequence[Split]) -> None:
    """Refuses losses or a network that ask for what is not known of the images.

    Raises:
        UserError: with the nearest right choice.
    """
    fashion = config.model.fashion
    given = fashion.pooled_at == "given"
    for term in config.objective:
        if term.name in OF_PREDICTIONS:
            _check_predicted(config, term.name)
            _check_column(config, term.name, train)
    if config.model.kind == "fashion_net" and given:
        if config.evaluate.longest:
            raise UserError(
                "config.evaluate.longest: points are placed in centre crops alone, and "
                f"{FASHION}.pooled_at is 'given'; set it to 0"
            )
        for split in (train, *evaluated):
            _check_points(fashion.landmarks, split, f"{FASHION}.pooled_at is 'given'")


def _check_predicted(config: Config, term: str) -> None:
    if config.model.kind != "fashion_net":
        raise UserError(
            f"config.objective: the loss {term!r} is of what a network predicts beside its "
            f"embedding, and config.model.kind {config.model.kind!r} predicts nothing; set it to "
            "'fashion_net'"
        )
    pose = READS[term][0] == "points"
    if pose and config.model.fashion.pooled_at == "given":
        raise UserError(
            f"config.objective: the loss {term!r} is of landmarks, and a network that pools at "
            f"given points predicts none; leave it out, or set {FASHION}.pooled_at to 'predicted'"
        )


def _check_column(config: Config, term: str, train: Split) -> None:
    column, option = READS[term]
    needed = getattr(config.model.fashion, option)
    if column == "points":
        _check_points(needed, train, f"the loss {term!r} is in config.objective")
        return
    known = getattr(train.annotations, column, None)
    if known is None:
        raise UserError(
            f"config.objective: the loss {term!r} needs the {column} of images, and those of "
            f"{config.data.name} come without; leave it out, or delete what is prepared "
            "and prepare it anew with its lists of annotations"
        )
    if column == "categories":
        found = int(known.max(initial=-1)) + 1
        fits = found <= needed
    else:
        found = known.shape[1]
        fits = found == needed == len(config.data.attribute_shares or range(needed))
    if not fits:
        raise UserError(
            f"{FASHION}.{option}: {needed}, but the images have {found} {column}; set it to that"
        )


def _check_points(needed: int, split: Split, why: str) -> None:
    points = split.annotations and split.annotations.points
    if points is None:
        raise UserError(
            f"{why}, but the images of {split.name} come without points; delete what is "
            "prepared and prepare it anew with its list of landmarks"
        )
    if points.shape[1] != needed:
        raise UserError(
            f"{FASHION}.landmarks: {needed}, but the images of {split.name} have "
            f"{points.shape[1]} points; set it to that"
        )
