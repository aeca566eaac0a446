"""ABE-M, M-heads and a single head on In-shop Clothes (DeepFashion): 7,982 garments.

All but what stands below is the recipe of cars196_abe.py, which also says what is the paper's, what
is unknown, and what the rows are: abe-8 (where none is named), abe-4, abe-2, abe-1, abe-4-256,
abe-2-128, abe-1-64, abe-8-without-divergence, 8-heads, 4-heads, 2-heads, 1-head.

Paper: Kim et al., ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.prepare --dataset inshop --source DIR
    python -m abe_jax.train --config configs/inshop_abe.py:abe-4 --workdir runs/inshop_abe_4

DIR is the folder with img.zip, unpacked or not, and list_eval_partition.txt. 3,997 items train
(25,882 images); of the others 14,218 images look in the 12,612 of the gallery. 200 of the
training items are held out for validation (none with --config.data.validate=False).

Expected (the paper's figures, not measured here): Recall@1 of ABE-2 85.2, of ABE-4 86.7; of ABE-8
Recall@1 / 10 / 20 / 30 / 40 / 50 87.3 96.7 97.9 98.2 98.5 98.7
From ImageNet weights (--config.model.weights). Time: not measured.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

# Config files are loaded by path from anywhere, so the neighbour is found by path as well.
ABE = runpy.run_path(str(Path(__file__).with_name("cars196_abe.py")))
ROWS = ABE["ROWS"]


def get_config(row: str = "abe-8") -> ConfigDict:
    """The recipe of cars196_abe.py for this data set."""
    config = ABE["of_row"](ABE["recipe"](), row)
    config.data.name = "inshop"
    config.data.validation_classes = 200
    config.evaluate.ks = (1, 10, 20, 30, 40, 50)
    return config
