"""Several data sets that are trained on together, each a domain, and another that is tested on.

As MetaBIN's field trains (Choi et al., CVPR 2021, section 4.1): every image of each source, of its
own test too, but those of nobody; no class of one source is in another.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int

from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources import class_splits, folder
from abe_jax.data.sources.benchmarks import reading
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.data.split import Joined, Split, subset
from abe_jax.errors import ArgumentError, nearest
from abe_jax.files import expanded


def read(options: SourceOptions, tested: str, own: Callable[[str], Split], split: str) -> Split:
    """One split: train and val of `options.sources`, test of the data set `tested`.

    train, val  all classes of the sources without the last ones, and these: `validation_classes`
                of all sources together, as many of each (and one more of the first ones)
    test        what `own` reads of it; the sources need not be there

    Domains are the sources, and take the place of any that a source has; a class is called
    `SOURCE CLASS`.

    Raises:
        ArgumentError: of `sources` or `validation_classes`: no such source, or no such classes.
        UserError: a source that is not prepared, or is damaged.
    """
    if split == "test":
        return own(split)
    _check(options, tested)
    kept, parts = options.validation_classes, []
    if split == "val" and not kept:
        raise class_splits.no_validation("several sources")
    for place, source in enumerate(options.sources):
        images = _images_of(source, options)
        share = kept // len(options.sources) + (place < kept % len(options.sources))
        classes = list(range(len(images.class_names)))
        divided = class_splits.with_validation(
            {"train": classes, "val": [], "test": []}, share, source
        )
        rows = np.flatnonzero(np.isin(images.labels, divided[split]))
        parts.append(subset(images, rows))
    return _joined(parts, options.sources, split)


def shown_in(source: str) -> str:
    """What tells whom or what a source shows: two sources with the same one are not apart.

    Of a benchmark its name, or that of the persons it has in common with another; of a folder or
    CSV file where it lies.
    """
    if source in BENCHMARKS:
        return BENCHMARKS[source].persons or source
    return str(expanded(source).resolve())


def _check(options: SourceOptions, tested: str) -> None:
    """Refuses sources that are not there, are named twice, or are what is tested on.

    Raises:
        ArgumentError: of `sources`.
    """
    known: dict[str, str] = {}
    for source in options.sources:
        identity = shown_in(source)
        if source in known.values():
            raise ArgumentError("sources", f"{source!r} is named twice; name it once")
        if identity in known:
            raise ArgumentError(
                "sources", f"{source!r} shows what {known[identity]!r} does; name one of them"
            )
        known[identity] = source
        if identity == shown_in(options.path or tested):
            raise ArgumentError(
                "sources", f"{source!r} is tested on, so it is not to be trained on; leave it out"
            )
        if source not in BENCHMARKS and not expanded(source).exists():
            raise ArgumentError(
                "sources",
                f"{source!r} is no data set that is prepared from its authors' files, and no "
                f"folder or CSV file is there; {nearest(source, BENCHMARKS)}",
            )


def _images_of(source: str, options: SourceOptions) -> Split:
    if source in BENCHMARKS:
        return reading.all_images(BENCHMARKS[source], options.root)
    return folder.all_images(_of_path(source, options))


def _of_path(source: str, options: SourceOptions) -> SourceOptions:
    return SourceOptions(path=source, label_column=options.label_column)


def _joined(parts: Sequence[Split], sources: Sequence[str], name: str) -> Split:
    labels: list[Int[np.ndarray, " n"]] = []
    classes: list[str] = []
    for part, source in zip(parts, sources, strict=True):
        labels.append(part.labels + len(classes))
        classes += [f"{source} {own}" for own in part.class_names]
    number = [np.full(len(part.labels), place) for place, part in enumerate(parts)]
    pairs = list(zip(parts, sources, strict=True))
    return Split(
        name=name,
        records=Joined([part.records for part in parts]),
        labels=np.concatenate(labels).astype(np.int32),
        groups=np.concatenate(number).astype(np.int32),
        class_names=tuple(classes),
        group_names=tuple(sources),
        paths=tuple(f"{source}/{path}" for part, source in pairs for path in part.paths),
        notes=tuple(note for part in parts for note in part.notes),
    )
