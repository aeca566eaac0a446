"""abe_jax: deep metric learning in JAX and Flax.

    import abe_jax as abe

    run = abe.load("runs/cars")                    # a trained run
    z = run.embed(["a.jpg", "b.jpg"])              # [n, m, d]; NaN where a file cannot be read
    distances, indices = abe.knn(z, z, k=1, exclude_self=True)    # exact, squared Euclidean

    data = abe.data.folder("photos", test_share=0.5)
    model = abe.ABE(backbone="resnet50", learners=8, dim=512)
    loss = abe.losses.Contrastive(margin=1.0) + 0.1 * abe.losses.Divergence()
    run = abe.fit(model, loss, data, steps=5000, workdir="runs/photos")
    run.evaluate("test").recall[1]

    plain = abe.from_weights("efficientnet-lite0")   # no training at all
    z = plain.embed_files(["a.jpg", "b.jpg"])

    index = abe.Index.build("photos.index", run, "photos")    # or `plain`
    index.search("query.jpg", k=5)
    index.sync("photos")                           # follows the folder, embeds only what is new

These names are the library; the packages behind them are described in ARCHITECTURE.md.
"""

from typing import TYPE_CHECKING

from abe_jax.data import images as _images  # noqa: F401 (bounds OpenCV before it is imported)
from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax import data, evaluation, losses, models
    from abe_jax.config.fitting import fit
    from abe_jax.config.stored import load
    from abe_jax.config.weights import embedder_of_weights as from_weights
    from abe_jax.errors import UserError
    from abe_jax.evaluation.knn import knn
    from abe_jax.evaluation.results import Results
    from abe_jax.index.index import Index
    from abe_jax.models import ABE, Cascade, DividedHead, MultiHead, SingleHead
    from abe_jax.runs.run import Run
    from abe_jax.training.optimizer import Optimizer
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "data": "abe_jax.data:",
            "evaluation": "abe_jax.evaluation:",
            "losses": "abe_jax.losses:",
            "models": "abe_jax.models:",
            "fit": "abe_jax.config.fitting",
            "from_weights": "abe_jax.config.weights:embedder_of_weights",
            "load": "abe_jax.config.stored",
            "UserError": "abe_jax.errors",
            "knn": "abe_jax.evaluation.knn",
            "Results": "abe_jax.evaluation.results",
            "Index": "abe_jax.index.index",
            "ABE": "abe_jax.models",
            "Cascade": "abe_jax.models",
            "DividedHead": "abe_jax.models",
            "MultiHead": "abe_jax.models",
            "SingleHead": "abe_jax.models",
            "Run": "abe_jax.runs.run",
            "Optimizer": "abe_jax.training.optimizer",
        },
    )

__all__ = [
    "ABE",
    "Cascade",
    "DividedHead",
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
