"""The server answers its own page and nobody else's, in bounded time and memory: real sockets."""

import io
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path

import index_forged
import numpy as np
import pytest
import serving_examples
from PIL import Image
from serving_examples import Made, ask, raw

from abe_jax.data.images import decoding
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import Embedded
from abe_jax.index import ImageRow, Index, VectorSpec, store
from abe_jax.index.vectors import COPY
from abe_jax.serving import guard, server, service, uploads
from abe_jax.serving.connection import Slots
from abe_jax.serving.refused import Refused
from abe_jax.serving.server import Server
from abe_jax.serving.service import Service

PATIENCE = 1.5  # seconds for a request in these tests


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return serving_examples.index(tmp_path_factory.mktemp("made"), serving_examples.model())


@pytest.fixture(scope="module")
def running(made: Made) -> Iterator[Server]:
    opened = Service(Index(made.folder, made.embedder), 5)
    opened.warm_up()
    with Server("127.0.0.1", 0, opened, PATIENCE) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def port(running: Server) -> Iterator[int]:
    number = running.server_address[1]
    yield number
    assert ask(number, "GET", "/about").status == 200  # whatever came before


def test_a_search_over_the_wire_has_the_bits_of_the_index(made: Made, port: int) -> None:
    said = ask(port, "POST", "/search", made.files[6].read_bytes())
    assert said.status == 200
    vector = np.array(said.json["vector"], np.float32)
    alone = made.embedder.embed([made.files[6].read_bytes()]).vectors[0]
    np.testing.assert_array_equal(vector, alone, strict=True)
    first = said.json["neighbours"][0]
    assert (first["id"], len(said.json["neighbours"])) == (6, 5)
    assert first["distance"] <= COPY * 2
    like = ask(port, "POST", "/like/6").json
    assert [row["id"] for row in like["neighbours"][:4]] == [
        row["id"] for row in said.json["neighbours"][1:]
    ]


def test_the_page_loads_nothing_from_elsewhere(port: int) -> None:
    for path, media in (("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")):
        said = ask(port, "GET", path)
        text = said.body.decode()
        assert said.status == 200 and media in said.headers["Content-Type"]
        assert (
            "https:" not in text
            and text.replace("http://www.w3.org/2000/svg", "").count("http:") == 0
        )
        assert "style=" not in text and "onclick" not in text and "innerHTML" not in text
        policy = said.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert said.headers["X-Content-Type-Options"] == "nosniff"
        assert said.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "<script>" not in ask(port, "GET", "/").body.decode()


