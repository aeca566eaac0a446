"""An index with its network: photographs in, their nearest neighbours out."""

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, overload, runtime_checkable

from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index import (
    answers,
    calibration,
    duplicates,
    ingest,
    manifest,
    model_files,
    removal,
    snapshot,
    store,
    sync,
    threshold,
)
from abe_jax.index.answers import Answer
from abe_jax.index.defaults import COSINE, PRECISION
from abe_jax.index.image_list import list_images
from abe_jax.index.ingest import IngestResult
from abe_jax.index.manifest import Threshold
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.sync import SyncResult

PathLike = str | os.PathLike[str]


@runtime_checkable
class HasEmbedder(Protocol):
    """A trained run, or whatever else has an embedder."""

    @property
    def embedder(self) -> Embedder:
        """The network that makes vectors."""
        ...


class OtherNetworkError(UserError):
    """The vectors of an index were made by another network than the one that it was opened with."""


class Index:
    """Images that can be searched, in a folder; safe to use from several threads.

    Every call sees the newest state of the folder, whoever changed it.
    """

    def __init__(self, folder: PathLike, embedder: Embedder):
        """Opens the index in `folder` with the network that made its vectors.

        Raises:
            UserError: there is no index, it is damaged, or `embedder` is not its network.
        """
        self.folder, self.embedder = Path(folder), embedder
        self._lock = threading.Lock()
        self._latest = snapshot.read(self.folder)
        self._require_own_network()

    @classmethod
    def build(
        cls,
        folder: PathLike,
        source: Embedder | HasEmbedder,
        images: PathLike,
        *,
        storage: str = "float32",
        label_column: str | None = None,
    ) -> "Index":
        """Embeds images and makes an index of them, which appears when all of it is on disk.

        Args:
            folder: of the index, a new one.
            source: a run, or another network that embeds images.
            images: a folder (every image below it; an image's label is its class as training sees
                it, see `list_images`), a CSV file with the column `path`, or one image. Those that
                cannot be read are left out and named in the index's unreadable.txt.
            storage: of the vectors: float32, float16 or binary.
            label_column: of a CSV file; `label` where there is such a column.

        Raises:
            UserError: `folder` is not free, or no image is there or can be read.
        """
        embedder = source if isinstance(source, Embedder) else source.embedder
        listed = list_images(Path(images), label_column)
        ingest.build(Path(folder), embedder, storage, listed)
        return cls(folder, embedder)

    def __len__(self) -> int:
        return self.snapshot.count

    @property
    def snapshot(self) -> Snapshot:
        """The newest state.

        Raises:
            UserError: it cannot be read, or (OtherNetworkError) it is of another network now.
        """
        with self._lock:
            changed = manifest.load(self.folder) != self._latest.manifest
            if changed or not self._latest.is_whole():  # cut: read anew, so that repairs are seen
                self._latest = snapshot.read(self.folder)
            self._require_own_network()
            return self._latest

    @overload
    def search(self, images: PathLike, k: int = 5) -> Answer: ...

    @overload
    def search(self, images: Sequence[PathLike], k: int = 5) -> list[Answer]: ...

    def search(self, images: PathLike | Sequence[PathLike], k: int = 5) -> Answer | list[Answer]:
        """The k nearest images of one image file, or of each of several.

        An image that is in the index under its own path is listed with rank 0, beside the k.

        Raises:
            UserError: k is below 1 (ArgumentError), or a file is not there.
        """
        several = not isinstance(images, str | os.PathLike)
        paths = [os.fspath(path) for path in images] if several else [os.fspath(images)]
        given = answers.answer_images(self.snapshot, self.embedder, paths, k)
        return given if several else given[0]

    def add(self, images: PathLike, *, label_column: str | None = None) -> IngestResult:
        """Adds images, named as in `build`, or none of them; see `ingest.add`."""
        listed = list_images(Path(images), label_column)
        return ingest.add(self.folder, self.embedder, listed)

    def sync(
        self,
        images: PathLike,
        *,
        dry_run: bool = False,
        verify_content: bool = False,
        label_column: str | None = None,
    ) -> SyncResult:
        """Makes the index hold what a folder or a CSV file holds now, or changes nothing.

        Files are followed by content: only new and changed ones are embedded; see `sync.sync`.

        Args:
            images: named as in `build`, but not one image. Images outside of the folder stay.
            dry_run: says what would be done and changes nothing.
            verify_content: reads files of unchanged size and time of change, too.
            label_column: of a CSV file.

        Raises:
            UserError: no image is there, or none can be read.
        """
        files = sync.listed(Path(images), label_column)
        if dry_run:
            return sync.dry_run(self.folder, files, verify_content)
        return sync.sync(self.folder, self.embedder, files, verify_content)

    def remove(self, images: PathLike | Sequence[PathLike] = (), *, ids: Sequence[int] = ()) -> int:
        """Removes images by path (of a folder: all below it) or by id; how many they were.

        Raises:
            UserError: the index holds none of a name.
        """
        several = not isinstance(images, str | os.PathLike)
        paths = [os.fspath(path) for path in images] if several else [os.fspath(images)]
        return removal.remove_images(self.folder, paths, ids)

    def calibrate(
        self,
        images: PathLike,
        *,
        precision: float | None = None,
        false_match_rate: float | None = None,
        label_column: str | None = None,
        say: Callable[[str], None] = print,
    ) -> Threshold:
        """Finds and stores the greatest distance that counts as a match, from labelled images.

        Args:
            images: named as in `build`. Each is a query; its own path is no answer to it.
            precision: the share of right ones among the matches that is asked for; 0.95 where
                neither this nor `false_match_rate` is given.
            false_match_rate: the share of images at most that would match another label if nothing
                of their own were in the index.
            label_column: of a CSV file.
            say: is given warnings.

        Raises:
            UserError: there are too few labelled images, or the goal cannot be reached.
        """
        if precision is not None and false_match_rate is not None:
            raise ArgumentError("precision", "goes without false_match_rate")
        now, listed = self.snapshot, list_images(Path(images), label_column)
        neighbours = calibration.neighbours_of_images(now, self.embedder, listed, say)
        if false_match_rate is not None:
            chosen = threshold.at_false_match_rate(neighbours, false_match_rate)
        else:
            chosen = threshold.at_precision(
                neighbours, PRECISION if precision is None else precision
            )
        chosen = dataclasses.replace(chosen, measured={**chosen.measured, "indexed": now.count})
        store.set_threshold(self.folder, chosen)
        return chosen

    def duplicates(
        self, *, cosine: float | None = None, distance: float | None = None
    ) -> list[list[tuple[int, ImageRow]]]:
        """Groups of near-duplicates, each image with its id; see `near_duplicates`."""
        return near_duplicates(self.snapshot, cosine=cosine, distance=distance)[1]

    def _require_own_network(self) -> None:
        if self._latest.spec.fingerprint != self.embedder.fingerprint:
            raise OtherNetworkError(
                f"{self.folder}: its vectors were not made by this network; use the one in "
                f"{model_files.FOLDER}/ of the index as it was built, or build the index again"
            )


def near_duplicates(
    now: Snapshot, *, cosine: float | None = None, distance: float | None = None
) -> tuple[float, list[list[tuple[int, ImageRow]]]]:
    """The distance that was used, and the groups of images that pairs within it join.

    Args:
        now: a state of an index.
        cosine: of a pair at least, over the learners on average; 0.95 where neither is given.
        distance: of a pair at most, as a search gives it.

    Raises:
        ArgumentError: one of them cannot be, or both or (of binary codes) no distance is given.
    """
    if distance is None:
        if cosine is None and now.spec.storage == "binary":
            raise ArgumentError("distance", "must be named for binary codes, in bits")
        distance = duplicates.distance_at_cosine(now, COSINE if cosine is None else cosine)
    elif cosine is not None:
        raise ArgumentError("distance", "goes without a cosine")
    groups = duplicates.duplicate_groups(now, distance)
    return distance, [[(int(id_), now.row(int(id_))) for id_ in group] for group in groups]
