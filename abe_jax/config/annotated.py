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
        _check_evaluation(config)
        for split in (train, *evaluated):
            _check_points(config, split, f"{FASHION}.pooled_at is 'given'")


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
        _check_points(config, train, f"the loss {term!r} is in config.objective")
        return
    known = getattr(train.annotations, column, None)
    if known is None:
        prepared = ", or delete what is prepared and prepare it anew with its lists of annotations"
        anew = prepared if config.data.name == "inshop" else ""
        raise UserError(
            f"config.objective: the loss {term!r} needs the {column} of images, and those of "
            f"{config.data.name} come without; leave it out{anew}"
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


def _check_evaluation(config: Config) -> None:
    """Refuses what embeds images that have no points, at the end of a training."""
    measured = config.evaluate
    if measured.grains and measured.copies:
        raise UserError(
            f"config.evaluate.copies: {measured.copies}, but altered copies of images have no "
            f"points, and {FASHION}.pooled_at is 'given'; set it to 0"
        )
    if measured.whiten_path:
        raise UserError(
            "config.evaluate.whiten_path: photographs in a folder have no points, and "
            f"{FASHION}.pooled_at is 'given'; leave it empty, and set config.evaluate.whiten to a "
            "number of training images"
        )


def _check_points(config: Config, split: Split, why: str) -> None:
    needed = config.model.fashion.landmarks
    points = split.annotations and split.annotations.points
    if points is None:
        raise UserError(
            f"{why}, but the images of {split.name} come without points; {_remedy(config)}"
        )
    if points.shape[1] != needed:
        raise UserError(
            f"{FASHION}.landmarks: {needed}, but the images of {split.name} have "
            f"{points.shape[1]} points; set it to that"
        )


def _remedy(config: Config) -> str:
    if config.data.sources:
        return "leave config.data.sources empty: those of several sources are not read"
    if config.data.name == "folder":
        return "set config.data.points_column to the column of the CSV file that has them"
    if config.data.name == "inshop":
        return "delete what is prepared and prepare it anew with its list of landmarks"
    return (
        "take images that have some: In-shop, a CSV file with config.data.points_column, or splits "
        "of a program's own with annotations"
    )
