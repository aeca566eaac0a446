"""The whitening of a run's checkpoint: fitted once on training images, kept in the run's folder."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from abe_jax import hosts
from abe_jax.config import Config, to_mapping
from abe_jax.data import dataset
from abe_jax.data.dataset import Split
from abe_jax.data.split import chosen
from abe_jax.errors import UserError
from abe_jax.evaluation import whitening
from abe_jax.evaluation.embed import Embedded, both_step, embed, embed_both
from abe_jax.evaluation.whitening import Whitening
from abe_jax.training import step

Raw = Float[np.ndarray, "n D"]
Embed = Callable[[step.TrainState, Split], tuple[Embedded, Raw]]


def embedder(config: Config, embed_step: Callable) -> Embed:
    """A function from (state, split) to the split's vectors and what is whitened of them.

    Of one learner that is the embedding before L2, whose length the bias channel keeps; of several
    the concatenation of their unit vectors, by which the ensemble is compared. `embed_step`
    is `step.embed_step(config)`; nothing is compiled twice.
    """
    if config.model.learners > 1:

        def of_many(state: step.TrainState, split: Split) -> tuple[Embedded, Raw]:
            embedded = embed(state, embed_step, split, config)
            return embedded, embedded.vectors.reshape(len(embedded.vectors), -1)

        return of_many
    both = both_step(config)

    def of_one(state: step.TrainState, split: Split) -> tuple[Embedded, Raw]:
        embedded, raw = embed_both(state, both, split, config)
        return embedded, raw[:, 0]

    return of_one


def of_checkpoint(
    path: Path,
    digest: str,
    raw_of: Callable[[Split], Raw],
    config: Config,
    say: Callable[[str], None],
) -> Whitening | None:
    """The whitening at `path` where it is this checkpoint's, else one fitted now and kept there.

    It is fitted on the embeddings of config.evaluate.whiten training images, or of all if they are
    fewer. All hosts call this; the first alone has the file, and the others are given None.

    Args:
        path: the file, written whole or not at all.
        digest: of the checkpoint.
        raw_of: what it gives of a split to be whitened.
        config: of the evaluation.
        say: is told of a fit.

    Raises:
        UserError: the file cannot be written, or the errors of `whitening.fit`.
    """
    of = {"checkpoint": digest, "config": fingerprint(config)}
    kept = _read(path, of) if hosts.is_first() else None
    if hosts.everywhere(np.array([kept is not None]))[0]:
        return kept
    raw = raw_of(drawn(dataset.load(config.data, "train"), config))
    with hosts.together():
        if not hosts.is_first():
            return None
        fitted = whitening.fit(raw)
        inputs, outputs = fitted.projection.shape
        say(f"whitening fitted on {len(raw):,} training images: {outputs} of {inputs} directions")
        _write(path, of, fitted)
        return fitted


def fingerprint(config: Config) -> str:
    """A digest of all that a config says."""
    return hashlib.sha256(json.dumps(to_mapping(config), sort_keys=True).encode()).hexdigest()


def drawn(train: Split, config: Config) -> Split:
    """The config.evaluate.whiten images that a whitening is fitted on: the first of an order."""
    count = len(train.labels)
    order = np.random.default_rng(config.seed).permutation(count)
    return chosen(train, np.sort(order[: min(count, config.evaluate.whiten)]))


def _read(path: Path, of: dict[str, str]) -> Whitening | None:
    """The whitening, unless there is none, it is another's, or its file is damaged."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            found: Any = json.loads(str(stored["of"]))
            fitted = Whitening(stored["mean"], stored["projection"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return fitted if found == of else None


def _write(path: Path, of: dict[str, str], fitted: Whitening) -> None:
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, of=np.array(json.dumps(of)), **fitted._asdict())
        partial.replace(path)
    except OSError as error:  # so that the other hosts stop as well
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
