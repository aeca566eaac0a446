"""What benchmarks/gpu.py measures: training steps, the switches under test, and its parts."""

import dataclasses
import re
from collections.abc import Mapping

WAYS = "ABE_JAX_GPU_WAYS"  # names the pieces of a step that go a way for GPUs: abe_jax/ways.py
PIECES = ("pooling", "bias", "siblings", "response", "masks", "norm", "heads")  # of them
UNSET = "unset"  # a lever's value: leave the switch as it is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """A training step: a config, what is changed in it, and how its batch is made."""

    name: str
    config: str  # of configs/; a row of its table behind a colon
    overrides: tuple[str, ...] = ()
    copies: int = 1  # images that show one object, for losses between instances
    from_host: bool = False  # the batch travels to the device at each step, as the loader gives it
    peers: tuple[str, ...] = ("eager", "compiled")  # how PyTorch does the same beside it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes that are measured; the arms of one tuple are timed in turns."""

    paper: tuple[Arm, ...]
    large: tuple[Arm, ...]  # of so much memory that PyTorch waits until JAX has gone
    others: tuple[Arm, ...]
    traced: tuple[str, ...]  # names of arms of `paper`
    levers: tuple[tuple[str, str], ...]  # an arm of `paper`, and what is switched in it
    switched: str  # the arm of `paper` that other levers are pulled on
    ceiling: int  # side of the matrices whose product is the ceiling
    compute: str
    gpu: bool  # whether there has to be one


def _on(backbone: str, norm: str, branch: str) -> tuple[str, ...]:
    return (
        f"model.backbone={backbone}",
        f"model.norm={norm}",
        f"model.branch={branch}",
        "model.trunk_depth=2",
    )


def _without(*left_out: str) -> str:
    """The value of WAYS that has all pieces but these."""
    return ",".join(piece for piece in PIECES if piece not in left_out)


FULL = Plan(
    paper=(
        Arm(name="ABE-8", config="cars196_abe.py"),
        Arm(name="ABE-8, batch from the host", config="cars196_abe.py", from_host=True, peers=()),
        Arm(name="single", config="cars196_single.py"),
        Arm(name="8 heads", config="cars196_heads.py"),
    ),
    large=(
        Arm(
            name="ResNet-50, GeM, batch 512",
            config="multigrain_imagenet.py",
            overrides=("train.batch=512", "data.classes=1000"),
            copies=3,
            peers=("eager",),
        ),
        Arm(
            name="ResNet-50, batch 75",
            config="normsoftmax_cars196.py",
            overrides=("data.classes=98",),
            peers=("eager",),
        ),
    ),
    others=(
        Arm(
            name="ABE-8 on Lite0",
            config="cars196_abe.py",
            overrides=_on("efficientnet_lite0", "batch", "block10"),
            peers=("eager",),
        ),
        Arm(
            name="ABE-8 on ViT-S/16",
            config="cars196_abe.py",
            overrides=(*_on("vit_s16", "layer", "block5"), "model.pooling=token"),
            peers=("eager",),
        ),
    ),
    traced=("ABE-8", "single", "8 heads"),
    # What tells most comes first, since time may end: the ways for GPUs that are taken there, none
    # and all; 8 heads without theirs; command buffers as XLA has them, none, and with convolutions;
    # no response normalisation; all ways but one.
    levers=(
        ("ABE-8", f"{WAYS}={UNSET};none;{_without()}"),
        ("8 heads", f"{WAYS}={UNSET};{_without()};{_without('heads')}"),
        ("ABE-8", f"xla_gpu_enable_command_buffer={UNSET};;+CONVOLUTION"),
        ("ABE-8", f"model.norm={UNSET},none"),
        (
            "ABE-8",
            f"{WAYS}={';'.join([_without(), *(_without(p) for p in PIECES if p != 'heads')])}",
        ),
    ),
    switched="ABE-8",
    ceiling=8192,
    compute="bfloat16",
    gpu=True,
)

_TINY = ("train.batch=8", "model.learners=2", "optimizer.name=sgd")
SMALL = Plan(
    paper=(
        Arm(name="ABE-2", config="quickstart.py", overrides=_TINY, peers=("eager",)),
        Arm(
            name="ABE-2, batch from the host",
            config="quickstart.py",
            overrides=_TINY,
            from_host=True,
            peers=(),
        ),
        Arm(
            name="single",
            config="quickstart.py",
            overrides=(*_TINY, "model.kind=single", "model.learners=1"),
        ),
        Arm(
            name="2 heads",
            config="quickstart.py",
            overrides=(*_TINY, "model.kind=heads"),
            peers=("eager",),
        ),
    ),
    large=(
        Arm(
            name="convnet, GeM, batch 6",
            config="multigrain_imagenet.py",
            overrides=(
                "model.backbone=convnet",
                "model.branch=pool4",
                "model.norm=batch",
                "model.width=16",
                "model.dim=64",
                "data.resize=32",
                "data.size=32",
                "data.classes=7",
                "train.batch=6",
            ),
            copies=3,
            peers=("eager",),
        ),
    ),
    others=(),
    traced=("ABE-2",),
    levers=(
        ("single", f"model.norm={UNSET},none"),
        ("single", f"{WAYS}={UNSET};norm;bias,norm"),
        ("single", f"OMP_NUM_THREADS={UNSET},1"),
    ),
    switched="ABE-2",
    ceiling=256,
    compute="float32",
    gpu=False,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What a worker and its arms are started with: one value of a lever, or nothing."""

    environment: Mapping[str, str | None] = dataclasses.field(default_factory=dict)  # None: removed
    flags: tuple[str, ...] = ()  # of XLA, behind those of the environment
    overrides: tuple[str, ...] = ()  # of the arm's config
    ways: str | None = None  # the value of WAYS; None leaves it alone

    @property
    def own_process(self) -> bool:
        """Whether only a new process can be set so."""
        return bool(self.environment or self.flags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lever:
    """A switch and the values that are measured; the first is what the others are divided by.

    By its name it is WAYS, which one process can have several values of, an XLA flag (`xla_...`),
    an option of the config (with a dot in it, such as `model.norm`) or else an environment
    variable.
    """

    name: str
    values: tuple[str, ...]
    arm: str  # of `paper`

    def setting(self, value: str) -> Setting:
        """How the switch is set to `value`."""
        if self.name == WAYS:
            return Setting(ways=None if value == UNSET else value)
        if self.name.startswith("xla_"):
            return Setting(flags=() if value == UNSET else (f"--{self.name}={value}",))
        if "." in self.name:
            return Setting(overrides=() if value == UNSET else (f"{self.name}={value}",))
        return Setting(environment={self.name: None if value == UNSET else value})


def lever(arm: str, text: str) -> Lever:
    """A lever of `NAME=VALUE,VALUE`, pulled on an arm of `paper`.

    With a semicolon among the values, that separates them, and they may have commas. The value
    `unset` leaves the switch as it is; an empty one sets it to nothing.

    Raises:
        ValueError: no name, or fewer than two different values.
    """
    name, equals, rest = text.partition("=")
    values = tuple(rest.split(";" if ";" in rest else ","))
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        raise ValueError(f"{text!r} is not NAME=VALUE,VALUE")
    if len(set(values)) < 2 or len(set(values)) < len(values):
        raise ValueError(f"{text!r} needs two or more values, all different")
    return Lever(name=name, values=values, arm=arm)
