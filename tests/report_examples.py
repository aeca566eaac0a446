"""A made-up run with everything a report can show, drawn with the typefaces inside matplotlib."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from abe_jax.evaluation.examples import Attention, Gallery, choose, shown_images

FACES = ("DejaVuSans", "DejaVuSerif-Bold", "DejaVuSansMono", "STIXGeneral", "DejaVuSans-Oblique")
CHARACTERS = "AgRß&Ωжλ<4"


def font(face: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{face}.ttf", size)


def drawing(character: str, face: str, side: int = 32) -> np.ndarray:
    """A character in white on black, uint8 [side, side, 1]."""
    image = Image.new("L", (side, side))
    middle = (side / 2, side / 2)
    ImageDraw.Draw(image).text(middle, character, fill=255, font=font(face, side - 8), anchor="mm")
    return np.asarray(image)[:, :, None]


def shown(*, neighbours: int = 6) -> Gallery:
    """Queries over a split of `CHARACTERS` in `FACES`; every third neighbour is wrong."""
    labels = np.repeat(np.arange(len(CHARACTERS), dtype=np.int32), len(FACES))
    rng = np.random.default_rng(0)
    first = rng.random(len(labels)) > 0.3
    choice = choose(first, spaced=5, failed=3)
    queries = np.concatenate([choice.spaced, choice.failed])
    nearest = np.stack([_neighbours(rng, labels, q, neighbours, bool(first[q])) for q in queries])
    images = shown_images(
        queries, nearest, lambda i: drawing(CHARACTERS[labels[i]], FACES[i % len(FACES)])
    )
    return Gallery(
        images=images.images,
        labels=labels[images.rows],
        class_names=tuple(CHARACTERS),
        queries=images.queries,
        neighbours=images.neighbours,
        failures=len(choice.failed),
        details=[FACES[i % len(FACES)] for i in images.rows],
    )


def _neighbours(rng, labels: np.ndarray, query: int, k: int, right: bool) -> np.ndarray:
    same = np.setdiff1d(np.flatnonzero(labels == labels[query]), [query])
    other = rng.permutation(np.flatnonzero(labels != labels[query]))
    taken = [same[0], *other[:1], *same[1:], *other[1:]] if right else [*other[:2], *same, *other]
    return np.array(taken[:k], np.int64)


def seen(learners: int = 4, images: int = 4) -> Attention:
    """Smooth masks of sigmoid values, each learner leaning to another side."""
    place = np.stack(np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 8)), axis=-1)
    turns = 2 * np.pi * np.arange(learners) / learners
    lean = np.stack([place @ np.array([np.cos(t), np.sin(t)]) for t in turns])
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.25, (images, learners, 8, 8))
    masks = 1 / (1 + np.exp(-(0.6 * lean[None] + noise)))
    return Attention(
        images=np.stack([drawing(c, FACES[0]) for c in CHARACTERS[:images]]),
        masks=masks.astype(np.float32),
        captions=tuple(CHARACTERS[:images]),
    )


def result(learners: int = 4) -> dict:
    """One split's evaluation, with figures that differ from cell to cell."""

    def row(base: float) -> dict:
        ks = {f"recall@{k}": base + 0.03 * i for i, k in enumerate((1, 2, 4, 8))}
        return ks | {"r_precision": base - 0.2, "map@r": base - 0.27}

    alone = [row(0.7512 + 0.0123 * m) for m in range(learners)]
    keys = list(row(0.0))
    metrics = {
        "ensemble": row(0.8467),
        "ensemble_mean_distance": row(0.8431),
        "learners": alone,
        "learners_mean": {key: float(np.mean([a[key] for a in alone])) for key in keys},
        "learners_std": {key: float(np.std([a[key] for a in alone])) for key in keys},
        "pixels": row(0.6583),
    }
    values = {"images": 11904, "classes": 192, "step": 1800, "metrics": metrics}
    values["other_family"] = {"ensemble": row(0.8012), "pixels": row(0.4821)}
    if learners > 1:
        values["cosine"] = cosine()
    return values


def cosine() -> dict:
    """Histograms of three normal distributions over [-1, 1]."""
    rng = np.random.default_rng(2)
    edges = np.linspace(-1, 1, 81)
    values: dict = {"edges": edges.tolist()}
    for kind, centre, width in (
        ("same_image", 0.42, 0.11),
        ("positive", 0.36, 0.14),
        ("negative", 0.03, 0.12),
    ):
        drawn = rng.normal(centre, width, 20000)
        counts = np.histogram(drawn, edges)[0]
        values[kind] = {
            "mean": float(drawn.mean()),
            "std": float(drawn.std()),
            "histogram": counts.tolist(),
        }
    return values


def config(kind: str = "attention", learners: int = 4) -> dict:
    """The configuration as it stands in config.json."""
    terms = [{"name": "contrastive", "weight": 1.0, "margin": 1.0, "squared": True}]
    if learners > 1:
        terms.append({"name": "divergence", "weight": 1.0, "margin": 1.0, "squared": True})
    return {
        "seed": 0,
        "data": {"name": "glyphs", "size": 32, "channels": 1},
        "model": {
            "backbone": "convnet",
            "kind": kind,
            "learners": learners,
            "dim": 128,
            "branch": "pool2",
        },
        "objective": terms,
        "train": {"steps": 2000, "batch": 64},
        "evaluate": {"ks": [1, 2, 4, 8], "select": "recall@1"},
    }


ENVIRONMENT = {
    "command": "python -m abe_jax.train --config configs/quickstart.py --workdir runs/quickstart",
    "Python": "3.11.2",
    "JAX": "0.10.2",
    "Flax": "0.12.8",
    "device": "1 x cpu",
}


def metrics(path: Path, steps: int = 2000) -> Path:
    """A metrics.csv like that of a run that goes well."""
    rng = np.random.default_rng(3)
    names = ["step", "loss", "contrastive", "divergence", "cosine"]
    names += ["positive_distance", "negative_distance", "val_recall@1", "val_map@r"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for step in range(20, steps + 1, 20):
            fall, noise = np.exp(-step / 500), rng.normal(0, 0.02, 6)
            pull = 0.35 + 0.5 * fall + noise[0]
            push = 0.42 - 0.2 * fall + noise[1]
            row = {
                "step": step,
                "contrastive": pull,
                "divergence": push,
                "loss": pull + push,
                "cosine": 0.45 + 0.5 * fall + noise[3] / 2,
                "positive_distance": 0.5 + 0.2 * fall + noise[4],
                "negative_distance": 1.6 - 0.9 * fall + noise[5],
            }
            if step % 200 == 0:
                row["val_recall@1"] = 0.86 - 0.3 * fall - 0.02 * (step > 1800)
                row["val_map@r"] = 0.6 - 0.3 * fall
            writer.writerow({key: f"{value:.6g}" for key, value in row.items()})
    return path
