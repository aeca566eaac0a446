"""ABE-8 on Cars196: eight learners that share a GoogLeNet and differ by attention masks.

Paper: Kim et al., Attention-based Ensemble for Deep Metric Learning, ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.prepare --dataset cars196 --source DIR
    python -m abe_jax.train --config configs/cars196_abe.py --workdir runs/cars196_abe

DIR is the folder with car_ims.tgz and cars_annos.mat (or with the parts that classification uses,
and their lists), unpacked or not. Other sizes, for example ABE-4 with 256 dimensions in all (for
ABE-1 the paper has no divergence term, which is then zero anyway):

    ... --config.model.learners=4 --config.model.dim=256

Expected (the paper's figures, not measured here): Recall@1 / 2 / 4 / 8 on the test classes
    ABE-1 67.3 77.3 85.3 90.9    ABE-2 76.8 84.9 90.2 94.0
    ABE-4 82.5 89.1 93.0 95.5    ABE-8 85.2 90.5 93.9 96.1    without divergence 69.7 78.8 86.2 91.5
They start from a GoogLeNet trained on ImageNet; from random weights, which is what stands here
until `model.weights` names a file of converted ones (README), they are out of reach. Time: not
measured.

As in the paper: the network with its sizes, the batch of 64 (32 drawn images, half with a positive
and half with a negative partner), margins 1, weight of the divergence 1, SGD with momentum 0.9,
256 px padded and scaled, crops of 224, flips, the channel mean taken off and no division.
Unknown, because the paper's text does not give it, and chosen here: learning rate, schedule,
weight decay, clipping, number of steps, the pairs and the divisor of each loss term (here: those
that did best on glyphs, docs/EXPERIMENTS.md), whether GoogLeNet's response normalisation was kept
(here: yes, as in Caffe), the mean itself (here: ImageNet's).
The last classes of the training half are held out for validation, as the paper tunes its rate on a
validation set of unknown make.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "cars196",
                "resize": 256,
                "size": 224,
                "channels": 3,
                "flip": True,
                "mean": (123.7, 116.3, 103.5),
                "std": (1.0, 1.0, 1.0),
                "sampler": "pairs",
                "validation_classes": 18,
                "threads": 8,
            },
            "model": {
                "backbone": "googlenet",
                "norm": "lrn",
                "kind": "attention",
                "learners": 8,
                "dim": 512,
                "branch": "pool3",
                "trunk_depth": 5,
            },
            "objective": [
                {"name": "contrastive", "weight": 1.0, "margin": 1.0},
                {"name": "divergence", "weight": 1.0, "margin": 1.0},
            ],
            "optimizer": {
                "name": "sgd",
                "rate": 0.01,
                "momentum": 0.9,
                "weight_decay": 0.0002,
                "schedule": "cosine",
                "warmup": 500,
                "clip": 10.0,
            },
            "train": {
                "steps": 20_000,
                "batch": 64,
                "log_every": 50,
                "evaluate_every": 1000,
                "checkpoint_every": 1000,
            },
            "evaluate": {"ks": (1, 2, 4, 8)},
        }
    )
