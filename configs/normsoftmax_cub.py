"""NormSoftmax on CUB-200-2011: 200 species of birds, the first 100 to train on.

All but what stands below is the recipe of normsoftmax_cars196.py, which also says what is the
paper's and how the weights become a file of ours. The rate is a tenth of the other sets':
with 0.01 a user of the public code came to R@1 55.9.

Paper: Zhai and Wu, 2019, arXiv 1811.12649.

    python -m abe_jax.prepare --dataset cub --source DIR
    python -m abe_jax.train --config configs/normsoftmax_cub.py --workdir runs/normsoftmax_cub \\
        --config.model.weights=resnet50.npz

DIR is the folder with CUB_200_2011.tgz, unpacked or not. Classes 1 to 100 train (5,864 images), 101
to 200 test (5,924). Ten of the training classes are held out for validation. With 512
dimensions: --config.model.dim=512 --config.model.head=projection

Expected (the paper's figures, not measured here), 2048 dimensions, Recall@1 / 2 / 4 / 8:
    float 65.36 76.76 85.42 91.51    binary codes 63.67 75.37 84.54 90.99
With 512 dimensions R@1 61.3 (as others quote it). Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe of normsoftmax_cars196.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    recipe = runpy.run_path(str(Path(__file__).with_name("normsoftmax_cars196.py")))["recipe"]
    config = recipe(training_images=5_864)
    config.data.name = "cub"
    config.optimizer.rate = 0.001
    return config
