"""HDC on Stanford Online Products: 22,634 products of 12 kinds.

All but what stands below is the recipe of hdc_cars196.py, which also says what is the paper's and
how the weights become a file of ours. As in the paper a batch has products of two of the 12 kinds,
which the set calls super-classes, about 10 of each with all their images, drawn in proportion to
their images: the sampler `super_classes`, which says how these become 100 rows. The rate falls by
4 % every 20,000 of 60,000 steps. At test the heads count alike.

Paper: Yuan et al., ICCV 2017, arXiv 1611.05720.

    python -m abe_jax.prepare --dataset sop --source DIR
    python -m abe_jax.train --config configs/hdc_sop.py --workdir runs/hdc_sop \\
        --config.model.weights=googlenet.npz

DIR is the folder with Stanford_Online_Products.zip, unpacked or not. 500 of the training classes
are held out for validation.

Expected (the paper's figures, not measured here): Recall@1 / 10 / 100 / 1000 on the test classes
69.5 84.4 92.8 97.7. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe of hdc_cars196.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("hdc_cars196.py")))["get_config"]()
    config.data.name = "sop"
    config.data.sampler = "super_classes"
    config.data.domains_per_batch = 2
    config.data.classes_per_domain = 10
    config.data.validation_classes = 500
    config.model.test_weights = ()
    config.optimizer.boundaries = (20_000, 40_000)
    config.optimizer.factor = 0.96
    config.train.steps = 60_000
    config.evaluate.ks = (1, 10, 100, 1000)
    return config
