"""python -m abe_jax.index: the command of `abe_jax/cli/index.py`."""

from abe_jax.cli import command, index

if __name__ == "__main__":
    command.run(index.main)
