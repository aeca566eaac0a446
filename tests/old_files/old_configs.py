"""The configs of the old runs, and one that sets every name there was at c58ecb9."""

from typing import Any

IMAGES = "images/images.csv"  # relative: the commands run in the folder where it lies

DATA = {
    "name": "folder",
    "path": IMAGES,
    "domain_column": "light",
    "resize": 16,
    "size": 16,
    "channels": 3,
    "mean": (60.0, 60.0, 60.0),
    "std": (70.0, 70.0, 70.0),
    "sampler": "class_balanced",
    "images_per_class": 4,
}
MODEL = {
    "backbone": "convnet",
    "kind": "single",
    "norm": "batch",
    "dim": 8,
    "branch": "pool2",
    "width": 2,
}
TRAIN = {"steps": 6, "batch": 16, "log_every": 1, "evaluate_every": 2, "checkpoint_every": 2}


def abe() -> dict[str, Any]:
    """Attention, a loss with parameters, an optimiser with moments, whitening and codes."""
    return {
        "seed": 3,
        "data": DATA,
        "model": {
            **MODEL,
            "kind": "attention",
            "learners": 2,
            "trunk_depth": 1,
            "layer_norm": True,  # vectors that lie far from each other
        },
        "objective": [
            {"name": "contrastive"},
            {"name": "divergence", "weight": 0.5},
            {"name": "norm_softmax", "subsample": 3, "rate": 2.0},
        ],
        "optimizer": {"name": "adam", "rate": 0.01, "schedule": "cosine", "warmup": 2},
        "train": TRAIN,
        "evaluate": {"batch": 8, "ks": (1, 2, 4), "whiten": 30, "binary": True, "domains": True},
    }


def multigrain() -> dict[str, Any]:
    """GeM learned, images held out of training, a classifier and drawn negatives."""
    return {
        "seed": 4,
        "data": {
            **DATA,
            "sampler": "shuffle",
            "repeats": 2,
            "held_out": 0.25,
            "instance_column": "thing",
            "crop": "resized",
            "crop_scale": (0.6, 1.0),
            "flip": True,
        },
        "model": {**MODEL, "pooling": "gem", "gem_learned": True, "head": "projection"},
        "objective": [
            {"name": "cross_entropy", "weight": 0.5},
            {"name": "margin", "weight": 0.5, "label": "instance"},
        ],
        "optimizer": {"name": "sgd", "rate": 0.02, "new_rate": 3.0, "new_only": 2},
        "train": TRAIN,
        "evaluate": {"batch": 8, "ks": (1, 2), "grains": True, "copies": 6},
    }


def metabin() -> dict[str, Any]:
    """Gates between two normalisations, learned across domains."""
    return {
        "seed": 5,
        "data": {
            **DATA,
            "sampler": "domains",
            "domains_per_batch": 2,
            "images_per_class": 2,
            "unseen_domains": ("dusk",),
        },
        "model": {**MODEL, "norm": "bin"},
        "objective": [
            {"name": "proxy_nca"},
            {"name": "triplet", "mining": "batch_hard", "reduction": "mean"},
        ],
        "optimizer": {"name": "adamw", "rate": 0.01, "weight_decay": 0.001},
        "meta": {"domains": 1, "start": 1, "inner_rate": 1.0, "outer_rate": 10.0, "cycle": 4},
        "train": TRAIN,
        "evaluate": {"batch": 8, "ks": (1, 2), "domains": True},
    }


def every_name() -> dict[str, Any]:
    """A config in which every name is set, and every loss with every option."""
    of_pairs = {"weight": 0.5, "label": "instance"}
    proxies = {"weight": 0.5, "rate": 2.0}
    return {
        "seed": 6,
        "data": {
            "name": "folder",
            "path": IMAGES,
            "label_column": "label",
            "domain_column": "light",
            "unseen_domains": ("dusk",),
            "validation_domains": (),
            "test_share": 0.4,
            "root": "prepared",
            "resize": 20,
            "size": 16,
            "channels": 3,
            "fit": "cover",
            "padding": 1,
            "crop": "resized",
            "crop_scale": (0.5, 0.9),
            "flip": True,
            "policy": "autoaugment",
            "jitter": 0.2,
            "lighting": 0.1,
            "mean": (1.0, 2.0, 3.0),
            "std": (4.0, 5.0, 6.0),
            "classes": 4,
            "sampler": "domains",
            "images_per_class": 2,
            "replacement": True,
            "domains_per_batch": 2,
            "repeats": 2,
            "validation_classes": 1,
            "held_out": 0.1,
            "instance_column": "thing",
            "unreadable_share": 0.5,
            "threads": 3,
        },
        "model": {
            "backbone": "convnet",
            "kind": "attention",
            "learners": 2,
            "dim": 8,
            "weights": "",
            "branch": "pool2",
            "trunk_depth": 2,
            "norm": "bin",
            "freeze_norm": False,
            "pooling": "gem",
            "gem_p": 2.0,
            "gem_learned": True,
            "layer_norm": True,
            "head": "projection",
            "compute": "bfloat16",
            "width": 3,
        },
        "objective": [
            {
                "name": "contrastive",
                **of_pairs,
                "margin": 0.9,
                "squared": False,
                "pairs": "adjacent",
                "reduction": "mean_each",
            },
            {
                "name": "triplet",
                **of_pairs,
                "mining": "semi_hard",
                "margin": 0.1,
                "soft": True,
                "squared": True,
                "reduction": "mean",
            },
            {
                "name": "margin",
                **of_pairs,
                "margin": 0.1,
                "beta": 1.1,
                "learned": False,
                "rate": 2.0,
                "sampling": "all",
                "numerics": "global_maximum",
                "replacement": False,
                "nearest": 0.4,
                "farthest": 1.3,
            },
            {"name": "lifted_structure", **of_pairs, "margin": 0.9},
            {"name": "n_pairs", **of_pairs, "length_weight": 0.1},
            {"name": "clustering", **of_pairs, "margin": 0.9, "sweeps": 2},
            {"name": "proxy_nca", **proxies, "scale": 2.0},
            {"name": "norm_softmax", **proxies, "temperature": 0.1, "subsample": 3},
            {"name": "cross_entropy", **proxies, "smoothing": 0.1},
            {
                "name": "divergence",
                "weight": 0.5,
                "margin": 0.9,
                "squared": False,
                "reduction": "sum",
            },
            {"name": "scatter", "weight": 0.5},
            {"name": "shuffle", **of_pairs},
        ],
        "optimizer": {
            "name": "adamw",
            "rate": 0.02,
            "momentum": 0.8,
            "weight_decay": 0.01,
            "schedule": "step",
            "warmup": 1,
            "boundaries": (3, 5),
            "factor": 0.5,
            "clip": 2.0,
            "new_rate": 3.0,
            "new_only": 1,
        },
        "meta": {
            "domains": 1,
            "start": 2,
            "margin": 0.2,
            "inner_rate": 0.2,
            "outer_rate": 0.3,
            "cycle": 4,
            "cycle_least": 0.01,
            "cycle_most": 0.2,
        },
        "train": {
            "steps": 6,
            "batch": 16,
            "log_every": 1,
            "evaluate_every": 2,
            "checkpoint_every": 3,
        },
        "evaluate": {
            "ks": (1, 2),
            "select": "map@r",
            "batch": 8,
            "domains": True,
            "block": 16,
            "binary": True,
            "whiten": 30,
            "longest": 24,
            "side_step": 8,
            "grains": True,
            "copies": 4,
        },
    }
