"""A small prepared In-shop with annotations: eight items to train on, three to test on."""

from pathlib import Path

import benchmark_trees as trees
import cv2
import numpy as np

from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.data.sources.benchmarks.table import BENCHMARKS

KINDS = list(trees.CLOTHES)
SIDES = (40, 32)  # height, width in px
# What a config has to say of it.
OVERRIDES = (
    "data.name=inshop",
    "data.validation_classes=2",
    "data.resize=32",
    "data.size=32",
    f"model.fashion.categories={len(KINDS)}",
    f"model.fashion.attributes={len(trees.ATTRIBUTES)}",
)
# A network that learns from all of it, in two stages, and the losses by their names.
SMALL = (
    *OVERRIDES,
    "data.channels=3",
    "data.mean=(120,120,120)",
    "data.std=(70,70,70)",
    "data.flip=True",
    "model.kind=fashion_net",
    "model.learners=1",
    "model.branch=conv2",
    "model.norm=none",  # batch normalisation takes long to compile; others test it
    "model.fashion.pose_width=12",
    "model.fashion.local_width=12",
    "model.fashion.global_width=12",
    "train.batch=16",
)
TERMS = (
    {"name": "landmarks"},
    {"name": "visibility"},
    {"name": "category"},
    {"name": "attributes"},
    {"name": "triplet", "soft": True},
)


def stages(first: int, second: int) -> list[dict]:
    """The pose first, the rest with small weights; then the rest, the pose branch at rest."""
    return [
        {"steps": first, "factors": (1.0, 1.0, 0.1, 0.1, 0.1)},
        {
            "steps": second,
            "factors": (0.0, 0.0, 1.0, 1.0, 1.0),
            "fixed": ("pose", "pose_decoder"),
        },
    ]


def prepare(root: Path) -> Path:
    """Prepares the set in a data root, whose path is returned."""
    rows = []
    for item in range(11):
        statuses = ["train"] * 4 if item < 8 else ["query", "query", "gallery"]
        for i, status in enumerate(statuses, start=1):
            name = f"img/{KINDS[item % 4]}/id_{item:08}/0{i}_{i}_front.jpg"
            rows.append((name, f"id_{item:08}", status))
    source, made = root / "source", np.random.default_rng(0)
    for name, item, _ in rows:
        base = np.random.default_rng(int(item[3:])).integers(0, 256, (5, 4, 3))
        pixels = cv2.resize(base.astype(np.uint8), SIDES[::-1], interpolation=cv2.INTER_NEAREST)
        noisy = np.clip(pixels + made.normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
        trees.write(source / name, cv2.imencode(".jpg", noisy)[1].tobytes())
    listed = [f"{name}   {item} {status}" for name, item, status in rows]
    head = [str(len(rows)), "image_name item_id evaluation_status"]
    trees.write(source / "list_eval_partition.txt", trees.lines([*head, *listed]))
    for name, content in trees.inshop_annotations([row[0] for row in rows]).items():
        trees.write(source / name, content)
    inshop = BENCHMARKS["inshop"]
    builder.build(inshop, source, reading.folder(inshop, str(root)), any_counts=True)
    return root
