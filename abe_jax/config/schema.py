"""Every name a config file may set, with its type, default and meaning.

The options of an optimiser, of meta-learning, of a training's length and of each loss are those of
`abe_jax/training/` and `abe_jax/losses/`.
"""

import dataclasses

from abe_jax.bounds import (
    Amount,
    Channels,
    Classes,
    Cosine,
    Count,
    Depth,
    Exponent,
    LastStride,
    Learners,
    Margin,
    Natural,
    Pixels,
    Real,
    Rows,
    Seed,
    Share,
    Sides,
    Threads,
    Width,
)
from abe_jax.evaluation.options import NEAR_COSINE, NEAR_SECONDS
from abe_jax.losses import Term, TrainingStage
from abe_jax.training import Meta, Optimizer, Train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Where images come from and how a batch is made of them."""

    name: str
    path: str = ""  # of `folder`: a folder of images or a CSV file
    label_column: str = "label"  # of `folder`, in a CSV file; of `tfds:`, a set's feature
    domain_column: str = ""  # of `folder`, in a CSV file: names each image's domain; empty: none
    unseen_domains: tuple[str, ...] = ()  # only in the test
    validation_domains: tuple[str, ...] = ()  # for validation alone: it sees none of the test's
    test_share: Share = 0.5  # of `folder`: classes for the test, where the data names no splits
    division: Natural = 0  # which, of a set that has several, such as viper: ten, 0 to 9
    # Instead of the set's own images these sets train, whole, each a domain: names of prepared
    # sets such as market1501, or paths of a folder or a CSV file. The set itself is tested on.
    sources: tuple[str, ...] = ()
    root: str = ""  # prepared data; empty: $ABE_JAX_DATA, else ~/.cache/abe_jax/data
    # Of holidays: a file of lines "100600.jpg 90", images to turn upright and by how many degrees
    # clockwise; none: as they are stored; empty: as they were prepared.
    rotations: str = ""
    # Sides in px, one number for a square, or (height, width).
    resize: Sides = 256  # of the image before cropping
    size: Sides = 224  # of the crop that the network sees
    channels: Count = 3
    fit: str = "pad"  # to `resize`: pad (black) | cover (its middle) | stretch (aspect not kept)
    padding: Margin = 0  # training: pixels added on each side before the random crop
    crop: str = "plain"  # training: plain (`size` px) | resized (of any size and aspect, to `size`)
    crop_scale: tuple[float, ...] = (0.08, 1.0)  # `resized`: least and greatest share of the area
    flip: bool = False
    # Where images have points: in a mirrored one left and right, as of two sleeves, change places.
    swap_points: bool = True
    policy: str = ""  # training: autoaugment (ImageNet's); empty: none
    jitter: Share = 0.0  # training: s of brightness, contrast, saturation times 1 - s to 1 + s
    lighting: Amount = 0.0  # training: standard deviation of PCA lighting; needs 3 channels
    # Per channel, in units of 0..255. Both empty: those of the weights, else 0 and 1.
    mean: tuple[Real, ...] = ()
    std: tuple[Amount, ...] = ()
    classes: Classes = 0  # of the training split; 0: counted when a run begins
    # Of the training images, those with each attribute: what the loss `attributes` weighs by.
    # Empty: counted when a run with that loss begins.
    attribute_shares: tuple[Share, ...] = ()
    sampler: str = "pairs"  # pairs | class_balanced | shuffle | domains | super_classes
    images_per_class: Rows = 4  # K of class_balanced and of domains
    replacement: bool = False  # these two: each of the K drawn from all images of the class
    # Of the samplers domains and super_classes: equal blocks of rows, one domain each.
    domains_per_batch: Rows = 5
    classes_per_domain: Rows = 10  # of super_classes: each with all its images, where they fit
    repeats: Rows = 1  # consecutive copies of each drawn image, each augmented anew
    # The last so many training classes, where a set has no val split. 0: a tenth of them, at least
    # ten, but never more than a fifth; counted when a run begins.
    validation_classes: Classes = 0
    # False: no class is kept for validation, whatever validation_classes and validation_domains
    # say: all but the test's are trained on, and the last checkpoint is taken, chosen by nothing.
    validate: bool = True
    held_out: Share = 0.0  # of each training class's images: kept from training, as the split held
    instance_column: str = ""  # of `folder`, in a CSV file: images of one value show one object
    capture_column: str = ""  # likewise: images of one value are nearly the same photograph
    camera_column: str = ""  # likewise: images of one value were taken by one camera
    # Likewise: the points on each image, such as "12 30.5 1; 0 0 0": x and y in px of the upright
    # image, 1 where visible, else 0. All have as many; an empty cell has none that is visible.
    points_column: str = ""
    # Of a prepared set, such as inshop: a CSV file with the columns path (the image's name in the
    # set) and points_column. Its points take the place of the set's own.
    points_path: str = ""
    # Of these points: left and right of the same, as ((0, 1), (2, 3)), which `swap_points` swaps.
    point_pairs: tuple[tuple[Natural, ...], ...] = ()
    damaged: str = "use"  # images damaged inside: use | refuse (they count as unreadable)
    unreadable_share: Amount = 0.01  # more unreadable images than this share stop the run
    threads: Threads = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fashion:
    """Options of a network of kind fashion_net alone; the paper's numbers where they are known."""

    landmarks: Width = 8  # or as many points as the images come with
    categories: Width = 50  # of In-shop: 23
    attributes: Width = 1000  # of In-shop: 463
    window: Width = 5  # positions on each side of what is pooled around a landmark; unknown
    pooled_at: str = "predicted"  # predicted (landmarks) | given (points that come with the images)
    pose_width: Width = 1024
    local_width: Width = 1024
    global_width: Width = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """The network: a backbone cut in two, and how its learners differ."""

    backbone: str  # one of BACKBONES in abe_jax/models/backbones/table.py
    kind: str  # single | heads | divided | cascade | attention | fashion_net
    learners: Learners = 1
    dim: Width = 512  # of all learners together, split evenly where `dims` is empty
    dims: tuple[Width, ...] = ()  # of each learner, where they differ; they sum to `dim`
    # How much each learner counts in the ensemble at test: the concatenation of w_i z_i, z_i of
    # unit length. Empty: all alike.
    test_weights: tuple[Amount, ...] = ()
    weights: str = ""  # what the stages start from: a name, a file or a run's folder; empty: random
    branch: str = ""  # last stage of the shared encoder; empty: the backbone's own
    trunk_depth: Depth = (
        5  # stages after `branch` that the attention trunk copies, poolings left out
    )
    side_stages: tuple[str, ...] = ()  # cascade: of each head but the last; empty: evenly spread
    side_width: Width = 128  # cascade: channels of a side head's 1x1 convolution
    side_hidden: Width = 1024  # cascade: and of its first fully connected layer
    side_dropout: Share = 0.7  # cascade: share of its hidden features that a step drops
    last_dropout: Share = 0.4  # cascade: likewise of the last head's pooled features
    # googlenet: none | lrn; convnet: none | batch | bin; others of convolutions: batch | bin, which
    # is batch-instance normalisation (models/backbones/batch_instance.py). Empty: the first.
    norm: str = ""
    freeze_norm: bool = False  # batch normalisation by its running statistics, also in training
    pooling: str = "average"  # average | max | gem | rmac | token (vision transformers)
    gem_p: Exponent = 3.0  # GeM's exponent, its start where it is learned; inf is the maximum
    gem_learned: bool = False
    layer_norm: bool = False  # normalisation of the pooled features, without affine parameters
    head: str = "linear"  # linear | projection (no bias) | none: `dim` is then the features' own
    # Batch normalisation behind the head, whose bias is held at zero: `batch`; empty: none. The
    # vectors and classifiers are behind it, and what terms read as `before_neck` before it.
    neck: str = ""
    last_stride: LastStride = 0  # 1: the last stage with a stride has none; 0: the backbone's own
    compute: str = "float32"  # float32 | bfloat16
    width: Channels = 32  # channels of the convnet's first stage
    fashion: Fashion = dataclasses.field(default_factory=Fashion)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is measured on validation and test classes."""

    ks: tuple[Count, ...] = (1, 2, 4, 8)
    select: str = "recall@1"  # ensemble metric by which the best checkpoint is chosen
    batch: Rows = 256  # images embedded at once
    domains: bool = False  # also each domain by itself, queries and gallery, and their mean
    block: Rows = 256  # queries compared with the gallery at once
    binary: bool = False  # the ensemble's binary codes too: bits x > 0, Hamming distance
    # Training images, drawn by the seed, that a PCA whitening is fitted on; their labels are not
    # looked at. 0: none, and nothing whitened is measured.
    whiten: Natural = 0
    # A folder of other photographs to fit it on: so many as `whiten` says, or with 0 all. Empty:
    # training images.
    whiten_path: str = ""
    longest: Margin = 0  # px of the longest side of images evaluated whole; 0: centre crops
    side_step: Pixels = 32  # `longest`: the shorter side becomes a multiple of so many px
    grains: bool = False  # also class, instance and copy, where data and objective allow each
    copies: Natural = 100  # `grains`: images whose altered copies look for them; 0: none
    # Also without the images of each query's own capture: nearly the same photograph, which are
    # images of one value in `data.capture_column` (column), photographs that one camera took
    # shortly after each other (sequence), or images alike to a frozen network (distance). Empty:
    # this is not measured.
    near_duplicates: str = ""
    near_seconds: Amount = NEAR_SECONDS  # `sequence`: at most so long after the one before
    near_cosine: Cosine = NEAR_COSINE  # `distance`: pairs of at least this cosine
    near_weights: str = "efficientnet-lite0"  # `distance`: a name, or a file as model.weights has


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole experiment."""

    seed: Seed = 0
    data: Data
    model: Model
    objective: tuple[Term, ...]
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    meta: Meta = dataclasses.field(default_factory=Meta)
    train: Train
    # That alternate: factors of the objective's weights, parts of the model that stand still.
    stages: tuple[TrainingStage, ...] = ()
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)
