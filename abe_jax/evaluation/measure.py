"""Everything that is measured of one embedded split, as plain numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from abe_jax.config import Evaluate
from abe_jax.data.split import Split, chosen
from abe_jax.errors import UserError
from abe_jax.evaluation import binary_codes, cosine, protocols
from abe_jax.evaluation.by_domain import by_domain
from abe_jax.evaluation.metrics import Scores
from abe_jax.evaluation.search import BLOCK

Labels = Int[np.ndarray | Array, "..."]


def of_split(
    vectors: Float[np.ndarray | Array, "n m d"],
    instances: Int[np.ndarray, " n"],
    split: Split,
    evaluate: Evaluate,
) -> dict[str, float]:
    """The ensemble's metrics alone, of vectors of the split's images `instances`."""
    read = chosen(split, instances)
    found = protocols.scores(
        vectors, read.labels, evaluate.ks, gallery=read.gallery, block=evaluate.block
    )
    return found.means()


def evaluate(
    vectors: Float[np.ndarray | Array, "n m d"],
    labels: Labels,
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    gallery: Bool[np.ndarray | Array, " n"] | None = None,
    groups: Labels | None = None,
    domains: Sequence[str] = (),
    pixels: Shaped[np.ndarray | Array, "..."] | None = None,
    whitened: Float[np.ndarray, "n k"] | None = None,
    block: int = BLOCK,
    binary: bool = False,
) -> dict:
    """Retrieval over one split: the ensemble, its learners, and the pixel floor.

    Each image asks all others or, with `gallery` [n], the images outside of it ask it alone, in
    every part of the result, see `protocol.scores`. `vectors` [n, m, d] of m learners, integer
    `labels` [n]; `groups` [n] (say, type families) add
    "other_family", where neighbours of the query's own group do not count, and with the groups'
    names `domains` also "domains", where only those of its own do; `pixels` [n, ...] add
    what the images give without any training, see `centred_pixels`. The result holds only dicts,
    lists, floats and ints and is bitwise the same on every call:

    images, classes, queries (those with a positive; the others are in no mean)
    gallery       how many images it has; left out where all images are
    metrics       ensemble (concatenation), ensemble_mean_distance, learners (each on its own),
                  learners_mean, learners_std (over learners, of the m values themselves), pixels;
                  each {"recall@K": .., "r_precision": .., "map@r": ..}; with `binary` also
                  binary, the ensemble's codes by Hamming distance, see `codes.pack`, and with
                  `whitened` whitened, by these unit vectors, see `whitening.unit_whitened`
    other_family  ensemble, pixels; with queries_other_family beside it. Left out if no query has
                  a positive in another group, or no gallery row is of the group of a query
    domains       ensemble, pixels, see `by_domain`
    cosine        see `between_learners`; left out for one learner
    Errors: those of `recall_at_k`.
    """
    x, y = np.asarray(vectors), np.asarray(labels)
    if x.ndim != 3:
        raise UserError(f"vectors must be [n, m, d], not of shape {x.shape}")
    asked = None if gallery is None else np.asarray(gallery)
    of_split = _Split(y, asked, ks, None if groups is None else np.asarray(groups), block)
    floor = None if pixels is None else centred_pixels(np.asarray(pixels))
    ensemble = of_split.scores(x)
    result: dict = {
        "images": len(x),
        "classes": len(np.unique(y)),
        "queries": ensemble.queries,
        **({} if asked is None else {"gallery": int(asked.sum())}),
        "metrics": {
            "ensemble": ensemble.means(),
            **_of_learners(x, of_split, ensemble),
            **_beside(x, floor, whitened, binary, of_split),
        },
    }
    if groups is not None:
        result |= _other_family(x, floor, of_split)
    if domains:
        result["domains"] = _of_domains(x, floor, of_split, domains)
    if x.shape[1] > 1:
        result["cosine"] = cosine.between_learners(x, y, asked)
    return result


class _Split(NamedTuple):
    """What the evaluation knows of a split beside the vectors that are ranked."""

    labels: np.ndarray
    gallery: np.ndarray | None
    ks: Sequence[int]
    groups: np.ndarray | None
    block: int

    def scores(
        self, vectors: np.ndarray | Array, *, apart: bool = False, ensemble: str = "concatenation"
    ) -> Scores:
        """Of its queries; `apart`: neighbours of the query's own group do not count."""
        return protocols.scores(
            vectors,
            self.labels,
            self.ks,
            gallery=self.gallery,
            groups=self.groups if apart else None,
            ensemble=ensemble,
            block=self.block,
        )


def _beside(
    x: np.ndarray,
    floor: np.ndarray | None,
    whitened: np.ndarray | None,
    binary: bool,
    split: _Split,
) -> dict:
    found = {}
    if binary:
        found["binary"] = split.scores(binary_codes.pack(x), ensemble=binary_codes.HAMMING).means()
    if floor is not None:
        found["pixels"] = split.scores(floor).means()
    if whitened is not None:
        found["whitened"] = split.scores(whitened).means()
    return found


def _of_learners(x: np.ndarray, split: _Split, ensemble: Scores) -> dict:
    """The ensemble by mean distance, each learner, and the learners' mean and spread."""
    if x.shape[1] == 1:  # one learner ranks alike by every one of these
        mean_distance, each = ensemble.means(), [ensemble.means()]
    else:
        mean_distance = split.scores(x, ensemble="mean_distance").means()
        each = [split.scores(x[:, p]).means() for p in range(x.shape[1])]
    values = {name: np.array([learner[name] for learner in each]) for name in each[0]}
    return {
        "ensemble_mean_distance": mean_distance,
        "learners": each,
        "learners_mean": {name: float(value.mean()) for name, value in values.items()},
        "learners_std": {name: float(value.std()) for name, value in values.items()},
    }


def _other_family(x: np.ndarray, floor: np.ndarray | None, split: _Split) -> dict:
    assert split.groups is not None
    if not protocols.positives(split.labels, split.gallery, split.groups).any():
        return {}
    if split.gallery is not None:
        asking, asked, _ = protocols.rows(len(x), split.gallery)
        if not np.intersect1d(split.groups[asking], split.groups[asked]).size:
            return {}
    ensemble = split.scores(x, apart=True)
    found = {"ensemble": ensemble.means()}
    if floor is not None:
        found["pixels"] = split.scores(floor, apart=True).means()
    return {"other_family": found, "queries_other_family": ensemble.queries}


def _of_domains(
    x: np.ndarray, floor: np.ndarray | None, split: _Split, domains: Sequence[str]
) -> dict:
    if split.groups is None:
        raise UserError("the names of domains need the groups that they are the names of")
    ranked = {"ensemble": x} | ({} if floor is None else {"pixels": floor})
    return by_domain(
        ranked,
        split.labels,
        split.groups,
        domains,
        gallery=split.gallery,
        ks=split.ks,
        block=split.block,
    )


def centred_pixels(pixels: Shaped[np.ndarray, "n ..."]) -> Float[np.ndarray, "n p"]:
    """Images as unit vectors after each image's own mean is subtracted: the untrained floor.

    Nearest by these is nearest by cosine on mean-centred raw pixels, that is, by correlation. On
    glyphs it finds more than subtracting the mean image of the set (R@1 78 against 73 on the test
    classes): a floor should be the harder one to beat. An image of one value is the zero vector.
    Large images are for the caller to shrink: n * p float32 values are held.
    """
    x = pixels.reshape(len(pixels), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths == 0.0, np.float32(1), lengths)
