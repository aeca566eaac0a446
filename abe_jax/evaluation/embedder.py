"""The network that an index is made with, kept in the index: images in, vectors out.

Vectors come from `retrieval.embed.embed` in batches of `config.evaluate.batch` rows, the last one
filled up: the preprocessing, the compiled program and so the bits are those of an evaluation. A
vector then depends neither on the images beside it nor on their number. What is left to rounding
(1e-6 of a vector's length): another batch, kind or number of devices; and images evaluated whole,
whose batch is as long as there are images of their shape.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from abe_jax import models, pretrained
from abe_jax.config import Config, read_json, to_mapping, write_json
from abe_jax.config.pretrained_model import packaged
from abe_jax.data.split import Split
from abe_jax.errors import UserError
from abe_jax.evaluation.embed import Embedded, embed
from abe_jax.runs.folder import RunFolder
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints, digest

CONFIG, WEIGHTS = "config.json", "weights.npz"
PIXELS = 1  # raised when data/images.py gives other pixels of the same file than before

# What decides how an image becomes the network's input, and what of the model is of training alone.
_PREPROCESSING = ("resize", "size", "channels", "fit", "mean", "std")
_OF_TRAINING = ("weights", "freeze_norm")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Embedder:
    """A network with its preprocessing.

    `state` holds NumPy arrays, without optimiser and without the parameters of losses.
    `fingerprint` is the SHA-256 of all that determines a vector: see `of`.
    """

    config: Config
    state: step.TrainState
    fingerprint: str

    @property
    def learners(self) -> int:
        """m, the learners of a vector [m, d]."""
        return self.config.model.learners

    @property
    def dim(self) -> int:
        """d, the dimensions of each learner."""
        return self.config.model.dim // self.learners

    def in_batches_of(self, images: int) -> "Embedder":
        """The same network with another batch: the same fingerprint, vectors rounding apart."""
        evaluate = dataclasses.replace(self.config.evaluate, batch=images)
        return dataclasses.replace(self, config=dataclasses.replace(self.config, evaluate=evaluate))

    @cached_property
    def replicated(self) -> step.TrainState:
        """The state on every device."""
        return step.replicate(self.state)

    @cached_property
    def _step(self) -> Callable:
        return step.embed_step(self.config)

    def embed(self, records: Sequence[bytes]) -> Embedded:
        """The vectors [n, m, d] of the encoded images that can be read, and which these are.

        Args:
            records: the bytes of an image each; b"" for one that could not even be opened. They are
                asked for while a batch before them is computed, by several threads.
        """
        if not len(records):
            none = np.zeros(0, np.int64)
            return Embedded(np.zeros((0, self.learners, self.dim), np.float32), none, none)
        split = Split(
            name="images",
            records=records,
            labels=np.zeros(len(records), np.int32),
            groups=None,
            class_names=("",),
        )
        return embed(self.replicated, self._step, split, self.config)


def of(config: Config, params: Mapping[str, Any], batch_stats: Mapping[str, Any]) -> Embedder:
    """The embedder of a network's parameters and statistics, with its fingerprint.

    The fingerprint covers the preprocessing (sizes, channels, fit, mean, std, whole images), the
    model's configuration without what concerns training alone, and every array.
    """
    to_numpy = jax.tree.map(np.asarray, (dict(params), dict(batch_stats)))
    state = step.TrainState(
        step=np.zeros((), np.int32),
        params={"model": to_numpy[0]},
        batch_stats=to_numpy[1],
        opt_state=(),
    )
    described = json.dumps(_determining(config), sort_keys=True) + digest(to_numpy)
    fingerprint = hashlib.sha256(described.encode()).hexdigest()
    return Embedder(config=config, state=state, fingerprint=fingerprint)


def _determining(config: Config) -> dict[str, Any]:
    said, whole = to_mapping(config), config.evaluate.longest
    return {
        "pixels": PIXELS,
        "data": {name: said["data"][name] for name in _PREPROCESSING},
        "model": {k: v for k, v in said["model"].items() if k not in _OF_TRAINING},
        "whole": [whole, config.evaluate.side_step] if whole else [],
    }


def of_run(path: Path) -> Embedder:
    """The embedder of a run: its best checkpoint, and the preprocessing of its config.json.

    Raises:
        UserError: no run, or no checkpoint, or a damaged one.
    """
    folder = RunFolder(path)
    config = read_json(folder.config)
    if not folder.best.is_dir():  # Orbax would make it
        raise UserError(f"{path}: the run has no checkpoint yet; train it first")
    best = Checkpoints(folder.best, 1)
    try:
        state, _ = best.restore(step.abstract(config))
    finally:
        best.close()
    return of(config, state.params["model"], state.batch_stats)


def of_weights(name: str) -> Embedder:
    """The embedder of weights that others trained, nothing trained on top: a single learner.

    `name` is one of `weights.NAMED` or an .npz of `python -m abe_jax.convert`. The vector is the
    unit vector of the last map's average (of a vision transformer: of its class token). Images are
    what such weights are tested on: the middle square, scaled to 8/7 of the backbone's own size,
    of which the middle is seen.

    Raises:
        UserError: no such weights.
    """
    try:
        found = pretrained.load(name)
    except UserError as error:
        raise UserError(str(error).replace("config.model.weights", "--weights")) from None
    config = packaged(found, name)
    needed = shapes(config)
    stages = pretrained.fitted(found.params, models.stage_params(needed["params"]))
    params = models.graft(needed["params"], stages)
    statistics = needed["batch_stats"]
    return of(config, params, models.graft(statistics, found.batch_stats) if statistics else {})


def shapes(config: Config) -> dict[str, Any]:
    """Shapes and types of a network's `params` and `batch_stats`, without computing them."""
    network, data = models.build(config.model), config.data
    images = jax.ShapeDtypeStruct((1, data.size, data.size, data.channels), jnp.float32)
    found = jax.eval_shape(lambda x: network.init(jax.random.key(0), x), images)
    return {"batch_stats": {}, **found}


