"""The end of a run: its best checkpoint measured on one split, written down and shown."""

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from abe_jax import hosts, report, retrieval, step
from abe_jax.checkpoint import Checkpoints
from abe_jax.config import Config, read_json, to_mapping
from abe_jax.data import datasets, loader
from abe_jax.data.datasets import Split
from abe_jax.retrieval import floor, three_grains, whitened
from abe_jax.retrieval.embed import Embedded, embed
from abe_jax.retrieval.evaluation import centred_pixels
from abe_jax.retrieval.masks import masks
from abe_jax.retrieval.resolution import At
from abe_jax.retrieval.whitening import unit_whitened
from abe_jax.run_folder import RunFolder
from abe_jax.training.unreadable import Unreadable

SHOWN = 8  # neighbours of each query on the sheet, and images under attention


def conclude(
    folder: RunFolder,
    split_name: str,
    say: Callable[[str], None],
    at: At = At(),  # noqa: B008 (immutable)
) -> None:
    """Measures the best checkpoint on a split; writes evaluation.json and report.html.

    A test `at` another resolution stands in both beside that of the run's own.

    Raises:
        UserError: no run in the folder, no checkpoint, or a damaged one; errors of `At.of`.
    """
    own = read_json(folder.config)
    config, named = at.of(own), f"{split_name} {at.words}".strip()
    split = datasets.load(config.data, split_name)
    best = Checkpoints(folder.best, 1)
    state, about = best.restore(step.abstract(own))
    best.close()
    replicated, embed_step = step.replicate(at.of_state(state)), step.embed_step(config)
    kept = folder.whitening(at.words)
    embedded, white = _embedded(kept, config, about["digest"], replicated, embed_step, split, say)
    Unreadable(folder, split, config.data.unreadable_share, say).add(embedded.unreadable)
    grains = three_grains.measure(config, state, replicated, embed_step, split, embedded)
    if not hosts.is_first():
        return
    small = floor.small_pixels(split, config, embedded.instances)
    found = {"step": about["step"], **_measured(config, split, embedded, white, small)}
    if grains:
        without = _grains_floor(config, split, embedded, small)
        found["grains"] = grains | ({"floor": without} if without else {})
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


def _embedded(
    kept: Path,
    config: Config,
    digest: str,
    state: step.TrainState,
    embed_step: Callable,
    split: Split,
    say: Callable[[str], None],
) -> tuple[Embedded, Float[np.ndarray, "n k"] | None]:
    """A split's vectors and, where the config asks for them, the whitened ones beside."""
    if not config.evaluate.whiten:
        return embed(state, embed_step, split, config), None
    embed_raw = whitened.embedder(config, embed_step)
    fitted = whitened.of_checkpoint(
        kept, digest, lambda train: embed_raw(state, train)[1], config, say
    )
    embedded, raw = embed_raw(state, split)
    return embedded, None if fitted is None else unit_whitened(fitted, raw)


def _measured(
    config: Config,
    split: Split,
    embedded: Embedded,
    white: Float[np.ndarray, "n k"] | None,
    small: UInt8[np.ndarray, "n i j c"],
) -> dict[str, Any]:
    return retrieval.evaluate(
        embedded.vectors,
        split.labels[embedded.instances],
        ks=config.evaluate.ks,
        groups=None if split.groups is None else split.groups[embedded.instances],
        domains=split.group_names if config.evaluate.domains else (),
        pixels=small,
        whitened=white,
        block=config.evaluate.block,
        binary=config.evaluate.binary,
    )


def _grains_floor(
    config: Config, split: Split, embedded: Embedded, small: UInt8[np.ndarray, "n i j c"]
) -> dict[str, Any]:
    def of(made: Split) -> three_grains.Found:
        rows = np.arange(len(made.labels))
        return centred_pixels(floor.small_pixels(made, config, rows)), rows

    return three_grains.floor(config, split, embedded, centred_pixels(small), of)


def _remember(path: Path, split: str, found: dict[str, Any]) -> dict[str, Any]:
    try:
        evaluation = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        evaluation = {}
    evaluation[split] = found
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(evaluation, indent=1) + "\n")
    partial.replace(path)
    return evaluation


def _gallery(config: Config, split: Split, embedded: Embedded) -> report.Gallery:
    labels = split.labels[embedded.instances]
    flat = embedded.vectors.reshape(len(labels), -1)
    _, neighbours = retrieval.nearest(
        flat, flat, min(SHOWN, len(flat) - 1), exclude_self=True, block=config.evaluate.block
    )
    choice = report.choose(labels[neighbours[:, 0]] == labels)
    queries = np.concatenate([choice.spaced, choice.failed])
    return report.gallery(
        choice,
        neighbours[queries],
        labels=labels,
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
    chosen = embedded.instances[places.astype(np.int64)]
    images = loader.seen(split, config.data, chosen)
    found = masks(state, step.mask_step(config), images)
    return report.Attention(
        images=images,
        masks=found.mean(axis=-1, dtype=np.float32),
        captions=[split.class_names[label] for label in split.labels[chosen]],
    )


def _environment(folder: RunFolder) -> dict[str, str]:
    device = jax.devices()[0]
    return {
        "command": f"python -m abe_jax.evaluate --workdir {folder.path}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "optax", "numpy")},
        "devices": f"{jax.device_count()} x {device.device_kind}",
    }
