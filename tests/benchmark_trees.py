"""Small data sets laid out exactly as their authors hand them out, packed and unpacked."""

import dataclasses
import io
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import scipy.io

from abe_jax.data.sources.benchmarks.benchmark import Benchmark, Part
from abe_jax.data.sources.benchmarks.table import BENCHMARKS

Files = Mapping[str, "bytes | Files"]  # the inner ones are archives in archives


class Archive(NamedTuple):
    """What an archive holds, and the folder that users unpack it in; a loose file has no name."""

    name: str
    files: Files
    into: str = ""


class Tree(NamedTuple):
    """A data set: its archives, and its table entry with the counts of these few images."""

    benchmark: Benchmark
    archives: list[Archive]


def image(name: str, grey: int = 128) -> bytes:
    """A JPEG of one grey that no other name has to the byte."""
    made = cv2.imencode(".jpg", np.full((6, 9, 3), grey, np.uint8))[1].tobytes()
    return made + name.encode()  # decoders stop at the end of the image


def pack(name: str, files: Files) -> bytes:
    """The bytes of a zip, tar or compressed tar with these files."""
    made = io.BytesIO()
    contents = {
        path: content if isinstance(content, bytes) else pack(path, content)
        for path, content in files.items()
    }
    if name.endswith(".zip"):
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in contents.items():
                archive.writestr(path, content)
        return made.getvalue()
    with tarfile.open(fileobj=made, mode="w" if name.endswith(".tar") else "w:gz") as archive:
        for path, content in contents.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def packed(tree: Tree, folder: Path) -> Path:
    """Writes a tree's archives, and its loose files."""
    for archive in tree.archives:
        if archive.name:
            write(folder / archive.name, pack(archive.name, archive.files))
        else:
            for path, content in archive.files.items():
                assert isinstance(content, bytes)
                write(folder / path, content)
    return folder


def unpacked(tree: Tree, folder: Path) -> Path:
    """Writes a tree as it is once all is unpacked."""
    for archive in tree.archives:
        for path, content in flat(archive.files):
            write(folder / archive.into / path, content)
    return folder


def flat(files: Files) -> Iterator[tuple[str, bytes]]:
    """All files, those of an inner archive in a folder without its suffix."""
    for path, content in files.items():
        if isinstance(content, bytes):
            yield path, content
        else:
            folder = path.rpartition(".")[0]
            yield from ((f"{folder}/{inner}", found) for inner, found in flat(content))


