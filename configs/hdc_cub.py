"""HDC on CUB-200-2011: 200 kinds of birds, 100 of which train.

All but what stands below is the recipe of hdc_cars196.py, which also says what is the paper's and
how the weights become a file of ours. As in the paper the rate is 1e-4 throughout, for 60,000
steps, and at test the heads count 1 to 1 to 2.

Paper: Yuan et al., ICCV 2017, arXiv 1611.05720.

    python -m abe_jax.prepare --dataset cub --source DIR
    python -m abe_jax.train --config configs/hdc_cub.py --workdir runs/hdc_cub \\
        --config.model.weights=googlenet.npz

DIR is the folder with CUB_200_2011.tgz, unpacked or not. The last 20 training classes are held out
for validation.

Expected (the paper's figures, as others quote them, not measured here): Recall@1 / 2 / 4 / 8 on the
test classes 53.6 65.7 77.0 85.6. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe of hdc_cars196.py for this data set."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("hdc_cars196.py")))["get_config"]()
    config.data.name = "cub"
    config.data.validation_classes = 20
    config.model.test_weights = (1.0, 1.0, 2.0)
    config.optimizer.rate = 0.0001
    config.optimizer.schedule = "constant"
    config.train.steps = 60_000
    return config
