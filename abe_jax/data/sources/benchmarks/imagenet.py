"""ImageNet-1k, the set of ILSVRC 2012 (Russakovsky et al., 2015).

Counts are those of the challenge. Its validation images are of the training classes; the labels of
its test images were never given out.
"""

import io
import re
from collections.abc import Mapping, Sequence

from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    required,
    rows,
)
from abe_jax.errors import UserError

TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
SOLUTION = "LOC_val_solution.csv"  # of the copy on Kaggle

_TRAIN = re.compile(r"(n\d{8})_\d+\.JPEG")
_VAL = re.compile(r"ILSVRC2012_val_\d{8}\.JPEG")
_CLASS = re.compile(r"n\d{8}")


def key(path: str) -> str:
    """n01440764/n01440764_18.JPEG; [n01440764/]ILSVRC2012_val_00000293.JPEG."""
    folders, _, name = path.rpartition("/")
    if match := _TRAIN.fullmatch(name):
        return f"{match[1]}/{name}"
    if _VAL.fullmatch(name):
        folder = folders.rpartition("/")[2]
        return f"{folder}/{name}" if _CLASS.fullmatch(folder) else name
    return ""


def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """Training images by their names, which begin with their class.

    Validation images by the folder of a class that they lie in, else by the lists of labels.
    """
    images = {key.rpartition("/")[2]: key for key in sorted(keys)}  # a class's folder comes last
    train = sorted(key for name, key in images.items() if _TRAIN.fullmatch(name))
    val = [key for name, key in sorted(images.items()) if _VAL.fullmatch(name)]
    known = _labels(texts) if any("/" not in key for key in val) else {}
    labelled = [(key, key.split("/")[0], "train") for key in train]
    for name in val:
        folder, _, image = name.rpartition("/")
        label = folder or known.get(image.removesuffix(".JPEG"))
        if not label:
            raise UserError(f"none of its lists has the class of {image}")
        labelled.append((name, label, "val"))
    classes = sorted({label for _, label, _ in labelled})
    label_of = {name: label for label, name in enumerate(classes)}
    return BenchmarkListing(
        [BenchmarkImage(name, label_of[label], part) for name, label, part in labelled], classes
    )


def _labels(texts: Texts) -> Mapping[str, str]:
    """The class of each validation image, by the development kit's files or by Kaggle's."""
    if TRUTH not in texts and SOLUTION in texts:
        answers = rows(texts, SOLUTION, r"(\w+),(n\d{8})\b.*", header=1)
        return {match[1]: match[2] for match in answers}
    numbers = [int(match[1]) for match in rows(texts, TRUTH, r"(\d+)")]
    try:
        import scipy.io

        synsets = scipy.io.loadmat(io.BytesIO(required(texts, META)), squeeze_me=True)["synsets"]
        names = dict(zip(map(int, synsets["ILSVRC2012_ID"]), synsets["WNID"], strict=True))
        return {f"ILSVRC2012_val_{i:08}": str(names[n]) for i, n in enumerate(numbers, start=1)}
    except UserError:
        raise
    except Exception as error:  # its parser raises what it meets
        raise UserError(f"{META} is damaged or does not belong to {TRUTH}") from error


IMAGENET = Benchmark(
    name="imagenet",
    version="1.0.0",
    archives="ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz",
    parts={"train": Part(1_281_167, 1_000, "train"), "val": Part(50_000, 1_000, "test")},
    lists=frozenset((TRUTH, META, SOLUTION)),
    key=key,
    listing=listing,
    own_held_out=True,
)
