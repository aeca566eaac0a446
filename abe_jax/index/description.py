"""What an index says of itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abe_jax.data.sources.csv_file import shown
from abe_jax.index import ingest, model_files
from abe_jax.index.snapshot import Snapshot


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """The state of an index as plain values: its images, network, vectors and threshold.

    Raises:
        UserError: the network's description is missing or damaged.
    """
    spec, threshold = snapshot.spec, snapshot.threshold
    return {
        "index": str(snapshot.folder),
        "generation": snapshot.generation,
        "images": snapshot.count,
        "labels": len({row.label for _, row in snapshot.rows()} - {""}),
        "network": network(model_files.read_description(snapshot.folder / model_files.FOLDER)),
        "fingerprint": spec.fingerprint,
        "learners": spec.learners,
        "dim": spec.dim,
        "storage": spec.storage,
        "bytes": sum(file.bytes for file in snapshot.manifest.files()),
        "threshold": threshold
        and {
            "distance": threshold.distance,
            "wish": threshold.wish,
            "measured": dict(threshold.measured),
        },
        "unreadable": len(ingest.read_unreadable(snapshot.folder)),
    }


def network(description: Mapping[str, Any]) -> str:
    """The network that a description is of, in a few words."""
    model, data, evaluate = (_named(description, part) for part in ("model", "data", "evaluate"))
    weights, longest = model.get("weights"), evaluate.get("longest")
    initialised = f", from {Path(str(weights)).name}" if weights else ""
    size = f"uncropped, {longest} px long" if longest else f"of {_px(data.get('size'))} px"
    return f"{model.get('kind')} {model.get('backbone')}{initialised}; images {size}"


def _px(size: Any) -> str:
    """One side's pixels, or height and width."""
    return " x ".join(map(str, size)) if isinstance(size, list | tuple) else str(size)


def _named(description: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """A part's values; none where there is none, or something else in its place."""
    values = description.get(part)
    return values if isinstance(values, Mapping) else {}


def text(description: Mapping[str, Any]) -> str:
    """What `describe` gives, as lines."""
    threshold = description["threshold"]
    lines = {
        "images": f"{description['images']:,}, with {description['labels']:,} different labels",
        "network": shown(description["network"]),
        "fingerprint": shown(description["fingerprint"]),
        "vectors": f"{description['learners']} x {description['dim']}, {description['storage']}",
        "files": f"{description['bytes'] / 1e6:,.1f} MB, generation {description['generation']}",
        "threshold": "none; python -m abe_jax.index calibrate finds one"
        if threshold is None
        else f"{threshold['distance']:.6g} ({unit(description['storage'])}), for "
        f"{shown(threshold['wish'])}: {rates(threshold['measured'])}",
    }
    if description["unreadable"]:
        lines["unreadable"] = f"{description['unreadable']:,}, named in {ingest.UNREADABLE}"
    values = (f"{name:12} {value}" for name, value in lines.items())
    return "\n".join([description["index"], *values])


def unit(storage: str) -> str:
    """The unit of an index's distances."""
    return "bits" if storage == "binary" else "squared distance"


def rates(measured: Mapping[str, Any]) -> str:
    """The rates of a calibration, in a line."""
    return ", ".join(
        f"{shown(name.replace('_', ' '))} {_rate(value)}" for name, value in measured.items()
    )


def _rate(value: float | int | str) -> str:
    if isinstance(value, str):
        return shown(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
