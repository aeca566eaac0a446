"""python -m abe_jax.prepare: the command of `abe_jax/cli/prepare.py`."""

from abe_jax.cli import command, prepare

if __name__ == "__main__":
    command.run(prepare.main)
