"""python -m abe_jax.resolution: the command of `abe_jax/cli/resolution.py`."""

from abe_jax.cli import command, resolution

if __name__ == "__main__":
    command.run(resolution.main)
