"""Turns a checkpoint that others trained into ours, which config.model.weights then names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.choices import SOURCES
from abe_jax.cli import command
from abe_jax.errors import UserError, nearest

if TYPE_CHECKING:
    from abe_jax.pretrained import Weights


def text(weights: "Weights") -> str:
    """What was converted, in a few lines."""
    import jax

    arrays = len(jax.tree.leaves((weights.params, weights.batch_stats)))
    mean, std = (" ".join(f"{value:g}" for value in v) for v in (weights.mean, weights.std))
    return "\n".join(
        [
            weights.source,
            f"config.model.backbone  {weights.backbone}, norm {weights.norm}",
            f"stages                 {' '.join(weights.params)}",
            f"arrays                 {arrays}",
            f"mean and std           {mean}; {std}  (red, green, blue in 0..255)",
            *(f"note                   {note}" for note in weights.notes),
        ]
    )


def parser() -> command.Parser:
    """The arguments."""
    made = command.Parser(
        "convert", __doc__, example="torchvision_resnet50 resnet50-11ad3fa6.pth resnet50.npz"
    )
    made.add_argument("source", metavar="SOURCE", help=f"what FILE is, one of {', '.join(SOURCES)}")
    made.add_argument("file", metavar="FILE", type=Path, help="the checkpoint")
    made.add_argument("out", metavar="OUT.npz", type=Path, help="the file to write")
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a conversion takes no config")
    if arguments.out.suffix != ".npz":
        raise UserError(f"{arguments.out}: must end in .npz, for example {arguments.out.stem}.npz")
    if arguments.source not in SOURCES:
        raise UserError(
            f"{arguments.source}: no such source of weights; {nearest(arguments.source, SOURCES)}"
        )
    from abe_jax import pretrained

    weights = pretrained.convert(arguments.source, arguments.file)
    pretrained.write(weights, arguments.out)
    command.say(text(weights))
