"""M-heads on Cars196: the ensemble without attention that ABE-M is measured against.

Every learner has its own decoder and fully connected layer behind a shared encoder. All else is
the recipe of cars196_abe.py, which also says what is the paper's and what is unknown, but for
the divergence term, which this system does not have.

Paper: Kim et al., ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.train --config configs/cars196_heads.py --workdir runs/cars196_heads

Other sizes: --config.model.learners=2 --config.model.dim=512

Expected (the paper's figures, not measured here): Recall@1 / 2 / 4 / 8 on the test classes
    2-heads 73.3 82.5 88.6 93.0    4-heads 76.6 84.2 89.3 93.2    8-heads 76.1 84.3 90.3 93.9
from a GoogLeNet trained on ImageNet. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment of cars196_abe.py with another model."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("cars196_abe.py")))["get_config"]()
    config.model.kind = "heads"
    config.model.learners = 8
    config.objective = [{"name": "contrastive", "weight": 1.0, "margin": 1.0}]
    return config
