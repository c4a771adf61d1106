"""A distance between sets of images for two single images: the sets are their crops.

Both images are cut at the same fixed places: squares of 128 pixels, every 64 pixels, the last ones
moved back to end at the border; large images further apart, so that there are 1024 at most. Crops
that overlap are not independent, and n of them stand for fewer, so that :mod:`.frechet`'s number is
to be compared between predictions of the same image alone, where places and n agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.metrics.frechet import NAME, FeatureMoments, frechet_distance, frechet_features
from imgturbo.metrics.perceptual import Unavailable

__all__ = ["CropFrechet", "crop_places"]

SIZE = 128  # pixels
STRIDE = 64
MOST = 1024
LEAST = 100  # crops; a covariance of fewer says nothing
_VALID = 0.9  # of a crop's pixels
_BATCH = 32


def crop_places(valid: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First row and column of every crop of an image whose measured pixels are ``valid`` (H, W)."""
    if min(valid.shape) < SIZE:
        return []
    stride = STRIDE
    while True:
        rows, cols = (_starts(side, stride) for side in valid.shape)
        if len(rows) * len(cols) <= MOST:
            break
        stride = ceil(stride * 1.25)
    whole = SIZE * SIZE * _VALID
    return [
        (row, col)
        for row in rows
        for col in cols
        if valid[row : row + SIZE, col : col + SIZE].sum() >= whole
    ]


def _starts(length: int, stride: int) -> list[int]:
    return [*range(0, length - SIZE, stride), length - SIZE]


class CropFrechet:
    """Fréchet distance (EfficientNet-Lite0) of predictions to one target, crop by crop.

    Args:
        target: (C, H, W), range [0, 1], 0 where not valid.
        valid: (H, W).

    Raises:
        Unavailable: the extra is not installed, or there are too few crops.
    """

    def __init__(self, target: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        self._places = crop_places(valid)
        if len(self._places) < LEAST:
            raise Unavailable(
                f"{NAME} skipped: {len(self._places)} crops of {SIZE} pixels are too few, "
                f"{LEAST} are needed"
            )
        self._truth = self._moments(target)

    @property
    def crops(self) -> int:
        """n, of each side."""
        return len(self._places)

    def __call__(self, pred: NDArray[np.float32]) -> float:
        """d² of ``pred`` (C, H, W), on the target's grid and scale."""
        mine = self._moments(pred)
        truth = self._truth
        return frechet_distance(mine.mean, mine.covariance, truth.mean, truth.covariance)

    def _moments(self, image: NDArray[np.float32]) -> FeatureMoments:
        moments = FeatureMoments()
        for batch in self._batches(image):
            moments.update(frechet_features(torch.from_numpy(batch)))
        return moments

    def _batches(self, image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        for first in range(0, len(self._places), _BATCH):
            places = self._places[first : first + _BATCH]
            yield np.stack([image[:, y : y + SIZE, x : x + SIZE] for y, x in places])
