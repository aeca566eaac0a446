"""What a training can know at its start to fail at its end."""

from collections.abc import Sequence

from abe_jax import retrieval
from abe_jax.config import Config, nearest
from abe_jax.data.datasets import Split
from abe_jax.errors import UserError


def check(config: Config, evaluated: Sequence[Split]) -> None:
    """Refuses an objective without terms and an evaluation that could not be made of the splits.

    Raises:
        UserError: with the nearest right choice.
    """
    if not config.objective:
        raise UserError("config.objective: without a term there is nothing to train for")
    evaluate, names = config.evaluate, retrieval.names(config.evaluate.ks)
    if evaluate.select not in names:
        raise UserError(
            f"config.evaluate.select: no metric is called {evaluate.select!r} with "
            f"config.evaluate.ks={evaluate.ks}; {nearest(evaluate.select, names)}"
        )
    for split in evaluated:
        most = len(split.labels) - 1  # the query itself is left out
        if max(evaluate.ks, default=1) > most:
            raise UserError(
                f"config.evaluate.ks: {max(evaluate.ks)} neighbours of {split.name}'s "
                f"{most + 1} images; at most {most}"
            )
