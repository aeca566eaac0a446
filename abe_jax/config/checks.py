"""What a training can know at its start to fail at its end."""

from collections.abc import Sequence

from abe_jax import evaluation
from abe_jax.config import Config, Contrastive
from abe_jax.data.dataset import Split
from abe_jax.errors import UserError, nearest
from abe_jax.evaluation import protocols
from abe_jax.evaluation.embed import require_any_shape
from abe_jax.evaluation.resolution import require_maps


def check(config: Config, train: Split, evaluated: Sequence[Split]) -> None:
    """Refuses what could not be trained for, or not be measured on the splits at the end.

    Raises:
        UserError: with the nearest right choice.
    """
    if not config.objective:
        raise UserError("config.objective: without a term there is nothing to train for")
    require_any_shape(config)
    if config.evaluate.longest:
        require_maps(config, "config.evaluate.longest and side_step")
    _check_layout(config)
    _check_classes(config, train)
    evaluate, names = config.evaluate, evaluation.names(config.evaluate.ks)
    if evaluate.select not in names:
        raise UserError(
            f"config.evaluate.select: no metric is called {evaluate.select!r} with "
            f"config.evaluate.ks={evaluate.ks}; {nearest(evaluate.select, names)}"
        )
    if evaluate.whiten == 1:
        raise UserError("config.evaluate.whiten: 1 image is too few to whiten by; 2 or more, or 0")
    for split in evaluated:
        if evaluate.domains and split.groups is None:
            raise UserError(
                f"config.evaluate.domains: the images of {split.name} have no domains; set it to "
                "False, or set config.data.domain_column to the column of the CSV file that names "
                "them"
            )
        if not protocols.positives(split.labels, split.gallery).any():
            raise UserError(_alone(config, split))
        asked = protocols.rows(len(split.labels), split.gallery)
        most, of = asked.reach, "images" if asked.alone else "images in the gallery"
        if max(evaluate.ks, default=1) > most:  # where all images ask, none finds itself
            raise UserError(
                f"config.evaluate.ks: {max(evaluate.ks)} neighbours of {split.name}'s "
                f"{len(asked.gallery)} {of}; at most {most}"
            )


def _alone(config: Config, split: Split) -> str:
    data = config.data
    remedy = "name other images"
    if split.name == "test" and data.unseen_domains:
        remedy = "name other config.data.unseen_domains"
    elif data.unseen_domains or data.validation_domains:
        remedy = "name other config.data.unseen_domains or validation_domains"
    if split.gallery is not None:
        return (
            f"no query of {split.name} has an image of its class in the gallery, so nothing is "
            f"there to be found for any of them; {remedy}"
        )
    return (
        f"no class of {split.name} has two images, so nothing is there to be found for any of "
        f"them; {remedy}"
    )


def _check_layout(config: Config) -> None:
    read = [t for t in config.objective if isinstance(t, Contrastive) and t.pairs == "adjacent"]
    if read and config.data.repeats > 1:
        raise UserError(
            f"config.data.repeats is {config.data.repeats}: a contrastive term with "
            "pairs='adjacent' would compare copies of one image; set its pairs to 'all', "
            "or repeats to 1"
        )
    side_by_side = config.data.sampler in ("class_balanced", "domains")
    if any(t.label == "class" for t in read) and side_by_side:
        raise UserError(
            f"config.data.sampler: {config.data.sampler!r} lays images of one class side by side, "
            "so a contrastive term with pairs='adjacent' would see no negative pair; set its pairs "
            "to 'all', or the sampler to 'pairs'"
        )


def _check_classes(config: Config, train: Split) -> None:
    classes = config.data.classes
    if 0 < classes < len(train.class_names):  # the others' labels would have no proxy
        raise UserError(
            f"config.data.classes: {classes}, but the training split has "
            f"{len(train.class_names)} classes; leave it at 0 to have them counted"
        )
