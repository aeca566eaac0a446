"""python -m abe_jax.figures: the command of `abe_jax/cli/figures.py`."""

from abe_jax.cli import command, figures

if __name__ == "__main__":
    command.run(figures.main)
