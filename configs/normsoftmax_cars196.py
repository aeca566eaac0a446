"""NormSoftmax on Cars196: a ResNet-50 trained as a classifier on the cosines to learned proxies.

Paper: Zhai and Wu, Classification is a Strong Baseline for Deep Metric Learning, 2019,
arXiv 1811.12649.

    python -m abe_jax.convert torchvision_resnet50 resnet50-0676ba61.pth resnet50.npz
    python -m abe_jax.prepare --dataset cars196 --source DIR
    python -m abe_jax.train --config configs/normsoftmax_cars196.py \\
        --workdir runs/normsoftmax_cars196 --config.model.weights=resnet50.npz

DIR is the folder with car_ims.tgz and cars_annos.mat (or with the parts that classification uses,
and their lists), unpacked or not. With 512 dimensions, by a linear layer without bias:

    ... --config.model.dim=512 --config.model.head=projection

Expected (the paper's figures, not measured here), 2048 dimensions, Recall@1 / 2 / 4 / 8:
    float 89.50 94.18 96.84 98.41    binary codes 89.29 93.95 96.61 98.14
With 512 dimensions R@1 84.2 (as others quote it). Other implementations came to R@1 86.1 with 2048:
one to three points between them are usual. All start from ImageNet weights; from random ones, which
stand here until `model.weights` names a file, they are out of reach. Time: not measured.

As in the paper and its public code: pooled features normalised without affine parameters (no other
layer), temperature 0.05, batches of 75 with 25 images of each class drawn with replacement, SGD
with momentum 0.9 and weight decay 1e-4, one epoch of the proxies alone with batch normalisation in
training mode, then 30 of everything at rate 0.01, a tenth of it behind the 15th, all of whose
momentum begins empty, 256 px with the aspect not kept, crops of 224, flips.
Otherwise here: ten classes of the training half are held out to choose a checkpoint by, while an
epoch keeps the length of the whole half; weight decay leaves biases and batch normalisation out.
Unknown: from which release of torchvision's weights the paper starts (named above: the first).
"""

from ml_collections import ConfigDict

BATCH = 75
FIRST, FALL, LAST = 1, 15, 30  # epochs: of new layers alone; then until the rate falls, and in all


def get_config() -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return recipe(training_images=8_054)


def recipe(training_images: int) -> ConfigDict:
    """What the paper's four data sets share, its epochs counted for so many training images."""
    epoch = training_images // BATCH
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "cars196",
                "fit": "stretch",
                "resize": 256,
                "size": 224,
                "flip": True,
                "mean": (123.675, 116.28, 103.53),
                "std": (58.395, 57.12, 57.375),
                "sampler": "class_balanced",
                "images_per_class": 25,
                "replacement": True,
                "validation_classes": 10,
                "threads": 8,
            },
            "model": {
                "backbone": "resnet50",
                "kind": "single",
                "branch": "block3_5",
                "pooling": "average",
                "layer_norm": True,
                "head": "none",
                "dim": 2048,
            },
            "objective": [{"name": "norm_softmax", "temperature": 0.05}],
            "optimizer": {
                "name": "sgd",
                "rate": 0.01,
                "momentum": 0.9,
                "weight_decay": 0.0001,
                "schedule": "step",
                "boundaries": ((FIRST + FALL) * epoch,),
                "new_only": FIRST * epoch,
                "new_restart": True,
            },
            "train": {
                "steps": (FIRST + LAST) * epoch,
                "batch": BATCH,
                "log_every": 20,
                "evaluate_every": epoch,
                "checkpoint_every": 500,
            },
            "evaluate": {"ks": (1, 2, 4, 8), "binary": True},
        }
    )
