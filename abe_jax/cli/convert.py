"""Turns a foreign checkpoint into ours: python -m abe_jax.convert SOURCE FILE OUT.npz.

SOURCE says what FILE is: a name of the table in abe_jax/pretrained/sources.py. FILE is PyTorch's
(.pth, .pt, .ckpt), .safetensors or Caffe's. OUT.npz is what config.model.weights then names.
"""

from collections.abc import Sequence
from pathlib import Path

import jax

from abe_jax import pretrained
from abe_jax.cli import command
from abe_jax.errors import UserError


def text(weights: pretrained.Weights) -> str:
    """What was converted, in a few lines."""
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


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("source", metavar="SOURCE", help=f"one of {', '.join(pretrained.SOURCES)}")
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("out", metavar="OUT.npz", type=Path)
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a conversion takes no config")
    if arguments.out.suffix != ".npz":
        raise UserError(f"{arguments.out}: must end in .npz, for example {arguments.out.stem}.npz")
    weights = pretrained.convert(arguments.source, arguments.file)
    pretrained.write(weights, arguments.out)
    command.say(text(weights))
