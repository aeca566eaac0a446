"""ABE-4 on characters drawn by many typefaces, in minutes on two CPU cores."""

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
