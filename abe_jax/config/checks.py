"""Errors that can be detected before training."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from abe_jax import evaluation, hosts, ways
from abe_jax.config import annotated, build, near_duplicates
from abe_jax.config.parse import absent
from abe_jax.config.schema import Config
from abe_jax.data import Split
from abe_jax.errors import UserError, nearest
from abe_jax.evaluation import protocols, resolution
from abe_jax.losses import Adversarial, Contrastive, Custom, Scatter, Shuffle
from abe_jax.runs.fitted_whitening import require_photographs


def check(config: Config, train: Split, evaluated: Sequence[Split]) -> None:
    """Refuses what could not be trained, or not be measured on the splits at the end.

    Raises:
        UserError: with the nearest right choice.
    """
    if not config.objective:
        raise UserError("config.objective: needs at least one loss")
    for term in config.objective:
        if isinstance(term, Custom) and term.function is absent:
            raise UserError(
                f"the loss {term.name!r} is a function of the program that trained the run; go on "
                "with that program"
            )
    network = build.network(config)
    if network.longest:
        with build.named("config.evaluate"):
            resolution.require_maps(network)
    if isinstance(config.data.size, tuple) or network.model.sized_by:
        with build.named("config.data"):
            resolution.require_maps(dataclasses.replace(network, longest=0), "size")
    _check_layout(config)
    _check_layers(config)
    annotated.check(config, train, evaluated)
    _check_classes(config, train)
    evaluate, names = config.evaluate, evaluation.metric_names(config.evaluate.ks)
    if evaluate.select not in names:
        raise UserError(
            f"config.evaluate.select: no metric is called {evaluate.select!r} with "
            f"config.evaluate.ks={evaluate.ks}; {nearest(evaluate.select, names)}"
        )
    if evaluate.whiten == 1:
        raise UserError("config.evaluate.whiten: 1 image is too few to whiten by; 2 or more, or 0")
    if evaluate.whiten_path:
        with build.named("config.evaluate"):
            require_photographs(evaluate.whiten_path)
    for split in evaluated:
        _check_evaluated(config, split)


def _check_evaluated(config: Config, split: Split) -> None:
    if config.evaluate.domains and split.groups is None:
        raise UserError(
            f"config.evaluate.domains: the images of {split.name} have no domains; set it to "
            "False, or set config.data.domain_column to the column of the CSV file that names "
            "them"
        )
    near_duplicates.check(config, split)
    if not protocols.positives(split.labels, split.gallery).any():
        raise UserError(_no_positives(config, split))
    asked = protocols.rows(len(split.labels), split.gallery)
    most, of = asked.neighbours, "images" if asked.leave_one_out else "images in the gallery"
    ks = config.evaluate.ks
    if max(ks, default=1) > most:  # leaving one out, no image finds itself
        raise UserError(
            f"config.evaluate.ks: {max(ks)} neighbours of {split.name}'s {len(asked.gallery)} "
            f"{of}; at most {most}"
        )


def _no_positives(config: Config, split: Split) -> str:
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
    adjacent = [
        term for term in config.objective if isinstance(term, Contrastive) and term.pairs != "all"
    ]
    if adjacent and config.data.repeats > 1:
        raise UserError(
            f"config.data.repeats is {config.data.repeats}: a contrastive term with "
            "pairs='adjacent' would compare copies of one image; set its pairs to 'all', "
            "or repeats to 1"
        )
    side_by_side = config.data.sampler in ("class_balanced", "domains", "super_classes")
    if any(term.label == "class" for term in adjacent) and side_by_side:
        raise UserError(
            f"config.data.sampler: {config.data.sampler!r} lays images of one class side by side, "
            "so a contrastive term with pairs='adjacent' would see no negative pair; set its pairs "
            "to 'all', or the sampler to 'pairs'"
        )


def _check_layers(config: Config) -> None:
    """Refuses a loss on the learners' last layers where there is none to compare."""
    model = config.model
    if not any(isinstance(term, Adversarial) for term in config.objective):
        return
    what = "an adversarial term compares what the learners' fully connected layers make of the"
    if model.learners < 2:
        raise UserError(f"config.model.learners: 1, but {what} features; at least 2")
    if model.kind == "cascade":
        raise UserError(
            f"config.model.kind: 'cascade' has features of its own for each head, but {what} same "
            "features; set it to 'divided'"
        )
    if model.head == "none":
        raise UserError(f"config.model.head: 'none', but {what} features; set it to 'linear'")
    if model.layer_norm:
        raise UserError(
            f"config.model.layer_norm: True, but {what} pooled features themselves; set it to False"
        )


def _check_classes(config: Config, train: Split) -> None:
    classes = config.data.classes
    if 0 < classes < len(train.class_names):  # the others' labels would have no proxy
        raise UserError(
            f"config.data.classes: {classes}, but the training split has "
            f"{len(train.class_names)} classes; leave it at 0 to have them counted"
        )


def check_ways() -> None:
    """Refuses hosts of one job that go different ways: rounding would part their parameters.

    Raises:
        UserError: on all hosts.
    """
    own = ways.pieces()
    taken = hosts.gather_rows(np.array([[piece in own for piece in ways.PIECES]]))
    for piece, by_host in zip(ways.PIECES, taken.T, strict=True):
        if by_host.any() and not by_host.all():
            raise UserError(
                f"{ways.VARIABLE}: {piece!r} on some hosts and not on others; set it alike on all"
            )


def check_domains(config: Config) -> None:
    """Refuses meta-learning, or losses over domains, without a batch of domains to compare.

    Raises:
        UserError: with the nearest right choice.
    """
    domains, meta = config.data.domains_per_batch, config.meta.domains
    over = [term.name for term in config.objective if isinstance(term, Scatter | Shuffle)]
    if (over or meta) and config.data.sampler != "domains":
        what = "config.meta.domains" if meta else f"the term {over[0]!r}"
        raise UserError(
            f"config.data.sampler: {config.data.sampler!r}, but {what} needs batches of several "
            "domains; set it to 'domains'"
        )
    if meta and config.model.norm != "bin":
        raise UserError(
            f"config.meta.domains: {meta}, but config.model.norm {config.model.norm!r} has no "
            "gates to learn; set config.model.norm to 'bin', or config.meta.domains to 0"
        )
    if meta >= domains:
        raise UserError(
            f"config.meta.domains: {meta} of config.data.domains_per_batch={domains} leave none to "
            f"test on; at most {domains - 1}"
        )
    if meta:
        _check_meta_classes(config)


def _check_meta_classes(config: Config) -> None:
    """Refuses batches whose meta-losses have nothing to compare, and so gates that never move."""
    data, rows = config.data, config.data.images_per_class * config.data.repeats
    if rows < 2:
        raise UserError(
            "config.data.images_per_class: 1 gives meta-learning's triplets no positives; at "
            "least 2"
        )
    least = 2 * rows * data.domains_per_batch
    if config.train.batch < least:
        raise UserError(
            f"config.train.batch: {config.train.batch} rows hold fewer than two classes of each "
            f"domain, which meta-learning tells apart; at least {least}"
        )
