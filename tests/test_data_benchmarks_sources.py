"""What the sources of data sets are in practice: damaged, hostile, mixed up, half there."""

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import benchmark_trees as trees
import odd_files
import pytest

from abe_jax.data import Preprocessing, SourceOptions
from abe_jax.data.images.decoding import UnreadableImage
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.data.sources.benchmarks.archives import members
from abe_jax.errors import UserError


def found(source: Path) -> dict[str, bytes]:
    return {member.path: member.read() for member in members(source)}


def build(tree: trees.Tree, source: Path, root: Path, **options) -> str:
    return builder.build(tree.benchmark, source, root, **options)


FILES = {"a/one.jpg": b"1" * 3000, "a/two.jpg": os.urandom(20_000), "b.txt": b""}
NESTED = {
    "out.zip": {"img.zip": FILES, "x.tar": {"y.tgz": FILES}},
    "out.tar": {"n1.tar": FILES, "n2.zip": FILES, "n3.tar.gz": FILES},
    "out.tgz": {"n1.tar": FILES, "n3.tgz": {"deep.tar": FILES}},
}


@pytest.mark.parametrize("name", NESTED)
def test_archives_in_archives_are_read_where_they_are(name, tmp_path):
    (tmp_path / name).write_bytes(trees.pack(name, NESTED[name]))

    def expected(files, prefix):
        for path, content in files.items():
            if isinstance(content, bytes):
                yield f"{prefix}/{path}", content
            else:
                yield from expected(content, f"{prefix}/{path}")

    assert found(tmp_path) == dict(expected(NESTED[name], name))
    assert os.listdir(tmp_path) == [name]


def test_a_zip_in_a_compressed_archive_asks_to_be_unpacked(tmp_path):
    (tmp_path / "a.tgz").write_bytes(trees.pack("a.tgz", {"b.zip": FILES}))
    with pytest.raises(UserError, match=r"a\.tgz/b\.zip is in a compressed archive: unpack"):
        found(tmp_path)


def test_an_archive_is_what_it_begins_as(tmp_path):
    """Some tools unzip a tar on the way, and call it as before."""
    (tmp_path / "a.tgz").write_bytes(trees.pack("a.tar", FILES))
    (tmp_path / "b.tar").write_bytes(trees.pack("b.tgz", FILES))
    (tmp_path / "c.zip").write_bytes(b"<!doctype html> Sign in to fetch this file" * 30)
    (tmp_path / "d.tar").write_bytes(trees.image("an image"))
    (tmp_path / "e.tgz").write_bytes(b"")
    assert found(tmp_path) == {f"{a}/{p}": c for a in ("a.tgz", "b.tar") for p, c in FILES.items()}


def test_an_archive_that_holds_itself_has_an_end(tmp_path):
    inner = b"end"
    for _ in range(12):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("again.zip", inner)
        inner = made.getvalue()
    (tmp_path / "again.zip").write_bytes(inner)
    assert len(found(tmp_path)) == 1


