"""Every name a config file may set, with its type, default and meaning."""

import dataclasses
from typing import Annotated

# Numbers with the least and the greatest value they may take.
Count = Annotated[int, 1, 2**31 - 1]
Natural = Annotated[int, 0, 2**31 - 1]
Seed = Annotated[int, 0, 2**32 - 1]  # JAX takes no more bits of a seed without saying so
Amount = Annotated[float, 0.0, 3.4e38]  # what float32 holds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Where images come from and how a batch is made of them."""

    name: str
    root: str = ""  # prepared data; empty: $ABE_JAX_DATA, else ~/.cache/abe_jax/data
    resize: Count = 256  # square side after padding to a square and scaling
    size: Count = 224  # side of the crop that the network sees
    channels: Count = 3
    padding: Natural = 0  # training: pixels added on each side before the random crop
    flip: bool = False
    mean: tuple[float, ...] = (0.0,)  # per channel, in units of 0..255
    std: tuple[float, ...] = (1.0,)
    sampler: str = "pairs"  # pairs | class_balanced | shuffle
    images_per_class: Count = 4  # K of class_balanced
    validation_classes: Natural = (
        0  # the last so many training classes, where a set has no val split
    )
    unreadable_share: Amount = 0.01  # more unreadable images than this share stop the run
    threads: Count = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """The network: a backbone cut in two, and how its learners differ."""

    backbone: str  # convnet | googlenet
    kind: str  # single | heads | attention
    learners: Count = 1
    dim: Count = 512  # of all learners together, split evenly
    weights: str = ""  # a run's folder whose stages this model starts from; empty: random
    branch: str = "pool3"  # last stage of the shared encoder
    trunk_depth: Natural = (
        5  # stages after `branch` that the attention trunk copies, poolings left out
    )
    norm: str = "none"  # googlenet: none | lrn; convnet: none | batch
    compute: str = "float32"  # float32 | bfloat16
    width: Count = 32  # channels of the convnet's first stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive:
    """A weighted contrastive pair loss, one per learner."""

    name: str = "contrastive"
    weight: Amount = 1.0
    margin: Amount = 1.0
    squared: bool = True  # squared Euclidean distance inside the hinge
    pairs: str = "all"  # all | adjacent (rows 2i and 2i+1, as the sampler `pairs` lays them)
    reduction: str = "mean_active"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Divergence:
    """A weighted divergence loss between the learners' vectors of one image."""

    name: str = "divergence"
    weight: Amount = 1.0
    margin: Amount = 1.0
    squared: bool = True
    reduction: str = "mean"


Term = Contrastive | Divergence
TERMS: dict[str, type[Contrastive] | type[Divergence]] = {
    "contrastive": Contrastive,
    "divergence": Divergence,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optax optimiser, its schedule and its parameter groups."""

    name: str = "sgd"  # sgd | adam | adamw
    rate: Amount = 0.01  # at the schedule's height
    momentum: Amount = 0.9  # sgd only
    weight_decay: Amount = 0.0
    schedule: str = "constant"  # constant | cosine | step
    warmup: Natural = 0  # steps of linear rise to `rate`
    boundaries: tuple[int, ...] = ()  # schedule `step`: where the rate falls
    factor: Amount = 0.1  # schedule `step`: by what it is multiplied there
    clip: Amount = 0.0  # largest global gradient norm; 0: unclipped
    new_rate: Amount = 1.0  # multiplies the rate of new layers (heads, masks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Length of training and the rhythm of what happens beside it."""

    steps: Count
    batch: Count = 64  # images of one global batch
    log_every: Count = 20
    evaluate_every: Natural = 0  # steps between validations; 0: only at the end
    checkpoint_every: Count = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is measured on validation and test classes."""

    ks: tuple[Count, ...] = (1, 2, 4, 8)
    select: str = "recall@1"  # ensemble metric by which the best checkpoint is chosen
    batch: Count = 256  # images embedded at once
    block: Count = 256  # queries compared with the gallery at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole experiment."""

    seed: Seed = 0
    data: Data
    model: Model
    objective: tuple[Term, ...]
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    train: Train
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)
