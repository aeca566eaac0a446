"""A whole experiment in seconds: 62 characters of matplotlib's faces, a network of 8 channels."""

from ml_collections import ConfigDict

# Overrides: two steps of a network so small that it compiles in a second.
SMALLER = [
    "model.kind=single",
    "model.learners=1",
    "model.norm=none",
    "model.width=4",
    "data.resize=16",
    "data.size=16",
    "optimizer.warmup=0",
    "train.steps=2",
    "train.evaluate_every=0",
]


def get_config() -> ConfigDict:
    """ABE-2 with batch normalisation, an optimiser with moments, and every rhythm of its own."""
    return ConfigDict(
        {
            "data": {
                "name": "glyphs_tiny",
                "resize": 32,
                "size": 32,
                "channels": 1,
                "padding": 2,
                "mean": (40.0,),
                "std": (75.0,),
                "sampler": "class_balanced",
            },
            "model": {
                "backbone": "convnet",
                "norm": "batch",
                "kind": "attention",
                "learners": 2,
                "dim": 16,
                "branch": "pool2",
                "trunk_depth": 1,
                "width": 8,
            },
            "objective": [{"name": "contrastive"}, {"name": "divergence"}],
            "optimizer": {"name": "adam", "rate": 0.003, "schedule": "cosine", "warmup": 3},
            "train": {
                "steps": 16,
                "batch": 32,
                "log_every": 3,
                "evaluate_every": 5,
                "checkpoint_every": 4,
            },
            "evaluate": {"batch": 64, "ks": (1, 2)},
        }
    )
