"""A-BIER on Cars196: a GoogLeNet whose embedding is three boosted learners.

All but what stands below is the recipe of abier_sop.py, which also says what is the authors' and
how the weights become a file of ours. They released no recipe for this set: how long to train
(20,000 steps here, the rate halved at each quarter) and the images of a class in a batch (here as
there: two) are unknown and chosen here.

Paper: Opitz et al., arXiv 1801.04815.

    python -m abe_jax.prepare --dataset cars196 --source DIR
    python -m abe_jax.train --config configs/abier_cars196.py --workdir runs/abier_cars196 \\
        --config.model.weights=googlenet.npz

DIR is the folder with car_ims.tgz and cars_annos.mat, unpacked or not.
18 of the training classes are held out for validation.

Expected (as others quote the paper, not measured here): Recall@1 / 2 on the test classes 82.0 89.0,
from a GoogLeNet trained on ImageNet. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

STEPS = 20_000


def get_config() -> ConfigDict:
    """The recipe of abier_sop.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("abier_sop.py")))["get_config"]()
    config.data.name = "cars196"
    config.data.validation_classes = 18
    config.optimizer.boundaries = tuple(STEPS * i // 4 for i in (1, 2, 3))
    config.train.steps = STEPS
    config.train.evaluate_every = 1000
    config.evaluate.ks = (1, 2, 4, 8)
    return config
