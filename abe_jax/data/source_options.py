"""What can be asked of a data set by name."""

import dataclasses
from collections.abc import Sequence

from abe_jax.data.inspected import DAMAGED
from abe_jax.errors import ArgumentError, require


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Where a data set lies and how its classes and images are divided.

    Each data set reads what it has a use for and leaves the rest.
    """

    path: str = ""  # of `folder`: a folder of images or a CSV file
    label_column: str = "label"  # of `folder`, in a CSV file; of `tfds:`, a set's feature
    domain_column: str = ""  # of `folder`, in a CSV file: names each image's domain; empty: none
    instance_column: str = ""  # likewise: images of one value and class show one object
    capture_column: str = ""  # likewise: images of one value are nearly the same photograph
    camera_column: str = ""  # likewise: images of one value were taken by one camera
    points_column: str = ""  # likewise: the points on each image, "x y v; x y v" in px
    points_path: str = ""  # of a prepared set, such as inshop: the CSV file of points_column
    point_pairs: tuple[tuple[int, ...], ...] = ()  # of these: left and right of the same, from 0
    division: int = 0  # which, of a set that has several, such as viper: ten, 0 to 9
    # Instead of the set's own images these sets train, whole, each a domain: names of prepared
    # sets of benchmarks, or paths of a folder or a CSV file. The set itself is tested on.
    sources: tuple[str, ...] = ()
    test_share: float = 0.5  # of the classes, where the data names no splits
    root: str = ""  # prepared data; empty: $ABE_JAX_DATA, else ~/.cache/abe_jax/data
    validation_classes: int = 0  # the last so many of training, where the data has no val split
    validate: bool = True  # False: no class is kept for validation, all but the test's train
    held_out: float = 0.0  # share of each training class's images that are the split `held`
    unseen_domains: tuple[str, ...] = ()  # the test's alone
    validation_domains: tuple[str, ...] = ()  # validation's alone
    rotations: str = ""  # of holidays: a list of images to turn upright; none; empty: as prepared
    damaged: str = "use"  # images damaged inside: use | refuse (they count as unreadable)

    def __post_init__(self) -> None:
        """Raises ArgumentError for a share, count or pair that cannot be, or an unknown name."""
        _check_pairs(self.point_pairs)
        require("damaged", self.damaged, DAMAGED)
        if not 0 <= self.test_share <= 1:
            raise ArgumentError("test_share", f"{self.test_share} is no share; choose from 0 to 1")
        if self.validation_classes < 0:
            raise ArgumentError(
                "validation_classes", f"{self.validation_classes} is no count; choose 0 or more"
            )


def _check_pairs(pairs: Sequence[Sequence[int]]) -> None:
    named = [point for pair in pairs for point in pair]
    if any(len(pair) != 2 for pair in pairs) or min(named, default=0) < 0:
        raise ArgumentError(
            "point_pairs", f"{pairs}; each is two numbers of points, the first is 0: ((0, 1), ...)"
        )
    if len(set(named)) < len(named):
        raise ArgumentError("point_pairs", f"{pairs}; a point is of one pair at most")
