"""ABE-M, M-heads and a single head on Stanford Online Products: 22,634 products.

All but what stands below is the recipe of cars196_abe.py, which also says what is the paper's, what
is unknown, and what the rows are: abe-8 (where none is named), abe-4, abe-2, abe-1, abe-4-256,
abe-2-128, abe-1-64, abe-8-without-divergence, 8-heads, 4-heads, 2-heads, 1-head.

Paper: Kim et al., ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.prepare --dataset sop --source DIR
    python -m abe_jax.train --config configs/sop_abe.py:abe-4 --workdir runs/sop_abe_4

DIR is the folder with Stanford_Online_Products.zip, unpacked or not. The 11,318 classes of
Ebay_train.txt train (59,551 images), the 11,316 of Ebay_test.txt test (60,502).
500 of the training classes are held out for validation (none with --config.data.validate=False).

Expected (the paper's figures, not measured here): Recall@1 / 10 / 100 / 1000
    ABE-2 75.4 88.0 94.7 98.2    ABE-4 75.9 88.3 94.8 98.2    ABE-8 76.3 88.4 94.8 98.2
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
    config.data.name = "sop"
    config.data.validation_classes = 500
    config.evaluate.ks = (1, 10, 100, 1000)
    return config
