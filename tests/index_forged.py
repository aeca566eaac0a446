"""Indexes edited by hand, with checksums that fit: what no bit error does, but a person can."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def signed(content: dict[str, Any]) -> bytes:
    """An index.json of `content`, which may have any format, under the checksum that fits it."""
    own = {name: value for name, value in content.items() if name not in ("format", "sha256")}
    text = json.dumps(own, sort_keys=True, separators=(",", ":"))
    summed = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"format": 1, **content, "sha256": summed}).encode()


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes what index.json says."""
    path = folder / "index.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_bytes(signed(content))


def set_to(*where: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    """The change of one value, `where` in the object."""

    def change(content: Any) -> None:
        for name in where[:-1]:
            content = content[name]
        content[where[-1]] = value

    return change


def with_vectors(folder: Path, change: Callable[[np.ndarray, np.ndarray], object]) -> None:
    """Changes the stored vectors, segment by segment, given their ids; every checksum fits."""

    def every(content: dict[str, Any]) -> None:
        for segment in content["segments"]:
            vectors, ids = (folder / "segments" / segment[n]["name"] for n in ("vectors", "ids"))
            stored = np.load(vectors)
            with np.errstate(over="ignore"):
                change(stored, np.load(ids))
            complete = vectors.read_bytes()
            head = complete[: len(complete) - stored.nbytes]
            vectors.write_bytes(head + stored.tobytes())
            segment["vectors"]["sha256"] = hashlib.sha256(vectors.read_bytes()).hexdigest()

    edited(folder, every)