def test_thumbnails_are_asked_for_by_id_alone(made: Made, port: int) -> None:
    said = ask(port, "GET", "/thumbnail/3")
    assert (said.status, said.headers["Content-Type"]) == (200, "image/png")
    for path in (
        "/thumbnail/40",
        "/thumbnail/-1",
        "/thumbnail/03x",
        "/thumbnail/",
        "/thumbnail/٣",
        "/thumbnail/../../etc/passwd",
        "/thumbnail/%2e%2e%2fpage.css",
        "/thumbnail/" + str(made.files[0]).replace(" ", "%20"),
        "/thumbnail/" + "9" * 40,
        "/../serving/server.py",
        "//etc/passwd",
        "/index.json",
        "3",
        "/etc/passwd",
        str(made.files[0]).replace(" ", "%20"),
        "http://127.0.0.1/thumbnail/3",
        "*",
    ):
        answer = raw(port, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 404 "), path
        assert set(json.loads(body)) == {"error"}


def test_a_changed_image_has_another_thumbnail(made: Made, port: int) -> None:
    before = ask(port, "GET", "/thumbnail/2").body
    content = made.files[2].read_bytes()
    try:
        made.files[2].write_bytes(made.files[3].read_bytes())
        assert ask(port, "GET", "/thumbnail/2").body == ask(port, "GET", "/thumbnail/3").body
        made.files[2].unlink()
        assert ask(port, "GET", "/thumbnail/2").status == 404
    finally:
        made.files[2].write_bytes(content)
    assert ask(port, "GET", "/thumbnail/2").body == before


def test_other_hosts_names_are_not_answered(port: int) -> None:
    for host, status in (
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LocalHost:1", 200),  # forwarded from another port
        ("[::1]:8321", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("192.168.0.7", 403),
        ("user@127.0.0.1", 403),
        ("127.0.0.1/x", 403),
        ("[::1", 403),
        ("", 400),
        (" ", 400),
    ):
        for path in ("/", "/thumbnail/1", "/about"):
            assert ask(port, "GET", path, Host=host).status == status, (host, path)
        said = ask(port, "POST", "/like/1", Host=host, Origin=f"http://{host}")
        assert said.status == status, host
    assert b" 400 " in raw(port, b"GET / HTTP/1.0\r\n\r\n")
    twice = b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert b" 400 " in raw(port, twice)


def test_other_sites_pages_cannot_search_nor_see(made: Made, port: int) -> None:
    own = f"http://127.0.0.1:{port}"
    for origin in (
        "http://evil.example",
        "null",
        f"{own}.evil.example",
        f"http://127.0.0.1:{port + 1}",
    ):
        assert ask(port, "POST", "/search", made.other, Origin=origin).status == 403
        assert ask(port, "POST", "/like/1", Origin=origin).status == 403
        assert ask(port, "GET", "/about", Origin=origin).status == 403
    for site in ("cross-site", "same-site"):
        assert ask(port, "POST", "/search", made.other, Sec_Fetch_Site=site).status == 403
        assert ask(port, "GET", "/thumbnail/1", Sec_Fetch_Site=site).status == 403
        assert ask(port, "GET", "/", Sec_Fetch_Site=site).status == 200  # a link
    assert ask(port, "POST", "/search", made.other, Sec_Fetch_Site="same-origin").status == 200
    missing = b"POST /like/1 HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    assert b" 403 " in raw(port, missing)


def _post(port: int, headers: str, body: bytes = b"") -> bytes:
    own = f"Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"
    return f"POST /search HTTP/1.1\r\n{own}{headers}\r\n".encode() + body


def test_a_length_is_told_right_and_bounded(made: Made, port: int) -> None:
    image = made.other
    chunk = f"{len(image):x}\r\n".encode() + image + b"\r\n0\r\n\r\n"
    for headers, body, status in (
        ("", image, 411),
        ("Transfer-Encoding: chunked\r\n", chunk, 411),
        (f"Transfer-Encoding: chunked\r\nContent-Length: {len(image)}\r\n", chunk, 411),
        ("Content-Length: -1\r\n", image, 400),
        ("Content-Length: +5\r\n", image, 400),
        ("Content-Length: 1_0\r\n", image, 400),
        ("Content-Length: ٣\r\n", image, 400),
        ("Content-Length: \r\n", image, 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", image, 400),
        (f"Content-Length: {guard.UPLOAD + 1}\r\n", b"", 413),
        ("Content-Length: " + "9" * 5000 + "\r\n", b"", 400),
        (f"Content-Length: {len(image) - 9}\r\n", image, 422),
        ("Content-Length: 0\r\n", b"", 422),
        (f"Content-Length: {len(image)}\r\n", image, 200),
        (f"Content-Length:\t{len(image)} \t\r\n", image, 200),  # blanks count for nothing
    ):
        answer = raw(port, _post(port, headers, body))
        assert answer.startswith(f"HTTP/1.0 {status} ".encode()), (headers[:60], answer[:60])
    short = raw(port, _post(port, f"Content-Length: {len(image) + 9}\r\n", image), end=True)
    assert short.startswith(b"HTTP/1.0 400 ") and b"ended after" in short


def test_too_large_an_upload_is_refused_unread_and_the_answer_arrives(port: int) -> None:
    began = time.monotonic()
    said = ask(port, "POST", "/search", b"\x00" * (guard.UPLOAD + 1))
    assert said.status == 413 and "32 MiB" in said.json["error"]
    assert time.monotonic() - began < 10


def test_few_bytes_of_many_pixels_are_refused_by_their_header(port: int) -> None:
    began = time.monotonic()
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 100_000
    said = ask(port, "POST", "/search", buffer.getvalue())
    assert said.status == 413 and "20000 x 20000 px; 50 million" in said.json["error"]
    assert time.monotonic() - began < 10


def test_what_no_client_should_send_ends_in_one_line(port: int) -> None:
    for sent in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(200)) + b"\r\n",
        b"PUT /search HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"DELETE / HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"OPTIONS /search HTTP/1.0\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
    ):
        head, _, body = raw(port, sent).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 4") or head.startswith(b"HTTP/1.0 5"), sent[:40]
        assert b"Access-Control" not in head and b"Traceback" not in body
        assert set(json.loads(body)) == {"error"} and body.count(b"\n") == 1


def test_slow_senders_are_cut_off(made: Made, port: int) -> None:
    head = _post(port, f"Content-Length: {len(made.other)}\r\n")
    for beginning in (b"", b"GET / HT", head, head + made.other[:20]):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(beginning)
            answer = b""
            while True:  # a byte now and then keeps no connection open
                try:
                    connection.settimeout(0.2)
                    part = connection.recv(2**16)
                except TimeoutError:
                    assert time.monotonic() - began < PATIENCE + 5
                    if beginning:
                        connection.sendall(b"\x01")
                    continue
                except ConnectionError:
                    break
                if not part:
                    break
                answer += part
        assert time.monotonic() - began < PATIENCE + 5
        if beginning.startswith(b"POST"):
            assert answer.startswith(b"HTTP/1.0 408 ")


def test_slow_heads_give_way_to_requests(made: Made, port: int) -> None:
    """Two hundred senders of a byte now and then, beside whom everybody is answered at once."""
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        for connection in opened:
            connection.sendall(b"GET / HTTP/1.0\r\nX: ")
        for _ in range(5):
            began = time.monotonic()
            assert ask(port, "POST", "/search", made.other).status == 200
            assert ask(port, "GET", "/about").status == 200
            assert time.monotonic() - began < 5
        end = time.monotonic() + PATIENCE + 5
        gone = [_is_closed(connection, end) for connection in opened]
        assert all(gone)
    finally:
        for connection in opened:
            connection.close()


def _is_closed(connection: socket.socket, end: float) -> bool:
    """Whether the other side closes a connection before `end`, although bytes still come."""
    connection.settimeout(0.1)
    while time.monotonic() < end:
        try:
            connection.sendall(b"x")
            return not connection.recv(100)
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_the_oldest_of_too_many_heads_is_dropped(port: int) -> None:
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(server.CONNECTIONS + 20)]
    try:
        assert ask(port, "GET", "/about").status == 200
        opened[0].settimeout(0.5)
        assert opened[0].recv(1) == b""
        opened[-1].settimeout(0.05)
        with pytest.raises(TimeoutError):
            opened[-1].recv(1)
    finally:
        for connection in opened:
            connection.close()


