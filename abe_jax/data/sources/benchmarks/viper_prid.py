"""VIPeR and PRID 2011: persons seen once by each of two cameras.

VIPeR: Gray, Brennan and Tao, PETS 2007; 632 persons. PRID: Hirzer et al., SCIA 2011, its
single-shot form; 385 persons under camera a and 749 under camera b, of whom 200 are the same, those
of the first 200 numbers.

Ten random divisions of the persons whom both cameras saw, half to train on. The others' images of
camera a ask those of camera b; of PRID the 549 persons of camera b alone are distractors among
these, and the 185 of camera a alone are not used.
"""

import functools
import re
from collections.abc import Callable, Sequence

from abe_jax.data.sources.benchmarks import divisions
from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    tail,
)
from abe_jax.data.sources.benchmarks.divisions import DIVISIONS, GALLERY, QUERY, UNUSED

CAMERAS = {"cam_a": 1, "cam_b": 2}
PRID_SHARED = 200  # persons whom both of PRID's cameras saw, the first numbers

_VIPER = re.compile(r"(cam_[ab])/(\d+)_\d+\.bmp")
_PRID = re.compile(r"single_shot/(cam_[ab])/person_(\d{4})\.png")


def _key(named: re.Pattern[str], parts: int, path: str) -> str:
    name = tail(path, parts)
    return name if named.fullmatch(name) else ""


def _listing(
    of: str, named: re.Pattern[str], shared: int
) -> Callable[[Texts, Sequence[str]], BenchmarkListing]:
    """By the names alone; `shared`: only so many first numbers name one person in both folders."""

    def person(camera: str, number: str) -> str:
        return f"{camera} {number}" if shared and int(number) > shared else number

    def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
        found = [
            (key, match[1], person(match[1], match[2]))
            for key in sorted(keys)
            if (match := named.fullmatch(key))
        ]
        by_camera = [{name for _, at, name in found if at == camera} for camera in CAMERAS]
        both = sorted(set.intersection(*by_camera))
        training = divisions.trained(both, of, len(both) // 2)
        classes = sorted(set.union(*by_camera))
        label_of = {name: label for label, name in enumerate(classes)}
        images = []
        for key, camera, name in found:
            tested = QUERY if camera == "cam_a" else GALLERY
            if camera == "cam_a" and name not in both:
                tested = UNUSED
            roles = divisions.roles(name, training, tested)
            images.append(BenchmarkImage(key, label_of[name], camera, "", CAMERAS[camera], roles))
        return BenchmarkListing(images, classes)

    return listing


VIPER = Benchmark(
    name="viper",
    version="1.0.0",
    archives="VIPeR.v1.0.zip",
    parts={"cam_a": Part(632, 632, "test"), "cam_b": Part(632, 632, "test")},
    lists=frozenset(),
    key=functools.partial(_key, _VIPER, 2),
    listing=_listing("viper", _VIPER, 0),
    divisions=DIVISIONS,
)
PRID = Benchmark(
    name="prid",
    version="1.0.0",
    archives="prid_2011.zip (its folder single_shot)",
    parts={"cam_a": Part(385, 385, "test"), "cam_b": Part(749, 749, "test")},
    lists=frozenset(),
    key=functools.partial(_key, _PRID, 3),
    listing=_listing("prid", _PRID, PRID_SHARED),
    divisions=DIVISIONS,
)
