"""The losses that ABE-M is compared with, each a row: on Cars196, CUB-200-2011 and SOP.

Rows are SET-LOSS: cars196, cub, sop with contrastive, lifted_structure, n_pairs, clustering,
proxy_nca, margin; cars196-margin where none is named.

Papers: Hadsell et al., CVPR 2006 (contrastive, as Oh Song et al. quote it); Oh Song et al., CVPR
2016 (lifted structure) and CVPR 2017 (clustering); Sohn, NIPS 2016 (N-pairs); Movshovitz-Attias et
al., ICCV 2017 (Proxy-NCA); Wu et al., ICCV 2017 (margin, distance-weighted sampling). They are
rows of the tables of Kim et al., ECCV 2018, arXiv 1804.00382.

    python -m abe_jax.prepare --dataset cars196 --source DIR
    python -m abe_jax.train --config configs/compared_losses.py:cars196-margin \\
        --workdir runs/cars196_margin

Expected: Recall@1 as later papers quote it, not measured here and each from its own recipe
                       Cars196   CUB    SOP
    contrastive           21.7  26.4   42.0   128 numbers, from memory
    lifted structure      49.0  47.2   62.1   64, from memory
    N-pairs               71.1  51.0   67.7   64, from memory
    clustering            58.1  48.2   67.0   64
    Proxy-NCA             73.2  49.2   73.7   64
    margin                79.6  63.6   72.7   128
From ImageNet weights (--config.model.weights), without which they are out of reach. Time: not
measured.

Of the papers here: the loss with its margin, temperature or scale, the backbone (GoogLeNet;
BN-Inception for clustering and Proxy-NCA; ResNet-50 for margin) and the size of the embedding, as
far as is known, and a batch that the loss can use. All else is the recipe of cars196_abe.py, so
that rows differ by their loss and not by ours: images, SGD and its rate, number of steps. None of
it is tuned; compare --tune optimizer.rate=... gives each row its own. The papers' own optimisers
and rates (RMSprop for Proxy-NCA, for one) are not here.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

SETS = {  # validation classes, the K of Recall@K
    "cars196": (18, (1, 2, 4, 8)),
    "cub": (20, (1, 2, 4, 8)),
    "sop": (500, (1, 10, 100, 1000)),
}
BACKBONES = {  # norm, last stage of the encoder (a single head has no other use for it), mean, std
    "googlenet": ("lrn", "pool3", (123.7, 116.3, 103.5), (1.0, 1.0, 1.0)),
    "bn_inception": ("batch", "inception3c", (123.7, 116.3, 103.5), (1.0, 1.0, 1.0)),
    "resnet50": ("batch", "block3_5", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
LOSSES = {  # the term, backbone, numbers, batch, images of a class in it (0: drawn as they come)
    "contrastive": ({"form": "hadsell", "reduction": "mean"}, "googlenet", 128, 64, 4),
    "lifted_structure": ({"margin": 1.0}, "googlenet", 64, 64, 2),
    "n_pairs": ({}, "googlenet", 64, 120, 2),
    "clustering": ({"margin": 1.0}, "bn_inception", 64, 64, 4),
    "proxy_nca": ({"scale": 3.0}, "bn_inception", 64, 32, 0),
    "margin": ({"margin": 0.2, "beta": 1.2}, "resnet50", 128, 80, 5),
}
ROWS = {f"{data}-{loss}": (data, loss) for data in SETS for loss in LOSSES}


def get_config(row: str = "cars196-margin") -> ConfigDict:
    """The recipe of cars196_abe.py with a row's data set, network, loss and batch."""
    # Config files are loaded by path from anywhere, so the neighbour is found by path as well.
    abe = runpy.run_path(str(Path(__file__).with_name("cars196_abe.py")))
    data, loss = ROWS[row]
    config, term = abe["of_row"](abe["recipe"](), "1-head"), LOSSES[loss]
    options, backbone, numbers, batch, of_class = term
    norm, branch, mean, std = BACKBONES[backbone]
    kept, ks = SETS[data]
    config.data.update(name=data, validation_classes=kept, mean=mean, std=std)
    config.data.sampler = "class_balanced" if of_class else "shuffle"
    config.data.images_per_class = of_class or 4
    config.model.update(backbone=backbone, norm=norm, branch=branch, dim=numbers)
    config.objective = [{"name": loss, **options}]
    config.train.batch = batch
    config.evaluate.ks = ks
    return config