def test_slow_uploads_are_safe_for_a_while_and_then_give_way(
    made: Made, running: Server, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = _post(port, f"Content-Length: {len(made.other)}\r\n")
    for safe, status in ((60.0, 503), (0.0, 200)):
        monkeypatch.setattr(running, "uploads", Slots(2, safe))
        opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        try:
            for connection in opened:
                connection.sendall(head + made.other[:10])
            time.sleep(0.3)
            assert ask(port, "POST", "/search", made.other).status == status
            assert ask(port, "GET", "/about").status == 200
        finally:
            for connection in opened:
                connection.close()


def test_a_head_without_an_end_is_dropped(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n")
        with pytest.raises(ConnectionError):
            for i in range(90):
                connection.sendall(b"X-%d: " % i + b"a" * 60_000 + b"\r\n")
            if not connection.recv(1):
                raise ConnectionError


def test_http_of_before_versions_is_refused_at_once(port: int) -> None:
    for line in (b"GET /", b"GET / HTTP/0.9", b"POST /search", b"GET /about  ", b"get HTTP/0.1"):
        began = time.monotonic()
        head, _, body = raw(port, line + b"\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 400 ") and set(json.loads(body)) == {"error"}, line
        assert time.monotonic() - began < PATIENCE


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_decoded(encoded: bytes) -> int:
        return ask(port, "POST", "/search", encoded).status

    monkeypatch.setattr(uploads, "MOST_PIXELS", 3000)
    monkeypatch.setattr(uploads, "MOST_PIXELS_SLOW", 1000)
    image = Image.new("RGB", (50, 60))
    larger = Image.new("RGB", (50, 61))
    slow, over = Image.new("RGB", (40, 25)), Image.new("RGB", (40, 26))
    for kind, bound, beyond in (
        ("PNG", image, larger),
        ("JPEG", image, larger),
        ("WEBP", image, larger),
        ("BMP", image, larger),
        ("PPM", image, larger),
        ("AVIF", image, larger),
        ("TIFF", slow, over),
        ("GIF", slow, over),
        ("JPEG2000", slow, over),
    ):
        statuses = []
        for pixels in (bound, beyond):
            file = io.BytesIO()
            pixels.save(file, kind)
            statuses.append(is_decoded(file.getvalue()))
        assert statuses == [200, 413], kind


def progressive(scans: int) -> bytes:
    """A grey JPEG file in so many scans, of which all but the first say nothing new."""

    def section(marker: int, content: str) -> bytes:
        data = bytes.fromhex(content)
        return b"\xff" + bytes([marker]) + (len(data) + 2).to_bytes(2) + data

    tables = section(0xDB, "00" + "01" * 64) + section(0xC2, "08 0010 0010 01 01 11 00")
    codes = section(0xC4, "00 01" + "00" * 15 + "00") + section(0xC4, "10 01" + "00" * 15 + "20")
    first = section(0xDA, "01 01 00 00 00 00") + b"\x0f"  # four blocks of no difference
    other = section(0xDA, "01 01 00 01 3f 00") + b"\x1f"  # four blocks without another number
    return b"\xff\xd8" + tables + codes + first + other * (scans - 1) + b"\xff\xd9"


def test_a_jpeg_of_very_many_scans_is_refused(port: int) -> None:
    assert decoding.pixels(progressive(100)).shape == (16, 16, 3)
    for scans, status in ((100, 200), (101, 413), (100_000, 413)):
        began = time.monotonic()
        assert ask(port, "POST", "/search", progressive(scans)).status == status
        assert time.monotonic() - began < 5


def test_searches_wait_for_their_turn_and_a_few_only(
    made: Made, running: Server, port: int
) -> None:
    with ThreadPoolExecutor(service.WAITING) as pool, running.service._turns.one():
        waiting = [
            pool.submit(ask, port, "POST", "/search", file.read_bytes())
            for file in made.files[: service.WAITING]
        ]
        end = time.monotonic() + 10
        while running.service._turns._queue._value and time.monotonic() < end:
            time.sleep(0.01)
        refused = ask(port, "POST", "/search", made.other)
        assert refused.status == 503 and "busy" in refused.json["error"]
        assert ask(port, "GET", "/thumbnail/2").status == 200  # what is quick does not wait
        assert not any(one.done() for one in waiting)
    for i, one in enumerate(waiting):
        assert one.result().json["neighbours"][0]["id"] == i


def test_a_growing_index_is_followed(made: Made, port: int) -> None:
    before = ask(port, "POST", "/search", made.other).json
    file = made.files[0].with_name("new.png")
    file.write_bytes(made.other)
    serving_examples.add(made.folder, made.embedder, [file], [ImageRow(str(file), "new")])
    after = ask(port, "POST", "/search", made.other).json
    assert after["count"] == before["count"] + 1 and after["generation"] > before["generation"]
    new = after["neighbours"][0]
    assert (new["label"], new["distance"]) == ("new", 0)
    assert after["neighbours"][1:] == [
        {**row, "learners": [{**one, "rank": one["rank"] + 1} for one in row["learners"]]}
        for row in before["neighbours"][:-1]
    ]
    assert ask(port, "GET", f"/thumbnail/{new['id']}").status == 200
    store.remove(made.folder, np.array([new["id"]]))
    assert ask(port, "POST", "/search", made.other).json["neighbours"] == before["neighbours"]
    assert ask(port, "GET", f"/thumbnail/{new['id']}").status == 404
    assert ask(port, "POST", f"/like/{new['id']}").status == 404


def test_an_index_of_another_model_or_none_is_told(made: Made, port: int) -> None:
    manifest = made.folder / "index.json"
    own = manifest.read_bytes()
    other = made.folder.parent / "other"
    store.create(other, _spec(made))
    try:
        manifest.write_bytes((other / "index.json").read_bytes())
        for said in (ask(port, "POST", "/search", made.other), ask(port, "GET", "/about")):
            assert said.status == 409 and "another model" in said.json["error"]
        manifest.unlink()
        assert ask(port, "POST", "/search", made.other).status == 503
    finally:
        manifest.write_bytes(own)


def _spec(made: Made) -> VectorSpec:
    return VectorSpec("0" * 64, made.embedder.learners, made.embedder.dim, "float32")


@pytest.mark.parametrize("ending", ["vectors.npy", "ids.npy", "rows.jsonl"])
def test_a_file_that_was_cut_is_named_and_the_server_lives(
    made: Made, port: int, ending: str
) -> None:
    before = ask(port, "POST", "/search", made.other).json["neighbours"]
    path = min((made.folder / "segments").glob(f"*.{ending}"))
    complete = path.read_bytes()
    try:
        for size in (0, 1, len(complete) // 2, len(complete) - 1):
            os.truncate(path, size)  # in place, as a copy over it or a full disk does
            for said in (
                ask(port, "POST", "/search", made.other),
                ask(port, "POST", "/like/3"),
                ask(port, "GET", "/about"),
                ask(port, "GET", "/thumbnail/3"),
            ):
                assert said.status == 503
                assert said.json["error"] == f"{path} is damaged: {size} bytes of {len(complete)}"
            path.write_bytes(complete)
        path.unlink()  # its last map is of the whole file: nothing is lost
        assert ask(port, "POST", "/search", made.other).json["neighbours"] == before
        path.write_bytes(complete[:-1])
        assert ask(port, "POST", "/search", made.other).json["neighbours"] == before
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(complete)
    assert ask(port, "POST", "/search", made.other).json["neighbours"] == before


def test_a_file_that_is_cut_during_a_search_is_named(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "copy")
    opened = Service(Index(folder, made.embedder), 5)
    path = min((folder / "segments").glob("*.vectors.npy"))
    embed = made.embedder.embed

    def cutting(_: Embedder, images: Sequence[bytes]) -> Embedded:
        os.truncate(path, 0)
        return embed(images)

    monkeypatch.setattr(Embedder, "embed", cutting)
    with pytest.raises(Refused, match=r"vectors.npy is damaged: 0 bytes of") as error:
        opened.search(made.other)
    assert error.value.status == 503
    with pytest.raises(UserError, match=r"vectors.npy is damaged: 0 bytes of"):
        opened.warm_up()  # which is not asked by a client


def test_a_row_without_a_finite_vector_is_shown_to_nobody(made: Made, tmp_path: Path) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "copy")
    complete = Service(Index(folder, made.embedder), 5).search(made.files[6].read_bytes())

    def spoil(vectors: np.ndarray, ids: np.ndarray) -> None:
        vectors[np.isin(ids, (0, 6)), 3] = np.inf

    index_forged.with_vectors(folder, spoil)
    opened = Service(Index(folder, made.embedder), 5)
    said = opened.search(made.files[6].read_bytes())
    before = [row for row in complete["neighbours"] if row["id"] not in (0, 6)]
    assert len(said["neighbours"]) == 5
    for now, then in zip(said["neighbours"], before, strict=False):
        assert (now["id"], now["distance"]) == (then["id"], then["distance"])
    with pytest.raises(Refused, match="the vector of image 6 is not finite") as error:
        opened.like(6)
    assert error.value.status == 503


def test_an_index_of_another_network_is_not_opened(made: Made) -> None:
    own = (made.folder / "index.json").read_bytes()
    another = made.folder.parent / "another"
    store.create(another, _spec(made))
    try:
        (made.folder / "index.json").write_bytes((another / "index.json").read_bytes())
        with pytest.raises(UserError, match="not made by this network"):
            Index(made.folder, made.embedder)
    finally:
        (made.folder / "index.json").write_bytes(own)


def test_a_taken_port_and_a_strange_host_are_one_line(running: Server) -> None:
    for host, port in (("127.0.0.1", running.server_address[1]), ("203.0.113.1", 0)):
        with pytest.raises(UserError, match="cannot listen on") as error:
            Server(host, port, running.service)
        assert "\n" not in str(error.value)


def test_an_image_that_breaks_a_library_costs_one_answer(
    running: Server, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_: bytes) -> None:
        raise ValueError("two\nlines of a secret /path")

    with monkeypatch.context() as patch:
        patch.setattr(running.service, "search", breaks)
        said = ask(port, "POST", "/search", b"x")
    assert said.status == 500 and "secret" not in said.json["error"]
    assert "ValueError" in capsys.readouterr().err


def test_other_addresses_are_answered_where_the_host_was_given(running: Server) -> None:
    def refused(host: str, bound: str) -> bool:
        headers = Message()
        headers["Host"] = host
        try:
            guard.check_host(headers, bound)
        except guard.Refused:
            return True
        return False

    with Server("LocalHost", 0, running.service) as named:
        assert named.host == "localhost"  # what the header Host is compared with
    for bound in ("0.0.0.0", "::", "192.168.0.7", "gpu.example"):
        assert not refused("192.168.0.7:8321", bound) and not refused("localhost", bound)
        assert refused("evil.example", bound)
    assert not refused("gpu.example:8321", "gpu.example")
    assert refused("192.168.0.7", "127.0.0.1") and refused("192.168.0.7", "localhost")
    assert guard.is_loopback("127.0.0.2") and guard.is_loopback("::1")
    assert not guard.is_loopback("0.0.0.0") and not guard.is_loopback("")