def write(path: Path, content: bytes) -> None:
    """Writes a file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def small(name: str, **counts: tuple[int, int]) -> Benchmark:
    """A table entry with other counts, and shards of five records."""
    benchmark = BENCHMARKS[name]
    parts = {
        part: Part(*counts.get(part, (0, 0)), *about[2:]) for part, about in benchmark.parts.items()
    }
    return dataclasses.replace(benchmark, parts=parts, shard=5)


def matrix(**arrays: object) -> bytes:
    """A MATLAB file."""
    made = io.BytesIO()
    scipy.io.savemat(made, arrays)
    return made.getvalue()


def structs(**columns: list) -> np.ndarray:
    """A struct array as MATLAB has it: one row, a field for each column."""
    rows = len(next(iter(columns.values())))
    made = np.zeros((1, rows), dtype=[(name, object) for name in columns])
    for name, values in columns.items():
        for row, value in enumerate(values):
            made[0, row][name] = value
    return made


def cells(names: list[str]) -> np.ndarray:
    """A cell array of texts."""
    made = np.empty((1, len(names)), object)
    made[0, :] = names
    return made


CARS = [f"Make Model {number} 2012" for number in range(1, 197)]


def cars196() -> Tree:
    """Every class once, the classes mixed as they are not in the original; six more of class 1."""
    labels = [(i * 5) % 196 + 1 for i in range(196)] + [1] * 6
    names = [f"car_ims/{i:06}.jpg" for i in range(1, len(labels) + 1)]
    annotations = structs(
        relative_im_path=names,
        bbox_x1=[1] * len(names),
        **{"class": labels, "test": [i % 2 for i in range(len(names))]},
    )
    return Tree(
        small("cars196", train=(104, 98), test=(98, 98)),
        [
            Archive("car_ims.tgz", {n: image(n, k) for n, k in zip(names, labels, strict=True)}),
            Archive(
                "",
                {
                    "cars_annos.mat": matrix(annotations=annotations, class_names=cells(CARS)),
                    "README.txt": b"cars",
                },
            ),
        ],
    )


def cars196_parts() -> Tree:
    """The form with a training and a test part, each with every class once."""

    def part(name: str) -> tuple[Files, np.ndarray]:
        files = [f"{i:05}.jpg" for i in range(1, 197)]
        labels = [(i * 3) % 196 + 1 for i in range(196)]
        images = {f"{name}/{f}": image(name + f, k) for f, k in zip(files, labels, strict=True)}
        return images, structs(**{"class": labels, "fname": files})

    train, train_list = part("cars_train")
    test, test_list = part("cars_test")
    unlabelled = structs(fname=[f"{i:05}.jpg" for i in range(1, 197)])
    kit = {
        "devkit/cars_meta.mat": matrix(class_names=cells(CARS)),
        "devkit/cars_train_annos.mat": matrix(annotations=train_list),
        "devkit/cars_test_annos.mat": matrix(annotations=unlabelled),
    }
    return Tree(
        small("cars196", train=(196, 98), test=(196, 98)),
        [
            Archive("cars_train.tgz", train),
            Archive("cars_test.tgz", test),
            Archive("car_devkit.tgz", kit),
            Archive("", {"cars_test_annos_withlabels.mat": matrix(annotations=test_list)}),
        ],
    )


def cub() -> Tree:
    """One image of each of 200 classes, one more of class 2."""
    classes = [f"{number:03}.Bird_{number}" for number in range(1, 201)]
    found = [(f"{name}/{name[4:]}_{i:04}.jpg", i) for i, name in enumerate(classes, start=1)]
    found.insert(2, (f"{classes[1]}/Bird_2_0999.jpg", 2))
    base, numbered = "CUB_200_2011", list(enumerate(found, start=1))
    files = {f"{base}/images/{path}": image(path, label) for path, label in found}
    files[f"{base}/images.txt"] = lines(f"{i} {path}" for i, (path, _) in numbered)
    files[f"{base}/image_class_labels.txt"] = lines(f"{i} {label}" for i, (_, label) in numbered)
    files[f"{base}/classes.txt"] = lines(f"{i} {name}" for i, name in enumerate(classes, start=1))
    files[f"{base}/train_test_split.txt"] = lines(f"{i} {i % 2}" for i, _ in numbered)
    files["attributes.txt"] = b"1 has_bill_shape::curved\n"
    return Tree(
        small("cub", train=(101, 100), test=(100, 100)), [Archive("CUB_200_2011.tgz", files)]
    )


def sop() -> Tree:
    """Three training and two test classes of two images each."""
    header = "image_id class_id super_class_id path"
    rows = [
        (i, (i - 1) // 2 + 1, f"{kind}_final/1110851{(i - 1) // 2}_{(i - 1) % 2}.JPG")
        for i, kind in enumerate(["bicycle"] * 4 + ["coffee_maker"] * 2 + ["sofa"] * 4, start=1)
    ]
    base = "Stanford_Online_Products"
    files = {f"{base}/{path}": image(path, label) for _, label, path in rows}
    table = [f"{i} {label} 1 {path}" for i, label, path in rows]
    files[f"{base}/Ebay_train.txt"] = lines([header, *table[:6]])
    files[f"{base}/Ebay_test.txt"] = lines([header, *table[6:]])
    files[f"{base}/Ebay_info.txt"] = lines([header, *table])
    return Tree(
        small("sop", train=(6, 3), test=(4, 2)), [Archive("Stanford_Online_Products.zip", files)]
    )


def inshop() -> Tree:
    """Two training items of two images, two test items of two queries and one in the gallery."""
    rows = [
        (f"img/{kind}/id_{item:08}/0{i}_{i}_front.jpg", f"id_{item:08}", status)
        for kind, item, statuses in (
            ("WOMEN/Dresses", 2, ("train", "train")),
            ("MEN/Denim", 80, ("query", "gallery", "query")),
            ("WOMEN/Blouses_Shirts", 1, ("train", "train")),
            ("WOMEN/Tees_Tanks", 7982, ("gallery", "query", "query")),
        )
        for i, status in enumerate(statuses, start=1)
    ]
    listed = lines(
        [str(len(rows)), "image_name item_id evaluation_status"]
        + [f"{path}   {item} {status}" for path, item, status in rows]
    )
    images = {path: image(path, 20 * i) for i, (path, _, _) in enumerate(rows)}
    paths = [path for path, _, _ in rows]
    return Tree(
        small("inshop", train=(4, 2), query=(4, 2), gallery=(2, 2)),
        [
            Archive("Img/img.zip", images, into="Img"),
            Archive("", {"Eval/list_eval_partition.txt": listed, "README.txt": b"x"}),
            Archive("", inshop_annotations(paths)),
        ],
    )


CLOTHES = {"WOMEN/Dresses": 3, "MEN/Denim": 2, "WOMEN/Blouses_Shirts": 1, "WOMEN/Tees_Tanks": 1}
ATTRIBUTES = ["a line", "zip", "v neck", "wash"]


def inshop_annotations(paths: list[str]) -> dict[str, bytes]:
    """The lists of In-shop's folder Anno. Landmark i of image n is at (n, i), by turns visible,
    occluded and cut off; an item has the attributes that its number's bits have; without
    the last it is unknown (0)."""
    landmarks, boxes, items = [], [], {}
    for n, path in enumerate(paths):
        _, sex, kind, item, _ = path.split("/")
        clothes = CLOTHES[f"{sex}/{kind}"]
        triples = [f"{i % 3} {n:03} {i:03}" for i in range({1: 6, 2: 4, 3: 8}[clothes])]
        landmarks.append(f"{path}   {clothes} 1  {'  '.join(triples)}")
        boxes.append(f"{path}   {clothes} 6  {n:03} 001 {n + 4:03} 005")
        bits = [1 if int(item[3:]) >> bit & 1 else -(bit < 3) for bit in range(len(ATTRIBUTES))]
        items[item] = f"{item}  {' '.join(map(str, bits))}"
    entries = " ".join(
        f"landmark_visibility_{i} landmark_location_x_{i} landmark_location_y_{i}"
        for i in range(1, 9)
    )
    head = f"image_name clothes_type variation_type {entries}"
    box_head = "image_name clothes_type pose_type x_1 y_1 x_2 y_2"
    return {
        "Anno/list_landmarks_inshop.txt": lines([str(len(paths)), head, *landmarks]),
        "Anno/list_bbox_inshop.txt": lines([str(len(paths)), box_head, *boxes]),
        "Anno/list_item_inshop.txt": lines([str(len(items)), *items]),
        "Anno/attributes/list_attr_cloth.txt": lines(
            [str(len(ATTRIBUTES)), "attribute_name", *ATTRIBUTES]
        ),
        "Anno/attributes/list_attr_items.txt": lines(
            [str(len(items)), "item_name attribute_labels", *items.values()]
        ),
    }


WNIDS = ["n01440764", "n01443537", "n02119789", "n15075141"]


def imagenet() -> Tree:
    """Four classes of two or three training and one or two validation images."""
    train = {}
    for k, wnid in enumerate(WNIDS):
        names = [f"{wnid}_{i}.JPEG" for i in ((10, 2, 7) if k else (3, 4))]
        train[f"{wnid}.tar"] = {name: image(name, 40 * k) for name in names}
    truth = [3, 1, 2, 4, 1]  # ILSVRC2012_ID, which is in another order than the classes
    of_id = {1: 2, 2: 3, 3: 0, 4: 1}
    synsets = structs(
        ILSVRC2012_ID=[1, 2, 3, 4, 1001],
        WNID=[*(WNIDS[of_id[i]] for i in (1, 2, 3, 4)), "n00001740"],
        words=["fox", "bolete", "tench", "goldfish", "entity"],
    )
    kit, val = "ILSVRC2012_devkit_t12/data", {}
    for i, number in enumerate(truth, start=1):
        val[f"ILSVRC2012_val_{i:08}.JPEG"] = image(
            f"ILSVRC2012_val_{i:08}.JPEG", 40 * of_id[number]
        )
    return Tree(
        small("imagenet", train=(11, 4), val=(5, 4)),
        [
            Archive("ILSVRC2012_img_train.tar", train, into="train"),
            Archive("ILSVRC2012_img_val.tar", val, into="val"),
            Archive(
                "ILSVRC2012_devkit_t12.tar.gz",
                {
                    f"{kit}/ILSVRC2012_validation_ground_truth.txt": lines(map(str, truth)),
                    f"{kit}/meta.mat": matrix(synsets=synsets),
                },
            ),
        ],
    )


def holidays() -> Tree:
    """Three groups of two, three and four images over two archives."""
    sizes = {1000: 2, 1001: 3, 1499: 4}
    names = [f"jpg/{group}{i:02}.jpg" for group, size in sizes.items() for i in range(size)]
    half = [{n: image(n) for n in part} for part in (names[:4], names[4:])]
    return Tree(
        small("holidays", test=(9, 3)),
        [Archive("jpg1.tar.gz", half[0]), Archive("jpg2.tar.gz", half[1])],
    )


def ukbench() -> Tree:
    """Three objects of four images, thumbnails of the same names beside them."""
    names = [f"ukbench{i:05}.jpg" for i in range(12)]
    files = {f"full/{n}": image(n, 20 * (i // 4)) for i, n in enumerate(names)}
    files |= {f"thumbnails/{n}": b"small" for n in names} | {"index.html": b""}
    return Tree(small("ukbench", test=(12, 3)), [Archive("ukbench.zip", files)])


def copydays() -> Tree:
    """Two originals, three strong attacks, two crops and one quality of each."""
    sources = ["200000.jpg", "200100.jpg"]
    strong = ["200001.jpg", "200101.jpg", "200102.jpg"]

    def files(folder: str, names: list[str]) -> dict[str, bytes]:
        return {f"{folder}{n}": image(folder + n, 50 * int(n[3]) + 5) for n in names}

    return Tree(
        small("copydays", original=(2, 2), strong=(3, 0), crops=(4, 2), jpegqual=(2, 2)),
        [
            Archive("copydays_original.tar.gz", files("", sources), into="original"),
            Archive("copydays_strong.tar.gz", files("", strong), into="strong"),
            Archive(
                "copydays_crop.tar.gz",
                files("crops/10/", sources) | files("crops/80/", sources),
            ),
            Archive("copydays_jpeg.tar.gz", files("jpegqual/3/", sources)),
        ],
    )


def persons(names: list[str], beside: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Images of different greys, and what lies beside them."""
    found = {name: image(name.rpartition("/")[2], 7 * i) for i, name in enumerate(names)}
    return found | (beside or {})


