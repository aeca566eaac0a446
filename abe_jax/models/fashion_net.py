"""FashionNet: clothes by what a whole image shows and by what lies at their landmarks.

Liu et al., DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich Annotations,
CVPR 2016, section 4. VGG-16 is shared up to conv4; behind it stand three branches:

    pose    conv5, two fully connected layers -> landmarks (x, y) and whether each is visible
    local   maxima of conv4's map around each landmark, zero where it is not visible -> FC
    global  conv5, a fully connected layer

The local and the global branch are joined by a fully connected layer, whose output is the
embedding; from it, behind a ReLU, category and attributes are told.

No code of the authors' is known. Of our own choice are: the window of the pooling, its maximum
(one number for each channel), coordinates as shares of the image's sides, the ReLU before the
classifiers, and that nothing is dropped out.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError, require
from abe_jax.models.backbones.layers import GLOROT
from abe_jax.models.backbones.stages import Stages
from abe_jax.models.backbones.table import backbone
from abe_jax.models.ensemble import Embeddings, Ensemble, unit
from abe_jax.models.landmark_pooling import pooled_at

POOLED_AT = ("predicted", "given")
# Options of other kinds' heads: nothing here reads them, so they have to be as they are.
_WITHOUT = {
    "pooling": "average",
    "gem_p": 3.0,
    "gem_learned": False,
    "layer_norm": False,
    "head": "linear",
    "neck": "",
}


class Predictions(NamedTuple):
    """What a network says of an image beside its embedding, in float32; None: it does not."""

    landmarks: Float[Array, "b k 2"] | None = None  # x, y as shares of the image's sides
    visibility: Float[Array, "b k 2"] | None = None  # logits of: not visible, visible
    category: Float[Array, "b c"] | None = None  # logits
    attributes: Float[Array, "b a"] | None = None  # logits, each of its own


class FashionNet(Ensemble):
    """One embedding [b, 1, dim] from landmarks and the whole image, with what it predicts.

    `pooled_at`: "predicted" pools at the landmarks that the pose branch finds; "given" pools at
    points that come with the images (human joints, poselets, annotated landmarks) and has no pose
    branch.

    Raises:
        ArgumentError: numbers that make no network, with the nearest right choice.
    """

    kind = "fashion_net"

    dim: int = 4096  # of the fusion, which is the embedding
    landmarks: int = 8  # or as many points as are given
    categories: int = 50
    attributes: int = 1000
    window: int = 5  # positions of the map on each side of what is pooled around a landmark
    pooled_at: str = "predicted"  # predicted | given
    pose_width: int = 1024  # of both fully connected layers of the pose branch
    local_width: int = 1024
    global_width: int = 4096

    def __post_init__(self) -> None:
        require("pooled_at", self.pooled_at, POOLED_AT)
        if self.learners != 1:
            raise ArgumentError(
                "learners", f"{self.learners}, but a network of kind 'fashion_net' has 1"
            )
        for name in ("landmarks", "categories", "attributes", "window"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, f"{getattr(self, name)}; it is at least 1")
        for name, only in _WITHOUT.items():
            if getattr(self, name) != only:
                raise ArgumentError(
                    name,
                    f"{getattr(self, name)!r}, but a network of kind 'fashion_net' has fully "
                    f"connected layers of its own behind its maps; leave it at {only!r}",
                )
        if backbone(self.backbone).tokens:
            raise ArgumentError(
                "backbone",
                f"{self.backbone!r} has no maps to pool landmarks from; take a convolutional one",
            )
        super().__post_init__()

    @property
    def sized_by(self) -> str:
        """See `Ensemble`: the fully connected layers see every position of a map."""
        return "kind 'fashion_net' has fully connected layers behind whole maps"

    def setup(self) -> None:
        stages = self.cut
        self.encoder = Stages(stages.encoder)  # shared by all branches
        self.decoder = Stages(stages.decoder)  # of the global branch
        if self.pooled_at == "predicted":
            self.pose_decoder = Stages(stages.decoder)
            self.pose = Pose(self.landmarks, self.pose_width)
        self.local_branch = nn.Dense(self.local_width, kernel_init=GLOROT)
        self.global_branch = nn.Dense(self.global_width, kernel_init=GLOROT)
        self.fusion = nn.Dense(self.dim, kernel_init=GLOROT, name="head")
        self.category_head = nn.Dense(self.categories, kernel_init=GLOROT)
        self.attribute_head = nn.Dense(self.attributes, kernel_init=GLOROT)

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        train: bool = False,
        points: Float[Array, "b k 3"] | None = None,
    ) -> Embeddings:
        """Embeds images; keep `batch_stats` mutable when `train` is true.

        `points` (x, y as shares of the image's sides, visible 0 or 1) are needed where the option
        `pooled_at` is "given", and not looked at otherwise.

        Raises:
            ArgumentError: points that are missing, or of another number.
        """
        conv4 = self.encoder(images.astype(self.dtype), train)
        if self.pooled_at == "predicted":
            landmarks, visibility = self.pose(self.pose_decoder(conv4, train))
            at, visible = landmarks, visibility[..., 1] > visibility[..., 0]
        else:
            landmarks = visibility = None
            given = self._given(points, len(images))
            at, visible = given[..., :2], given[..., 2] > 0
        around = pooled_at(conv4, lax.stop_gradient(at), visible, self.window)
        local = nn.relu(self.local_branch(flat(around)))
        overall = nn.relu(self.global_branch(flat(self.decoder(conv4, train))))
        features = jnp.concatenate([local, overall], axis=-1)
        x = self.fusion(features)
        known = nn.relu(x)
        predicted = Predictions(
            landmarks, visibility, self.category_head(known), self.attribute_head(known)
        )
        rows = (features[:, None], x[:, None], unit(x)[:, None])
        return Embeddings(*rows, sizes=self.sizes, predictions=predicted)

    def _given(self, points: Array | None, rows: int) -> Array:
        shape = (rows, self.landmarks, 3)
        if points is None and self.is_initializing():
            return jnp.zeros(shape)
        check_points(self, points, "these images")
        return jnp.asarray(points)


class Pose(nn.Module):
    """Landmarks, which start in the middle of the image, and logits of their visibility."""

    landmarks: int
    width: int

    @nn.compact
    def __call__(self, maps: Float[Array, "b h w c"]) -> tuple[Array, Array]:
        x = nn.relu(nn.Dense(self.width, kernel_init=GLOROT, name="fc6")(flat(maps)))
        x = nn.relu(nn.Dense(self.width, kernel_init=GLOROT, name="fc7")(x))
        count, middle = 2 * self.landmarks, nn.initializers.constant(0.5)
        near = nn.initializers.normal(1e-3)  # so that the middle is where they start
        at = nn.Dense(count, kernel_init=near, bias_init=middle, name="landmarks")(x)
        visible = nn.Dense(count, kernel_init=GLOROT, name="visibility")(x)
        shape = (len(x), self.landmarks, 2)
        return at.reshape(shape), visible.reshape(shape)


def flat(x: Float[Array, "b ..."]) -> Float[Array, "b n"]:
    """All numbers of an image in one row, in float32."""
    return x.astype(jnp.float32).reshape(len(x), -1)


def asks_points(model: Any) -> bool:
    """Whether a network pools at points that come with its images."""
    return getattr(model, "pooled_at", "") == "given"


def check_points(model: Any, points: Any, images: str) -> None:
    """Raises ArgumentError where points [n, k, 3] are not what a network pools at; None: it has
    none.

    `images` says whose, such as "the images of test".
    """
    if not asks_points(model):
        return
    if points is None:
        raise ArgumentError(
            "pooled_at",
            f"'given', but {images} come without points; set points_column to the column of the "
            "CSV file that has them, or take a network that predicts its landmarks",
        )
    if points.shape[1] != model.landmarks:
        raise ArgumentError(
            "landmarks",
            f"{model.landmarks}, but {images} have {points.shape[1]} points; as many are needed",
        )


def blank_points(model: Any, rows: int) -> dict[str, Any]:
    """What a network is given beside images, of `rows` images in which no point is visible."""
    return {"points": jnp.zeros((rows, model.landmarks, 3))} if asks_points(model) else {}
