"""One grey image of several bands, for metrics that are defined on brightness alone.

Pictures (bands R, G, B) are weighed as the eye weighs them, Y = 0.299 R + 0.587 G + 0.114 B
(ITU-R BT.601, the weights of HaarPSI and SSIM); bands of a telescope, which no eye has weighed, by
their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["luminance"]

_EYE = {"R": 0.299, "G": 0.587, "B": 0.114}


def luminance(image: NDArray[Any], bands: Sequence[str]) -> NDArray[np.float32]:
    """(H, W) of ``image`` (C, H, W), whose bands are named in order."""
    if set(bands) == set(_EYE):
        weights = np.array([_EYE[band] for band in bands], np.float32)
    else:
        weights = np.full(len(image), 1 / len(image), np.float32)
    return np.tensordot(weights, image.astype(np.float32, copy=False), axes=1)
