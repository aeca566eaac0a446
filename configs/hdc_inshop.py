"""HDC on In-shop Clothes (DeepFashion): 7,982 garments of 23 categories.

All but what stands below is the recipe of hdc_sop.py, with categories in the place of
super-classes: two of them in a batch, 10 items of each. Which rates and how many steps the
paper's figures took is not known; these are those of Stanford Online Products. (The public code has
0.01 for both sets, a tenth of it every 10,000 of 30,000 steps, which the other's paper has not.)

Paper: Yuan et al., ICCV 2017, arXiv 1611.05720.

    python -m abe_jax.prepare --dataset inshop --source DIR
    python -m abe_jax.train --config configs/hdc_inshop.py --workdir runs/hdc_inshop \\
        --config.model.weights=googlenet.npz

DIR is the folder with img.zip, unpacked or not, and list_eval_partition.txt. 200 of the training
items are held out for validation.

Expected (the paper's figures, not measured here): Recall@1/10/20/30/40/50 of the queries in the
gallery 62.1 84.9 89.0 91.2 92.3 93.1. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe of hdc_sop.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("hdc_sop.py")))["get_config"]()
    config.data.name = "inshop"
    config.data.validation_classes = 200
    config.evaluate.ks = (1, 10, 20, 30, 40, 50)
    return config
