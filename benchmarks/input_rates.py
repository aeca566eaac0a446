"""How many training images a second come from files and from prepared records, by threads.

    python benchmarks/input_rates.py [--small] [--seconds 60]    prints a table

Every form below is read anew each time, decoded, cropped, mirrored and put into a batch, as
training does. The last three are what a preparation could store: frames of `resize` px, from which
the plain crop is cut as it is from a whole image, while the resized one sees the frame's pixels
alone. Training reads JPEG and PPM today; bare pixels are the bound. benchmarks/gpu.py asks for the
same, and compares it with the steps' rates.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter as now
from typing import Any

import cv2
import gpu_workers
import input_tables
import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import UInt8

from abe_jax.data import Augmentation, Preprocessing, loader
from abe_jax.data.images import augmentation
from abe_jax.data.sources.image_files import Files
from abe_jax.data.sources.prepared import EncodedImages
from abe_jax.data.split import Records, Split

CROPS = {
    "plain": Augmentation(crop="plain", flip=True),
    "resized": Augmentation(crop="resized", flip=True),
}
THREADS = {False: (1, 2, 4, 8, 16), True: (1, 2)}  # by `small`
SIDES = {False: (640, 480), True: (96, 72)}  # of the files, px
FRAMES = {False: (256, 224), True: (40, 32)}  # px of the frame and of the crop
PHOTOGRAPHS = {False: 64, True: 8}
BATCH, BATCHES = {False: 16, True: 2}, {False: 4, True: 2}  # rows; batches by thread in a round
Key = tuple[str, str, int]  # crop, form, threads
Pixels = UInt8[np.ndarray, "h w c"]


def photograph(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Noise whose strength falls with its fineness, as that of photographs does."""
    image = np.zeros((height, width, 3), np.float32)
    for scale in (1, 2, 4, 8, 16, 32, 64):
        sides = max(1, height // scale), max(1, width // scale)
        fine = rng.standard_normal((*sides, 3), np.float32)
        image += scale * cv2.resize(fine, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * image / image.std(), 0, 255).astype(np.uint8)


def encoded(image: Pixels, quality: int) -> bytes:
    """As JPEG."""
    done, made = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done
    return made.tobytes()


def plain(image: Pixels) -> bytes:
    """As a PPM file: its size, then its pixels."""
    height, width, _ = image.shape
    return b"P6\n%d %d\n255\n" % (width, height) + image.tobytes()


class Form:
    """A way to store images: its records, and from one of them to a training image."""

    def __init__(self, name: str, records: Records, frame: int = 0):
        self.name, self.records = name, records
        self._frame = frame  # px of frames stored as pixels; 0: files of images

    @property
    def kilobytes(self) -> float:
        """Of a record, on average."""
        sizes = [len(self.records[i]) for i in range(len(self.records))]
        return sum(sizes) / len(sizes) / 1e3

    def image(
        self, record: bytes, preprocessing: Preprocessing, crop: str, rng: np.random.Generator
    ) -> Pixels:
        """What training sees of a record."""
        if not self._frame:
            return augmentation.augmented(record, preprocessing, CROPS[crop], rng)
        frame = np.frombuffer(record, np.uint8).reshape(self._frame, self._frame, 3)
        return augmentation.augment(frame, preprocessing, CROPS[crop], rng)


def forms(folder: Path, preprocessing: Preprocessing, small: bool) -> list[Form]:
    """All ways, each of the same photographs, written below `folder`."""
    rng = np.random.default_rng(0)
    complete = [encoded(photograph(rng, *SIDES[small]), 90) for _ in range(PHOTOGRAPHS[small])]
    frames = [preprocessing.decode(each) for each in complete]
    paths = [f"{i}.jpg" for i in range(len(complete))]
    for path, content in zip(paths, complete, strict=True):
        (folder / path).write_bytes(content)
    side, named = frames[0].shape[0], f"frames of {frames[0].shape[0]} px"
    jpeg, ppm = [encoded(f, 95) for f in frames], [plain(f) for f in frames]
    return [
        Form("files", Files(folder, paths)),
        Form("records of files", _records(folder / "whole", complete)),
        Form(f"{named}, JPEG 95", _records(folder / "jpeg", jpeg)),
        Form(f"{named}, PPM", _records(folder / "ppm", ppm)),
        Form(f"{named}, pixels", _records(folder / "pixels", [f.tobytes() for f in frames]), side),
    ]


def _records(path: Path, contents: Sequence[bytes]) -> EncodedImages:
    """Contents as prepared data has them."""
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for content in contents:
        writer.write(content)
    writer.close()
    rows = np.arange(len(contents))
    return EncodedImages(path.parent, [ArrayRecordDataSource([str(path)])], rows, key="")


def reading(
    form: Form, preprocessing: Preprocessing, crop: str, threads: int, small: bool
) -> Callable[[], int]:
    """A call that takes one round of batches through training's loader; how many images came."""
    split = Split(
        name="train",
        records=form.records,
        labels=np.zeros(len(form.records), np.int32),
        class_names=("all",),
    )
    batch, shape = BATCH[small], (*preprocessing.shape, 3)

    def batch_of(step: int) -> loader.Batch:
        rows = np.arange(step * batch, (step + 1) * batch) % len(form.records)

        def seen(place: int, record: bytes) -> Pixels:
            return form.image(record, preprocessing, crop, np.random.default_rng((0, step, place)))

        return loader.load(split, rows, shape, seen)

    def call() -> int:
        batches = loader.prefetched(batch_of, 0, BATCHES[small] * threads, threads)
        return sum(int(made.mask.sum()) for made in batches)

    return call


def in_turns(
    calls: Mapping[Key, Callable[[], int]],
    seconds: float,
    rounds: int,
    clock: Callable[[], float] = now,
) -> dict[Key, list[float]]:
    """Images/s of each call in so many rounds that run all of them in turn.

    No call begins behind so many seconds but the first, so that those of a slow machine may lack.
    """
    rates: dict[Key, list[float]] = {}
    end = clock() + seconds
    for _ in range(rounds):
        for key, call in calls.items():
            start = clock()
            if rates and start >= end:
                return rates
            images = call()
            rates.setdefault(key, []).append(images / (clock() - start))
    return rates


def measure(small: bool, seconds: float, rounds: int = 9) -> list[dict[str, Any]]:
    """Images/s of every form, crop and number of threads, as `in_turns` has them."""
    resize, size = FRAMES[small]
    preprocessing = Preprocessing(resize=resize, size=size, fit="pad")
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            stored = forms(Path(folder), preprocessing, small)
            calls = {
                (crop, form.name, threads): reading(form, preprocessing, crop, threads, small)
                for crop in CROPS
                for form in stored
                for threads in THREADS[small]
            }
            sizes = {form.name: form.kilobytes for form in stored}
            rates = in_turns(calls, seconds, rounds)
    finally:
        cv2.setNumThreads(before)
    return [
        {"crop": crop, "form": form, "kilobytes": sizes[form], "threads": threads, "rates": found}
        for (crop, form, threads), found in rates.items()
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="few small images, any machine")
    parser.add_argument("--seconds", type=float, default=60.0, help="about how long")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        gpu_workers.serve({"measure": measure})
    else:
        print(input_tables.table(measure(asked.small, asked.seconds)))
