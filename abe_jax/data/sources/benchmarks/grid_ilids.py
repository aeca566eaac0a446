"""GRID and i-LIDS: persons of an underground station and of an airport.

GRID (QMUL underground re-identification): Loy, Xiang and Gong, CVPR 2009; 250 persons with an image
in each of probe and gallery, and 775 images of nobody (0000) in the gallery. Its authors hand out
ten divisions, 125 persons to train on in each, in features_and_partitions.mat.

i-LIDS (QMUL): Zheng, Gong and Xiang, BMVC 2009; 476 images of 119 persons, who are named by four
digits and their images by three. Ten random divisions: 59 persons to train on with all their
images, and of each of the other 60 one image that asks and one in the gallery, drawn with the
division. No camera is named; as in the field's programs each image of a person counts as one of
another camera, so none is left out.
"""

import io
import re
from collections.abc import Sequence

import numpy as np

from abe_jax.data.sources.benchmarks import divisions
from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    required,
    tail,
)
from abe_jax.data.sources.benchmarks.divisions import (
    DIVISIONS,
    GALLERY,
    QUERY,
    TRAIN,
    UNUSED,
    Roles,
)
from abe_jax.errors import UserError

NOBODY = "0000"
PARTITIONS = "features_and_partitions.mat"

_GRID = re.compile(r"(probe|gallery)/(\d{4})_(\d+)_.*\.jpeg")
_ILIDS = re.compile(r"Persons/(\d{4})(\d{3})\.jpg")


def _grid_key(path: str) -> str:
    """probe/0001_1_....jpeg: person and camera; wherever that lies."""
    name = tail(path, 2)
    return name if _GRID.fullmatch(name) else ""


def _grid(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """Images by their names, divisions by `trainIdxAll` of features_and_partitions.mat."""
    found = [(key, match) for key in sorted(keys) if (match := _GRID.fullmatch(key))]
    persons = sorted({match[2] for _, match in found})
    label_of = {person: label for label, person in enumerate(persons)}
    training = [{f"{number:04}" for number in one} for one in _partitions(texts)]
    images = []
    for key, match in found:
        side, person, camera = match.groups()
        roles = divisions.roles(person, training, QUERY if side == "probe" else GALLERY)
        images.append(BenchmarkImage(key, label_of[person], side, "", int(camera), roles))
    return BenchmarkListing(images, persons)


def _partitions(texts: Texts) -> list[list[int]]:
    """The numbers of the persons to train on: the third field of each of ten structs."""
    content = required(texts, PARTITIONS)
    import scipy.io

    try:
        stored = scipy.io.loadmat(io.BytesIO(content))["trainIdxAll"].ravel()
        structs = [one.ravel()[0] for one in stored]
        trained = [np.asarray(one[one.dtype.names[2]]).ravel() for one in structs]
        found = [numbers.astype(int).tolist() for numbers in trained]
    except Exception as error:  # its parser raises what it meets
        raise UserError(f"{PARTITIONS} is damaged: fetch it again") from error
    if len(found) != DIVISIONS or len({len(one) for one in found}) != 1:
        raise UserError(f"{PARTITIONS} has not {DIVISIONS} divisions with as many persons each")
    return found


def _ilids_key(path: str) -> str:
    """Persons/0001001.jpg, wherever that lies."""
    name = tail(path, 2)
    return name if _ILIDS.fullmatch(name) else ""


def _ilids(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """By the names alone."""
    images_of: dict[str, list[str]] = {}
    for key in sorted(keys):
        images_of.setdefault(key.partition("/")[2][:4], []).append(key)
    persons = sorted(images_of)
    training = divisions.trained(persons, "ilids", len(persons) // 2)
    images = []
    for label, person in enumerate(persons):
        roles = _ilids_roles(images_of[person], person, training)
        for key in images_of[person]:
            camera = int(key[-7:-4])
            images.append(BenchmarkImage(key, label, "persons", "", camera, roles[key]))
    return BenchmarkListing(images, persons)


def _ilids_roles(
    keys: Sequence[str], person: str, training: Sequence[set[str]]
) -> dict[str, Roles]:
    """Of each image of a person what it is in each division."""
    found: dict[str, list[int]] = {key: [] for key in keys}
    for division, trained in enumerate(training):
        order = divisions.drawn(keys, "ilids", division)
        for place, key in enumerate(order):
            tested = (QUERY, GALLERY)[place] if place < 2 else UNUSED
            found[key].append(TRAIN if person in trained else tested)
    return {key: tuple(of_image) for key, of_image in found.items()}


GRID = Benchmark(
    name="grid",
    version="1.0.0",
    archives="underground_reid.zip",
    parts={"probe": Part(250, 250, "test"), "gallery": Part(1_025, 251, "test")},
    lists=frozenset((PARTITIONS,)),
    key=_grid_key,
    listing=_grid,
    nobody=NOBODY,
    divisions=DIVISIONS,
)
ILIDS = Benchmark(
    name="ilids",
    version="1.0.0",
    archives="i-LIDS_Pedestrian.tgz",
    parts={"persons": Part(476, 119, "test")},
    lists=frozenset(),
    key=_ilids_key,
    listing=_ilids,
    divisions=DIVISIONS,
)