def market1501() -> Tree:
    """Two persons to train on, two who are tested, two images of nobody and two of junk."""
    base, train, test = "Market-1501-v15.09.15", "bounding_box_train", "bounding_box_test"
    names = [
        *(f"{train}/{n}.jpg" for n in ("0002_c1s1_000451_03", "0002_c2s1_000301_01")),
        *(f"{train}/{n}.jpg" for n in ("0007_c3s3_077419_03", "0007_c6s3_077419_01")),
        *(f"{test}/{n}.jpg" for n in ("0000_c1s1_000151_01", "0000_c4s2_000151_02")),
        *(f"{test}/{n}.jpg" for n in ("0001_c1s1_001051_03", "0001_c2s1_000301_00")),
        *(f"{test}/{n}.jpg" for n in ("0003_c5s1_001051_03.jpg", "-1_c1s1_000401_03")),
        f"{test}/-1_c6s3_077419_01.jpg",
        *(f"query/{n}.jpg" for n in ("0001_c1s1_001051_00", "0003_c1s6_015971_00")),
        "gt_bbox/0001_c1s1_001051_00.jpg",
    ]
    beside = {f"{base}/{test}/Thumbs.db": b"x", f"{base}/readme.txt": b"x"}
    files = persons([f"{base}/{name}" for name in names], beside)
    return Tree(
        small("market1501", train=(4, 2), query=(2, 2), gallery=(5, 3)),
        [Archive("Market-1501-v15.09.15.zip", files)],
    )


