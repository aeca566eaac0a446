"""MetaBIN on photographs of your own that come from several cameras, shops or collections.

Paper: Choi et al., Meta Batch-Instance Normalization for Generalizable Person Re-Identification,
CVPR 2021, arXiv 2011.14670.

    pip install -c constraints.txt -e '.[weights]'
    python -m abe_jax.train --config configs/metabin_photographs.py \\
        --workdir runs/metabin_photographs --config.data.path=FOLDER/labels.csv

The CSV file has columns path, label and domain: what a photograph shows, and where it comes from
(another column: --config.data.domain_column). Training needs five domains or more, or else
fewer in a batch (--config.data.domains_per_batch=3 --config.meta.domains=2
--config.train.batch=48), and four labels of each. Domains to be tested on alone, which training
never sees: --config.data.unseen_domains="('this','that')". Plain batch normalisation to compare
with: --config.model.norm=batch --config.meta.domains=0.

Expected: not measured here. The paper's figures are of persons (R@1 / mAP, the mean over GRID,
VIPeR, PRID and i-LIDS, none of them trained on): MobileNetV2 64.7 / 72.3, ResNet-50 66.0 / 73.6;
there each data set that is trained on is a domain. Time: not measured; a step embeds its
images twice, in three parts, where one of plain batch normalisation embeds them once.

As in the paper: cross-entropy with smoothing 0.1 and batch-hard triplets of margin 0.3 for all but
the gates, SGD with momentum 0.9 and rate 0.01; batches of five domains with four identities of
four images each, split anew at each step into three domains and two; rates of the inner step 0.1
times a triangle from 0.001 to 0.1, of the outer step 0.1; ten steps before the first meta-update.
Scaled: 1000 steps, of which the rate rises for a tenth and falls by ten at 0.4 and 0.7, and a cycle
of the inner rate is a twentieth, as of the paper's 100 epochs. Set train.steps with them to about
100 passes over your photographs. EfficientNet-Lite0, whose weights are a package, in place of
MobileNetV2 (README has its weights) and ResNet-50.
As in the authors' code: both base losses weigh 1, and a hinge of 0 counts in the triplets' mean.
Other than there: distances are between vectors of length 1 (there: features as they are pooled),
the meta-update sees the images of the base step (there: as many of its own), and the instance half
starts from a copy of the trained scale and bias (there: from 1 and 0); weight decay leaves biases
and normalisation out, biases learn at the rate of all (there: decay on both, biases at twice the
rate), and the smoothing is spread over all classes (there: the others). The crop is chosen here.
"""

import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The images of photographs.py, learned by the recipe of metabin_glyphs.py."""
    config, recipe = _neighbour("photographs.py"), _neighbour("metabin_glyphs.py")
    config.data.domain_column = "domain"
    config.data.sampler = "domains"
    config.data.domains_per_batch = 5
    config.model.norm = "bin"
    config.model.freeze_norm = False
    config.model.kind = "single"
    config.model.learners = 1
    config.objective = recipe.objective
    config.optimizer = recipe.optimizer
    config.optimizer.rate = 0.01
    config.optimizer.warmup = 100
    config.optimizer.boundaries = (400, 700)
    config.optimizer.clip = 10.0
    config.meta = recipe.meta
    config.meta.outer_rate = 0.1
    config.meta.cycle = 50
    config.train.steps = 1000
    config.train.batch = 80
    config.train.log_every = 20
    config.train.evaluate_every = 100
    config.train.checkpoint_every = 100
    config.evaluate.domains = True
    return config


def _neighbour(name: str) -> Any:
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    return runpy.run_path(str(Path(__file__).with_name(name)))["get_config"]()
