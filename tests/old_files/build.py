"""Makes the files of this folder, as the package of commit c58ecb9 wrote them.

    git worktree add /tmp/before c58ecb9
    PYTHONPATH=/tmp/before python tests/old_files/build.py

c58ecb9 is the last commit before the package was divided into the rooms it has now. Its configs,
runs, checkpoints and indexes must stay readable, so these files are never built anew: tests compare
what today's package says of them with what that one said.

images.tar.xz      96 images of 16 px in 8 classes under 3 lights, one more to query, and images.csv
runs.tar.xz        the runs abe, multigrain and metabin: config, metrics, best checkpoint; of abe
                   also the latest but one, at step 4 of 6, where it goes on
indexes.tar.xz     plain.index (two segments, rows removed, a threshold) and binary.index
answers.json       what the commands of `ask.py` say of them, and the metrics of abe when it has
                   gone on; vectors.npy: of its network
"""

import csv
import io
import lzma
import os
import pprint
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import cv2
import numpy as np
import old_configs

HERE = Path(__file__).parent
# Indexes keep absolute paths of their images, so the folder is named and not drawn.
FOLDER = Path(tempfile.gettempdir()) / "abe_jax_old_files"
RUNS = ("abe", "multigrain", "metabin")
LIGHTS = {"day": (230, 230, 230), "dusk": (60, 90, 220), "lamp": (80, 210, 240)}  # BGR
CLASSES = {"a": "train", "b": "train", "c": "train", "d": "train", "e": "val", "f": "val"}
CLASSES |= {"g": "test", "h": "test"}


def image(kind: int, light: str, rng: np.random.Generator) -> bytes:
    """A shape of its class, in the colour of its light, somewhere on a dark ground."""
    drawn = np.full((16, 16, 3), rng.integers(0, 40), np.uint8)
    x, y = (int(v) for v in rng.integers(5, 11, 2))
    ink, size = tuple(int(c) for c in LIGHTS[light]), int(rng.integers(2, 5))
    if kind % 2:
        cv2.circle(drawn, (x, y), size, ink, -1 if kind % 4 == 1 else 1)
    else:
        cv2.rectangle(drawn, (x - size, y - size), (x + size, y + size), ink, 1 + kind % 3)
    if kind >= 4:
        cv2.line(drawn, (0, kind), (15, 15 - kind), ink, 1)
    return cv2.imencode(".png", drawn)[1].tobytes()


def write_images() -> None:
    rng, rows, drawn = np.random.default_rng(0), [], set[bytes]()
    for kind, (label, split) in enumerate(CLASSES.items()):
        folder = FOLDER / "images" / label
        folder.mkdir(parents=True)
        for i in range(12):
            light = list(LIGHTS)[i // 4]
            while (encoded := image(kind, light, rng)) in drawn:  # equal ones would be ties
                pass
            drawn.add(encoded)
            (folder / f"{i}.png").write_bytes(encoded)
            rows.append((f"{label}/{i}.png", label, split, light, f"{label}{i // 2}"))
    (FOLDER / "images" / "query.png").write_bytes(image(1, "day", rng))
    with (FOLDER / "images" / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("path", "label", "split", "light", "thing"), *rows])


def write_configs() -> None:
    """As files that need nothing else, since they are read where the images are."""
    for name in (*RUNS, "every_name"):
        made = pprint.pformat(getattr(old_configs, name)(), sort_dicts=False)
        (FOLDER / f"{name}.py").write_text(f"def get_config():\n    return {made}\n")


def run(*command: object, where: Path = FOLDER) -> None:
    done = subprocess.run([sys.executable, *map(str, command)], cwd=where, env=os.environ)
    if done.returncode:
        sys.exit(f"{command}: exit status {done.returncode}")


def write_runs() -> None:
    """Trains to the end; takes away what can be made anew, and of one run all behind step 4."""
    for name in RUNS:
        run("-m", "abe_jax.train", "--config", f"{name}.py", "--workdir", name)
        folder = FOLDER / name
        latest = folder / "checkpoints" / "latest"
        shutil.rmtree(latest / "6" if name == "abe" else latest)
        for left in [*folder.glob("events*"), folder / "report.html", folder / "evaluation.json"]:
            left.unlink()


def write_indexes() -> None:
    index, images = ("-m", "abe_jax.index"), ("--images", "images/images.csv")
    build = (*index, "build", "--workdir", "abe", *images)
    run(*build, "--out", "plain.index")
    run(*build, "--out", "binary.index", "--storage", "binary")
    run(*index, "add", "--index", "plain.index", "--images", "images/query.png")
    run(*index, "remove", "--index", "plain.index", "images/h")
    run(*index, "calibrate", "--index", "plain.index", *images, "--precision", "0.3")


def pack(name: str, *paths: str) -> None:
    """One archive without dates and owners, so that the same files make the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(
            p for path in paths for p in [FOLDER / path, *(FOLDER / path).rglob("*")]
        ):
            about = archive.gettarinfo(file, str(file.relative_to(FOLDER)))
            about.mtime, about.uid, about.gid, about.uname, about.gname = 0, 0, 0, "", ""
            with file.open("rb") if file.is_file() else io.BytesIO() as content:
                archive.addfile(about, content)
    (HERE / f"{name}.tar.xz").write_bytes(lzma.compress(packed.getvalue(), preset=9))


def main() -> None:
    if FOLDER.exists():
        sys.exit(f"{FOLDER}: is there already; move it out of the way")
    FOLDER.mkdir()
    write_images()
    write_configs()
    write_runs()
    write_indexes()
    pack(
        "images", "images", "every_name.py", *(f"{n}.py" for n in ("abe", "multigrain", "metabin"))
    )
    pack("runs", "abe", "multigrain", "metabin")
    pack("indexes", "plain.index", "binary.index")
    shutil.rmtree(FOLDER)
    ask()


def ask() -> None:
    """What the commands say of the files, from where a test will unpack them: somewhere else."""
    with tempfile.TemporaryDirectory() as folder:
        for archive in HERE.glob("*.tar.xz"):
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
        run(HERE / "ask.py", "--resume", where=Path(folder))
        for name in ("answers.json", "vectors.npy"):
            shutil.copy(Path(folder, name), HERE)


if __name__ == "__main__":
    main()
