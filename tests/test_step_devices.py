"""One global batch gives one gradient, on however many devices it is spread."""

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import inshop_data
import numpy as np
import pytest
from processes import ROOT, environment

from abe_jax.losses import OF_PREDICTIONS, TERMS
from abe_jax.models.backbones.table import BACKBONES

# The first step's rate is 0 and the second's is a third of this, so what two steps leave is the
# first parameters less one gradient and 0.9 of another, and two batches' losses and statistics.
# A third step would start from parameters that differ by rounding: whatever is chosen in a loss or
# cut off by a ReLU can then fall otherwise, and once did.
STEPS, SGD = 2, ("optimizer.name=sgd", "optimizer.rate=3.0", "optimizer.momentum=0.9")
# Every loss at once; each term's value is compared on its own as well. Among them are losses with
# parameters, with negatives and with classes drawn at random (the batch has 8 classes of its own),
# and with choices that have to fall alike: the hardest of a batch, medoids. A count of hinges that
# are active would jump where rounding carries one over its corner: such means are over all, or
# soft. Weights bring the gradients to one order.
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
    {"name": "norm_softmax", "subsample": 12, "weight": 0.5},
    {"name": "cross_entropy", "smoothing": 0.1, "rate": 10.0},
    {"name": "proxy_nca", "weight": 0.3},
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

Written = dict[str, np.ndarray]
Steps = Callable[[str, int], Written]


def taken(run: Run, devices: int, target: Path, data: Path, compiled: Path) -> Written:
    """What a run comes to on so many devices, in a process of its own that writes to `target`;
    `compiled` keeps programs."""
    overrides = [*SGD, f"objective={list(run.objective)}", *run.overrides]
    script = ROOT / "tests" / "device_steps.py"
    arguments = (target, STEPS, json.dumps(overrides), json.dumps(run.samplers))
    own = {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_ENABLE_X64": str(run.double),
    }
    subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env={**environment(data, devices=devices), **own},
        check=True,
        timeout=600,
    )
    with np.load(target) as written:
        return dict(written)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Steps:
    """What a run comes to on so many devices, each in a process of its own and once."""
    inshop_data.prepare(tiny_data)
    compiled = tmp_path_factory.mktemp("compiled")  # the first state is computed alike by all

    @functools.cache
    def steps(kind: str, devices: int) -> Written:
        target = tmp_path_factory.mktemp("steps") / "written.npz"
        return taken(RUNS[kind], devices, target, tiny_data, compiled)

    return steps


slow = pytest.mark.slow
FAST = ("few losses", 8)


@pytest.mark.parametrize(
    ("kind", "devices"),
    [
        FAST,
        *(
            pytest.param(kind, devices, marks=slow)
            for kind in RUNS
            # Rows are divided alike in front of every backbone, and each takes a minute to compile.
            for devices in ((8,) if kind in BACKBONES else (2, 4, 8))
            if (kind, devices) != FAST
        ),
    ],
)
def test_loss_and_parameters_do_not_depend_on_the_number_of_devices(
    kind: str, devices: int, compared: Steps
) -> None:
    few, many = compared(kind, 1), compared(kind, devices)
    assert few["devices"] == 1
    assert many["devices"] == devices
    assert_equal(few, many, 1e-7 if RUNS[kind].double else 1e-4)


def assert_equal(few: Written, many: Written, rounding: float) -> None:
    """Metrics of each step, parameters and running statistics, but for rounding."""
    assert many.keys() == few.keys()
    for name in few.keys() - {"devices"}:
        bound = rounding / 5 * np.abs(few[name]).max() + 1e-8
        np.testing.assert_allclose(many[name], few[name], rounding, bound, err_msg=name)


def test_no_loss_and_no_backbone_is_left_out() -> None:
    every = (*OBJECTIVE, *OVER_DOMAINS, *BOOSTING)
    assert {str(term["name"]) for term in every} == {*TERMS} - {*OF_PREDICTIONS}
    assert {str(term["name"]) for term in inshop_data.TERMS} > {*OF_PREDICTIONS}
    same_code = {"efficientnet_lite1", "efficientnet_lite2"}
    same_code |= {"mobilenet_v2_1.4", "mobilenet_v2_1.4_reid"}
    without_norm = {"convnet", "googlenet", "vgg16", "vit_s16"}  # of the convnet "every loss" has
    fashion = {"fashion", "fashion, given points"}
    assert (
        RUNS.keys()
        - {"every loss", "few losses", "two levels", "boosting", "cascade", "neck", "samplers"}
        - fashion
        == BACKBONES.keys() - same_code - without_norm
    )
