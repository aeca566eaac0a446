"""python -m abe_jax.train: the command of `abe_jax/cli/train.py`."""

from abe_jax.cli import command, train

if __name__ == "__main__":
    command.run(train.main)
