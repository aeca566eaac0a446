"""What an index says of itself."""

from pathlib import Path
from typing import Any

from abe_jax.config import Config
from abe_jax.evaluation import embedder
from abe_jax.index import ingest
from abe_jax.index.snapshot import Snapshot


def described(found: Snapshot) -> dict[str, Any]:
    """The state of an index as plain values: its images, network, vectors and threshold."""
    config = embedder.configuration(found.folder / ingest.MODEL)
    spec, threshold = found.spec, found.threshold
    unreadable = found.folder / ingest.UNREADABLE
    return {
        "index": str(found.folder),
        "generation": found.generation,
        "images": found.count,
        "labels": len({row.label for _, row in found.rows()} - {""}),
        "network": network(config),
        "fingerprint": spec.fingerprint,
        "learners": spec.learners,
        "dim": spec.dim,
        "storage": spec.storage,
        "bytes": sum(file.bytes for file in found.manifest.files()),
        "threshold": threshold
        and {
            "distance": threshold.distance,
            "wish": threshold.wish,
            "measured": dict(threshold.measured),
        },
        "unreadable": len(unreadable.read_text().splitlines()) if unreadable.exists() else 0,
    }


def network(config: Config) -> str:
    """The network in a few words."""
    model, longest = config.model, config.evaluate.longest
    started = f", from {Path(model.weights).name}" if model.weights else ""
    size = f"whole, {longest} px long" if longest else f"of {config.data.size} px"
    return f"{model.kind} {model.backbone}{started}; images {size}"


def text(said: dict[str, Any]) -> str:
    """`described` as lines."""
    limit = said["threshold"]
    unit = "bits" if said["storage"] == "binary" else "squared distance"
    lines = {
        "images": f"{said['images']:,}, with {said['labels']:,} different labels",
        "network": said["network"],
        "fingerprint": said["fingerprint"],
        "vectors": f"{said['learners']} x {said['dim']}, {said['storage']}",
        "files": f"{said['bytes'] / 1e6:,.1f} MB, generation {said['generation']}",
        "threshold": "none; python -m abe_jax.index calibrate finds one"
        if limit is None
        else f"{limit['distance']:.6g} ({unit}), for {limit['wish']}: {figures(limit['measured'])}",
    }
    if said["unreadable"]:
        lines["unreadable"] = f"{said['unreadable']:,}, named in {ingest.UNREADABLE}"
    return "\n".join([said["index"], *(f"{name:12} {value}" for name, value in lines.items())])


def figures(measured: dict[str, Any]) -> str:
    """What a calibration measured, in a line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:,}"
        if isinstance(value, int)
        else f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in measured.items()
    )
