"""What the page is sent as plain data: neighbours, each learner's rank of them, its attention."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from abe_jax.data.images.decoding import UnreadableImage
from abe_jax.data.sources import image_files
from abe_jax.data.sources.csv_file import shown
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index.search import nearest_rows
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import is_match
from abe_jax.serving import attention, thumbnails
from abe_jax.serving.learner_ranks import learner_distances, learner_ranks
from abe_jax.serving.refused import Refused

Response = dict[str, Any]


def to_upload(embedder: Embedder, snapshot: Snapshot, encoded: bytes, k: int) -> Response:
    """The response to an image from outside of the index.

    Raises:
        Refused: the bytes are no image that can be read to its end.
    """
    try:
        image = attention.preprocessed(embedder.network, encoded)
    except UnreadableImage as error:
        raise Refused(422, f"this is no image that can be read: {error}") from error
    embedded = embedder.embed([encoded])
    if not len(embedded.vectors):
        raise Refused(422, "this is no image that can be read")
    query = {"image": thumbnails.data_uri(image), "id": None, "label": "", "path": ""}
    return {
        "query": query,
        **neighbours(snapshot, embedded.vectors[0], k),
        "attention": _attention(embedder, image),
    }


def to_row(embedder: Embedder, snapshot: Snapshot, id_: int, k: int) -> Response:
    """The response to an image of the index, by its stored vector; itself is no neighbour.

    Raises:
        Refused: no such row, or its vector is not finite.
    """
    require_row(snapshot, id_)
    query = snapshot.vectors(np.array([id_], np.int64))[0]
    if not np.isfinite(query).all():
        raise Refused(
            503, f"the vector of image {id_} is not finite; index info --verify names all such"
        )
    try:
        encoded = image_files.read(Path(snapshot.row(id_).path))
        maps = _attention(embedder, attention.preprocessed(embedder.network, encoded))
    except UnreadableImage:
        maps = None  # the file is gone or damaged since; its vector is still there
    return {
        "query": _row(snapshot, id_),
        **neighbours(snapshot, query, k, without=id_),
        "attention": maps,
    }


def require_row(snapshot: Snapshot, id_: int) -> None:
    """Refuses the id of a row that the index does not hold."""
    if not np.isin(id_, snapshot.ids()):
        raise Refused(404, f"the index holds no image with the id {id_}")


def neighbours(
    snapshot: Snapshot, query: Float[np.ndarray, "m d"], k: int, without: int = -1
) -> Response:
    """The k nearest rows, nearest first, with each learner's own distance and rank of each.

    Ranks are among the rows that count, from 1: all but the one with the id `without`. `near` says
    whether a row is within the index's threshold; without one it is null.
    """
    nearest = nearest_rows(snapshot, query[None], k + (without >= 0))
    counted = (nearest.ids[0] >= 0) & (nearest.ids[0] != without)
    nearest_ids, distances = nearest.ids[0][counted][:k], nearest.distances[0][counted][:k]
    ids = snapshot.ids()
    by_learner = learner_distances(snapshot, query)[ids != without]
    numbers = np.searchsorted(ids[ids != without], nearest_ids)
    ranks = learner_ranks(by_learner, numbers)
    limit = snapshot.threshold and snapshot.threshold.distance
    rows = [
        {
            **_row(snapshot, int(id_)),
            "distance": float(distance),
            "near": None if limit is None else is_match(distance, limit, snapshot.spec),
            "learners": [
                {"distance": float(own), "rank": int(rank)}
                for own, rank in zip(by_learner[number], ranks[i], strict=True)
            ],
        }
        for i, (id_, distance, number) in enumerate(
            zip(nearest_ids.tolist(), distances.tolist(), numbers, strict=True)
        )
    ]
    return {
        "vector": query.tolist(),
        "neighbours": rows,
        "match": None if limit is None else any(row["near"] for row in rows),
        **about(snapshot),
    }


def about(snapshot: Snapshot) -> Response:
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


def _row(snapshot: Snapshot, id_: int) -> Response:
    row = snapshot.row(id_)
    there = thumbnails.is_file(row.path)
    return {
        "id": id_,
        "image": f"/thumbnail/{id_}" if there else None,
        "label": shown(row.label),
        "path": shown(row.path),
        "metadata": {shown(k): shown(str(v)) for k, v in row.metadata.items()},
    }


def _attention(embedder: Embedder, image: UInt8[np.ndarray, "h w c"]) -> Response | None:
    masks = attention.mean_masks(embedder, image)
    return None if masks is None else attention.pictures(image, masks)
