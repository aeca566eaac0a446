"""Every name a config file may set, with its type, default and meaning."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Where images come from and how a batch is made of them."""

    name: str
    root: str = ""  # prepared data; empty: $ABE_JAX_DATA, else ~/.cache/abe_jax/data
    resize: int = 256  # square side after padding to a square and scaling
    size: int = 224  # side of the crop that the network sees
    channels: int = 3
    padding: int = 0  # training: pixels added on each side before the random crop
    flip: bool = False
    mean: tuple[float, ...] = (0.0,)  # per channel, in units of 0..255
    std: tuple[float, ...] = (1.0,)
    sampler: str = "pairs"  # pairs | class_balanced | shuffle
    images_per_class: int = 4  # K of class_balanced
    validation_classes: int = 0  # the last so many training classes, where a set has no val split
    unreadable_share: float = 0.01  # more unreadable images than this share stop the run
    threads: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """The network: a backbone cut in two, and how its learners differ."""

    backbone: str  # convnet | googlenet
    kind: str  # single | heads | attention
    learners: int = 1
    dim: int = 512  # of all learners together, split evenly
    weights: str = ""  # a run's folder whose stages this model starts from; empty: random
    branch: str = "pool3"  # last stage of the shared encoder
    trunk_depth: int = 5  # stages after `branch` that the attention trunk copies, poolings left out
    norm: str = "none"  # googlenet: none | lrn; convnet: none | batch
    compute: str = "float32"  # float32 | bfloat16
    width: int = 32  # channels of the convnet's first stage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive:
    """A weighted contrastive pair loss, one per learner."""

    name: str = "contrastive"
    weight: float = 1.0
    margin: float = 1.0
    squared: bool = True  # squared Euclidean distance inside the hinge
    pairs: str = "all"  # all | adjacent (rows 2i and 2i+1, as the sampler `pairs` lays them)
    reduction: str = "mean_each"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Divergence:
    """A weighted divergence loss between the learners' vectors of one image."""

    name: str = "divergence"
    weight: float = 1.0
    margin: float = 1.0
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
    rate: float = 0.01  # at the schedule's height
    momentum: float = 0.9  # sgd only
    weight_decay: float = 0.0
    schedule: str = "constant"  # constant | cosine | step
    warmup: int = 0  # steps of linear rise to `rate`
    boundaries: tuple[int, ...] = ()  # schedule `step`: where the rate falls
    factor: float = 0.1  # schedule `step`: by what it is multiplied there
    clip: float = 0.0  # largest global gradient norm; 0: unclipped
    new_rate: float = 1.0  # multiplies the rate of new layers (heads, masks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Length of training and the rhythm of what happens beside it."""

    steps: int
    batch: int = 64  # images of one global batch
    log_every: int = 20
    evaluate_every: int = 0  # steps between validations; 0: only at the end
    checkpoint_every: int = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is measured on validation and test classes."""

    ks: tuple[int, ...] = (1, 2, 4, 8)
    select: str = "recall@1"  # ensemble metric by which the best checkpoint is chosen
    batch: int = 256  # images embedded at once
    block: int = 2048  # queries compared with the gallery at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole experiment."""

    seed: int = 0
    data: Data
    model: Model
    objective: tuple[Term, ...]
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    train: Train
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)
