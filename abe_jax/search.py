"""python -m abe_jax.search: the command of `abe_jax/cli/search.py`."""

from abe_jax.cli import command, search

if __name__ == "__main__":
    command.run(search.main)
