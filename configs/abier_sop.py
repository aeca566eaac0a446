"""A-BIER on Stanford Online Products: a GoogLeNet whose embedding is three boosted learners.

Paper: Opitz et al., Deep Metric Learning with BIER: Boosting Independent Embeddings Robustly,
arXiv 1801.04815.

    python -m abe_jax.convert caffe_googlenet bvlc_googlenet.caffemodel googlenet.npz
    python -m abe_jax.prepare --dataset sop --source DIR
    python -m abe_jax.train --config configs/abier_sop.py --workdir runs/abier_sop \\
        --config.model.weights=googlenet.npz

DIR is the folder with Stanford_Online_Products.zip, unpacked or not. The activation loss in the
place of the regressors: --config.objective.adversarial.variant=activation. BIER alone, without
either: --config.objective.adversarial.weight=0. The learners as one vector, for comparison:
--config.model.kind=single --config.model.learners=1 --config.model.dims=()
--config.model.test_weights=() and an objective of the boosted loss alone.

Expected (the paper's figures, not measured here): Recall@1 / 10 / 100 / 1000 74.2 86.9 94.0 97.8
with 512 dimensions, from a GoogLeNet trained on ImageNet; from random weights, which stand here
until `model.weights` names a file, they are out of reach. Time: not measured.

As in the run that the authors released: learners of 96, 160 and 256 dimensions with bias behind one
pooled feature, the boosted loss with its numbers, the weights 5e-5 of the adversarial loss and 1e5
of its norms, 512 units in a regressor, Adam at 1e-5 with new layers at ten times that, half of it
every 25,000 of 100,000 steps, batches of two images of each of 64 classes, 2e-4 times the squared
weights (whose gradient is the decay of 4e-4 below), the mean taken off and no division, crops of
224 out of 256 px, flips; at test the learners' unit vectors times 96, 160 and 256; decay leaves
biases and the regressors out, and these learn at the backbone's rate from a Glorot start.
Otherwise here: 500 of the training classes are held out to choose a checkpoint by. Unknown, and
chosen here: whether the aspect is kept (here: not).
"""

from ml_collections import ConfigDict

SIZES = (96, 160, 256)


def get_config() -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "sop",
                "fit": "stretch",
                "resize": 256,
                "size": 224,
                "flip": True,
                "mean": (123.0, 117.0, 104.0),
                "std": (1.0, 1.0, 1.0),
                "sampler": "class_balanced",
                "images_per_class": 2,
                "validation_classes": 500,
                "threads": 8,
            },
            "model": {
                "backbone": "googlenet",
                "norm": "lrn",
                "kind": "divided",
                "learners": len(SIZES),
                "dim": sum(SIZES),
                "dims": SIZES,
                "test_weights": SIZES,
            },
            "objective": [
                {"name": "boosted"},
                {"name": "adversarial", "weight": 5e-5, "norm_weight": 1e5},
            ],
            "optimizer": {
                "name": "adam",
                "rate": 1e-5,
                "new_rate": 10.0,
                "weight_decay": 4e-4,
                "schedule": "step",
                "boundaries": (25_000, 50_000, 75_000),
                "factor": 0.5,
            },
            "train": {
                "steps": 100_000,
                "batch": 128,
                "log_every": 100,
                "evaluate_every": 5000,
                "checkpoint_every": 1000,
            },
            "evaluate": {"ks": (1, 10, 100, 1000)},
        }
    )
