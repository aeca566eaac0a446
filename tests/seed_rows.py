"""The commands of docs/SEEDS.md, by section, and what makes each small."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import inshop_data
from processes import ROOT

from abe_jax import config

COMMAND = re.compile(r"`abe-jax ([^`]+)`")

# A network of a few channels on characters of a few pixels.
SMALL = {
    "data.name": "glyphs_tiny",
    "data.sources": "()",
    "data.validation_classes": "0",
    "data.unseen_domains": "()",
    "data.validation_domains": "()",
    "data.domains_per_batch": "2",
    "data.images_per_class": "2",
    "data.classes_per_domain": "2",
    "data.resize": "18",
    "data.size": "16",
    "data.threads": "1",
    "model.backbone": "convnet",
    "model.norm": "batch",
    "model.width": "8",
    "model.last_stride": "0",
    "model.branch": "pool2",
    "model.trunk_depth": "1",
    "model.dim": "16",
    "optimizer.warmup": "0",
    "optimizer.boundaries": "()",
    "optimizer.schedule": "constant",
    "train.steps": "2",
    "train.log_every": "1",
    "train.evaluate_every": "0",
    "evaluate.ks": "(1,2)",
    "evaluate.copies": "2",
}

# What a model of some kind needs beyond SMALL, to be of that network and size.
OF_KIND: dict[str, dict[str, str]] = {
    "cascade": {
        "model.learners": "3",
        "model.dim": "12",
        "model.side_stages": "('pool2','conv4')",
        "model.side_width": "4",
        "model.side_hidden": "8",
    },
    "fashion_net": dict(option.split("=", 1) for option in inshop_data.OVERRIDES)
    | {"train.batch": "12"}
    | {f"model.fashion.{branch}_width": "16" for branch in ("pose", "local", "global")},
    "divided": {"model.learners": "3", "model.dim": "12", "model.dims": "(2,4,6)"},
}


class Row(NamedTuple):
    """One command: its verb, its arguments, and its overrides by name."""

    verb: str
    arguments: list[str]
    line: int

    def value(self, option: str) -> str:
        """What follows an option; empty where it is not given."""
        return self.arguments[self.arguments.index(option) + 1] if option in self.arguments else ""

    @property
    def overrides(self) -> list[str]:
        """Those of the config."""
        marked = [a for a in self.arguments if a.startswith("--config.")]
        return [argument.removeprefix("--config.") for argument in marked]

    @property
    def files(self) -> list[str]:
        """Every config file that is named, with its row."""
        found = [self.value("--config")] if "--config" in self.arguments else []
        arms = [
            a
            for a, before in zip(self.arguments[1:], self.arguments, strict=False)
            if before == "--arm"
        ]
        words = [word for arm in arms for word in arm.partition(":")[2].split()]
        return found + [word for word in words if ".py" in word]

    @property
    def runs(self) -> list[str]:
        """Every folder of a run or a comparison that is named."""
        return [argument for argument in self.arguments if argument.startswith("runs/")]


def sections() -> dict[str, list[Row]]:
    """The rows of the document's tables by their section, in order."""
    found: dict[str, list[Row]] = {}
    title = ""
    for number, line in enumerate((ROOT / "docs" / "SEEDS.md").read_text().splitlines(), start=1):
        if line.startswith("## "):
            title = line.removeprefix("## ")
        elif line.startswith("| ") and title:
            for text in COMMAND.findall(line):
                verb, *arguments = shlex.split(text)
                found.setdefault(title, []).append(Row(verb, arguments, number))
    return found


def small(row: Row, root: Path) -> list[str]:
    """The arguments of a row that trains, with all that makes it small behind its own."""
    changed = dict(SMALL) | {"data.root": str(root)}
    for name in row.files:
        made = config.load(ROOT / name, row.overrides)
        if made.model.head == "none":
            changed["model.dim"] = str(4 * int(SMALL["model.width"]))  # of the last map
        if row.verb == "train":  # each learner of M-heads compiles a decoder of its own
            changed["model.learners"] = str(min(2, made.model.learners))
        changed |= OF_KIND.get(made.model.kind, {})
        if made.model.norm == "bin":
            changed["model.norm"] = "bin"
        if made.data.repeats > 1:
            changed["train.batch"] = "12"
        for option, most in (("evaluate.whiten", 20), ("optimizer.new_only", 1)):
            section, last = option.split(".")
            changed[option] = str(min(most, getattr(getattr(made, section), last)))
        if made.data.name == "imagenet":  # which holds images of training classes out itself
            changed["data.held_out"] = "0.2"
        if made.meta.domains:
            changed |= {"meta.domains": "1", "meta.start": "0"}
    # An even batch that every sampler can lay out.
    changed.setdefault("train.batch", "16")
    arguments = list(row.arguments)
    # Places of the small backbone, and one seed alone: what several give is tested elsewhere.
    for option, value in (("--branch", "pool2,pool4"), ("--depth", "1"), ("--seeds", "1")):
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
    own = {override.partition("=")[0] for override in row.overrides}
    network = ("model.backbone", "model.dim")  # of the small one, whatever a row says
    kept = {name: value for name, value in changed.items() if name not in own or name in network}
    return [*arguments, *(f"--config.{name}={value}" for name, value in kept.items())]
