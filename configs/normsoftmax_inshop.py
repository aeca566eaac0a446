"""NormSoftmax on In-shop Clothes (DeepFashion): 7,982 garments, several photographs of each.

All but what stands below is the recipe of normsoftmax_cars196.py, which also says what is the
paper's and how the weights become a file of ours. As in the paper a batch has 5 images of each of
15 classes.

Paper: Zhai and Wu, 2019, arXiv 1811.12649.

    python -m abe_jax.prepare --dataset inshop --source DIR
    python -m abe_jax.train --config configs/normsoftmax_inshop.py \\
        --workdir runs/normsoftmax_inshop --config.model.weights=resnet50.npz

DIR is the folder with img.zip, unpacked or not, and list_eval_partition.txt. 3,997 items train
(25,882 images); of the others 14,218 images look in the 12,612 of the gallery. 200 of the training
items are held out for validation. With 512 dimensions: --config.model.dim=512
--config.model.head=projection

Expected (the paper's figures, not measured here), 2048 dimensions, Recall@1/10/20/30/40/50:
    float 89.35 97.81 98.61 98.87 99.05 99.13    binary codes 88.76 97.65 98.47 98.73 98.94 99.05
With 512 dimensions R@1 88.6 (as others quote it). Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe of normsoftmax_cars196.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    recipe = runpy.run_path(str(Path(__file__).with_name("normsoftmax_cars196.py")))["recipe"]
    config = recipe(training_images=25_882)
    config.data.name = "inshop"
    config.data.images_per_class = 5
    config.data.validation_classes = 200
    config.evaluate.ks = (1, 10, 20, 30, 40, 50)
    return config
