"""python -m abe_jax.search: neighbours, "no match", the query itself, pages and duplicates."""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from index_runs import as_run, noise, split_of, tiny, written

from abe_jax.cli import index, search
from abe_jax.config import stored
from abe_jax.errors import UserError
from abe_jax.evaluation.network import ROUNDING
from abe_jax.index import Threshold, snapshot, store
from abe_jax.index.vectors import COPY

COPIES = 2 * COPY  # the distance within which copies are, of two learners


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """An index of 30 pictures, two of them twice, and pictures that are not in it."""
    base = tmp_path_factory.mktemp("base")
    chosen = tiny(tiny_data, "evaluate.batch=16")
    run = as_run(base / "run", chosen)
    split = split_of(chosen, "val")
    paths = written(base / "pictures", split, range(28))
    for path in paths[:2]:
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    written(base / "others", split, range(100, 103))
    words = ["--workdir", run, "--images", base / "pictures", "--out", base / "index"]
    index.main(["build", *map(str, words)])
    return base


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base / "index", tmp_path / "index")
    return tmp_path / "index"


def printed(capsys: pytest.CaptureFixture[str], folder: Path, *words: object) -> str:
    capsys.readouterr()
    search.main(["--index", str(folder), *map(str, words)])
    return capsys.readouterr().out


def results(
    capsys: pytest.CaptureFixture[str], folder: Path, *words: object
) -> Sequence[dict[str, Any]]:
    return json.loads(printed(capsys, folder, *words, "--json"))["results"]


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.png") if "copy" not in path.name)