def save(embedder: Embedder, folder: Path) -> None:
    """Writes config.json and weights.npz into `folder`, which is made; whole or not at all.

    Raises:
        UserError: there is something at `folder`.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists already")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process
    partial.mkdir(parents=True)
    write_json(embedder.config, partial / CONFIG)
    state = embedder.state
    trees = {"params": state.params["model"], "batch_stats": state.batch_stats}
    arrays: dict[str, Any] = dict(_flat(trees))
    with (partial / WEIGHTS).open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder)


def load(folder: Path) -> Embedder:
    """The embedder that `save` wrote; its fingerprint is computed anew from what is there.

    Raises:
        UserError: a file is missing or damaged, or does not fit its config.
    """
    config = configuration(folder)
    needed = shapes(config)
    stored = _read(folder / WEIGHTS)
    wanted = {name: (leaf.shape, leaf.dtype) for name, leaf in _flat(needed)}
    given = {name: (array.shape, array.dtype) for name, array in stored.items()}
    if wanted != given:
        names = [name for name in {**wanted, **given} if wanted.get(name) != given.get(name)]
        raise UserError(f"{folder / WEIGHTS}: is not of the model in {CONFIG}: {min(names)}")
    leaves = [stored[name] for name, _ in _flat(needed)]
    filled = jax.tree.unflatten(jax.tree.structure(needed), leaves)
    return of(config, filled["params"], filled["batch_stats"])


def configuration(folder: Path) -> Config:
    """The config of what `save` wrote. Raises UserError where it is missing or damaged."""
    path = folder / CONFIG
    if not path.exists():
        raise UserError(f"{path}: not found; is {folder.parent} the folder of an index?")
    try:
        return read_json(path)
    except UserError as error:
        told = str(error)
        raise UserError(told if told.startswith(str(path)) else f"{path}: {told}") from None


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.exists() and not zipfile.is_zipfile(path):
            raise UserError(f"{path}: damaged (no .npz)")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise UserError(f"{path}: not found; is it the folder of an index?") from None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())})") from None


def _flat(tree: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield "/".join(key.key for key in path), leaf
