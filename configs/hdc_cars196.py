"""HDC on Cars196: three heads at rising depths of a GoogLeNet, each trained on harder pairs.

Paper: Yuan et al., Hard-Aware Deeply Cascaded Embedding, ICCV 2017, arXiv 1611.05720.

    python -m abe_jax.prepare --dataset cars196 --source DIR
    python -m abe_jax.train --config configs/hdc_cars196.py --workdir runs/hdc_cars196 \\
        --config.model.weights=googlenet.npz

DIR is the folder with car_ims.tgz and cars_annos.mat, unpacked or not; googlenet.npz is Caffe's
GoogLeNet, converted (`python -m abe_jax.convert caffe_googlenet FILE googlenet.npz`, README), whose
auxiliary classifiers, where the file has them, are what the first two heads begin with.

Expected (the paper's figures, as others quote them, not measured here): Recall@1 / 2 / 4 / 8 on the
test classes 73.7 83.2 89.5 93.8, from weights trained on ImageNet. Time: not measured.

As in the paper or its public code: the network (heads of 128 behind inception4a, inception4d and
inception5b, dropout 0.7 in the first two and 0.4 in the last), the loss and its shares 1, 0.5, 0.2,
each of all pairs of the batch (`cascade=True` in the loss is the other reading, see its docstring),
10 images of each of 10 classes, SGD with momentum 0.9 and decay 2e-4, rates of the last layers x 10
and of biases x 2, 256 px stretched, crops of 224, no mirroring, Caffe's mean, and at test a
concatenation in which the heads count 1 to 2 to 3.
Otherwise than there: the last training classes are held out for validation.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "cars196",
                "resize": 256,
                "size": 224,
                "channels": 3,
                "fit": "stretch",
                "mean": (123.0, 117.0, 104.0),
                "std": (1.0, 1.0, 1.0),
                "sampler": "class_balanced",
                "images_per_class": 10,
                "validation_classes": 18,
                "threads": 8,
            },
            "model": {
                "backbone": "googlenet",
                "norm": "lrn",
                "kind": "cascade",
                "learners": 3,
                "dim": 384,
                "side_stages": ("inception4a", "inception4d"),
                "test_weights": (1.0, 2.0, 3.0),
            },
            "objective": [{"name": "hard_share", "shares": (1.0, 0.5, 0.2)}],
            "optimizer": {
                "name": "sgd",
                "rate": 0.01,
                "momentum": 0.9,
                "weight_decay": 0.0002,
                "new_rate": 10.0,
                "bias_rate": 2.0,
                "schedule": "step",
                "boundaries": (10_000,),
                "factor": 0.1,
            },
            "train": {
                "steps": 20_000,
                "batch": 100,
                "log_every": 50,
                "evaluate_every": 1000,
                "checkpoint_every": 1000,
            },
            "evaluate": {"batch": 100, "ks": (1, 2, 4, 8)},
        }
    )
