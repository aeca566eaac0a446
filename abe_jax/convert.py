"""python -m abe_jax.convert: the command of `abe_jax/cli/convert.py`."""

from abe_jax.cli import command, convert

if __name__ == "__main__":
    command.run(convert.main)
