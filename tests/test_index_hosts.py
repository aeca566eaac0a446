"""An index is built by all hosts of a job: what one process builds, rounding apart."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from index_runs import as_run, noise, split_of, tiny, written
from processes import ROOT, command, environment, port, run

from abe_jax.evaluation.network import ROUNDING
from abe_jax.index import Snapshot, ingest, snapshot

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    return as_run(tmp_path_factory.mktemp("runs") / "run", tiny(tiny_data, "evaluate.batch=16"))


def pictures(folder: Path, data: Path) -> Path:
    """Images of several classes; one that is none, empty, cut short, and with zeros inside."""
    split = split_of(tiny(data), "val")
    made = written(folder, split, range(0, len(split.labels), 2))
    (folder / "none.png").write_bytes(b"no image")
    (folder / "empty.png").write_bytes(b"")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    (folder / "short.jpg").write_bytes(jpeg[: len(jpeg) * 3 // 4])
    middle = len(jpeg) // 2
    (folder / "zeros.jpg").write_bytes(jpeg[:middle] + bytes(200) + jpeg[middle + 200 :])
    assert len(made) > 60
    return folder


def on_two_hosts(
    trained: Path, images: list[Path], out: Path, data: Path
) -> list[tuple[int, str, str]]:
    """Status, output and errors of each host; `images` of each."""
    job = ["--coordinator", f"127.0.0.1:{port()}", "--processes", 2, "--process"]
    processes = [
        subprocess.Popen(
            command(
                *("index", "build", "--workdir", trained, "--images", images[number]),
                *("--out", out, *job, number),
            ),
            cwd=ROOT,
            env=environment(data, devices=2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *both) for p, both in zip(processes, said, strict=True)]


def own(printed: str) -> str:
    """What the command itself printed; Gloo says of each host that it is connected."""
    return "".join(line for line in printed.splitlines(True) if not line.startswith("[Gloo]"))


def rows(now: Snapshot) -> Mapping[str, tuple[str, Mapping[str, str]]]:
    return {row.path: (row.label, row.metadata) for _, row in now.rows()}


def vectors(now: Snapshot) -> Mapping[str, np.ndarray]:
    return {row.path: now.vectors(np.array([id_]))[0] for id_, row in now.rows()}


def test_two_hosts_build_what_one_builds(trained: Path, tmp_path: Path, tiny_data: Path) -> None:
    images = pictures(tmp_path / "pictures", tiny_data)
    alone = run(
        *("index", "build", "--workdir", trained, "--images", images),
        *("--out", tmp_path / "one"),
        data=tiny_data,
    )
    assert alone.returncode == 0, alone.stderr
    ended = on_two_hosts(trained, [images, images], tmp_path / "two", tiny_data)
    assert [status for status, *_ in ended] == [0, 0], ended
    first, second = (own(printed) for _, printed, _ in ended)
    assert first.replace("/two", "/one") == alone.stdout and second == ""
    one, two = snapshot.read(tmp_path / "one"), snapshot.read(tmp_path / "two")
    assert rows(one) == rows(two) and len(rows(one)) > 60  # the digests of the files among them
    found = vectors(two)
    for path, vector in vectors(one).items():
        np.testing.assert_allclose(found[path], vector, rtol=0, atol=ROUNDING)
    for name in (ingest.UNREADABLE, ingest.DAMAGED):
        noted = (tmp_path / "one" / name).read_text()
        assert noted and (tmp_path / "two" / name).read_text() == noted


def test_hosts_that_list_other_images_are_refused(
    trained: Path, tmp_path: Path, tiny_data: Path
) -> None:
    images = pictures(tmp_path / "pictures", tiny_data)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "one.png").write_bytes(noise(0))
    ended = on_two_hosts(trained, [images, tmp_path / "copy"], tmp_path / "out", tiny_data)
    assert [status for status, *_ in ended] == [2, 2], ended
    assert all("the images:" in errors and "on host 1" in errors for *_, errors in ended)
    assert not (tmp_path / "out").exists()
