"""NormSoftmax on Stanford Online Products: 22,634 products, about five photographs of each.

All but what stands below is the recipe of normsoftmax_cars196.py, which also says what is the
paper's and how the weights become a file of ours. As in the paper a batch has 5 images of each of
15 classes.

Paper: Zhai and Wu, 2019, arXiv 1811.12649.

    python -m abe_jax.prepare --dataset sop --source DIR
    python -m abe_jax.train --config configs/normsoftmax_sop.py --workdir runs/normsoftmax_sop \\
        --config.model.weights=resnet50.npz

DIR is the folder with Stanford_Online_Products.zip, unpacked or not. The 11,318 classes of
Ebay_train.txt train (59,551 images), the 11,316 of Ebay_test.txt test (60,502). 500 of the
training classes are held out for validation. With 512 dimensions: --config.model.dim=512
--config.model.head=projection. To compare a batch with part of the classes alone, its own always
among them: --config.objective.norm_softmax.subsample=2000

Expected (the paper's figures, not measured here), 2048 dimensions, Recall@1 / 10 / 100 / 1000:
    float 79.55 91.54 96.66 98.95    binary codes 78.03 90.71 96.24 98.72
With 512 dimensions R@1 78.2 (as others quote it). Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe of normsoftmax_cars196.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    recipe = runpy.run_path(str(Path(__file__).with_name("normsoftmax_cars196.py")))["recipe"]
    config = recipe(training_images=59_551)
    config.data.name = "sop"
    config.data.images_per_class = 5
    config.data.validation_classes = 500
    config.evaluate.ks = (1, 10, 100, 1000)
    return config
