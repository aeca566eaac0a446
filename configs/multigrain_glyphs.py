"""MultiGrain on characters drawn by many typefaces, in minutes on two CPU cores.

The method of Berman et al. (2019, arXiv 1902.05509) with the small network of quickstart.py: GeM
pooling, whose output is the embedding, a classifier on it as it is, and the margin loss on its unit
vectors between three copies of each image. An image is a character in one face, so its classes are
characters, its instances the faces' drawings of them. The optimiser is the quickstart's, at the
rate that was best for cross-entropy there (docs/EXPERIMENTS.md).

    python -m abe_jax.train --config configs/multigrain_glyphs.py --workdir runs/multigrain_glyphs

By classes alone: --config.objective.cross_entropy.weight=1 --config.objective.margin.weight=0

Expected (the command above, seed 0): R@1 97.4, MAP@R 0.656 on the test characters, where raw pixels
have 78.2 and 0.244; top-1 89.5 % of the held-out images of training classes; instances mAP 0.446
(pixels 0.258), copies 0.271 (pixels 0.489). Time: two minutes of processor time, compilation
included.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment of quickstart.py with another model, objective and batch."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))["get_config"]()
    config.data.sampler = "shuffle"
    config.data.repeats = 3
    config.data.held_out = 0.1  # of each class's images, to classify
    config.data.padding = 0
    config.data.crop = "resized"
    config.data.crop_scale = (0.6, 1.0)
    config.model.kind = "single"
    config.model.learners = 1
    config.model.pooling = "gem"
    config.model.head = "none"
    config.model.dim = 64  # channels of the last map
    config.objective = [
        {"name": "cross_entropy", "weight": 0.5},
        {"name": "margin", "weight": 0.5, "label": "instance"},
    ]
    config.optimizer.rate = 0.01
    config.train.batch = 120  # a multiple of three, and of up to 8 devices
    config.evaluate = {"grains": True, "whiten": 20000}
    return config
