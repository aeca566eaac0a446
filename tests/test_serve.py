"""The server as its users start and end it: real processes."""

import signal
import socket
from pathlib import Path

import numpy as np
import odd_files
import processes
import pytest
import serving_examples
from serving_examples import Made, ask, started

from abe_jax.data.sources import image_files
from abe_jax.index.vectors import COPY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return serving_examples.index(tmp_path_factory.mktemp("made"), serving_examples.model())


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_ends_it_without_a_word(made: Made, number: int, status: int) -> None:
    with started(made, "--k", "3") as (process, port):
        said = ask(port, "POST", "/search", made.files[5].read_bytes())
        neighbours = said.json["neighbours"]
        assert neighbours[0]["distance"] <= COPY * 2 and len(neighbours) == 3
        vector = np.array(said.json["vector"], np.float32)
        own = made.embedder.embed([made.files[5].read_bytes()]).vectors[0]
        np.testing.assert_array_equal(vector, own, strict=True)  # of another process, to the bit
        open_still = socket.create_connection(("127.0.0.1", port))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        open_still.close()
        assert (process.returncode, errors) == (status, "")


def test_only_this_machine_reaches_it(made: Made) -> None:
    with started(made) as (process, port):
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        addresses = {
            line.split()[1].rsplit(":", 1)[0]
            for line in listening.splitlines()
            if f":{port:04X} 0" in line and " 0A " in line
        }
        assert addresses == {"0100007F"}  # 127.0.0.1 alone
        assert ask(port, "GET", "/", Host="192.168.0.7").status == 403
        assert process.poll() is None


def test_mistakes_are_one_line(made: Made, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments, words in (
            (("--index", made.folder, "--port", port), f"cannot listen on 127.0.0.1 port {port}"),
            (("--index", tmp_path / "nowhere"), "is no index"),
            (("--index", made.folder, "--port", 70_000), "--port 70000"),
            (("--index", made.folder, "--hosts"), "did you mean '--host'"),
        ):
            ended = processes.run("serve", *arguments, data=tmp_path)
            assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
            assert ended.stderr.startswith("error: ") and words in ended.stderr
            assert ended.stderr.count("\n") == 1


def test_nothing_is_written(made: Made, tmp_path: Path) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        below = made.folder.parent.rglob("*")
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in below}

    before = files()
    with started(made, TMPDIR=str(tmp_path)) as (_, port):
        assert ask(port, "POST", "/search", made.other).status == 200
        assert ask(port, "POST", "/search", made.other[:50]).status == 422
        assert ask(port, "POST", "/like/3").status == 200
        assert ask(port, "GET", "/thumbnail/3").status == 200
        assert list(tmp_path.iterdir()) == []
    assert files() == before and list(tmp_path.iterdir()) == []


def test_200_odd_and_broken_files_are_served_or_refused(made: Made, tmp_path: Path) -> None:
    odd = odd_files.write(tmp_path / "odd")
    with started(made) as (process, port):
        for file in odd:
            said = ask(port, "POST", "/search", image_files.read(tmp_path / "odd" / file.path))
            refused = 413 if file.kind == "huge header" else 422  # too many pixels: 413
            assert said.status == (refused if file.size is None else 200), (file, said.body[:200])
            assert ("error" in said.json) == (file.size is None)
        assert process.poll() is None
        first = ask(port, "POST", "/search", made.files[5].read_bytes()).json["neighbours"][0]
        assert first["id"] == 5 and first["distance"] <= COPY * 2
        process.terminate()
        lines = process.communicate(timeout=60)[1].splitlines()
        assert [line for line in lines if not line.startswith("libpng")] == []
