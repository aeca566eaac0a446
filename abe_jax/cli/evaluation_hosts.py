"""What hosts that embed a run's images together must have alike: else they are refused.

An evaluation is of one run, pictures are of one or several.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abe_jax.training.run_folder import RunFolder

if TYPE_CHECKING:
    from abe_jax.config import Config
    from abe_jax.data import Dataset, Split
    from abe_jax.runs.run import Run

# Arguments and overrides that each host may have of its own: who it is, and where things lie.
OF_A_HOST = {"hosts", "coordinator", "processes", "process", "join_within", "stalled_after"}
OF_A_HOST |= {"workdir", "out", "path", "data.root", "data.path"}


def compare_request(arguments: argparse.Namespace, overrides: Sequence[str] = ()) -> None:
    """Refuses hosts that were asked for different things, or that see another run.

    Raises:
        UserError: on all hosts, as of `hosts.alike`.
    """
    from abe_jax import hosts
    from abe_jax.config.resume import SEEN_WITHIN, seen

    hosts.alike(request(arguments, overrides))
    runs = {f"run {n}": RunFolder(path) for n, path in enumerate(workdirs(arguments), start=1)}
    hosts.alike(lambda: of_each({n: seen(folder) for n, folder in runs.items()}), SEEN_WITHIN)


def workdirs(arguments: argparse.Namespace) -> list[Path]:
    """The folders of --workdir, which takes one or, of some commands, several."""
    named: Path | list[Path] = arguments.workdir
    return named if isinstance(named, list) else [named]


def request(arguments: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
    """What hosts compare of a command line, by the names of its options."""
    given = {
        f"--{k.replace('_', '-')}": v for k, v in vars(arguments).items() if k not in OF_A_HOST
    }
    given["--path given"] = getattr(arguments, "path", None) is not None
    given["runs of --workdir"] = len(workdirs(arguments))
    options = dict(override.split("=", 1) for override in overrides)
    return given | {f"--config.{k}": v for k, v in options.items() if k not in OF_A_HOST}


def compare_files(config: "Config") -> None:
    """Refuses hosts on which a file or a folder that the evaluation reads holds other things."""
    from abe_jax import hosts
    from abe_jax.config.local_files import contents

    hosts.alike(lambda: contents(config, begun=True))


def compare_run(run: "Run") -> None:
    """Refuses hosts that have read another checkpoint, as of a run that is still trained."""
    from abe_jax import hosts

    hosts.alike({"the run's best checkpoint": f"step {run.step} ({run.digest[:8]})"})


def compare_images(datasets: "Sequence[Dataset]", name: str) -> "list[Split]":
    """A split of each data set, of which all hosts list the same."""
    from abe_jax import hosts

    with hosts.together():
        splits = [dataset.split(name) for dataset in datasets]
    hosts.alike(lambda: listed(splits))
    return splits


def listed(splits: "Sequence[Split]") -> dict[str, str]:
    """What the splits hold; those of several divisions by their numbers."""
    from abe_jax.data.listed import listings

    return of_each({f"division {n}": listings([split]) for n, split in enumerate(splits)})


def of_each(facts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What is known of each, by the name of the fact and its own; of one alone by the fact's."""
    several = len(facts) > 1
    return {
        f"{what} of {name}" if several else what: words
        for name, own in facts.items()
        for what, words in own.items()
    }
