"""ABE-M, M-heads and a single head on CUB-200-2011: 200 species of birds.

All but what stands below is the recipe of cars196_abe.py, which also says what is the paper's, what
is unknown, and what the rows are: abe-8 (where none is named), abe-4, abe-2, abe-1, abe-4-256,
abe-2-128, abe-1-64, abe-8-without-divergence, 8-heads, 4-heads, 2-heads, 1-head.

Paper: Kim et al., ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.prepare --dataset cub --source DIR
    python -m abe_jax.train --config configs/cub_abe.py:abe-4 --workdir runs/cub_abe_4

DIR is the folder with CUB_200_2011.tgz, unpacked or not. Classes 1 to 100 train (5,864 images), 101
to 200 test (5,924). 20 of the training classes are held out for validation (a share as on Cars196;
none with --config.data.validate=False). The paper's main tables crop no bounding boxes, as far as
is known.

Expected (the paper's figures, not measured here): Recall@1 / 2 of ABE-8 60.6 71.5; of Recall@4 / 8
sources disagree (79.8 87.4 or 80.5 87.7). From ImageNet weights (--config.model.weights). Time: not
measured.
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
    config.data.name = "cub"
    config.data.validation_classes = 20
    return config
