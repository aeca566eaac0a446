"""ABE-4 on characters drawn by many typefaces, in minutes on two CPU cores.

The method of Kim et al. (ECCV 2018, arXiv 1804.00382) at the size of a small network: a shared
encoder, four attention masks, a shared decoder, a contrastive loss per learner and a divergence
loss between learners. The recipe is not the paper's: class-balanced batches, Adam, and the mean
over negatives inside the margin, chosen on validation classes (docs/EXPERIMENTS.md).

    python -m abe_jax.train --config configs/quickstart.py --workdir runs/quickstart

Expected (measured, docs/EXPERIMENTS.md): R@1 96.9 ± 0.3 on the test characters over three seeds,
where raw pixels find 78.2. Time: 3m31s on two CPU cores that other work shared, data and
compilation included.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "glyphs",
                "resize": 32,
                "size": 32,
                "channels": 1,
                "padding": 2,
                "mean": (40.0,),
                "std": (75.0,),
                "sampler": "class_balanced",
                "images_per_class": 4,
            },
            "model": {
                "backbone": "convnet",
                "norm": "batch",
                "kind": "attention",
                "learners": 4,
                "dim": 128,
                "branch": "pool4",
                "trunk_depth": 1,
                "width": 16,
            },
            "objective": [{"name": "contrastive"}, {"name": "divergence"}],
            "optimizer": {"name": "adam", "rate": 0.003, "schedule": "cosine", "warmup": 100},
            "train": {
                "steps": 1500,
                "batch": 128,
                "log_every": 50,
                "evaluate_every": 500,
                "checkpoint_every": 250,
            },
        }
    )
