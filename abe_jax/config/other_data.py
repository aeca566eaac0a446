"""A run measured on another data set than its own."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from abe_jax.config.files import overridden
from abe_jax.config.schema import Config, Data
from abe_jax.data.sources.listing import COLUMNS
from abe_jax.errors import UserError, nearest
from abe_jax.files import expanded

# The K that a data set's results are published with; any other is measured at the run's own.
PUBLISHED_KS = {
    "sop": (1, 10, 100, 1000),
    "stanford_online_products": (1, 10, 100, 1000),
    "inshop": (1, 10, 20, 30, 40, 50),
    **dict.fromkeys(("market1501", "dukemtmc", "cuhk02", "cuhk03_labeled"), (1, 5, 10)),
    **dict.fromkeys(("cuhk03_detected", "grid", "viper", "prid", "ilids"), (1, 5, 10)),
}
# What a config says of its images and nothing of how they are seen: another set has its own.
OF_THE_DATA = (
    "path",
    *COLUMNS,
    "points_path",
    "point_pairs",
    "division",
    "sources",
    "unseen_domains",
    "validation_domains",
    "test_share",
    "validation_classes",
    "validate",
    "held_out",
    "rotations",
)
ROTATIONS = "data.rotations"
ALSO = ("root", "damaged", "unreadable_share")  # the run's own, unless they are set anew


@dataclasses.dataclass(frozen=True, kw_only=True)
class OtherData:
    """Another data set: its name, its path where it is a folder or a CSV file, and options."""

    name: str
    path: str = ""
    options: Sequence[str] = ()  # overrides such as "data.label_column=item"

    @property
    def label(self) -> str:
        """Such as "of holidays", or of a folder's path; a list of rotations is named."""
        turned = [value for name, _, value in map(_parts, self.options) if name == ROTATIONS]
        named = f", rotations {Path(turned[-1]).name}" if turned else ""
        return f"of {self.path or self.name}{named}"

    def _check_unseen(self, sources: Sequence[str]) -> None:
        """Refuses what a run of several sources was trained on, whose tests it has seen too."""
        from abe_jax.data.sources.several import shown_in

        seen = {shown_in(source): source for source in sources}
        if source := seen.get(shown_in(self.path or self.name)):
            raise UserError(
                f"{self.path or self.name}: the run was trained on {source}, on what it tests as "
                "well; take a data set that it has not seen"
            )

    def applied(self, config: Config) -> Config:
        """The configuration of the test: the run's model and preprocessing, the other's images.

        The run's own data set, with options, stays divided as it was, but for what they say.

        Raises:
            UserError: the run's own data set and no option; an option that says nothing of where
                images come from, or a wrong value.
        """
        own = config.data
        same = (self.name, _resolved(self.path)) == (own.name, _resolved(own.path))
        if same and not self.options:
            raise UserError(
                f"{self.path or self.name} is the run's own: leave out --dataset and --path"
            )
        if not same:
            self._check_unseen(own.sources)
        allowed = [f"data.{name}" for name in (*OF_THE_DATA, *ALSO)]
        for option in self.options:
            name = option.partition("=")[0]
            if name not in allowed:
                raise UserError(
                    f"--config.{name}: a run is evaluated as its config.json says; of another data "
                    f"set {nearest(name, allowed)}"
                )
        fresh = {f.name: f.default for f in dataclasses.fields(Data) if f.name in OF_THE_DATA}
        # Classes that nobody has divided are all new to the run, so all are for the test.
        fresh |= {"name": self.name, "path": self.path, "test_share": 1.0}
        # Of the run's own, all would be those that it was trained on too.
        data = own if same else dataclasses.replace(own, **fresh)
        # As tfds:<name>[/config][:version].
        known = self.name.removeprefix("tfds:").partition(":")[0].partition("/")[0]
        ks = PUBLISHED_KS.get(known, config.evaluate.ks)
        # Its rule may not fit the other images; the command names one for them.
        evaluate = dataclasses.replace(config.evaluate, ks=ks, near_duplicates="")
        return overridden(dataclasses.replace(config, data=data, evaluate=evaluate), self.options)


def _parts(option: str) -> tuple[str, str, str]:
    return option.partition("=")


def _resolved(path: str) -> Path | None:
    return expanded(path).resolve() if path else None
