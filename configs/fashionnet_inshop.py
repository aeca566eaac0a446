"""FashionNet on In-shop Clothes (DeepFashion): garments by their landmarks and as a whole.

VGG-16 is shared up to conv4; a pose branch finds eight landmarks, a local branch looks around each,
a global branch at the whole image, and what joins the last two is the embedding. It learns from
landmarks and their visibility, 23 categories, 463 attributes and triplets. Two stages alternate:
the pose first, the rest with small weights; then the rest, the pose branch standing still. What is
shared below it goes on learning, so its landmarks move a little: to hold them as they are, add
"encoder" to `fixed` of the second stage.

Paper: Liu et al., DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich
Annotations, CVPR 2016.

    python -m abe_jax.convert torchvision_vgg16 vgg16-397923af.pth vgg16.npz
    python -m abe_jax.prepare --dataset inshop --source DIR
    python -m abe_jax.train --config configs/fashionnet_inshop.py \\
        --workdir runs/fashionnet_inshop --config.model.weights=vgg16.npz

DIR is the folder with img.zip, list_eval_partition.txt and the authors' annotations:
list_landmarks_inshop.txt, list_bbox_inshop.txt, list_attr_items.txt and list_attr_cloth.txt. What
was prepared without these has to be deleted and prepared anew. What the images are, and how many:
normsoftmax_inshop.py.

The widths of the layers are the paper's. Weights, margin, rates, batch, length of the stages and
window of the pooling are not known and our own choice, as is what fashion_net.py lists.

Human joints or poselets in the place of landmarks, the paper's other rows: a CSV file with the
columns path (an image's name in the set, img/WOMEN/...) and, say, joints ("x y v; x y v": px of the
image, v 1 where visible; docs/PROTOCOLS.md), of as many points on each image. Nothing predicts
them, so the losses of landmarks and the stages are left out. Of 14 joints, two of which are a pair:

    python -m abe_jax.train --config configs/fashionnet_inshop.py --workdir runs/fashionnet_joints \
        --config.model.weights=vgg16.npz --config.model.fashion.pooled_at=given \
        --config.model.fashion.landmarks=14 --config.data.points_path=joints.csv \
        --config.data.points_column=joints "--config.data.point_pairs=((0, 1),)" \
        --config.stages=[] "--config.objective=[{'name': 'category'}, \
        {'name': 'attributes', 'weight': 0.1}, {'name': 'triplet', 'margin': 0.2}]"

Expected (the paper's figures, read off its curves, not measured here), Recall@1/10/20/30/40/50:
    landmarks 53 73 76 77 79 80    joints 41 64 68 71 73 73.5    poselets 42 65 70 72 72 75
Time: not measured.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Everything that differs from the defaults of the configuration."""
    objective = [
        {"name": "landmarks", "weight": 10.0},  # shares of the image's sides, squared: small
        {"name": "visibility"},
        {"name": "category"},
        {"name": "attributes", "weight": 0.1},  # a sum over 463
        {"name": "triplet", "margin": 0.2},
    ]
    return ConfigDict(
        {
            "data": {
                "name": "inshop",
                "resize": 256,
                "size": 224,
                "flip": True,
                "sampler": "class_balanced",
                "images_per_class": 4,
                "validation_classes": 200,
            },
            "model": {
                "backbone": "vgg16",
                "kind": "fashion_net",
                "branch": "conv4_3",
                "dim": 4096,
                "fashion": {"categories": 23, "attributes": 463},
            },
            "objective": objective,
            "stages": [
                {"steps": 2000, "factors": (1.0, 1.0, 0.1, 0.1, 0.1)},
                {
                    "steps": 2000,
                    "factors": (0.0, 0.0, 1.0, 1.0, 1.0),
                    "fixed": ("pose", "pose_decoder"),
                },
            ],
            "optimizer": {"rate": 0.001, "weight_decay": 5e-4, "new_rate": 10.0, "clip": 10.0},
            "train": {"steps": 40_000, "batch": 64, "log_every": 100, "evaluate_every": 2000},
            "evaluate": {"ks": (1, 10, 20, 30, 40, 50)},
        }
    )
