"""Trainings whose steps are compared between numbers of devices, and of hosts (not a test)."""

import dataclasses
from collections.abc import Mapping

import inshop_data

# The first step's rate is 0 and the second's is a third of this, so what two steps leave is the
# first parameters less one gradient and 0.9 of another, and two batches' losses and statistics.
# A third step would start from parameters that differ by rounding: whatever is chosen in a loss or
# cut off by a ReLU can then fall otherwise, and once did.
STEPS, SGD = 2, ("optimizer.name=sgd", "optimizer.rate=3.0", "optimizer.momentum=0.9")
# Every loss at once; each term's value is compared on its own as well. Among them are losses with
# parameters, with negatives and with classes drawn at random (the batch has 8 classes of its own),
# and with choices that have to fall alike: the hardest of a batch, medoids, the nearest centre. A
# count of hinges that are active would jump where rounding carries one over its corner: such means
# are over all, or soft. Scales of 64, as those of faces, would make too much of rounding. Weights
# bring the gradients to one order.
OBJECTIVE = (
    {"name": "contrastive"},
    {"name": "contrastive", "form": "hadsell", "weight": 0.5},
    {"name": "triplet", "soft": True, "weight": 0.5},
    {"name": "triplet", "mining": "batch_hard", "reduction": "mean", "margin": 0.5},
    {"name": "triplet", "mining": "semi_hard", "reduction": "mean", "margin": 0.5},
    {"name": "margin", "beta": 0.9, "rate": 5.0},
    {"name": "hard_share", "weight": 0.1},
    {"name": "lifted_structure", "weight": 0.1},
    {"name": "n_pairs", "length_weight": 0.01, "weight": 0.5},
    {"name": "clustering", "weight": 0.05},
    {"name": "multi_similarity", "epsilon": 2.0, "weight": 0.3},
    {"name": "circle", "gamma": 8.0, "weight": 0.05},
    {"name": "sup_con", "temperature": 0.5, "weight": 0.3},
    {"name": "nt_xent", "label": "class", "temperature": 0.5, "weight": 0.3},
    {"name": "smooth_ap", "temperature": 0.1, "weight": 0.3},
    {"name": "fast_ap", "weight": 0.3},
    {"name": "recall_at_k", "ks": [1, 2], "rank_temperature": 0.1, "weight": 0.3},
    {"name": "norm_softmax", "subsample": 12, "weight": 0.5},
    {"name": "cross_entropy", "smoothing": 0.1, "rate": 10.0},
    {"name": "proxy_nca", "weight": 0.3},
    {"name": "proxy_anchor", "scale": 8.0, "weight": 0.5},
    {"name": "soft_triple", "centres": 3, "weight": 0.5},
    {"name": "cos_face", "scale": 16.0, "weight": 0.5},
    {"name": "arc_face", "scale": 16.0, "centres": 2, "subsample": 12, "weight": 0.5},
    {"name": "divergence"},
)
FEW = tuple(
    term for term in OBJECTIVE if term["name"] in ("contrastive", "norm_softmax", "divergence")
)
# Both levels of a step over domains. What the base step chooses and the losses over domains choose
# must fall alike in both halves of the batch.
OVER_DOMAINS = (
    {"name": "contrastive"},
    {"name": "scatter", "weight": 0.5},
    {"name": "shuffle", "weight": 0.5},
)
# Weights that pass from learner to learner, and terms that read the network's last layers, whose
# kernels are gathered over no device. The regressors' part is of the kernels' order.
BOOSTING = (
    {"name": "boosted"},
    {"name": "boosted", "accumulate": "average", "weight": 0.5},
    {"name": "adversarial", "norm_weight": 0.01, "hidden": 16, "rate": 2.0, "weight": 3.0},
    {"name": "adversarial", "variant": "activation", "norm_weight": 0.01, "weight": 3.0},
    {"name": "norm_softmax", "weight": 0.5},
)
DIVIDED = ("model.kind=divided", "model.learners=3", "model.dims=(4, 5, 7)")
META = (
    "model.norm=bin",
    "data.sampler=domains",
    "data.domains_per_batch=4",
    "meta.domains=2",
    "meta.inner_rate=30.0",
    "meta.outer_rate=20.0",
)
# Dropout in every head, drawn for each row of the global batch. Of a few channels all can be 0
# behind a ReLU: then an embedding is 0, and its gradient a million times rounding.
CASCADE = (
    "model.kind=cascade",
    "model.learners=3",
    "model.dim=18",
    "model.side_width=32",
    "model.side_hidden=64",
    "model.branch=pool2",
    "train.batch=16",
)
# Triplets before the neck at both levels, a classifier without bias behind it.
BEHIND_A_NECK = (
    {"name": "triplet", "mining": "batch_hard", "reduction": "mean", "reads": "before_neck"},
    {"name": "cross_entropy", "bias": False, "smoothing": 0.1},
)
NECK = (*META, "model.neck=batch", "meta.reads=before_neck", "data.size=(32,16)")
OF_PAIRS = ({"name": "contrastive", "pairs": "adjacent"}, {"name": "n_pairs", "label": "instance"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What is compared between numbers of devices.

    `double`: in float64. Behind 50 layers that normalise maps of one position over 16 images,
    rounding in float32 grows to some hundredths of the gradient, by the processor: the same batch
    in another order of its rows, on one device, shows as much. A mistake stands out of 1e-7.
    """

    objective: tuple[dict, ...] = ({"name": "contrastive"},)
    overrides: tuple[str, ...] = ("model.kind=single", "model.learners=1", "train.batch=16")
    samplers: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=lambda: {"class_balanced": ()}
    )
    double: bool = False


def of_backbone(name: str, branch: str, double: bool = True) -> Run:
    """One head on a backbone with batch normalisation."""
    own = (f"model.backbone={name}", f"model.branch={branch}", "model.norm=")
    return Run(overrides=(*Run().overrides, *own), double=double)


SAMPLERS = {
    "pairs": ("data.sampler=pairs",),
    "with replacement": ("data.replacement=True", "data.images_per_class=8"),
    "shuffle": ("data.sampler=shuffle",),
    "repeats": ("data.sampler=pairs", "data.repeats=2"),
    "super-classes": (
        "data.sampler=super_classes",
        "data.domains_per_batch=2",
        "data.classes_per_domain=4",
    ),
}
# Of a small In-shop: what a network predicts, points and attributes gathered, and both stages.
FASHION = (*inshop_data.SMALL, "optimizer.rate=0.1", f"stages={inshop_data.stages(1, 1)}")
OF_GIVEN = (*FASHION, "model.fashion.pooled_at=given", "stages=[]")
RUNS = {
    "fashion": Run(objective=inshop_data.TERMS, overrides=FASHION, double=True),
    "fashion, given points": Run(
        objective=({"name": "category"}, {"name": "contrastive"}), overrides=OF_GIVEN, double=True
    ),
    "every loss": Run(objective=OBJECTIVE, overrides=()),  # its sampler is class_balanced
    "few losses": Run(objective=FEW, overrides=()),  # the fast one: a loss of each kind
    "two levels": Run(
        objective=OVER_DOMAINS, overrides=META, samplers={"domains": ()}, double=True
    ),
    "boosting": Run(objective=BOOSTING, overrides=DIVIDED, double=True),
    "cascade": Run(
        objective=({"name": "hard_share", "cascade": True},), overrides=CASCADE, double=True
    ),
    "neck": Run(objective=BEHIND_A_NECK, overrides=NECK, samplers={"domains": ()}, double=True),
    "samplers": Run(objective=OF_PAIRS, samplers=SAMPLERS),
    "googlenet_bn": of_backbone("googlenet_bn", "pool3"),
    "bn_inception": of_backbone("bn_inception", "inception3a"),
    "resnet18": of_backbone("resnet18", "pool1", double=False),
    "resnet50": of_backbone("resnet50", "pool1"),
    # efficientnet_lite1 and _lite2 are the same code with more blocks of the same kinds, and both
    # mobilenet_v2_1.4 with more channels.
    "efficientnet_lite0": of_backbone("efficientnet_lite0", "block4"),
    "mobilenet_v2": of_backbone("mobilenet_v2", "block4"),
}

# The systems, for hosts that take their steps together (hosts_cases.py): small, for each compiles
# two programs on each host, and with all that exchanges something of its own: batch normalisation,
# gates, dropout, rows before the neck, kernels, image ids.
SMALL = ("data.resize=16", "data.size=16", "model.width=4")
ONE_HEAD = ("model.kind=single", "model.learners=1")
SYSTEMS = {
    "abe": SMALL,
    "NormSoftmax": (
        *(*SMALL, *ONE_HEAD, "model.norm=none", "model.layer_norm=True", "model.head=projection"),
        *("data.sampler=shuffle", f"objective={[{'name': 'norm_softmax', 'subsample': 12}]}"),
    ),
    "MultiGrain": (
        *(*SMALL, *ONE_HEAD, "model.norm=none", "model.pooling=gem", "model.head=none"),
        *("data.sampler=shuffle", "data.repeats=2", "model.dim=16"),
        f"objective={[{'name': 'cross_entropy'}, {'name': 'margin', 'label': 'instance'}]}",
    ),
    "MetaBIN": (*SMALL, *ONE_HEAD, *META, "objective=[{'name': 'contrastive'}]"),
    "HDC": (*CASCADE, f"objective={[{'name': 'hard_share', 'cascade': True}]}"),
    "A-BIER": (*SMALL, *DIVIDED, "model.norm=none", f"objective={list(BOOSTING)}"),
    "FashionNet": (*FASHION, f"objective={list(inshop_data.TERMS)}"),
}
