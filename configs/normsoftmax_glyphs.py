"""NormSoftmax on characters drawn by many typefaces, in minutes on two CPU cores.

The method of Zhai and Wu (2019, arXiv 1811.12649) with the small network and the images of
quickstart.py: features normalised without affine parameters, a linear layer without bias, the
softmax over the cosines to one proxy for each class. Not the paper's: Adam, and shuffled batches,
with which proxies did far better here than with class-balanced ones (R@1 on validation classes 90.2
against 77.7, docs/EXPERIMENTS.md). No stage of new layers alone: it spares weights that others
trained, and here there are none.

    python -m abe_jax.train --config configs/normsoftmax_glyphs.py --workdir runs/normsoftmax_glyphs

Expected (the command above, seed 0): R@1 98.3, MAP@R 0.713 on the test characters, where raw pixels
have 78.2 and 0.244. Time: 4m01s on two CPU cores that other work kept busy, compilation included.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment of quickstart.py with another model, loss and sampler."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))["get_config"]()
    config.data.sampler = "shuffle"
    config.model.kind = "single"
    config.model.learners = 1
    config.model.layer_norm = True
    config.model.head = "projection"
    config.objective = [{"name": "norm_softmax"}]
    config.optimizer.rate = 0.01
    config.evaluate = {"binary": True}
    return config