def dukemtmc() -> Tree:
    """A person to train on, one who is tested, and one whom nobody asks for."""
    names = [
        *(f"bounding_box_train/0001_c{c}_f0046182.jpg" for c in (2, 5, 8)),
        *(f"bounding_box_test/0002_c{c}_f0044158.jpg" for c in (1, 2)),
        "bounding_box_test/5388_c8_f0045183.jpg",
        "query/0002_c1_f0044158.jpg",
    ]
    return Tree(
        small("dukemtmc", train=(3, 1), query=(1, 1), gallery=(3, 2)),
        [Archive("DukeMTMC-reID.zip", persons([f"DukeMTMC-reID/{name}" for name in names]))],
    )


def cuhk02() -> Tree:
    """Two persons of one name in two pairs, one more of the second, and one of the tested pair."""
    names = [
        f"P{pair}/cam{camera}/{person}_{i:02}.png"
        for pair, person in ((1, "001"), (4, "001"), (4, "002"), (5, "001"))
        for camera in (1, 2)
        for i in (1, 2)
    ]
    return Tree(
        small("cuhk02", train=(12, 3), query=(2, 1), gallery=(2, 1)),
        [Archive("CUHK02.zip", persons(names))],
    )


def _cuhk03(boxes: str) -> Tree:
    """Three persons of two pairs of cameras; the last is tested, one image asking."""
    names = ["1_001_1_01.png", "1_001_2_06.png", "1_002_1_01.png", "2_001_1_01.png"]
    names += ["2_001_2_06.png", "2_001_2_07.png"]
    listed = matrix(
        filelist=np.array([[name] for name in names], object),
        labels=np.array([[1], [1], [2], [844], [844], [844]]),
        camId=np.array([[1], [2], [1], [1], [2], [2]]),
        train_idx=np.array([[1], [2], [3]]),
        query_idx=np.array([[4]]),
        gallery_idx=np.array([[5], [6]]),
    )
    return Tree(
        small(f"cuhk03_{boxes}", train=(3, 2), query=(1, 1), gallery=(2, 1)),
        [
            Archive(f"{boxes}.zip", persons([f"images_{boxes}/{name}" for name in names])),
            Archive("", {f"cuhk03_new_protocol_config_{boxes}.mat": listed}),
        ],
    )


