"""A small index of drawn characters with a model of random weights, and requests to its server."""

import dataclasses
import http.client
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import processes
from report_examples import CHARACTERS, FACES, drawing

from abe_jax.config import build, load, to_mapping
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index import ImageRow, VectorSpec, model_files, store


@dataclasses.dataclass(frozen=True)
class Made:
    """An index, its model, the files in it, and one more that is not."""

    folder: Path
    embedder: Embedder
    files: Sequence[Path]
    other: bytes


def model(*overrides: str, seed: int = 0) -> Embedder:
    """A network of random weights."""
    config = load(
        str(processes.TINY),
        ["data.classes=10", "evaluate.batch=8", f"seed={seed}", *overrides],
    )
    state = build.recipe(config).create()
    network, described = build.network(config), to_mapping(config)
    return Embedder.of(network, state.params["model"], state.batch_stats, described)


def encoded(image: np.ndarray) -> bytes:
    """Pixels as a PNG file."""
    return cv2.imencode(".png", image)[1].tobytes()


def png(character: str, face: str) -> bytes:
    """A character as a PNG file."""
    return encoded(drawing(character, face))


def index(root: Path, network: Embedder, *, storage: str = "float32") -> Made:
    """An index of each of CHARACTERS in all of FACES but the last, in `root`."""
    files, rows = [], []
    for character in CHARACTERS:
        for face in FACES[:-1]:
            files.append(root / "images" / f"{ord(character):04x} {face}.png")
            rows.append(ImageRow(str(files[-1]), character, {"face": face}))
            files[-1].parent.mkdir(exist_ok=True)
            files[-1].write_bytes(png(character, face))
    folder = root / "index"
    folder.mkdir()
    model_files.save(network, folder / model_files.FOLDER)
    store.create(folder, VectorSpec(network.fingerprint, network.learners, network.dim, storage))
    add(folder, network, files, rows)
    return Made(folder, network, files, png(CHARACTERS[0], FACES[-1]))


def add(folder: Path, network: Embedder, files: Sequence[Path], rows: Sequence[ImageRow]) -> None:
    """Adds images to an index."""
    embedded = network.embed([file.read_bytes() for file in files])
    readable = [rows[i] for i in embedded.image_ids]
    store.add(folder, embedded.vectors, readable, network.fingerprint)


@dataclasses.dataclass(frozen=True)
class Said:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The answer as data; it has to be one line."""
        assert self.body.count(b"\n") == 1 and self.body.endswith(b"\n")
        return json.loads(self.body)


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Said:
    """One request as the page's own script would send it, with `headers` changed (`_` for `-`)."""
    own = {"Host": f"127.0.0.1:{port}"}
    if method == "POST":
        own["Origin"] = f"http://127.0.0.1:{port}"
    own |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, own)
        answer = connection.getresponse()
        return Said(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def raw(port: int, sent: bytes, *, end: bool = False, seconds: float = 60) -> bytes:
    """What comes back for some bytes, until the server closes; `end`: no more bytes will follow."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        if end:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(2**16):
            parts.append(part)
    return b"".join(parts)


@contextmanager
def started(
    made: Made, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server as a process of its own, once it answers, and its port; killed in the end."""
    words = processes.command("serve", "--index", made.folder, "--port", 0, *arguments)
    with subprocess.Popen(
        # Where a shell started this in the background, an interrupt would be ignored.
        ["env", "--default-signal=INT", *words],
        cwd=processes.ROOT,
        env={**processes.environment(made.folder.parent), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("http://"):
                    yield process, int(line.split(":")[2].split("/")[0])
                    return
            raise AssertionError(process.communicate()[1])
        finally:
            process.kill()
