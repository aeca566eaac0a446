"""ABE-8 on Cars196: eight learners that share a GoogLeNet and differ by attention masks.

Paper: Kim et al., Attention-based Ensemble for Deep Metric Learning, ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.prepare --dataset cars196 --source DIR
    python -m abe_jax.train --config configs/cars196_abe.py --workdir runs/cars196_abe

DIR is the folder with car_ims.tgz and cars_annos.mat (or with the parts that classification uses,
and their lists), unpacked or not. The other rows of the paper's tables stand in ROWS below:

    ... --config configs/cars196_abe.py:abe-4            4 learners, 512 numbers in all
    ... --config configs/cars196_abe.py:abe-4-256        64 numbers for each learner
    ... --config configs/cars196_abe.py:4-heads          M-heads, without attention and divergence
    ... --config configs/cars196_abe.py:1-head           the single GoogLeNet
    ... --config configs/cars196_abe.py:abe-8-without-divergence

Expected (the paper's figures, not measured here): Recall@1 / 2 / 4 / 8 on the test classes
    1-head  67.2 77.4 85.3 90.7    2-heads 73.3 82.5 88.6 93.0
    4-heads 76.6 84.2 89.3 93.2    8-heads 76.1 84.3 90.3 93.9
    ABE-1   67.3 77.3 85.3 90.9    ABE-2   76.8 84.9 90.2 94.0
    ABE-4   82.5 89.1 93.0 95.5    ABE-8   85.2 90.5 93.9 96.1
    ABE-8 without divergence 69.7 78.8 86.2 91.5
Mean R@1 of single learners: 2-, 4-, 8-heads 70.2 70.4 68.3, ABE-2, -4, -8 70.9 74.4 75.0, without
divergence 69.5. They start from a GoogLeNet trained on ImageNet; from random weights, which is what
stands here until `model.weights` names a file of converted ones (README), they are out of reach.
Time: not measured.

As in the paper: the network with its sizes, the batch of 64 (32 drawn images, half with a positive
and half with a negative partner), margins 1, weight of the divergence 1, SGD with momentum 0.9,
256 px padded and scaled, crops of 224, flips, the channel mean taken off and no division.

Squared, divided, left out. Both losses have the squared distance inside their hinges, as notes on
the paper do; its slides do not square. The contrastive term is a mean over the positive pairs plus
a mean over the negative ones inside the margin, of all pairs of a batch (reduction mean_active);
the divergence is a mean over images and pairs of learners (reduction mean). The paper prints sums,
over the batch size in the first alone, and says nothing of which pairs. cars196_abe_printed.py has
the unsquared sums. Dropout: Caffe's GoogLeNet has one of 0.4 before its classifier; whether ABE-M
kept it is unknown, and there is none here.

Unknown, because the paper's text does not give it, and chosen here: learning rate, schedule,
weight decay, clipping, number of steps, the pairs and the divisor of each loss term (here: those
that did best on glyphs, docs/EXPERIMENTS.md), whether GoogLeNet's response normalisation was kept
(here: yes, as in Caffe), the mean itself (here: ImageNet's).
The last classes of the training half are held out for validation, as the paper tunes its rate on a
validation set of unknown make. --config.data.validate=False trains on all 98 and takes the last
checkpoint, chosen by nothing.
"""

from typing import Any

from ml_collections import ConfigDict

# A row of the paper's tables: model.kind, learners, numbers in all, weight of the divergence.
ROWS = {
    "abe-8": ("attention", 8, 512, 1.0),
    "abe-4": ("attention", 4, 512, 1.0),
    "abe-2": ("attention", 2, 512, 1.0),
    "abe-1": ("attention", 1, 512, 0.0),  # the paper has no divergence for it; it is 0 anyway
    "abe-4-256": ("attention", 4, 256, 1.0),
    "abe-2-128": ("attention", 2, 128, 1.0),
    "abe-1-64": ("attention", 1, 64, 0.0),
    "abe-8-without-divergence": ("attention", 8, 512, 0.0),
    "8-heads": ("heads", 8, 512, 0.0),
    "4-heads": ("heads", 4, 512, 0.0),
    "2-heads": ("heads", 2, 512, 0.0),
    "1-head": ("single", 1, 512, 0.0),
}


def get_config(row: str = "abe-8") -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return of_row(recipe(), row)


def of_row(config: Any, row: str) -> Any:
    """The recipe with a row's model; the divergence is left out where its weight is 0."""
    kind, learners, dim, divergence = ROWS[row]
    config.model.update(kind=kind, learners=learners, dim=dim)
    terms = config.objective
    config.objective = [t for t in terms if divergence or t["name"] != "divergence"]
    return config


def recipe() -> ConfigDict:
    """What all rows share, and ABE-8's own."""
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
