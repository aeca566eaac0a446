"""A-BIER on In-shop Clothes (DeepFashion): a GoogLeNet whose embedding is three boosted learners.

All but what stands below is the recipe of abier_sop.py, which also says what is the authors' and
how the weights become a file of ours. They released no recipe for this set: how long to train
(100,000 steps here, the rate halved at each quarter) and the images of a class in a batch (here as
there: two) are unknown and chosen here.

Paper: Opitz et al., arXiv 1801.04815.

    python -m abe_jax.prepare --dataset inshop --source DIR
    python -m abe_jax.train --config configs/abier_inshop.py --workdir runs/abier_inshop \\
        --config.model.weights=googlenet.npz

DIR is the folder with img.zip, unpacked or not, and list_eval_partition.txt.
200 of the training items are held out for validation.

Expected (the paper's figures, not measured here): Recall@1/10/20/30/40/50
83.1 95.1 96.9 97.5 97.8 98.0,
from a GoogLeNet trained on ImageNet. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

STEPS = 100_000


def get_config() -> ConfigDict:
    """The recipe of abier_sop.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("abier_sop.py")))["get_config"]()
    config.data.name = "inshop"
    config.data.validation_classes = 200
    config.optimizer.boundaries = tuple(STEPS * i // 4 for i in (1, 2, 3))
    config.train.steps = STEPS
    config.train.evaluate_every = 1000
    config.evaluate.ks = (1, 10, 20, 30, 40, 50)
    return config
