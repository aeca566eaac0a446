"""HDC on characters drawn by many typefaces, in minutes on two CPU cores.

The method of Yuan et al. (ICCV 2017, arXiv 1611.05720) with the small network and the images of
quickstart.py: heads behind conv4, conv5 and conv6, each trained on a harder share of a batch's
pairs. Not the paper's: Adam, batches of 4 images of 32 classes, side heads of 32 channels and 64
hidden features, and less dropout.

    python -m abe_jax.train --config configs/hdc_glyphs.py --workdir runs/hdc_glyphs

Expected: not measured at this length. After 400 steps with 96 dimensions and a rate of 0.01 it had
R@1 70.7 ± 2.5 and MAP@R 0.220 on the test characters, below raw pixels (78.2, 0.244); what holds it
back is in docs/EXPERIMENTS.md. Time: minutes on two CPU cores.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment of quickstart.py with another model and loss."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))["get_config"]()
    config.model.kind = "cascade"
    config.model.learners = 3
    config.model.dim = 126
    config.model.side_stages = ("conv4", "conv5")
    config.model.side_width = 32
    config.model.side_hidden = 64
    config.model.side_dropout = 0.2
    config.model.last_dropout = 0.1
    config.objective = [{"name": "hard_share"}]
    return config