def test_the_neighbours_are_those_of_brute_force(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = stored.embedder_of_index(base / "index" / "model")
    queries = pictures(base / "others")
    gallery = sorted((base / "pictures").rglob("*.png"))
    vectors = [
        network.embed([path.read_bytes() for path in paths]).vectors.reshape(len(paths), -1)
        for paths in (queries, gallery)
    ]
    q, g = (x.astype(np.float64) for x in vectors)
    expected = ((q[:, None] - g[None]) ** 2).sum(axis=-1)
    given = results(capsys, base / "index", *queries, "--k", 7)
    assert [one["query"] for one in given] == [str(path) for path in queries]
    for answer, distances in zip(given, expected, strict=True):
        listed = answer["neighbours"]
        assert [one["rank"] for one in listed] == list(range(1, 8))
        np.testing.assert_allclose(
            [one["distance"] for one in listed], np.sort(distances)[:7], atol=8 * ROUNDING
        )
        for one in listed:
            row = gallery.index(Path(one["path"]))
            assert one["distance"] == pytest.approx(distances[row], abs=8 * ROUNDING)
            assert one["label"] == gallery[row].parent.name
        assert answer["match"] is None and not any(one["itself"] for one in listed)


def test_a_query_in_the_index_is_marked_and_not_counted(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pictures(base / "pictures")[5]
    monkeypatch.chdir(own.parent)
    for path in (own, own.name, f"../{own.parent.name}/{own.name}"):
        (answer,) = results(capsys, base / "index", path, "--k", 3)
        assert [one["rank"] for one in answer["neighbours"]] == [0, 1, 2, 3]
        first = answer["neighbours"][0]
        assert (first["itself"], first["path"]) == (True, str(own))
        assert first["distance"] <= COPIES
    lines = printed(capsys, base / "index", own, "--k", 3).splitlines()
    assert lines[0] == str(own) and lines[1].split()[:2] == ["itself", "0.0000"]
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3"]
    every = results(capsys, base / "index", own, "--k", 100)[0]["neighbours"]
    assert len(every) == 30 and len({one["id"] for one in every}) == 30


def test_a_copy_under_another_path_is_a_neighbour(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = next((base / "pictures").rglob("copy of *"))
    (answer,) = results(capsys, base / "index", copy, "--k", 1)
    itself, other = sorted(answer["neighbours"], key=lambda one: one["rank"])
    assert itself["itself"] and itself["path"] == str(copy) and other["distance"] <= COPIES
    assert other["path"] == str(copy.with_name(copy.name.removeprefix("copy of ")))


def test_a_query_is_not_lost_among_its_copies(
    base: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = noise(1)
    (tmp_path / "copies").mkdir()
    for i in range(25):
        (tmp_path / "copies" / f"{i:02}.png").write_bytes(content)
    index.main(["add", "--index", str(folder), "--images", str(tmp_path / "copies")])
    last = tmp_path / "copies" / "24.png"
    (answer,) = results(capsys, folder, last, "--k", 2)
    assert sorted(one["rank"] for one in answer["neighbours"]) == [0, 1, 2]
    (itself,) = (one for one in answer["neighbours"] if one["itself"])
    assert itself["path"] == str(last)
    another = tmp_path / "another.png"
    another.write_bytes(content)
    (answer,) = results(capsys, folder, another, "--k", 2)
    assert [one["rank"] for one in answer["neighbours"]] == [1, 2]


def test_beyond_the_threshold_nothing_matches(
    base: Path, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    query = pictures(base / "others")[0]
    distances = [
        one["distance"] for one in results(capsys, folder, query, "--k", 3)[0]["neighbours"]
    ]
    store.set_threshold(folder, Threshold(distances[1], "precision 0.9"))  # that far still matches
    (answer,) = results(capsys, folder, query, "--k", 3)
    assert answer["match"] is True
    assert [one["match"] for one in answer["neighbours"]] == [True, True, False]
    assert len(printed(capsys, folder, query, "--k", 3).splitlines()) == 3
    everything = printed(capsys, folder, query, "--k", 3, "--all").splitlines()
    assert len(everything) == 4
    assert "beyond" in everything[3] and "beyond" not in everything[2]
    store.set_threshold(folder, Threshold(distances[0] - 1e-4, "precision 0.9"))
    (answer,) = results(capsys, folder, query, "--k", 3)
    assert answer["match"] is False
    page = tmp_path / "page.html"
    lines = printed(capsys, folder, query, "--k", 3, "--html", page).splitlines()
    assert len(lines) == 2 and lines[1].startswith("  no match: the nearest is at ")
    assert "no match: the nearest is at" in page.read_text()
    # The query itself, at distance 0, is no match for itself.
    own = pictures(base / "pictures")[9]
    (answer,) = results(capsys, folder, own, "--k", 1)
    assert answer["match"] is (answer["neighbours"][1]["distance"] < distances[0])
    store.set_threshold(folder, Threshold(0.0, "precision 0.9"))  # the query itself still matches
    assert results(capsys, folder, own)[0]["match"] is False
    lines = printed(capsys, folder, own).splitlines()
    assert lines[1].split()[0] == "itself" and "no match" in lines[2] and len(lines) == 3


def test_an_image_that_cannot_be_read_is_told_beside_the_others(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, odd = tmp_path / "bad.png", os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.png")
    bad.write_bytes(noise(0)[:50])
    Path(odd).write_bytes(noise(1))
    page = tmp_path / "page.html"
    out = printed(capsys, base / "index", bad, odd, "--k", 1, "--html", page)
    assert f"{bad}: cannot be read\n" in out and "\\xfe.png\n" in out
    given = results(capsys, base / "index", bad, odd, "--k", 1)
    assert [one["readable"] for one in given] == [False, True]
    assert given[1]["query"] == odd
    assert "cannot be read" in page.read_text()
    with pytest.raises(UserError, match="none of the images can be read"):
        printed(capsys, base / "index", bad)


def shown(page: Path) -> Iterator[np.ndarray]:
    """The pictures in a page, RGB."""
    for data in re.findall(r'src="data:image/\w+;base64,([^"]+)"', page.read_text()):
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        yield image[..., ::-1]


def test_the_page_holds_the_pictures_and_loads_nothing(
    base: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = tmp_path / '<b>&".png'
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 2] = 255
    strange.write_bytes(cv2.imencode(".png", red)[1].tobytes())
    index.main(["add", "--index", str(folder), "--images", str(strange)])
    page = tmp_path / "page.html"
    own = pictures(base / "pictures")[0]
    printed(capsys, folder, strange, own, "--k", 2, "--html", page)
    text = page.read_text()
    assert "<b>&" not in text and "&lt;b&gt;&amp;&quot;.png" in text
    assert not re.search(r"https?://|<script|@import", text)
    images = list(shown(page))
    assert len(images) == 2 * 4  # each query, itself, two neighbours
    assert images[0].shape == (20, 30, 3) and (images[0] == [255, 0, 0]).all()
    assert (images[1] == images[0]).all() and text.count("itself · 0.0000") == 2
    strange.unlink()
    printed(capsys, folder, own, "--k", 100, "--html", page)
    assert "not there, or cannot be read" in page.read_text()
    with pytest.raises(UserError, match="cannot be written"):
        printed(capsys, folder, own, "--html", tmp_path / "nowhere" / "page.html")


def test_duplicates_are_listed(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = json.loads(
        printed(capsys, base / "index", "--duplicates", "--distance", COPIES, "--json")
    )
    names = [{Path(one["path"]).name for one in group} for group in said["groups"]]
    assert len(names) >= 2
    for path in (base / "pictures").rglob("copy of *"):
        (group,) = [one for one in names if path.name in one]
        assert path.name.removeprefix("copy of ") in group
    page = tmp_path / "page.html"
    out = printed(capsys, base / "index", "--duplicates", "--cosine", 1, "--html", page)
    assert out.startswith("group 1: 2 images\n  ")
    assert f"images in {len(names)} groups of pairs at most {COPIES:g} apart" in out
    assert len(list(shown(page))) == sum(map(len, names))
    assert "at most 0.2 apart" in printed(
        capsys, base / "index", "--duplicates"
    )  # cosine 0.95, m 2
    everything = json.loads(
        printed(capsys, base / "index", "--duplicates", "--cosine", -1, "--json")
    )
    assert [len(group) for group in everything["groups"]] == [30]


def test_any_number_of_neighbours_gives_what_there_is(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = pictures(base / "pictures")[0]
    (answer,) = results(capsys, base / "index", own, "--k", 10**30)
    assert [one["rank"] for one in answer["neighbours"] if one["rank"]] == list(range(1, 30))


def test_bits_are_whole_numbers(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--workdir", base / "run", "--images", base / "pictures", "--out", tmp_path / "index"]
    index.main(["build", *map(str, words), "--storage", "binary"])
    own = pictures(base / "pictures")[0]
    page = tmp_path / "page.html"
    lines = printed(capsys, tmp_path / "index", own, "--html", page).splitlines()
    assert all(line.split()[1].isdigit() for line in lines[1:])
    details = re.findall(r'class="detail">([^<]*)<', page.read_text())
    assert len(details) == 11 and all(one.split(" · ")[1].isdigit() for one in details)


def test_an_empty_index_has_nothing_to_be_found(
    base: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = snapshot.read(folder).ids().tolist()
    index.main(["remove", "--index", str(folder), "--ids", *map(str, ids)])
    own = pictures(base / "pictures")[0]
    assert results(capsys, folder, own)[0]["neighbours"] == []
    nothing = [str(own), "  the index holds no other image"]
    assert printed(capsys, folder, own).splitlines() == nothing
    assert "0 of 0 images in 0 groups" in printed(capsys, folder, "--duplicates")
    store.set_threshold(folder, Threshold(1.0, "x"))
    assert "no match: the index holds no other image" in printed(capsys, folder, own)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name images to look for, or --duplicates"),
        (["nowhere.png"], "nowhere.png: no such file"),
        (["."], ".: is a folder; name images"),
        (["{}", "--k", "0"], "--k must be 1 neighbour or more, not 0"),
        (["{}", "--k", "many"], "invalid int value: 'many'"),
        (["{}", "--duplicates"], "no images, --k or --all"),
        (["--duplicates", "--k", "3"], "no images, --k or --all"),
        (["{}", "--cosine", "0.9"], "--cosine and --distance go with --duplicates"),
        (["--duplicates", "--cosine", "2"], "--cosine lies in -1 to 1 and is not 2"),
        (["--duplicates", "--distance", "-1"], "--distance must be 0 or more"),
        (["--duplicates", "--distance", "nan"], "0 or more, and finite, not nan"),
        (["--duplicates", "--distance", "inf", "--json"], "0 or more, and finite, not inf"),
        (["{}", "--html", "."], "--html .: name the page to write, which ends in .html"),
        (["--html", "{}", "{}"], ".png: name the page to write"),  # it would replace a picture
        (["--duplicates", "--distance", "1", "--cosine", "1"], "not allowed with"),
        (["--duplciates"], "did you mean '--duplicates'"),
        (["{}", "--config.seed=1"], "an index is searched by its own network"),
    ],
)
def test_mistakes_are_one_line(words: list[str], says: str, base: Path) -> None:
    own = str(pictures(base / "pictures")[0])
    with pytest.raises(UserError) as caught:
        search.main(["--index", str(base / "index"), *(word.format(own) for word in words)])
    assert says in str(caught.value) and "\n" not in str(caught.value)
