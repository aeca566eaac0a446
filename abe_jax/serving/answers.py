"""What the page is told as plain data: neighbours, each learner's vote, and its attention."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from abe_jax.data.images import preprocessing
from abe_jax.data.sources import folder
from abe_jax.data.sources.csv_file import shown
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index.search import nearest
from abe_jax.index.snapshot import Snapshot
from abe_jax.serving import attention, thumbnails, votes
from abe_jax.serving.refused import Refused

Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Eye:
    """The model, ready to see images."""

    embedder: Embedder
    look: attention.Look | None  # where its learners look; None without attention


def opened(embedder: Embedder) -> Eye:
    """A model with its masks compiled on first use."""
    return Eye(embedder, attention.looks(embedder.config, embedder.replicated))


def of_image(eye: Eye, snapshot: Snapshot, encoded: bytes, k: int) -> Answer:
    """The answer to an image from outside of the index.

    Raises:
        Refused: the bytes are no image that can be read whole.
    """
    try:
        image = attention.seen(encoded, eye.embedder.config)
    except preprocessing.UnreadableImage as error:
        raise Refused(422, f"this is no image that can be read: {error}") from error
    embedded = eye.embedder.embed([encoded])
    if not len(embedded.vectors):
        raise Refused(422, "this is no image that can be read")
    query = {"image": thumbnails.data_uri(image), "id": None, "label": "", "path": ""}
    return {
        "query": query,
        **neighbours(snapshot, embedded.vectors[0], k),
        "attention": _drawn(eye, image),
    }


def of_row(eye: Eye, snapshot: Snapshot, row: int, k: int) -> Answer:
    """The answer to an image of the index, by its stored vector; itself is no neighbour.

    Raises:
        Refused: no such row.
    """
    require(snapshot, row)
    query = snapshot.vectors(np.array([row], np.int64))[0]
    try:
        encoded = folder.read(Path(snapshot.row(row).path))
        looked = _drawn(eye, attention.seen(encoded, eye.embedder.config))
    except preprocessing.UnreadableImage:
        looked = None  # the file is gone or damaged since; its vector is still there
    return {
        "query": _known(snapshot, row),
        **neighbours(snapshot, query, k, without=row),
        "attention": looked,
    }


def require(snapshot: Snapshot, row: int) -> None:
    """Refuses the id of a row that the index does not hold."""
    if not np.isin(row, snapshot.ids()):
        raise Refused(404, f"the index holds no image with the id {row}")


def neighbours(
    snapshot: Snapshot, query: Float[np.ndarray, "m d"], k: int, without: int = -1
) -> Answer:
    """The k nearest rows, nearest first, with each learner's own distance and rank of each.

    Ranks are among the rows that count, from 1. `near` says whether a row is within the index's
    threshold; without one it is null.
    """
    found = nearest(snapshot, query[None], k + (without >= 0))
    counted = (found.ids[0] >= 0) & (found.ids[0] != without)
    ids, apart = found.ids[0][counted][:k], found.distances[0][counted][:k]
    alive = snapshot.ids()
    own = votes.distances(snapshot, query)[alive != without]
    places = np.searchsorted(alive[alive != without], ids)
    ranks = votes.ranks(own, places)
    threshold = snapshot.threshold.distance if snapshot.threshold else None
    rows = [
        {
            **_known(snapshot, int(row)),
            "distance": float(distance),
            "near": None if threshold is None else bool(distance <= threshold),
            "learners": [
                {"distance": float(d), "rank": int(r)}
                for d, r in zip(own[place], ranks[at], strict=True)
            ],
        }
        for at, (row, distance, place) in enumerate(zip(ids, apart, places, strict=True))
    ]
    return {
        "vector": query.tolist(),
        "neighbours": rows,
        "match": None if threshold is None else any(row["near"] for row in rows),
        **about(snapshot),
    }


def about(snapshot: Snapshot) -> Answer:
    """What the page says of the index."""
    spec, threshold = snapshot.spec, snapshot.threshold
    return {
        "name": snapshot.folder.absolute().name,
        "count": snapshot.count,
        "generation": snapshot.generation,
        "learners": spec.learners,
        "dim": spec.dim,
        "storage": spec.storage,
        "distance": "bits that differ" if spec.storage == "binary" else "squared distance",
        "threshold": threshold.distance if threshold else None,
    }


def _known(snapshot: Snapshot, row: int) -> Answer:
    known = snapshot.row(row)
    there = thumbnails.is_file(known.path)
    return {
        "id": row,
        "image": f"/thumbnail/{row}" if there else None,
        "label": shown(known.label),
        "path": shown(known.path),
        "metadata": {shown(k): shown(v) for k, v in known.metadata.items()},
    }


def _drawn(eye: Eye, image: UInt8[np.ndarray, "h w c"]) -> Answer | None:
    return None if eye.look is None else attention.drawn(image, eye.look(image))
