"""python -m abe_jax.sweep: the command of `abe_jax/cli/sweep.py`."""

from abe_jax.cli import command, sweep

if __name__ == "__main__":
    command.run(sweep.main)
