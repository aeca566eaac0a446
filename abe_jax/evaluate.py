"""python -m abe_jax.evaluate: the command of `abe_jax/cli/evaluate.py`."""

from abe_jax.cli import command, evaluate

if __name__ == "__main__":
    command.run(evaluate.main)
