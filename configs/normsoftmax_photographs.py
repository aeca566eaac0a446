"""NormSoftmax on photographs of your own: EfficientNet-Lite0 from ImageNet weights.

The method of Zhai and Wu (2019, arXiv 1811.12649) on the images, the backbone and with the rhythm
of photographs.py: features normalised without affine parameters, a linear layer without bias, the
softmax over the cosines to one proxy for each class. As in the paper proxies and layer learn alone
at first. Adam, shuffled batches and batch normalisation by its running statistics are ours: with
small batches of small photographs the statistics of the paper's training mode ruined the embedding
(MAP@R on validation classes 0.35 against 0.58, docs/EXPERIMENTS.md).

    pip install -c constraints.txt -e '.[weights]'
    python -m abe_jax.train --config configs/normsoftmax_photographs.py \\
        --workdir runs/normsoftmax_photographs --config.data.path=FOLDER

FOLDER has a sub-folder for each class; half of the classes are kept for the test, and a part of
the others for validation, as in photographs.py. A CSV file with columns path, label and split in
its place says it all itself.

Expected: not measured. Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment of photographs.py with another model, loss and sampler."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    config = runpy.run_path(str(Path(__file__).with_name("photographs.py")))["get_config"]()
    config.data.sampler = "shuffle"
    config.model.kind = "single"
    config.model.learners = 1
    config.model.layer_norm = True
    config.model.head = "projection"
    config.objective = [{"name": "norm_softmax", "rate": 10.0}]  # as other new layers
    config.optimizer.new_only = 20
    config.evaluate.binary = True
    return config
