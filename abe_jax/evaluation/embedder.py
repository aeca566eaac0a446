"""A network with its parameters: images in, vectors out, and the fingerprint of both.

Images are embedded by the program of an evaluation on a full batch, filled up where there are
fewer. The vector of an image is therefore the same to the bit as in an evaluation if the image is
at the same place of a batch and the machine is the same; otherwise it is within `network.ROUNDING`.
"""

import contextlib
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from abe_jax import models
from abe_jax.data.sources.image_files import Files
from abe_jax.data.split import Records, Split
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.network import Embedded, Network, Told
from abe_jax.training import step
from abe_jax.training.checkpoint import digest
from abe_jax.training.state import TrainState

PIXELS = 1  # raised when data/images gives other pixels of the same file than before

# What decides how an image becomes the network's input, and what of the model is of training alone.
_PREPROCESSING = ("resize", "size", "channels", "fit", "mean", "std")
_TRAINING_ONLY = ("weights", "freeze_norm", "side_dropout", "last_dropout")
# Options that came later, and what they are in networks that do not name them: where they are that,
# the fingerprint is the one that indexes had before.
_LATER = {"neck": "", "last_stride": 0, "dims": (), "test_weights": ()}


@dataclasses.dataclass(frozen=True, eq=False)
class Embedder:
    """A network and the state that it embeds with.

    `state` holds NumPy arrays: the parts of a training's state, of which `params["model"]` and
    `batch_stats` are used. `description` is the JSON-able mapping that the network was built of;
    it is carried along and not looked at.
    """

    network: Network
    state: TrainState
    description: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        network: Network,
        params: Mapping[str, Any],
        batch_stats: Mapping[str, Any],
        description: Mapping[str, Any],
    ) -> "Embedder":
        """The embedder of a model's own parameters and statistics."""
        arrays = jax.tree.map(np.asarray, (dict(params), dict(batch_stats)))
        state = TrainState(
            step=np.zeros((), np.int32),
            params={"model": arrays[0]},
            batch_stats=arrays[1],
            opt_state=(),
        )
        return cls(network, state, description)

    @property
    def learners(self) -> int:
        """m, the learners of a vector [m, d]."""
        return self.network.model.learners

    @property
    def dim(self) -> int:
        """d, the dimensions of each learner, or of the largest."""
        return max(self.network.model.sizes)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256, in hexadecimal, of all that determines a vector.

        That is the preprocessing (with sizes of uncropped images), the model's options without
        what concerns training alone, and the name, type, shape and values of every array.
        """
        arrays = (self.state.params["model"], self.state.batch_stats)
        text = json.dumps(self._determining(), sort_keys=True) + digest(arrays)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def replicated(self) -> TrainState:
        """The state on every device, without what no embedding needs."""
        state = self.state.replace(params={"model": self.state.params["model"]}, opt_state=())
        return step.replicate(state)

    def in_batches_of(
        self, images: int, description: Mapping[str, Any] | None = None
    ) -> "Embedder":
        """The same network with another batch size: the same fingerprint, vectors within ROUNDING.

        `description` is the new one where the old one names the batch.
        """
        network = dataclasses.replace(self.network, batch=images)
        described = self.description if description is None else description
        return Embedder(network, self.state, described)

    def embed(self, images: Split | Records, *, told: Told | None = None) -> Embedded:
        """The vectors [n, m, d] of the images that can be read, and which these are.

        Args:
            images: a split, or the bytes of an image file each; b"" for one that could not even be
                opened. They are asked for while a batch before them is computed, by several
                threads.
            told: is given the number of images of each batch that is done.

        Raises:
            UserError: the network pools at points that come with images, and these have none.
        """
        if not isinstance(images, Split) and models.asks_points(self.network.model):
            raise UserError(
                "the network pools at points that come with its images (pooled_at is 'given'), and "
                "files of images come without; take a network that predicts its landmarks"
            )
        split = images if isinstance(images, Split) else _unlabelled(images)
        if not len(split.labels):
            none = np.zeros(0, np.int64)
            return Embedded(np.zeros((0, self.learners, self.dim), np.float32), none, none)
        with self._fitting():
            return self.network.vectors(self.replicated, split, told=told)

    def embed_files(self, images: Sequence[str | Path]) -> Float[np.ndarray, "n m d"]:
        """The vectors of image files, one row for each: m learners of d numbers.

        Rows stay aligned: the row of an image that cannot be read is NaN, and a warning names it.

        Raises:
            ArgumentError: one path in the place of a list of them.
        """
        if isinstance(images, str | Path):
            raise ArgumentError(
                "images",
                f"{images} is one path; give a list of image files, for example "
                "sorted(Path('photos').rglob('*.jpg'))",
            )
        paths = [str(path) for path in images]
        embedded = self.embed(Files(Path(), paths))
        vectors = np.full((len(paths), self.learners, self.dim), np.nan, np.float32)
        vectors[embedded.image_ids] = embedded.vectors
        for row in embedded.unreadable:
            warnings.warn(f"{paths[row]} cannot be read; its vector is NaN", stacklevel=2)
        return vectors

    def masks(self, images: UInt8[np.ndarray, "s h w c"]) -> Float[np.ndarray, "s m i j k"]:
        """Every learner's attention masks over preprocessed images, see `Network.masks`."""
        return self.network.masks(self.replicated, images)

    @contextlib.contextmanager
    def _fitting(self) -> Iterator[None]:
        """Says in one line, where something fails inside, that the arrays are not the model's."""
        try:
            yield
        except UserError:
            raise
        except Exception:
            own = {"params": self.state.params["model"], "batch_stats": self.state.batch_stats}
            wrong = _kinds(own).items() ^ _kinds(self.network.shapes()).items()
            if not wrong:
                raise
            raise UserError(f"the arrays are not the network's: {min(wrong)[0]}") from None

    def _determining(self) -> dict[str, Any]:
        network, options = self.network, models.options(self.network.model)
        uncropped = [network.longest, network.side_step] if network.longest else []
        return {
            "pixels": PIXELS,
            "data": {name: getattr(network.preprocessing, name) for name in _PREPROCESSING},
            "model": {
                name: value
                for name, value in options.items()
                if name not in _TRAINING_ONLY and (name, value) not in _LATER.items()
            },
            "whole": uncropped,
        }


def _unlabelled(records: Records) -> Split:
    return Split(
        name="images",
        records=records,
        labels=np.zeros(len(records), np.int32),
        groups=None,
        class_names=("",),
    )


def _kinds(tree: Any) -> dict[str, tuple[str, str]]:
    """The shape and the type of each array of a tree by its name."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (str(x.shape), str(x.dtype))
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }
