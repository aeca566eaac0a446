"""Sets without training images that say which images show one object: Holidays, UKBench, Copydays.

INRIA Holidays and Copydays: Jegou, Douze and Schmid, ECCV 2008; Douze et al., CIVR 2009. UKBench:
Nister and Stewenius, CVPR 2006. Names carry the groups, so there are no lists to read.

Holidays: the first image of each of 500 groups is a query of all others of the 1,491. UKBench:
every image is a query of all. Copydays: attacked copies are queries of the 157 originals. 157
originals and 229 strong attacks are the published counts; 9 crops and 9 qualities of each original
are counted here from the levels that the authors name. How many originals have a strong attack is
not published.
"""

import functools
import re
from collections.abc import Callable, Sequence

from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
)

COPIES = {"strong": "strong", "crop": "crops", "jpeg": "jpegqual", "original": "original"}

_NUMBER = re.compile(r"\D*(\d+)\.\w+")


def _named(pattern: str, path: str) -> str:
    folders, _, name = path.rpartition("/")
    thumbnail = folders.rpartition("/")[2].lower().startswith("thumb")
    return name if re.fullmatch(pattern, name) and not thumbnail else ""


def _copydays_key(path: str) -> str:
    """KIND/[LEVEL/]200000.jpg, the kind being what the nearest folder or archive is named for."""
    *folders, name = path.split("/")
    if not re.fullmatch(r"2\d{5}\.jpg", name):
        return ""
    for depth in reversed(range(len(folders))):
        kinds = [kind for word, kind in COPIES.items() if word in folders[depth].lower()]
        if kinds:
            level = folders[-1] if folders[-1].isdecimal() and depth < len(folders) - 1 else ""
            return "/".join(part for part in (kinds[0], level, name) if part)
    return ""


def _number(key: str) -> int:
    match = _NUMBER.fullmatch(key.rpartition("/")[2])
    assert match, key  # `key` took it for an image
    return int(match[1])


def _grouped(size: int) -> Callable[[Texts, Sequence[str]], BenchmarkListing]:
    def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
        groups = sorted({_number(key) // size for key in keys})
        label_of = {group: label for label, group in enumerate(groups)}
        images = [
            BenchmarkImage(key, label_of[_number(key) // size], "test")
            for key in sorted(keys, key=_number)
        ]
        return BenchmarkListing(images, [str(group) for group in groups])

    return listing


def _copydays_listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    blocks = sorted({_number(key) // 100 for key in keys})
    label_of = {block: label for label, block in enumerate(blocks)}
    kinds = ("original", "strong", "crops", "jpegqual")

    def order(key: str) -> tuple[int, int, int]:
        kind, _, rest = key.partition("/")
        return kinds.index(kind), int(rest.rpartition("/")[0] or 0), _number(key)

    images = [
        BenchmarkImage(
            key, label_of[_number(key) // 100], key.split("/")[0], key.rpartition("/")[0]
        )
        for key in sorted(keys, key=order)
    ]
    return BenchmarkListing(images, [str(block) for block in blocks])


HOLIDAYS = Benchmark(
    name="holidays",
    version="1.0.0",
    archives="jpg1.tar.gz and jpg2.tar.gz",
    parts={"test": Part(1_491, 500, "test")},
    lists=frozenset(),
    key=functools.partial(_named, r"1\d{5}\.jpg"),
    listing=_grouped(100),
    class_is_object=True,
    takes_rotations=True,
)
UKBENCH = Benchmark(
    name="ukbench",
    version="1.0.0",
    archives="ukbench.zip",
    parts={"test": Part(10_200, 2_550, "test")},
    lists=frozenset(),
    key=functools.partial(_named, r"ukbench\d{5}\.jpg"),
    listing=_grouped(4),
    class_is_object=True,
)
COPYDAYS = Benchmark(
    name="copydays",
    version="1.0.0",
    archives="copydays_original.tar.gz and copydays_strong.tar.gz, if wished also "
    "copydays_crop.tar.gz and copydays_jpeg.tar.gz",
    parts={
        "original": Part(157, 157, "test", gallery=True),
        "strong": Part(229, 0, "test", gallery=False),
        "crops": Part(9 * 157, 157, "test", gallery=False, optional=True),
        "jpegqual": Part(9 * 157, 157, "test", gallery=False, optional=True),
    },
    lists=frozenset(),
    key=_copydays_key,
    listing=_copydays_listing,
    class_is_object=True,
)
