"""Foreign arrays put where our stages have them, every key and every shape accounted for."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from abe_jax import models
from abe_jax.errors import UserError
from abe_jax.models.backbones.stages import Stages
from abe_jax.pretrained.damage import one_line
from abe_jax.pretrained.torch_file import Arrays

_SHOWN = 4  # keys that an error names of each kind


def same(array: np.ndarray) -> np.ndarray:
    """The array as it is."""
    return array


def vector(array: np.ndarray) -> np.ndarray:
    """[c], also where other axes of length one are kept: Caffe's and PyTorch's before 0.4."""
    return array.reshape(-1) if array.size == max(array.shape, default=1) else array


def transposed(array: np.ndarray) -> np.ndarray:
    """A matrix [out, in] as [in, out], a convolution's kernel [out, in, h, w] as [h, w, in, out].

    A depthwise kernel [c, 1, h, w] becomes [h, w, 1, c].
    """
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def transposed_bgr(array: np.ndarray) -> np.ndarray:
    """The kernel of a network that sees blue first, for one that sees red first."""
    return transposed(array[:, ::-1])


class LayerArray(NamedTuple):
    """One array of a layer: its foreign key behind the layer's name, and where it goes."""

    key: str
    collection: str  # params | batch_stats
    name: str
    change: Callable[[np.ndarray], np.ndarray]


KERNEL = LayerArray("weight", "params", "kernel", transposed)
BIAS = LayerArray("bias", "params", "bias", vector)
CONV = (KERNEL,)
CONV_BIAS = (KERNEL, BIAS)
CONV_BIAS_BGR = (KERNEL._replace(change=transposed_bgr), BIAS)
DENSE = CONV_BIAS
LAYER_NORM = (LayerArray("weight", "params", "scale", vector), BIAS)
NORM = (
    *LAYER_NORM,
    LayerArray("running_mean", "batch_stats", "mean", vector),
    LayerArray("running_var", "batch_stats", "var", vector),
)
CAFFE_CONV = (KERNEL._replace(key="0"), BIAS._replace(key="1"))
CAFFE_CONV_BGR = (CAFFE_CONV[0]._replace(change=transposed_bgr), CAFFE_CONV[1])
CAFFE_NORM = tuple(part._replace(key=str(i)) for i, part in enumerate(NORM))


@dataclasses.dataclass(frozen=True)
class Layer:
    """A foreign layer, and the module of ours (stage first) that its arrays belong to.

    Without parts it is one array under its own key, and `path` ends in our name for it.
    """

    source: str
    path: tuple[str, ...]
    parts: tuple[LayerArray, ...] = ()

    def targets(self) -> Iterator[tuple[str, tuple[str, ...], Callable[..., np.ndarray]]]:
        """For every array its foreign key, our path from the collection on, and the change."""
        if not self.parts:
            yield self.source, ("params", *self.path), same
        for part in self.parts:
            yield f"{self.source}.{part.key}", (part.collection, *self.path, part.name), part.change


@functools.cache
def template(backbone: str, norm: str) -> Mapping[str, Any]:
    """Collection -> stage -> tree of shapes, of a backbone on images of 224 x 224 x 3.

    A second's tracing, so it is done once: what it gives is to be read, not changed.
    """
    net, images = Stages(models.stages(backbone, norm=norm)), jnp.zeros((1, 224, 224, 3))
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, False))
    return {"params": {}, "batch_stats": {}, **shapes}


def placed(
    arrays: Arrays, layers: Sequence[Layer], left_out: str, shapes: Mapping[str, Any]
) -> dict[str, Any]:
    """The foreign arrays in the form of `shapes`, in float32.

    Args:
        arrays: by their foreign keys.
        layers: where every one of them goes.
        left_out: a regular expression of the keys that are known and not needed.
        shapes: what `template` gives.

    Raises:
        UserError: keys that are missing, unknown, of another shape or not finite, by name.
    """
    known = {key: (path, change) for layer in layers for key, path, change in layer.targets()}
    wrong: dict[str, list[str]] = {
        "missing": [key for key in known if key not in arrays],
        "unknown": [k for k in arrays if k not in known and not re.fullmatch(left_out, k)],
        "of another shape": [],
        "not finite": [],
    }
    expected: Any = flatten_dict(shapes)
    arrived: dict[tuple[str, ...], np.ndarray] = {}
    for key, (path, change) in known.items():
        if key not in arrays:
            continue
        array, shape = _changed(arrays[key], change), expected[path].shape
        if array.shape != shape:
            wrong["of another shape"].append(f"{key} {array.shape} for {shape}")
        elif not np.isfinite(array).all():
            wrong["not finite"].append(key)
        arrived[path] = array
    if any(wrong.values()):
        raise UserError("; ".join(_listed(what, keys) for what, keys in wrong.items() if keys))
    return {"params": {}, "batch_stats": {}, **unflatten_dict(arrived)}


def _changed(array: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, which is told
        try:
            return change(array).astype(np.float32)
        except (IndexError, ValueError):  # too few axes for the change: its shape is told
            return array.astype(np.float32)


def _listed(what: str, keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{what}: {', '.join(map(one_line, keys[:_SHOWN]))}{more}"