LENGTHS = (0.02, 0.3, 0.6, 0.9, 0.99)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_an_archive_that_ends_early_is_one_line(name, tmp_path):
    complete = trees.pack(name, FILES)
    cuts = {int(len(complete) * share) for share in LENGTHS}
    cuts |= {1024, len(complete) - 1} if name != "a.tar" else {1024, 512 * 7, 512 * 8}
    for cut in cuts:
        (tmp_path / name).write_bytes(complete[:cut])
        if name == "a.tar" and not any(complete[cut:]):
            continue  # of the padding behind its end
        with pytest.raises(UserError) as caught:
            found(tmp_path)
        line = str(caught.value)
        assert name in line and "damaged, or not fetched whole" in line and "\n" not in line, cut


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_an_inner_archive_that_ends_early_is_named(name, tmp_path):
    complete = trees.pack("in.tar", FILES)
    (tmp_path / name).write_bytes(trees.pack(name, {"x/in.tar": complete[: len(complete) // 2]}))
    with pytest.raises(UserError, match=rf"^{name}/x/in.tar.*: damaged"):
        found(tmp_path)


def test_a_changed_byte_in_a_compressed_archive_is_found(tmp_path):
    content = bytearray(trees.pack("a.tgz", FILES))
    content[-6] ^= 1  # of the checksum
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        found(tmp_path)
    content = bytearray(trees.pack("a.zip", FILES))
    content[len(content) // 2] ^= 1
    (tmp_path / "a.tgz").unlink()
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip/a/two\.jpg: damaged"):
        found(tmp_path)


def test_a_broken_header_within_a_tar_is_no_end(tmp_path):
    content = bytearray(trees.pack("a.tar", FILES))
    start = content.index(b"a/two.jpg")
    content[start : start + 512] = b"\x01" * 512
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UserError, match="a header in it is"):
        found(tmp_path)


def hostile(path: Path) -> None:
    """Names that lead out of an archive, links, and one good file."""
    names = [
        "../../up.jpg",
        "/etc/absolute.jpg",
        "a/../../b.jpg",
        "C:/x.jpg",
        "..\\w.jpg",
        "ok.jpg",
    ]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"link{kind.decode()}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_names_that_lead_out_of_an_archive_are_passed_over(name, tmp_path):
    source = tmp_path / "one" / "two" / "source"
    source.mkdir(parents=True)
    hostile(source / name)
    before = sorted(tmp_path.rglob("*"))
    assert found(source) == {f"{name}/ok.jpg": b"x"}
    assert sorted(tmp_path.rglob("*")) == before


def test_an_encrypted_zip_is_one_line(tmp_path):
    content = bytearray(trees.pack("a.zip", FILES))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.index(mark)
        content[start + offset] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match="password"):
        found(tmp_path)


def test_links_between_folders_end(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.jpg").write_bytes(b"x")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "side").symlink_to(tmp_path / "a" / "b")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert set(found(tmp_path)) == {"a/b/x.jpg", "side/x.jpg"}


def test_archives_without_images_of_the_set_are_not_read_again(tmp_path, monkeypatch):
    tree, walk = trees.cub(), builder.members
    source = trees.packed(tree, tmp_path / "s")
    (source / "A first one.tgz").write_bytes(trees.pack("a.tgz", FILES))
    entered = {}

    def watched(folder, enter):
        return walk(folder, lambda a: entered.setdefault(a, enter(a)))

    monkeypatch.setattr(builder, "members", watched)
    assert build(tree, source, tmp_path / "root") == ""
    assert entered == {"A first one.tgz": False, "CUB_200_2011.tgz": True}
    entered.clear()
    assert build(tree, trees.unpacked(tree, source), tmp_path / "other") == ""
    assert not any(entered.values())


# What is not all there.


def test_nothing_of_a_set_says_what_to_fetch(tmp_path):
    for name, make in trees.TREES.items():
        tree = make()
        with pytest.raises(UserError) as caught:
            build(tree, tmp_path, tmp_path / "root")
        message = str(caught.value)
        assert tree.benchmark.archives in message and str(tmp_path) in message, name
        assert "\n" not in message
    with pytest.raises(UserError, match="nothing is no folder"):
        build(trees.cub(), tmp_path / "nothing", tmp_path / "root")


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("cars196", "cars_annos.mat"),
        ("cars196_parts", "cars_test_annos_withlabels.mat"),
        ("cub", "CUB_200_2011/image_class_labels.txt"),
        ("sop", "Stanford_Online_Products/Ebay_test.txt"),
        ("inshop", "Eval/list_eval_partition.txt"),
        ("imagenet", "ILSVRC2012_devkit_t12/data/meta.mat"),
        ("cuhk03_labeled", "cuhk03_new_protocol_config_labeled.mat"),
        ("grid", "underground_reid/features_and_partitions.mat"),
    ],
)
def test_a_list_that_is_missing_is_named(name, gone, tmp_path):
    tree = trees.TREES[name]()
    source = trees.unpacked(tree, tmp_path / "s")
    (source / gone).unlink()
    with pytest.raises(UserError, match=f"{Path(gone).name} is missing"):
        build(tree, source, tmp_path / "root")


@pytest.mark.parametrize(
    ("name", "changed", "how"),
    [
        ("cub", "CUB_200_2011/images.txt", lambda text: text + b"what is this\n"),
        ("cub", "CUB_200_2011/image_class_labels.txt", lambda text: text[: len(text) // 2]),
        (
            "cub",
            "CUB_200_2011/image_class_labels.txt",
            lambda t: t.replace(b" 7\n", b" 999\n"),
        ),
        ("sop", "Stanford_Online_Products/Ebay_train.txt", lambda text: text[::-1]),
        ("inshop", "Eval/list_eval_partition.txt", lambda text: text.replace(b"query", b"val")),
        ("cars196", "cars_annos.mat", lambda text: text[: len(text) // 2]),
        ("cars196", "cars_annos.mat", lambda text: b""),
        ("imagenet", "ILSVRC2012_devkit_t12/data/meta.mat", lambda text: b"MATLAB"),
        ("cuhk03_labeled", "cuhk03_new_protocol_config_labeled.mat", lambda text: b"MATLAB"),
        ("grid", "underground_reid/features_and_partitions.mat", lambda t: t[: len(t) // 2]),
    ],
)
def test_a_list_that_is_not_understood_is_one_line(
    name: str, changed: str, how: Callable[[bytes], bytes], tmp_path
):
    tree = trees.TREES[name]()
    source = trees.unpacked(tree, tmp_path / "s")
    trees.write(source / changed, how((source / changed).read_bytes()))
    with pytest.raises(UserError) as caught:
        build(tree, source, tmp_path / "root")
    message = str(caught.value)
    assert "\n" not in message and tree.benchmark.name in message
    assert Path(changed).name in message or "do not belong together" in message


def test_missing_images_are_counted_and_the_first_is_named(tmp_path):
    tree = trees.cub()
    source = trees.unpacked(tree, tmp_path / "s")
    gone = "images/003.Bird_3/Bird_3_0003.jpg"
    (source / "CUB_200_2011" / gone).unlink()
    with pytest.raises(UserError) as caught:
        build(tree, source, tmp_path / "root")
    message = str(caught.value)
    assert "train: expected 101 images, found 100; train: expected 100 classes, found 99" in message
    assert f"1 listed images are not there, the first: {gone}" in message
    warning = build(tree, source, tmp_path / "root", any_counts=True)
    assert "expected 101 images, found 100" in warning
    assert builder.info(tmp_path / "root")["as_published"] is False
    assert builder.info(tmp_path / "root")["parts"]["train"] == {"images": 100, "classes": 99}


def test_copydays_may_lack_whole_parts_but_not_half_of_one(tmp_path):
    tree = trees.copydays()
    source = trees.packed(tree, tmp_path / "s")
    shutil.move(source / "copydays_jpeg.tar.gz", tmp_path)
    assert build(tree, source, tmp_path / "root") == ""
    (source / "copydays_strong.tar.gz").unlink()
    with pytest.raises(UserError, match="strong: expected 3 images, found 0"):
        build(tree, source, tmp_path / "other")


def test_a_copy_is_of_the_kind_that_the_nearest_folder_is_named_for():
    key = trees.copydays().benchmark.key
    assert key("original and strong/copydays_crop.tar.gz/crops/10/200000.jpg") == (
        "crops/10/200000.jpg"
    )
    assert key("strong/copydays_original.tar.gz/200100.jpg") == "original/200100.jpg"
    assert key("elsewhere/200100.jpg") == key("strong/100000.jpg") == ""


def test_an_image_that_is_listed_twice_is_told(tmp_path):
    tree = trees.cub()
    source = trees.unpacked(tree, tmp_path / "s")
    path = source / "CUB_200_2011" / "images.txt"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1])
    with pytest.raises(UserError, match="1 images are listed twice"):
        build(tree, source, tmp_path / "root")


# Odd files.


def test_odd_files_among_the_images_do_no_harm(tmp_path):
    """As images of the set they are stored, good or not; beside it they are passed over."""
    tree = trees.cub()
    source = trees.unpacked(tree, tmp_path / "s")
    odd = odd_files.write(tmp_path / "odd")
    listed = sorted((source / "CUB_200_2011" / "images").rglob("*.jpg"))
    kept = {}
    for place, one in zip(listed, odd, strict=False):
        kept["/".join(place.parts[-3:])] = one
        place.unlink()
        # By its full name, since some of these are links.
        place.symlink_to(os.path.join(tmp_path, "odd", one.path))
    (source / "CUB_200_2011" / "images" / "more").symlink_to(tmp_path / "odd")
    folder = tmp_path / "root" / "originals" / "cub"
    warning = build(tree, source, folder, any_counts=True)
    options, seen = SourceOptions(root=str(tmp_path / "root")), Preprocessing(resize=32, size=32)
    served = {}
    for part in ("train", "test"):
        split = reading.read(tree.benchmark, options, part)
        for i, path in enumerate(split.paths):
            try:
                seen.decode(split.records[i])
                served[path] = True
            except UnreadableImage:
                served[path] = False
    pipes = {
        path
        for path, one in kept.items()
        if one.kind in ("pipe", "link to itself", "link to nothing", "link to a device")
    }
    assert len(pipes) == 4 and not pipes & set(served)
    assert "4 listed images are not there" in warning
    for path, one in kept.items():
        if path not in pipes:
            assert served[path] == (one.size is not None), one
    about, unreadable = builder.info(folder), (folder / builder.UNREADABLE).read_text()
    empty = [path for path, one in kept.items() if one.kind in ("nothing", "file of 64 GiB")]
    assert about["unreadable"] >= len(empty) and all(path in unreadable for path in empty)
