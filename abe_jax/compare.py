"""python -m abe_jax.compare: the command of `abe_jax/cli/compare.py`."""

from abe_jax.cli import command, compare

if __name__ == "__main__":
    command.run(compare.main)
