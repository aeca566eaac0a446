"""In-shop Clothes Retrieval of DeepFashion: garments (Liu et al., CVPR 2016).

Queries look in the gallery alone. Division and counts are the authors' own; the three parts add up
to the number in the first line of their list, 52,712. The domain of an image is its category, by
the folders that it lies in: MEN/Denim, WOMEN/Dresses and 21 others. Landmarks, boxes and attributes
are read where the authors' lists of them lie beside: see inshop_annotations.py.
"""

import re
from collections.abc import Sequence

from abe_jax.data.sources.benchmarks import inshop_annotations
from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    rows,
)

LIST = "list_eval_partition.txt"

_IMAGE = re.compile(r"(?:.*/)?(img/.+\.jpg)", re.IGNORECASE)


def key(path: str) -> str:
    """img/WOMEN/KIND/ITEM/NAME.jpg from the last folder img on, wherever that lies."""
    match = _IMAGE.fullmatch(path)
    return match[1] if match else ""


def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """By list_eval_partition.txt: `image_name item_id evaluation_status` behind two lines."""
    listed = rows(texts, LIST, r"(\S.*?)\s+(\S+)\s+(train|query|gallery)", header=2)
    items = sorted({match[2] for match in listed})
    label_of = {item: label for label, item in enumerate(items)}
    images = [BenchmarkImage(m[1], label_of[m[2]], m[3], _category(m[1])) for m in listed]
    return BenchmarkListing(images, items, *inshop_annotations.annotations(texts, images, items))


def _category(name: str) -> str:
    """WOMEN/Dresses of img/WOMEN/Dresses/ITEM/NAME.jpg."""
    return "/".join(name.split("/")[1:-2])


INSHOP = Benchmark(
    name="inshop",
    version="1.0.0",
    archives="img.zip and list_eval_partition.txt of the In-shop Clothes Retrieval Benchmark",
    parts={
        "train": Part(25_882, 3_997, "train"),
        "query": Part(14_218, 3_985, "test", gallery=False),
        "gallery": Part(12_612, 3_985, "test", gallery=True),
    },
    lists=frozenset((LIST, *inshop_annotations.LISTS)),
    key=key,
    listing=listing,
    domain_is_category=True,
    point_pairs=inshop_annotations.PAIRS,
)
