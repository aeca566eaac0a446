"""Training images from JPEG files: ours beside PyTorch's DataLoader with Pillow.

"ours" cuts a crop from a picture's own pixels, and so decodes more of them for a small crop than
"square first", which enlarges what is left of the details; "full decode" is without either.

    pytest benchmarks/test_input.py            few small files
    pytest benchmarks/test_input.py --full     files of 256 px and 1,024 px

All make random resized crops of 224 px, half of them mirrored, in batches of uint8 pixels, of the
same files, read anew each time, by as many threads (of PyTorch's: processes), OpenCV and PyTorch
with no threads of their own. Needs scikit-image, whose photographs the files show, and PyTorch.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8
from results import Table, number

from abe_jax.comparison import timing
from abe_jax.data import Augmentation, Preprocessing, loader
from abe_jax.data.images import augmentation, crops, decoding
from abe_jax.data.sources.image_files import Files
from abe_jax.data.split import Split

SIZE = 224
PREPROCESSING = Preprocessing(resize=256, size=SIZE, fit="pad")
AUGMENTATION = Augmentation(crop="resized", flip=True)
SIDES = {False: (64, 512), True: (256, 1024)}  # of square files, by --full
COUNT, BATCH = {False: 8, True: 48}, {False: 4, True: 12}  # of files, and of them in a batch
THREADS = (1, 2)
PYTORCH = "PyTorch, Pillow"
HEAD = ("file", "loader", "threads", "images/s", "images/s per core", "speed / PyTorch")

Picture = Callable[[bytes, np.random.Generator], UInt8[np.ndarray, "h w c"]]


def in_full(encoded: bytes, rng: np.random.Generator) -> UInt8[np.ndarray, "h w c"]:
    """Decoded at full size, scaled to the square, then cropped and scaled again."""
    image = decoding.pixels(encoded)
    square = crops.resized(image, *PREPROCESSING.frame)
    return augmentation.augment(square, PREPROCESSING, AUGMENTATION, rng)


def square_first(encoded: bytes, rng: np.random.Generator) -> UInt8[np.ndarray, "h w c"]:
    """Decoded at reduced scale, but scaled to the square before it is cropped."""
    square = PREPROCESSING.decode(encoded)
    return augmentation.augment(square, PREPROCESSING, AUGMENTATION, rng)


def cropped_first(encoded: bytes, rng: np.random.Generator) -> UInt8[np.ndarray, "h w c"]:
    """As training does: decoded at reduced scale, cropped, scaled once."""
    return augmentation.augmented(encoded, PREPROCESSING, AUGMENTATION, rng)


OURS: dict[str, Picture] = {
    "ours, full decode, square first": in_full,
    "ours, reduced decode, square first": square_first,
    "ours": cropped_first,
}


def photographs(place: Path, side: int, count: int) -> list[str]:
    """Square JPEG files of parts of photographs, of quality 90."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    sources = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    rng, paths = np.random.default_rng(0), []
    place.mkdir()
    for index in range(count):
        original = sources[index % len(sources)]
        part = round(min(original.shape[:2]) * rng.uniform(0.7, 1))
        top, left = (int(rng.integers(0, complete - part + 1)) for complete in original.shape[:2])
        shown = original[top : top + part, left : left + part, ::-1]
        shown = cv2.resize(shown, (side, side), interpolation=cv2.INTER_CUBIC)
        paths.append(str(place / f"{index}.jpg"))
        cv2.imwrite(paths[-1], shown, (cv2.IMWRITE_JPEG_QUALITY, 90))
    return paths


def ours(paths: list[str], batch: int, picture: Picture, threads: int) -> Callable[[], int]:
    """All files once through the loader; how many images came."""
    split = Split(
        name="train",
        records=Files(Path("/"), [path.lstrip("/") for path in paths]),
        labels=np.zeros(len(paths), np.int32),
        groups=None,
        class_names=("all",),
    )

    def batch_of(step: int) -> loader.Batch:
        indices = np.arange(step * batch, (step + 1) * batch)

        def seen(place: int, encoded: bytes) -> UInt8[np.ndarray, "h w c"]:
            return picture(encoded, np.random.default_rng((0, step, place)))

        return loader.load(split, indices, (SIZE, SIZE, 3), seen)

    def call() -> int:
        batches = loader.prefetched(batch_of, 0, len(paths) // batch, threads)
        return sum(int(made.mask.sum()) for made in batches)

    return call


def theirs(paths: list[str], batch: int, threads: int) -> Callable[[], int]:
    """All files once through PyTorch's DataLoader; one thread is the program's own."""
    torch_data = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed")
    from pillow_files import Files

    processes = threads if threads > 1 else 0
    made = torch_data.DataLoader(
        Files(paths, SIZE),
        batch_size=batch,
        num_workers=processes,
        multiprocessing_context="spawn" if processes else None,
        persistent_workers=bool(processes),
    )
    return lambda: sum(len(images) for images in made)


@pytest.fixture
def one_thread_each():
    """OpenCV and PyTorch without threads of their own."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


@pytest.mark.usefixtures("one_thread_each")
def test_training_images_by_second(
    full: bool, rounds: int, tables: list[Table], tmp_path: Path
) -> None:
    rows: list[tuple[str, ...]] = []
    count, batch = COUNT[full], BATCH[full]
    calls: dict[tuple[int, str, int], Callable[[], int]] = {}
    for side in SIDES[full]:
        paths = photographs(tmp_path / str(side), side, count)
        for threads in THREADS:
            calls[side, PYTORCH, threads] = theirs(paths, batch, threads)
            for name, picture in OURS.items():
                calls[side, name, threads] = ours(paths, batch, picture, threads)
    assert {call() for call in calls.values()} == {count}
    seconds = timing.medians({str(key): call for key, call in calls.items()}, rounds)
    for side, name, threads in calls:
        taken, base = (seconds[str((side, each, threads))] for each in (name, PYTORCH))
        rate = count / taken
        cells = f"{side:,} px", name, str(threads), number(rate), number(rate / threads)
        rows.append((*cells, f"{base / taken:.2f}"))
    tables.append(
        Table(
            title=f"Training images from JPEG files: random resized crops of {SIZE} px",
            note=(
                f"Medians over {rounds} interleaved rounds of {count} square files of quality 90 "
                "in the disk's cache, each read, decoded, cropped, mirrored and put into a batch. "
                "Threads: of PyTorch's DataLoader none and 2 worker processes, already started. "
                "The last column: PyTorch's time at as many threads over the row's."
            ),
            head=HEAD,
            rows=rows,
        )
    )
