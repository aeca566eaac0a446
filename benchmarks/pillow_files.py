"""Training's sight of files as PyTorch programs take it: Pillow, RandomResizedCrop, a mirror."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch.utils.data import Dataset


class Files(Dataset[np.ndarray]):
    """Crops of image files as uint8 [size, size, 3]; in a file of its own for worker processes."""

    def __init__(self, paths: Sequence[str], size: int):
        self._paths, self._size = paths, size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        with Image.open(self._paths[index]) as opened:
            image = opened.convert("RGB")
        left, top, width, height = _box(*image.size, rng)
        crop = image.crop((left, top, left + width, top + height))
        crop = crop.resize((self._size, self._size), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.array(crop)  # PyTorch wants what can be written to


def _box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1.0)
        aspect = math.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3)))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if wide <= width and high <= height:
            left = int(rng.integers(0, width - wide, endpoint=True))
            return left, int(rng.integers(0, height - high, endpoint=True)), wide, high
    return 0, 0, width, height
