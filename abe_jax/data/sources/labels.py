"""The class of an image by where its file lies: one rule for training, tests and indexes.

The label is the name of the first folder below the root: `cat` for `cat/1.jpg` and for
`cat/2021/05/1.jpg`. Where the folders of the root are called train, val and test (or query and
gallery), it is the first folder below these: `cat` for `train/cat/2021/1.jpg`. An image above the
class folders has no label: ''.

Two spellings that differ in their Unicode form alone are one name; see `one_form`.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from abe_jax.data.sources.csv_file import shown

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SPLITS |= {"query": "query", "gallery": "gallery"}  # the two sides of a test


def split_folders(names: Collection[str]) -> dict[str, str]:
    """Which folders of a root are splits, in any case, and of which; of none all are classes.

    A single one beside other folders is a class that happens to be called so.
    """
    named = {name: SPLITS[name.lower()] for name in names if name.lower() in SPLITS}
    return named if len(named) > 1 or len(named) == len(names) else {}


def label_of(path: str, splits: Collection[str]) -> str:
    """The label of the file at `path` below a root whose folders `splits` are splits."""
    folders = path.split("/")[:-1]
    if folders and folders[0] in splits:
        del folders[0]
    return folders[0] if folders else ""


def composed(name: str) -> str:
    """A name in Unicode's form NFC: names are one where this is equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def one_form(names: Iterable[str]) -> dict[str, str]:
    """Spelling -> the one that stands for it, of each name that is there in several forms.

    That is the one in NFC where it is there. A name in one form alone, whichever, keeps it.
    """
    forms: dict[str, set[str]] = {}
    for name in set(names):
        forms.setdefault(composed(name), set()).add(name)
    return {
        name: form if form in spellings else min(spellings)
        for form, spellings in forms.items()
        if len(spellings) > 1
        for name in spellings
    }


def joined(forms: Mapping[str, str], what: str) -> Sequence[str]:
    """A line that says which names `one_form` made one; `what` they name, as "class"."""
    names = sorted(set(forms.values()))
    if not names:
        return ()
    more = f" (and {len(names) - 1} others)" if len(names) > 1 else ""
    return (
        f"{what} '{shown(names[0])}'{more} is spelled in two Unicode forms, which count as one",
    )
