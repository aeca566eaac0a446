"""python -m abe_jax.complexity: the command of `abe_jax/cli/complexity.py`."""

from abe_jax.cli import command, complexity

if __name__ == "__main__":
    command.run(complexity.main)
