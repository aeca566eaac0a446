"""python -m abe_jax.serve: the command of `abe_jax/cli/serve.py`."""

from abe_jax.cli import command, serve

if __name__ == "__main__":
    command.run(serve.main)