def cuhk03_labeled() -> Tree:
    """Of the boxes drawn by hand."""
    return _cuhk03("labeled")


def cuhk03_detected() -> Tree:
    """Of the detector's boxes."""
    return _cuhk03("detected")


def grid() -> Tree:
    """Six persons, each in probe and gallery, three images of nobody; three persons train."""
    base, people = "underground_reid", range(1, 7)
    names = [f"{base}/probe/{p:04}_{p % 3 + 1}_25023_84_70_132_252.jpeg" for p in people]
    names += [f"{base}/gallery/{p:04}_{p % 3 + 4}_25008_169_19_74_204.jpeg" for p in people]
    names += [f"{base}/gallery/0000_{c}_25004_107_32_106_221.jpeg" for c in (1, 2, 7)]
    divided = np.empty((1, 10), object)
    for division in range(10):
        numbers = [(division + i) % 6 + 1 for i in range(3)]
        divided[0, division] = structs(first=[0], second=[0], third=[np.array([numbers])])
    partitions = matrix(trainIdxAll=divided, features=np.zeros((2, 2)))
    beside = {f"{base}/features_and_partitions.mat": partitions, f"{base}/README.txt": b"x"}
    return Tree(
        small("grid", probe=(6, 6), gallery=(9, 7)),
        [Archive("underground_reid.zip", persons(names, beside))],
    )


def viper() -> Tree:
    """Six persons, whose numbers have gaps, each under both cameras."""
    people = (0, 1, 2, 7, 45, 872)
    names = [f"VIPeR/cam_a/{p:03}_{45 * (p % 2):02}.bmp" for p in people]
    names += [f"VIPeR/cam_b/{p:03}_90.bmp" for p in people]
    return Tree(
        small("viper", cam_a=(6, 6), cam_b=(6, 6)),
        [Archive("VIPeR.v1.0.zip", persons(names, {"VIPeR/readme.txt": b"x"}))],
    )


def prid() -> Tree:
    """Four persons whom both cameras saw, and 201 and 202, who are others under each."""
    shared, base = (1, 2, 3, 200), "prid_2011/single_shot"
    names = [f"{base}/cam_a/person_{p:04}.png" for p in (*shared, 201)]
    names += [f"{base}/cam_b/person_{p:04}.png" for p in (*shared, 201, 202)]
    names.append("prid_2011/multi_shot/cam_a/person_0001/0001.png")
    return Tree(
        small("prid", cam_a=(5, 5), cam_b=(6, 6)), [Archive("prid_2011.zip", persons(names))]
    )


def ilids() -> Tree:
    """Five persons of two to four images."""
    sizes = {1: 2, 2: 3, 3: 4, 118: 2, 119: 3}
    base = "i-LIDS_Pedestrian/Persons"
    names = [f"{base}/{p:04}{i:03}.jpg" for p, size in sizes.items() for i in range(1, size + 1)]
    return Tree(small("ilids", persons=(14, 5)), [Archive("i-LIDS_Pedestrian.tgz", persons(names))])


def lines(found) -> bytes:
    """A text file."""
    return "".join(f"{line}\n" for line in found).encode()


TREES = {
    make.__name__: make
    for make in (
        cars196,
        cars196_parts,
        cub,
        sop,
        inshop,
        imagenet,
        holidays,
        ukbench,
        copydays,
        market1501,
        dukemtmc,
        cuhk02,
        cuhk03_labeled,
        cuhk03_detected,
        grid,
        viper,
        prid,
        ilids,
    )
}
