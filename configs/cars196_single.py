"""One GoogLeNet with one embedding on Cars196: the plain system that ensembles start from.

All but the model and the divergence term, which needs two learners, is the recipe of
cars196_abe.py, which also says what is the paper's and what is unknown.

Paper: Kim et al., ECCV 2018, arXiv 1804.00382 (1-head).

    python -m abe_jax.train --config configs/cars196_single.py --workdir runs/cars196_single

Expected (the paper's figures, not measured here): Recall@1 / 2 / 4 / 8 on the test classes
    1-head 67.2 77.4 85.3 90.7
from a GoogLeNet trained on ImageNet. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment of cars196_abe.py with another model."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("cars196_abe.py")))["get_config"]()
    config.model.kind = "single"
    config.model.learners = 1
    config.objective = [{"name": "contrastive", "weight": 1.0, "margin": 1.0}]
    return config
