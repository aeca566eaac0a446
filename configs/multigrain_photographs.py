"""MultiGrain on photographs of your own: EfficientNet-Lite0 from ImageNet weights.

The method of Berman et al. (2019, arXiv 1902.05509) on the images and the backbone and with the
rhythm of photographs.py: GeM pooling with p = 3, whose output is the embedding, a classifier on it
as it is, and the margin loss on its unit vectors between three copies of each image. Evaluation
whitens, and measures classes, instances (`data.instance_column` of a CSV file) and copies.

    pip install -c constraints.txt -e '.[weights]'
    python -m abe_jax.train --config configs/multigrain_photographs.py \\
        --workdir runs/multigrain_photographs --config.data.path=FOLDER

FOLDER has a sub-folder for each class; half of the classes are kept for the test, and a part of
the others for validation, as in photographs.py. A CSV file with columns path, label and split in
its place says it all itself. By classes alone: --config.objective.cross_entropy.weight=1
--config.objective.margin.weight=0

Expected: not measured. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment of photographs.py with another model, objective and batch."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("photographs.py")))["get_config"]()
    config.data.sampler = "shuffle"
    config.data.repeats = 3
    config.data.jitter = 0.3
    config.data.lighting = 0.1
    config.data.held_out = 0.1  # of each class's images, to classify
    config.model.kind = "single"
    config.model.learners = 1
    config.model.pooling = "gem"
    config.model.head = "none"
    config.model.dim = 1280  # channels of the last map
    config.objective = [
        {"name": "cross_entropy", "weight": 0.5, "rate": 10.0},  # as other new layers
        {"name": "margin", "weight": 0.5, "label": "instance"},
    ]
    config.train.batch = 48  # a multiple of three, and of up to 8 devices
    config.evaluate.grains = True
    config.evaluate.whiten = 20000
    return config
