"""The names that a command line offers, apart from what they stand for.

Their tables import what they stand for, which takes seconds; --help and a misspelt name should not.
"""

# Pictures of `abe_jax.report.figures`.
FIGURES = ("attention", "map", "classes", "cosine", "recall")

# Checkpoints that `abe_jax.pretrained` reads.
SOURCES = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenet_v2",
    "torchvision_mobilenet_v2",
    "torchvision_mobilenet_v2_1.4",
    "torchreid_mobilenet_v2_1.4",
    "torchvision_resnet18",
    "torchvision_resnet50",
    "torchvision_vgg16",
    "torchvision_googlenet",
    "caffe_googlenet",
    "caffe_bn_inception",
    "bninception",
    "timm_vit_small_patch16_224",
    "timm_deit_small_patch16_224",
)

# Rules of `abe_jax.evaluation.captures`, by the name of what they go by.
NEAR_DUPLICATES = ("column", "sequence", "distance")

# Data sets of `abe_jax.data.sources`; what TFDS prepared is named behind its prefix.
DATASETS = (
    "glyphs",
    "glyphs_tiny",
    "cars196",
    "cub",
    "sop",
    "inshop",
    "imagenet",
    "holidays",
    "ukbench",
    "copydays",
    "market1501",
    "dukemtmc",
    "cuhk02",
    "cuhk03_labeled",
    "cuhk03_detected",
    "grid",
    "viper",
    "prid",
    "ilids",
    "folder",
)
TFDS = "tfds:"
