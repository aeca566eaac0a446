"""The end of a run: its best checkpoint measured on one split, written down and shown."""

import dataclasses
import json
import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from abe_jax import evaluation, hosts, report
from abe_jax.config import Config, read_json, to_mapping
from abe_jax.config.other_data import Elsewhere, within
from abe_jax.data import dataset, loader
from abe_jax.data.dataset import Split
from abe_jax.data.split import chosen
from abe_jax.evaluation import baselines, benchmark_figures, grain_levels, protocols
from abe_jax.evaluation.embed import Embedded, embed
from abe_jax.evaluation.masks import masks
from abe_jax.evaluation.measure import centred_pixels
from abe_jax.evaluation.resolution import At
from abe_jax.evaluation.whitening import unit_whitened
from abe_jax.runs import fitted_whitening
from abe_jax.runs.folder import RunFolder
from abe_jax.runs.unreadable import Unreadable
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints

SHOWN = 8  # neighbours of each query on the sheet, and images under attention


def conclude(
    folder: RunFolder,
    split_name: str,
    say: Callable[[str], None],
    at: At = At(),  # noqa: B008 (immutable)
    elsewhere: Elsewhere | None = None,
) -> None:
    """Measures the best checkpoint on a split; writes evaluation.json and report.html.

    A test `at` another resolution, or `elsewhere` on another data set, stands in both beside that
    of the run's own.

    Raises:
        UserError: no run in the folder, no checkpoint, or a damaged one; errors of `At.of` and
            `Elsewhere.of`.
    """
    own = read_json(folder.config)
    trained = at.of(own)
    words = (split_name, elsewhere.words if elsewhere else "", at.words)
    named = " ".join(word for word in words if word)
    config, split = _tested(trained, split_name, named, elsewhere)
    best = Checkpoints(folder.best, 1)
    state, about = best.restore(step.abstract(own))
    best.close()
    replicated, embed_step = step.replicate(at.of_state(state)), step.embed_step(config)
    kept = partial(fitted_whitening.of_checkpoint, folder.whitening(at.words), about["digest"])
    embedded, white = _embedded(kept, trained, config, replicated, embed_step, split, say)
    Unreadable(folder, split, config.data.unreadable_share, say).add(embedded.unreadable)
    grains = grain_levels.measure(
        config, state, replicated, embed_step, split, embedded, learned=elsewhere is None
    )
    if _nothing_to_find(split, embedded) and "class" not in grains:
        grains |= grain_levels.class_alone(config, state, replicated, embed_step)
    if not hosts.is_first():
        return
    found = {"step": about["step"], **_measured(config, split, embedded, white, grains)}
    _warn_of_codes(config, embedded, say)
    evaluation = _remember(folder.evaluation, named, found)
    say(report.tables.evaluation_table(found, split=named))
    report.write(
        folder.report,
        config=to_mapping(own),
        metrics=folder.metrics,
        evaluation=evaluation,
        gallery=_gallery(config, split, embedded),
        attention=_attention(config, replicated, split, embedded),
        environment=_environment(folder),
    )


def _tested(
    trained: Config, split_name: str, named: str, elsewhere: Elsewhere | None
) -> tuple[Config, Split]:
    """The configuration of the test and its images; of another data set called by their section."""
    if elsewhere is None:
        return trained, dataset.load(trained.data, split_name)
    config = elsewhere.of(trained)
    split = dataset.load(config.data, split_name)
    return within(config, split), dataclasses.replace(split, name=named)


def _embedded(
    kept: Callable,
    trained: Config,
    config: Config,
    state: step.TrainState,
    embed_step: Callable,
    split: Split,
    say: Callable[[str], None],
) -> tuple[Embedded, Float[np.ndarray, "n k"] | None]:
    """A split's vectors and, where the config asks for them, the whitened ones beside.

    The whitening is the checkpoint's, fitted on the images that it was `trained` on.
    """
    if not config.evaluate.whiten:
        return embed(state, embed_step, split, config), None
    embed_raw = fitted_whitening.embedder(config, embed_step)
    fitted = kept(lambda train: embed_raw(state, train)[1], trained, say)
    embedded, raw = embed_raw(state, split)
    return embedded, None if fitted is None else unit_whitened(fitted, raw)


def _nothing_to_find(split: Split, embedded: Embedded) -> bool:
    """Whether the images held out of training are one of each class: none finds another."""
    if split.name != dataset.HELD:
        return False
    return not protocols.positives(split.labels[embedded.instances], None).any()


