"""A trained run: its best checkpoint, and what can be asked of it."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from abe_jax import evaluation, files, hosts, losses, report
from abe_jax.data import Dataset, Split
from abe_jax.data.held_out import HELD_OUT
from abe_jax.data.images.decoding import UnreadableImage
from abe_jax.data.images.sides import Sides
from abe_jax.data.sources.image_files import read
from abe_jax.errors import UserError
from abe_jax.evaluation import binary_codes, examples, grain_levels
from abe_jax.evaluation.captures import CaptureRule
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.grain_levels import HeldOut
from abe_jax.evaluation.near_duplicates import NearDuplicates
from abe_jax.evaluation.network import Embedded
from abe_jax.evaluation.resolution import Resolution
from abe_jax.evaluation.results import Results
from abe_jax.evaluation.whitening import Whitening
from abe_jax.report import tables
from abe_jax.runs import fitted_whitening
from abe_jax.runs.evaluation import Evaluation, Tested, environment, within_reach
from abe_jax.runs.fitted_whitening import Fitting
from abe_jax.training import Recipe
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.unreadable import Unreadable

Say = Callable[[str], None]


def _say_nothing(line: str) -> None:
    """A program that calls a run prints for itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run at its best checkpoint, or at its last one where it chose none.

    `recipe` is what it was trained by, `dataset` what it was trained on, `tested` what it is tested
    on. A test at another resolution is another Run, see `at`.
    """

    folder: RunFolder
    recipe: Recipe
    embedder: Embedder
    dataset: Dataset
    tested: Tested
    step: int  # of the checkpoint
    digest: str  # of the checkpoint
    fitting: Fitting = Fitting()  # noqa: RUF009 (immutable); what a whitening is fitted on
    select: str = "recall@1"  # the metric that chose the checkpoint; empty: none, it is the last
    variant: str = ""  # such as "at 448 px, p=4"

    def at(
        self, size: Sides | None = None, p: float | None = None, *, longest: int | None = None
    ) -> "Run":
        """The run as it is tested on images of `size` px, with p as GeM's exponent.

        With `longest` in the place of `size` on whole images, their longest side so many px.

        Raises:
            ArgumentError: a network that takes no such images or has no such exponent.
        """
        changed, own = Resolution(size=size, p=p, longest=longest), self.embedder
        network, state = changed.network(own.network), changed.state(own.state)
        embedder = Embedder(network, state, own.description)
        return dataclasses.replace(self, embedder=embedder, variant=changed.words)

    def whitened_on(self, path: str | Path, images: int = 0) -> "Run":
        """The run as it is evaluated with a whitening fitted on so many photographs of a folder.

        They are drawn by the run's seed, 0: all, at any depth; labels are not looked at. It is kept
        in the run's folder, and read there again without the photographs; errors: `Fitting.check`.
        """
        fitting = Fitting(images=images, path=str(path), seed=self.recipe.seed, asked=True)
        fitting.check(self.recipe.model)
        return dataclasses.replace(self, fitting=fitting)

    def embed(self, images: Sequence[str | Path]) -> Float[np.ndarray, "n m d"]:
        """The vectors of image files, one row for each; see `Embedder.embed_files`."""
        return self.embedder.embed_files(images)

    def masks(self, images: Sequence[str | Path]) -> Float[np.ndarray, "n m h w c"]:
        """Where each learner looks: its mask over the encoder's map of each image file.

        Raises:
            UserError: the model has no attention, or an image cannot be read.
        """
        if self.recipe.model.kind != "attention":
            raise UserError(f"a model of kind {self.recipe.model.kind!r} has no attention masks")
        crop, pixels = self.embedder.network.preprocessing.crop, []
        for path in images:
            try:
                pixels.append(crop(read(Path(path))))
            except UnreadableImage:
                raise UserError(f"{path} cannot be read as an image") from None
        return self.embedder.masks(np.stack(pixels))

    def evaluate(
        self, split: str = "test", *, near_duplicates: CaptureRule | None = None
    ) -> Results:
        """Retrieval on a split, `test`, `val` or `held`; written nowhere.

        With `near_duplicates` (`ByColumn`, `BySequence` or `ByDistance` of `abe_jax.evaluation`)
        also without the images of each query's own capture, `Results.without_near_duplicates`.

        Raises:
            UserError: no such split, too many unreadable images, nothing to measure, or a rule
                that does not fit the images.
        """
        rule, run = near_duplicates, self
        if rule is not None:
            tested = self.tested._replace(near_duplicates=lambda: rule)
            run = dataclasses.replace(self, tested=tested)
        return run.measure(split).results

    def measure(self, split: str = "test", say: Say = _say_nothing) -> Evaluation:
        """`evaluate`, with the images and vectors that the numbers are of.

        All hosts call it; `say` receives warnings, of unreadable images among them.
        """
        images = self.tested.dataset.split(split)
        near = self._near_duplicates(images, say)
        parts = (split, self.tested.label, self.variant, self.fitting.label)
        name = " ".join(filter(None, parts))
        if self.tested.label:
            images = dataclasses.replace(images, name=name)
        fit = partial(self._whitening, say) if self.fitting else None
        vectors = evaluation.embed_split(self.embedder, images, fit)
        noted = Unreadable(self.folder, images, self.tested.unreadable_share, say)
        noted.add(vectors.embedded.unreadable)
        measures = self.tested.measures
        results, embedded = evaluation.measure_split(
            self.embedder,
            images,
            within_reach(measures, images) if self.tested.label else measures,
            vectors=vectors,
            held_out=self._held_out(split),
            near=near,
            benchmark=self.tested.dataset.name,
        )
        self._warn_of_codes(embedded, say)
        chosen = {} if self.select else {"checkpoint": tables.LAST}
        numbers = {"step": self.step, **chosen, **results.numbers}
        return Evaluation(name, Results(numbers), images, embedded)

    def _whitening(self, say: Say, with_raw: Callable[[Split], Any]) -> Whitening | None:
        """The checkpoint's whitening; its images, where they are no training images, are noted."""

        def raw() -> Any:
            with hosts.together():
                images = self.fitting.split(lambda: self.dataset.split("train"))
            embedded, found = with_raw(images)
            if self.fitting.path:
                noted = Unreadable(self.folder, images, self.tested.unreadable_share, say)
                noted.add(embedded.unreadable)
            return found

        return fitted_whitening.load_or_fit(
            self.folder.whitening(" ".join(filter(None, (self.variant, self.fitting.file)))),
            fitted_whitening.source(self.digest, self._described()) | self.fitting.source(),
            raw,
            say,
            self.fitting.what,
        )

    def _described(self) -> Mapping[str, Any]:
        """The config as the run wrote it: a later version of this program has more names in it."""
        return self.embedder.description if self.variant else self.folder.described()

    def _held_out(self, split: str) -> HeldOut | None:
        if self.tested.label or not (self.tested.measures.grains or split == HELD_OUT):
            return None
        return self.held_out()

    def held_out(self) -> HeldOut | None:
        """Held-out images of the training classes, where the run has a classifier for them."""
        params, terms = self.embedder.state.params, losses.terms(self.recipe.objective.terms)
        classifier = grain_levels.classifier(terms, params.get("objective", {}))
        if classifier is None or not self.dataset.has_held_out:
            return None
        return HeldOut(classifier, self.dataset.split(HELD_OUT))

    def _near_duplicates(self, images: Split, say: Say) -> NearDuplicates | None:
        """Which images are nearly the same photograph, where that is asked."""
        if self.tested.near_duplicates is None:
            return None
        with hosts.together():
            rule = self.tested.near_duplicates()
        return NearDuplicates(rule.words, rule.captures(images, say))

    def _warn_of_codes(self, embedded: Embedded, say: Say) -> None:
        """Codes keep signs: of features behind a ReLU or GeM, all alike, they keep nothing."""
        if self.tested.measures.binary and binary_codes.one_sided(embedded.vectors):
            say(
                "warning: binary codes: no number of any embedding is below 0, so the codes (1 "
                "where a number is above 0) say little or nothing; a linear head (model.head) or "
                "model.layer_norm gives both signs"
            )

    def write_evaluation(self, split: str, say: Say) -> None:
        """Measures a split, says its table, and writes evaluation.json and report.html.

        All hosts call it; the first one writes.
        """
        measured = self.measure(split, say)
        with hosts.together():  # the others stay until it is written, or end with the first
            if hosts.is_first():
                self.record(measured)
                say(report.tables.evaluation_table(measured.results.numbers, split=measured.name))
                self.report(self.folder.report, measured)

    def record(self, measured: Evaluation) -> dict[str, Any]:
        """Writes an evaluation beside the others into evaluation.json and gives all of them."""
        recorded = self.recorded() | {measured.name: dict(measured.results.numbers)}
        files.write(self.folder.evaluation, json.dumps(recorded, indent=1) + "\n")
        return recorded

    def recorded(self) -> dict[str, Any]:
        """The evaluations in evaluation.json, by name; what is damaged counts as none."""
        return self.folder.evaluations()

    def report(self, path: str | Path, measured: Evaluation | None = None) -> None:
        """Writes the run's page: its course, every recorded evaluation, and pictures of one split.

        Args:
            path: of the HTML file.
            measured: whose queries, neighbours and masks are shown; None: the test split is
                measured for it.
        """
        shown = self.measure() if measured is None else measured
        pictured = (self.embedder, shown.split, shown.embedded)
        page = report.Report(
            config=self.embedder.description,
            metrics=self.folder.metrics,
            evaluation=self.recorded() | {shown.name: dict(shown.results.numbers)},
            gallery=examples.gallery(*pictured, self.tested.measures.block),
            attention=examples.attention(*pictured),
            environment=environment(self.folder.path),
        )
        report.write(Path(path), page)
