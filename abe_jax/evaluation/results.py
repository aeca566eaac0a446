"""The numbers that an evaluation gives, as plain data."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalMetrics:
    """The means over queries of one ranking, as fractions of 1."""

    recall: dict[int, float]  # by K
    r_precision: float
    map_at_r: float

    @classmethod
    def of(cls, named: Mapping[str, float]) -> "RetrievalMetrics":
        """From {"recall@K": .., "r_precision": .., "map@r": ..}."""
        recall = {
            int(name.removeprefix("recall@")): value
            for name, value in named.items()
            if name.startswith("recall@")
        }
        return cls(recall=recall, r_precision=named["r_precision"], map_at_r=named["map@r"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReidentificationMetrics:
    """The means over queries of one ranking across cameras, as fractions of 1."""

    rank: dict[int, float]  # CMC, by K
    map: float
    minp: float

    @classmethod
    def of(cls, named: Mapping[str, float]) -> "ReidentificationMetrics":
        """From {"rank-K": .., "map": .., "minp": ..}."""
        rank = {
            int(name.removeprefix("rank-")): value
            for name, value in named.items()
            if name.startswith("rank-")
        }
        return cls(rank=rank, map=named["map"], minp=named["minp"])


@dataclasses.dataclass(frozen=True)
class Results:
    """One evaluation of one split; `numbers` is its entry in evaluation.json, see `evaluate`.

    The properties raise KeyError where nothing could be retrieved: images held out of training may
    be one of each class, and `numbers["metrics"]` is then empty.
    """

    numbers: Mapping[str, Any]

    @property
    def ensemble(self) -> RetrievalMetrics:
        """Of the concatenated learners."""
        return RetrievalMetrics.of(self.numbers["metrics"]["ensemble"])

    @property
    def recall(self) -> dict[int, float]:
        """Recall@K of the ensemble, by K."""
        return self.ensemble.recall

    @property
    def r_precision(self) -> float:
        """R-precision of the ensemble."""
        return self.ensemble.r_precision

    @property
    def map_at_r(self) -> float:
        """MAP@R of the ensemble."""
        return self.ensemble.map_at_r

    @property
    def learners(self) -> tuple[RetrievalMetrics, ...]:
        """Of each learner on its own."""
        return tuple(map(RetrievalMetrics.of, self.numbers["metrics"]["learners"]))

    @property
    def ensemble_mean_distance(self) -> RetrievalMetrics:
        """Of the learners together, ranked by their mean distance."""
        return RetrievalMetrics.of(self.numbers["metrics"]["ensemble_mean_distance"])

    @property
    def baseline(self) -> RetrievalMetrics | None:
        """Of raw pixels, without any training; None where these were not ranked."""
        pixels = self.numbers["metrics"].get("pixels")
        return None if pixels is None else RetrievalMetrics.of(pixels)

    @property
    def without_near_duplicates(self) -> RetrievalMetrics | None:
        """Of the ensemble, where the query's own capture is left out of its gallery.

        None where this was not measured, or no query was left.
        """
        metrics = self.numbers.get("without_near_duplicates", {}).get("metrics")
        return RetrievalMetrics.of(metrics["ensemble"]) if metrics else None

    @property
    def reidentification(self) -> ReidentificationMetrics | None:
        """Of the ensemble, where the images have cameras and a gallery.

        None where they have not, or no query's person is under another camera of the gallery.
        """
        metrics = self.numbers.get("reidentification", {}).get("metrics")
        return ReidentificationMetrics.of(metrics["ensemble"]) if metrics else None

    def to_json(self) -> str:
        """`numbers` as JSON."""
        return json.dumps(dict(self.numbers), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Results":
        """The results that `to_json` wrote."""
        return cls(json.loads(text))
