"""abe_jax: deep metric learning in JAX and Flax.

    import abe_jax as abe

    run = abe.load("runs/cars")                    # a trained run
    z = run.embed(["a.jpg", "b.jpg"])              # [n, m, d], rows aligned with the files
    distances, indices = abe.knn(z, z, k=5)        # exact

    data = abe.data.folder("photos", test_share=0.5)
    model = abe.ABE(backbone="resnet50", learners=8, dim=512)
    loss = abe.losses.Contrastive(margin=1.0) + 0.1 * abe.losses.Divergence()
    run = abe.fit(model, loss, data, steps=5000, workdir="runs/photos")
    run.evaluate("test").recall[1]

    plain = abe.from_weights("efficientnet-lite0")   # no training at all
    z = plain.embed_files(["a.jpg", "b.jpg"])

    index = abe.Index.build("photos.index", run, "photos")    # or `plain`
    index.search("query.jpg", k=5)

These names are the library; the packages behind them are described in ARCHITECTURE.md.
"""

from abe_jax import data, evaluation, losses, models
from abe_jax.config.fitting import fit
from abe_jax.config.stored import embedder_of_weights as from_weights
from abe_jax.config.stored import load
from abe_jax.errors import UserError
from abe_jax.evaluation import Results
from abe_jax.evaluation.knn import knn
from abe_jax.index.index import Index
from abe_jax.models import ABE, MultiHead, SingleHead
from abe_jax.runs.run import Run
from abe_jax.training import Optimizer

__all__ = [
    "ABE",
    "Index",
    "MultiHead",
    "Optimizer",
    "Results",
    "Run",
    "SingleHead",
    "UserError",
    "data",
    "evaluation",
    "fit",
    "from_weights",
    "knn",
    "load",
    "losses",
    "models",
]
