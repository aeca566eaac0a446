"""The embedded data set `glyphs`: characters drawn by many type families.

A class is a character (with its homoglyphs), an image is one style's drawing of it, a group is a
type family. Built as a TFDS data set in array_record, without TensorFlow. Which faces, drawn how,
and what is left out: typefaces.py, drawings.py, homoglyphs.py. The same package versions (Pillow
and the fonts; the metadata keeps them) give the same images, and the same files.

16 families in 102 styles make 868 classes and 56,284 images: 477 classes (30,960 images) to train,
130 (8,570) to validate, 261 (16,754) to test; 977 characters and 62,739 drawings stood before
homoglyphs were merged and what says nothing was left out. Cosine on mean-centred pixels, leaving
the query out, finds the right test character first for 78.2 % of the images, and for 80.5 % where
the query's own family does not count: neighbours within a family are often another accent.
"""

import dataclasses
import importlib.metadata
import string
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int
from tensorflow_datasets.core import writer
from tensorflow_datasets.proto import tf_example_pb2
from tqdm import tqdm

from abe_jax import hosts
from abe_jax.data.sources.glyphs import drawings, homoglyphs, typefaces
from abe_jax.data.sources.glyphs.reading import LABELS, VERSION

PARTS = {"train": 0.55, "val": 0.15, "test": 0.30}  # of the classes
SPLIT_SEED = 0  # of the data set, not of a run: every run sees the same classes in each part


@dataclasses.dataclass(kw_only=True)
class GlyphsConfig(tfds.core.BuilderConfig):
    """Which families and characters: a smaller choice makes a data set for tests."""

    families: tuple[typefaces.TypeFamily, ...] = typefaces.FAMILIES
    characters: frozenset[str] | None = None  # None: all that enough families have
    min_families: int = 6


FULL = GlyphsConfig(name="full", description="All families, all characters that 6 of them have.")
TINY = GlyphsConfig(
    name="tiny",
    description="Letters and digits in the DejaVu and STIX faces of matplotlib, for tests.",
    families=tuple(f for f in typefaces.FAMILIES if f.distribution == "matplotlib"),
    characters=frozenset(string.ascii_letters + string.digits),
    min_families=4,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlyphsPart:
    """One split: rows of the drawings with their labels."""

    rows: Int[np.ndarray, "n"]
    labels: Int[np.ndarray, "n"]  # 0..c-1
    names: tuple[str, ...]  # of the classes: the characters that are this class


def parts(
    drawn: drawings.Drawings, families: Int[np.ndarray, "n"], min_families: int
) -> dict[str, GlyphsPart]:
    """Merges, cleans and splits the drawings by the rules of homoglyphs.py.

    Groups of kin classes, in an order drawn from SPLIT_SEED, each go to the part that lacks most
    classes, so that the parts of PARTS are met to within a class or so.
    """
    points, shares = homoglyphs.alike_shares(drawn)
    merged = homoglyphs.components(shares >= homoglyphs.SHARE)
    relatives = homoglyphs.kin(points, merged, shares)
    classes = merged[np.searchsorted(points, drawn.character)]
    rows = homoglyphs.kept_drawings(drawn, classes)
    seen = np.unique(np.stack([classes[rows], families[rows]], axis=1), axis=0)[:, 0]
    present, counts = np.unique(seen, return_counts=True)
    present = present[counts >= min_families]
    kin_of_class = np.array([relatives[merged == c][0] for c in present])
    names = ["".join(map(chr, points[merged == c])) for c in present]
    result = {}
    for name, members in _split(kin_of_class).items():
        kept = rows[np.isin(classes[rows], present[members])]
        result[name] = GlyphsPart(
            rows=kept,
            labels=np.searchsorted(present[members], classes[kept]),
            names=tuple(names[m] for m in members),
        )
    return result


def _split(kin: Int[np.ndarray, "c"]) -> dict[str, np.ndarray]:
    """Indices of classes for each part; kin stay together."""
    sizes = {name: share * len(kin) for name, share in PARTS.items()}
    members: dict[str, list[int]] = {name: [] for name in PARTS}
    for group in np.random.default_rng(SPLIT_SEED).permutation(np.unique(kin)):
        part = max(PARTS, key=lambda name: sizes[name] - len(members[name]))
        members[part] += np.flatnonzero(kin == group).tolist()
    return {name: np.array(sorted(classes), dtype=np.intp) for name, classes in members.items()}


class ReproducibleWriter(writer.ExampleWriter):
    """Writes what TFDS would, each record with its features in one order.

    TFDS leaves their order to protobuf, where it hangs on the process.
    """

    def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> Any:
        return super().write(path, ((key, in_one_order(record)) for key, record in examples))


def in_one_order(record: bytes) -> bytes:
    """A serialised tf.train.Example with its features by name."""
    message: Any = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
    return message.FromString(record).SerializeToString(deterministic=True)


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of `glyphs`; beside the records it writes the classes as LABELS."""

    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [FULL, TINY]  # noqa: RUF012 (the name and type that TFDS asks for)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self._choice()
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(drawings.SIDE, drawings.SIDE, 1), encoding_format="png"
                    ),
                    "label": np.int64,
                    "character": tfds.features.Text(),
                    "family": tfds.features.Text(),
                    "style": tfds.features.Text(),
                }
            ),
            metadata=tfds.core.MetadataDict(
                families=typefaces.provenance(config.families),
                pillow=importlib.metadata.version("pillow"),
            ),
            disable_shuffling=True,  # so that the order of LABELS is the records' order
        )

    def _example_writer(self) -> writer.ExampleWriter:
        return ReproducibleWriter(super()._example_writer().file_format)

    def _choice(self) -> GlyphsConfig:
        assert isinstance(self.builder_config, GlyphsConfig)
        return self.builder_config

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        config = self._choice()
        styles = typefaces.styles(config.families)
        drawn = drawings.draw(config.characters, styles, config.min_families)
        names = [family.name for family in config.families]
        families = np.array([names.index(style.family) for style in styles])[drawn.style]
        split = parts(drawn, families, config.min_families)
        labels: dict[str, np.ndarray] = {"families": np.array(names)}
        for name, part in split.items():
            labels[f"{name}/labels"] = part.labels.astype(np.int32)
            labels[f"{name}/groups"] = families[part.rows].astype(np.int32)
            labels[f"{name}/classes"] = np.array(part.names)
        # TFDS renames the whole folder into place at the end: records and labels appear at once.
        np.savez(self.data_path / LABELS, **labels)  # pyright: ignore[reportArgumentType]
        images = sum(len(part.rows) for part in split.values())
        bar = tqdm(total=images, desc="glyphs: writing", unit="image", mininterval=1)
        return {
            name: self._generate_examples(part, drawn, styles, bar) for name, part in split.items()
        }

    def _generate_examples(
        self,
        part: GlyphsPart,
        drawn: drawings.Drawings,
        styles: tuple[typefaces.Style, ...],
        bar: tqdm,
    ) -> Iterator[tuple[int, dict]]:
        for i, row in enumerate(part.rows):
            hosts.at_work()
            bar.update()
            style = styles[drawn.style[row]]
            yield (
                i,
                {
                    "image": cv2.imencode(".png", drawn.images[row])[1].tobytes(),
                    "label": part.labels[i],
                    "character": chr(drawn.character[row]),
                    "family": style.family,
                    "style": style.name,
                },
            )
