"""Cars196: 196 models of cars, the first 98 to train on (Krause et al., 2013).

Handed out in two forms: all images in one archive with one list, or the authors' own parts for
classification, every class in both, with a list each. The counts are the field's for the division
by class (Oh Song et al., CVPR 2016); they add up to the authors' 16,185.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    required,
    tail,
)
from abe_jax.errors import UserError

TRAINING = 98  # classes
ALL = "cars_annos.mat"
PARTS = {"cars_train": "cars_train_annos.mat", "cars_test": "cars_test_annos_withlabels.mat"}
NAMES = "cars_meta.mat"

_IMAGE = re.compile(r"(car_ims|cars_train|cars_test)/\d+\.jpg")


def key(path: str) -> str:
    """car_ims/000001.jpg, cars_train/00001.jpg or cars_test/00001.jpg, wherever that lies."""
    name = tail(path, 2)
    return name if _IMAGE.fullmatch(name) else ""


def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """By cars_annos.mat where there are images of car_ims, else by the lists of the two parts."""
    if ALL in texts and any(key.startswith("car_ims/") for key in keys):
        matrix = _matrix(texts, ALL)
        classes, lists = matrix["class_names"], [("", matrix["annotations"], "relative_im_path")]
    elif any(key.startswith(("cars_train/", "cars_test/")) for key in keys):
        classes = _matrix(texts, NAMES)["class_names"]
        lists = [(f"{d}/", _matrix(texts, f)["annotations"], "fname") for d, f in PARTS.items()]
    else:
        required(texts, ALL)
        raise UserError("car_ims.tgz is missing")
    images = [
        BenchmarkImage(f"{folder}{name}", int(label) - 1, "train" if label <= TRAINING else "test")
        for folder, annotations, field in lists
        for name, label in zip(annotations[field], annotations["class"], strict=True)
    ]
    return BenchmarkListing(images, [str(name) for name in classes])


def _matrix(texts: Texts, name: str) -> dict[str, Any]:
    content = required(texts, name)
    import scipy.io

    try:
        matrix = scipy.io.loadmat(io.BytesIO(content), squeeze_me=True)
    except Exception as error:  # its parser raises what it meets
        raise UserError(f"{name} is damaged: fetch it again") from error
    for array in matrix.values():
        fields = getattr(getattr(array, "dtype", None), "names", None)
        if fields and "class" not in fields:
            raise UserError(f"{name} has no classes")
    return matrix


CARS196 = Benchmark(
    name="cars196",
    version="1.0.0",
    archives="car_ims.tgz and cars_annos.mat (or cars_train.tgz, cars_test.tgz, car_devkit.tgz and "
    "cars_test_annos_withlabels.mat)",
    parts={"train": Part(8_054, 98, "train"), "test": Part(8_131, 98, "test")},
    lists=frozenset((ALL, *PARTS.values(), NAMES)),
    key=key,
    listing=listing,
)
