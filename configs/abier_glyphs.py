"""A-BIER on characters drawn by many typefaces, in minutes on two CPU cores.

The method of Opitz et al. (arXiv 1801.04815) with the small network and the images of
quickstart.py: learners of 24, 40 and 64 dimensions behind one pooled feature, the boosted loss, and
regressors between the learners. Not the paper's: the sizes, Adam's rate and its course, no decay.

    python -m abe_jax.train --config configs/abier_glyphs.py --workdir runs/abier_glyphs

Expected (the command above, seed 0): R@1 85.7, MAP@R 0.429 on the test characters, the first
learner alone 87.3 and 0.438, where raw pixels have 78.2 and 0.244, and quickstart.py R@1 96.9. The
losses' numbers are those of products, where networks start from ImageNet; none was chosen for
characters and random weights. Time: 7m23s on two CPU cores that other work kept busy, data and
compilation included.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

SIZES = (24, 40, 64)


def get_config() -> ConfigDict:
    """The experiment of quickstart.py with another model and other losses."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))["get_config"]()
    config.model.kind = "divided"
    config.model.learners = len(SIZES)
    config.model.dim = sum(SIZES)
    config.model.dims = SIZES
    config.model.test_weights = SIZES
    config.objective = [{"name": "boosted"}, {"name": "adversarial"}]
    return config
