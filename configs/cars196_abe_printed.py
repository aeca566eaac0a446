"""ABE-M on Cars196 as its slides print it: unsquared hinges, sums, all 98 classes, no choice.

Paper: Kim et al., Attention-based Ensemble for Deep Metric Learning, ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.prepare --dataset cars196 --source DIR
    python -m abe_jax.train --config configs/cars196_abe_printed.py \\
        --workdir runs/cars196_abe_printed

All but what stands below is the recipe of cars196_abe.py, which also names the rows
(... --config configs/cars196_abe_printed.py:abe-4). What the slides print:

    L_metric(m) = 1/N sum_ij (1 - y_ij) [1 - D_ij]_+ + y_ij D_ij
    L_div = sum_i sum_pq [1 - D(f_p(x_i), f_q(x_i))]_+        L = sum_m L_metric(m) + 1 L_div

with D the distance, not its square. Here i, j run over all images of a batch, both orders; the 32
pairs that were drawn alone are --config.objective.contrastive.pairs=adjacent. Each p, q counts
once; if both orders are meant, --config.objective.divergence.weight=2. These sums grow with the
batch: where eight learners coincide L_div is 1792 of 64 images, against some tens of each L_metric
at first, so `clip` decides how far a step goes. No public run of this form near the paper's figures
is known.
Training takes all 98 classes and ends with the last checkpoint: nothing is chosen, neither by
validation classes nor by the test's. To choose the rate first, on validation classes that this
run then sees as well:

    python -m abe_jax.compare --config configs/cars196_abe_printed.py --workdir runs/printed \\
        --config.data.validate=True --arm 'ABE-8:' --tune optimizer.rate=0.001,0.003,0.01 \\
        --then-all --split test

Expected (the paper's figures, not measured here): those of cars196_abe.py, ABE-8 R@1 85.2, from
ImageNet weights (--config.model.weights). Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

# Config files are loaded by path from anywhere, so the neighbour is found by path as well.
ABE = runpy.run_path(str(Path(__file__).with_name("cars196_abe.py")))
ROWS = ABE["ROWS"]


def get_config(row: str = "abe-8") -> ConfigDict:
    """The experiment of cars196_abe.py with the losses and the classes as printed."""
    config = ABE["recipe"]()
    config.data.validation_classes = 0
    config.data.validate = False
    config.objective = [
        {"name": "contrastive", "margin": 1.0, "squared": False, "reduction": "sum_per_image"},
        {"name": "divergence", "margin": 1.0, "squared": False, "reduction": "sum"},
    ]
    return ABE["of_row"](config, row)
