"""The plain network: one learner."""

from jaxtyping import Array, Float

from abe_jax.models.backbones.stages import Stages
from abe_jax.models.ensemble import Embeddings, Ensemble


class SingleHead(Ensemble):
    """A backbone, pooling and a fully connected layer: vectors [b, 1, d].

    It is cut at `branch` as the others are, so that parameters have the same names.
    """

    kind = "single"

    def setup(self) -> None:
        stages = self.cut
        self.encoder = Stages(stages.encoder)
        self.decoder = Stages(stages.decoder)
        self.setup_head()

    def __call__(self, images: Float[Array, "b h w c"], train: bool = False) -> Embeddings:
        """Embeds images; keep `batch_stats` mutable when `train` is true."""
        x = self.encoder(images.astype(self.dtype), train)
        return self.embed(self.decoder(x, train)[:, None], train, self.grid(images))
