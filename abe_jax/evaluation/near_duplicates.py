"""Retrieval without what is nearly the query's own photograph.

Frames of one scene find each other whatever a network has learned, so that Recall@1 of photographs
says little of it. Here no image of the query's capture counts, neither as its neighbour nor as one
of its positives; `captures` has the rules that say what is one capture.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from abe_jax.data.split import Split
from abe_jax.evaluation import protocols, retrieval
from abe_jax.evaluation.captures import Codes
from abe_jax.evaluation.metrics import Scores
from abe_jax.evaluation.network import Embedded
from abe_jax.evaluation.options import Measures
from abe_jax.evaluation.protocols import GroundTruth


class NearDuplicates(NamedTuple):
    """The capture of each image of a split, and the words of the rule that decided."""

    words: str
    captures: Codes


def measure(
    embedded: Embedded,
    split: Split,
    near: NearDuplicates,
    measures: Measures,
    pixels: Float[np.ndarray, "n p"],
) -> dict[str, Any]:
    """Retrieval among the readable images of a split, each query's own capture left out.

    rule                       the rule's words
    groups, images_in_groups   captures of two and more images, and how many images these have
    queries                    those with a positive of another capture; the others are in no mean
    metrics                    ensemble, learners_mean, pixels, each as in `retrieval.evaluate`;
                               empty where no query is left

    `pixels` are unit vectors of the same images as those of `embedded`, see `centred_pixels`.
    """
    codes, known = near.captures[embedded.image_ids], GroundTruth.of(split, embedded.image_ids)
    sizes = np.unique(codes, return_counts=True)[1]
    several = sizes[sizes > 1]
    result: dict[str, Any] = {"rule": near.words, "groups": len(several)}
    result["images_in_groups"] = int(several.sum())
    if not protocols.positives(known.labels, known.gallery, codes).any():
        return result | {"queries": 0, "metrics": {}}
    truth = GroundTruth(known.labels, known.gallery, codes)

    def scores(vectors: np.ndarray) -> Scores:
        return retrieval.scores(vectors, truth, measures, other_groups=True)

    x, ensemble = embedded.vectors, scores(embedded.vectors)
    alone = [ensemble] if x.shape[1] == 1 else [scores(x[:, p]) for p in range(x.shape[1])]
    each = [learner.means() for learner in alone]
    metrics = {
        "ensemble": ensemble.means(),
        "learners_mean": {name: float(np.mean([one[name] for one in each])) for name in each[0]},
        "pixels": scores(pixels).means(),
    }
    return result | {"queries": ensemble.queries, "metrics": metrics}
