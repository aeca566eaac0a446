"""Domains: read from a CSV file's column, and kept from training."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from abe_jax.data import (
    SPLITS,
    Dataset,
    Preprocessing,
    Sampling,
    SourceOptions,
    Split,
    domains,
    glyphs,
    loader,
    named,
    split,
)
from abe_jax.errors import UserError
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.unreadable import Unreadable

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen")
DOMAINS = ("dawn", "noon", "dusk", "night")
PARTS = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
SPLIT_OF: dict[str, str] = dict(zip(CLASSES, PARTS, strict=True))
LACKING = (("bee", "noon"), ("cat", "noon"), ("cat", "dawn"), ("hen", "night"))


def value(c: str, d: str, i: int) -> int:
    """What an image shows: a number for each of the classes, domains and copies."""
    return 8 * CLASSES.index(c) + 2 * DOMAINS.index(d) + i


def rows() -> list[tuple[str, str, int]]:
    all_of = [(c, d, i) for c in CLASSES for d in DOMAINS for i in range(2)]
    return [row for row in all_of if row[:2] not in LACKING]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two images of each class in each domain, some pairs of class and domain left out."""
    lines = ["path,label,split,light"]
    for c, d, i in rows():
        name = f"{c} {d} {i}.png"
        pixels = np.full((8, 8, 3), value(c, d, i), np.uint8)
        (tmp_path / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        lines.append(f"{name},{c},{SPLIT_OF[c]}, {d} ")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


SEEN = Preprocessing(resize=8, size=8)


def data(file: Path, **changes) -> Dataset:
    return named(
        "folder", SourceOptions(**{"path": str(file), "domain_column": "light", **changes})
    )


def shown(split: Split) -> list[tuple[str, str, int]]:
    """(class, domain, value) of every image, the value read from its file."""
    assert split.groups is not None and split.groups.dtype == split.labels.dtype == np.int32
    assert len(split.labels) == len(split.groups) == len(split.records) == len(split.paths)
    np.testing.assert_array_equal(np.unique(split.labels), np.arange(len(split.class_names)))
    found = []
    for i, (label, group) in enumerate(zip(split.labels, split.groups, strict=True)):
        pixels = SEEN.decode(split.records[i])
        name, domain = split.class_names[label], split.group_names[group]
        assert split.paths[i].startswith(f"{name} {domain} ")
        found.append((name, domain, int(pixels[0, 0, 0])))
    return found


def expected(part: str, domains: tuple[str, ...]) -> list[tuple[str, str, int]]:
    kept = [(c, d, i) for c, d, i in rows() if SPLIT_OF[c] == part and d in domains]
    return [(c, d, value(c, d, i)) for c, d, i in kept]


def test_a_column_names_the_domain_of_every_image(file):
    for part in SPLITS:
        split = data(file).split(part)
        assert shown(split) == expected(part, DOMAINS)
        assert split.group_names == tuple(sorted(DOMAINS))
    bare = data(file, domain_column="").split("train")
    assert bare.groups is None and bare.group_names == ()


def test_numbers_that_are_domains_stand_in_their_order(file):
    file.write_text(file.read_text().replace("dawn \n", "10\n").replace("noon \n", "9\n"))
    assert data(file).split("test").group_names == ("9", "10", "dusk", "night")


@pytest.mark.parametrize(
    ("unseen", "validation", "train", "val", "test"),
    [
        (("noon", "night"), (), ("dawn", "dusk"), ("dawn", "dusk"), ("noon", "night")),
        (("dawn",), ("night",), ("noon", "dusk"), ("night",), ("dawn",)),
        ((), ("dusk", "dawn"), ("noon", "night"), ("dusk", "dawn"), DOMAINS),
    ],
)
def test_each_split_keeps_its_domains_alone(file, unseen, validation, train, val, test):
    chosen = data(file, unseen_domains=unseen, validation_domains=validation)
    for part, kept in (("train", train), ("val", val), ("test", test)):
        assert shown(chosen.split(part)) == expected(part, kept)


def test_classes_without_an_image_left_vanish_and_the_others_are_numbered_anew(file):
    chosen = data(file, unseen_domains=("dusk", "night"), validation_domains=("dawn",))
    split = chosen.split("train")  # noon alone, which bee and cat lack
    assert split.class_names == ("ant", "dog")
    assert split.labels.tolist() == [0, 0, 1, 1]
    assert split.group_names == tuple(sorted(DOMAINS))


def test_batches_and_the_record_of_unreadable_images_are_of_the_images_kept(file, tmp_path):
    chosen = data(file, unseen_domains=("noon", "night"), validation_domains=("dawn",))
    split = chosen.split("train")
    (tmp_path / "cat dusk 1.png").write_bytes(b"no image")
    (batch,) = loader.in_order(split, SEEN, 8, threads=1)
    kept = expected("train", ("dusk",))
    assert batch.mask.tolist() == [True] * 5 + [False] + [True] * 2
    np.testing.assert_array_equal(batch.image_ids, np.arange(8))
    for (c, _, v), label, pixels, there in zip(
        kept, batch.labels, batch.images, batch.mask, strict=True
    ):
        assert split.class_names[label] == c and (pixels == v * there).all()
    folder = RunFolder(tmp_path)
    Unreadable(folder, split, 0.5, lambda line: None).note(batch)
    Unreadable(folder, split, 0.5, lambda line: None).add(np.flatnonzero(~batch.mask))
    assert folder.unreadable.read_text() == "train\t5\tof class cat\tcat dusk 1.png\n"


def test_a_batch_by_domains_is_of_what_the_column_says(file):
    split = data(file).split("train")
    listed = shown(split)
    sampling = Sampling(sampler="domains", domains_per_batch=2, images_per_class=2)
    sample = sampling.batches(split.labels, 8, seed=0, groups=split.groups)
    for step in range(10):
        blocks = [[listed[row][:2] for row in block] for block in sample(step).reshape(2, 4)]
        assert [len({d for _, d in block}) for block in blocks] == [1, 1]
        assert [len(set(block)) for block in blocks] == [2, 2]
        assert len({d for block in blocks for _, d in block}) == 2


def test_a_subset_counts_its_images_and_classes_anew():
    complete = split.Split(
        name="train",
        records=[b"a", b"b", b"c", b"d"],
        labels=np.array([2, 0, 1, 2], np.int32),
        groups=None,
        class_names=("x", "y", "z"),
    )
    part = split.subset(complete, np.array([3, 0, 1]))
    assert [part.records[i] for i in range(len(part.records))] == [b"d", b"a", b"b"]
    assert part.labels.tolist() == [1, 1, 0] and part.class_names == ("x", "z")
    assert part.groups is None and part.paths == ()
    again = split.subset(part, np.array([2]))
    assert again.records[0] == b"b" and again.class_names == ("x",)


def test_glyphs_families_are_domains(tiny_data):
    bare = glyphs(tiny_data, tiny=True)
    chosen = glyphs(
        tiny_data, tiny=True, unseen_domains=("STIX",), validation_domains=("DejaVu Sans Mono",)
    )
    for part, families in (
        ("train", {"DejaVu Sans", "DejaVu Serif"}),
        ("val", {"DejaVu Sans Mono"}),
        ("test", {"STIX"}),
    ):
        split, complete = chosen.split(part), bare.split(part)
        assert split.groups is not None and complete.groups is not None
        assert split.group_names == complete.group_names
        assert {split.group_names[g] for g in split.groups} == families
        kept = [i for i, g in enumerate(complete.groups) if complete.group_names[g] in families]
        assert 0 < len(kept) < len(complete.labels) and len(split.labels) == len(kept)
        for i, k in enumerate(kept):
            assert split.records[i] == complete.records[k]
            assert split.class_names[split.labels[i]] == complete.class_names[complete.labels[k]]


@pytest.mark.parametrize(
    ("changes", "part", "says"),
    [
        (
            {"domain_column": "lihgt"},
            "train",
            "domain_column: .*no column 'lihgt'; did you mean 'light'",
        ),
        ({"unseen_domains": ("non",)}, "train", r"unseen_domains: no.*'non'; did you mean 'noon'"),
        ({"validation_domains": ("x",)}, "val", "validation_domains: no.*choose from dawn, dusk,"),
        ({"unseen_domains": ("dawn", "dawn")}, "test", "unseen_domains: 'dawn' is named twice"),
        (
            {"unseen_domains": ("dawn",), "validation_domains": ("dusk", "dawn")},
            "test",
            "validation_domains: 'dawn' is in unseen_domains too",
        ),
        (
            {"unseen_domains": ("dawn", "noon"), "validation_domains": ("dusk", "night")},
            "train",
            "unseen_domains: no image of train is left, whose domains are dawn, dusk, night, noon",
        ),
        (
            {"domain_column": "", "unseen_domains": ("dawn",)},
            "train",
            "the images of folder have no domains; set domain_column",
        ),
    ],
)
def test_domains_that_are_not_there_are_refused(file, changes, part, says):
    with pytest.raises(UserError, match=says):
        data(file, **changes).split(part)


def test_a_row_without_a_domain_is_refused(file):
    text = file.read_text()
    file.write_text(text.replace("fox dusk 1.png,fox,val, dusk ", "fox dusk 1.png,fox,val, "))
    says = "a row with no value in 'light' .*domain_column.*the first: fox dusk 1.png"
    with pytest.raises(UserError, match=says):
        data(file).split("train")


def test_a_split_that_lacks_its_domains_is_refused(file):
    kept = [line for line in file.read_text().splitlines() if ",val, dusk" not in line]
    file.write_text("\n".join(kept) + "\n")
    says = "validation_domains: no image of val is left, whose domains are dawn, night, noon"
    with pytest.raises(UserError, match=says):
        data(file, validation_domains=("dusk",)).split("val")


def test_a_folder_without_a_csv_file_has_no_columns(file):
    with pytest.raises(UserError, match=r"domain_column: .* is a folder, and only a CSV file"):
        data(file.parent).split("train")


def test_a_data_set_without_domains_is_refused(file):
    bare = data(file, domain_column="").split("train")
    with pytest.raises(
        UserError, match=r"validation_domains: .*of cars196 have no domains; leave it empty, or use"
    ):
        domains.restricted(bare, validation=("x",), name="cars196")