def _measured(
    config: Config,
    split: Split,
    embedded: Embedded,
    white: Float[np.ndarray, "n k"] | None,
    grains: dict[str, Any],
) -> dict[str, Any]:
    read = chosen(split, embedded.instances)
    if _nothing_to_find(split, embedded):
        counts = {"images": len(read.labels), "classes": len(np.unique(read.labels)), "queries": 0}
        return counts | {"metrics": {}, "grains": grains}
    small = baselines.small_pixels(split, config, embedded.instances)
    found = evaluation.evaluate(
        embedded.vectors,
        read.labels,
        ks=config.evaluate.ks,
        gallery=read.gallery,
        groups=read.groups,
        domains=split.group_names if config.evaluate.domains else (),
        pixels=small,
        whitened=white,
        block=config.evaluate.block,
        binary=config.evaluate.binary,
    )
    figures = partial(benchmark_figures.measure, config.data.name, split, embedded.instances)
    grains = grains | figures(embedded.vectors)
    if grains:
        without = _grains_floor(config, split, embedded, small) | figures(centred_pixels(small))
        grains = grains | ({"floor": without} if without else {})
    return found | ({"grains": grains} if grains else {})


def _warn_of_codes(config: Config, embedded: Embedded, say: Callable[[str], None]) -> None:
    """Codes keep signs: of features behind a ReLU or GeM, all alike, they keep nothing."""
    if config.evaluate.binary and embedded.vectors.min() >= 0:
        say(
            "warning: config.evaluate.binary: no number of any embedding is below 0, so their "
            "binary codes (1 where a number is above 0) say little or nothing; a linear head "
            "(config.model.head) or config.model.layer_norm gives both signs"
        )


def _grains_floor(
    config: Config, split: Split, embedded: Embedded, small: UInt8[np.ndarray, "n i j c"]
) -> dict[str, Any]:
    def of(made: Split) -> grain_levels.Found:
        rows = np.arange(len(made.labels))
        return centred_pixels(baselines.small_pixels(made, config, rows)), rows

    return grain_levels.floor(config, split, embedded, centred_pixels(small), of)


def _remember(path: Path, split: str, found: dict[str, Any]) -> dict[str, Any]:
    try:
        evaluation = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        evaluation = {}
    evaluation[split] = found
    unfinished = path.with_suffix(".partial")
    unfinished.write_text(json.dumps(evaluation, indent=1) + "\n")
    unfinished.replace(path)
    return evaluation


def _gallery(config: Config, split: Split, embedded: Embedded) -> report.Gallery | None:
    if _nothing_to_find(split, embedded):
        return None
    read = chosen(split, embedded.instances)
    flat = embedded.vectors.reshape(len(read.labels), -1)
    queries, near = protocols.nearest(flat, read.gallery, SHOWN, block=config.evaluate.block)
    choice = report.choose(read.labels[near[:, 0]] == read.labels[queries])
    places = np.concatenate([choice.spaced, choice.failed])
    return report.gallery(
        report.Choice(spaced=queries[choice.spaced], failed=queries[choice.failed]),
        near[places],
        labels=read.labels,
        class_names=split.class_names,
        image=lambda i: loader.seen(split, config.data, embedded.instances[[i]])[0],
        details=_group_name(split, embedded),
    )


def _group_name(split: Split, embedded: Embedded) -> Callable[[int], str] | None:
    groups = split.groups
    if groups is None:
        return None
    return lambda i: split.group_names[groups[embedded.instances[i]]]


def _attention(
    config: Config,
    state: step.TrainState,
    split: Split,
    embedded: Embedded,
) -> report.Attention | None:
    if config.model.kind != "attention" or jax.process_count() > 1:
        return None  # on several hosts a device of another would have to be asked
    places = (np.arange(SHOWN) + 0.5) * len(embedded.instances) / SHOWN
    rows = embedded.instances[places.astype(np.int64)]
    images = loader.seen(split, config.data, rows)
    found = masks(state, step.mask_step(config), images)
    return report.Attention(
        images=images,
        masks=found.mean(axis=-1, dtype=np.float32),
        captions=[split.class_names[label] for label in split.labels[rows]],
    )


def _environment(folder: RunFolder) -> dict[str, str]:
    device = jax.devices()[0]
    return {
        "command": f"python -m abe_jax.evaluate --workdir {folder.path}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "optax", "numpy")},
        "devices": f"{jax.device_count()} x {device.device_kind}",
    }
