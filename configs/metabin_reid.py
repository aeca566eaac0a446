"""MetaBIN on its own field: persons found again in data sets that training never saw.

Paper: Choi et al., Meta Batch-Instance Normalization for Generalizable Person Re-Identification,
CVPR 2021, arXiv 2011.14670.

    python -m abe_jax.prepare --dataset market1501 --source DOWNLOADS    # and so each set below
    python -m abe_jax.train --config configs/metabin_reid.py --workdir runs/metabin_reid \\
        --config.model.weights=WEIGHTS.npz
    python -m abe_jax.evaluate --workdir runs/metabin_reid --divisions 10
    python -m abe_jax.evaluate --workdir runs/metabin_reid --dataset viper --divisions 10
    python -m abe_jax.evaluate --workdir runs/metabin_reid --dataset prid --divisions 10
    python -m abe_jax.evaluate --workdir runs/metabin_reid --dataset ilids --divisions 10

Five sets train, whole (their tests too, as in the paper), each a domain: CUHK02, CUHK03 (detected),
Market-1501 and DukeMTMC-reID, prepared from their authors' files, and CUHK-SYSU, whose authors hand
out scenes and boxes: crop these yourself into a folder `cuhk_sysu` with a sub-folder for each
person (another place: --config.data.sources="(...)"). Without it:
--config.data.sources="('cuhk02','cuhk03_detected','market1501','dukemtmc')"
--config.data.domains_per_batch=4 --config.meta.domains=2 --config.train.batch=64 (an epoch of these
has 1,362 steps; the schedule below stays that of five sets, 1,522). Plain batch
normalisation to compare with: --config.model.norm=batch --config.meta.domains=0. WEIGHTS.npz is
what `python -m abe_jax.convert` makes of ImageNet weights of MobileNetV2, see README.

Expected: not measured here. The paper's (R@1 / mAP, the mean over the four sets and ten divisions):
MobileNetV2 64.7 / 72.3, ResNet-50 66.0 / 73.6, and by the author's word 50.9 R@1 with plain batch
normalisation. By set, MobileNetV2, as the authors' code prints it: GRID 49.7 / 58.1, VIPeR 56.9 /
66.0, PRID 72.5 / 79.8, i-LIDS 79.7 / 85.5. Time: not measured; a step embeds its images
twice, in three parts, where one of plain batch normalisation embeds them once.

As published: cross-entropy with smoothing 0.1, spread over the other classes, and batch-hard
triplets of margin 0.3, both of weight 1, for all but the gates; SGD with momentum 0.9 and decay
0.0005 of biases and normalisation too, biases at twice the rate; rate 0.01, which rises for 10
epochs and falls by ten after 40 and 70 of 100; an epoch is the images over the batch. Batches of
five domains with four persons of four images, split anew at each step into three domains and two;
the inner rate is 0.1 times a triangle from 0.001 to 0.1 in five epochs, the outer 0.1; ten base
steps first. Images are padded by 10 px, cropped and mirrored; no other augmentation. The pooled
features, batch-normalised (BNNeck), are the embedding; the triplets see them before it. MobileNetV2
has width 1.4 and no last stride, the classifier no bias. Every person of the five sets is trained
on and the last checkpoint is taken; to watch persons that training does not see (100, 20 of each
set): --config.data.validate=True --config.data.validation_classes=100. Division 0 of GRID is what
the training itself ends with.
Other than there: the meta-update sees the images of the base step (there: as many of its own); the
rate rises from 0 (there: from a hundredth); the instance half starts from a copy of the trained
scale and bias (there: from 1 and 0). GRID's divisions are its authors'; those of the other three
sets are drawn here (there: drawn too, not handed out as lists).
"""

from ml_collections import ConfigDict

IMAGES = 121_765  # of all five sets
BATCH = 80
EPOCH = IMAGES // BATCH


def get_config() -> ConfigDict:
    """The experiment; names and defaults are in abe_jax/config/schema.py."""
    return ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "grid",
                "sources": ("cuhk02", "cuhk03_detected", "market1501", "dukemtmc", "cuhk_sysu"),
                "validation_classes": 0,
                "validate": False,
                "resize": (256, 128),
                "size": (256, 128),
                "fit": "stretch",
                "padding": 10,
                "flip": True,
                "mean": (123.675, 116.28, 103.53),
                "std": (58.395, 57.12, 57.375),
                "sampler": "domains",
                "domains_per_batch": 5,
                "images_per_class": 4,
                "threads": 8,
            },
            "model": {
                "backbone": "mobilenet_v2_1.4_reid",
                "last_stride": 1,
                "norm": "bin",
                "kind": "single",
                "head": "none",
                "neck": "batch",
                "dim": 1792,
            },
            "objective": [
                {"name": "cross_entropy", "bias": False, "smoothing": 0.1, "smoothed": "others"},
                {
                    "name": "triplet",
                    "mining": "batch_hard",
                    "margin": 0.3,
                    "reduction": "mean",
                    "reads": "before_neck",
                },
            ],
            "optimizer": {
                "name": "sgd",
                "rate": 0.01,
                "momentum": 0.9,
                "weight_decay": 0.0005,
                "decay_all": True,
                "bias_rate": 2.0,
                "schedule": "step",
                "warmup": 10 * EPOCH,
                "boundaries": (40 * EPOCH, 70 * EPOCH),
                "factor": 0.1,
            },
            "meta": {
                "domains": 3,
                "start": 9,  # the first update follows the tenth base step
                "margin": 0.3,
                "reads": "before_neck",
                "inner_rate": 0.1,
                "outer_rate": 0.1,
                "cycle": 5 * EPOCH,
            },
            "train": {
                "steps": 100 * EPOCH,
                "batch": BATCH,
                "log_every": 100,
                "evaluate_every": 2 * EPOCH,
                "checkpoint_every": 1000,
            },
            "evaluate": {"ks": (1, 5, 10), "select": "map@r"},
        }
    )
