"""Lightness and colour: sRGB ↔ CIE L*a*b*.

L runs from 0 (black) to 100 (white) and is all that a grey picture knows; a (green to red) and b
(blue to yellow) are its colours, 0 for grey. What the flow models is p(a, b | L), of

    y = (f − offset)/scale,     offset = (47.5; 2.4, 7.4),     scale = (25.6; 11.2, 16.8)

for (L; a, b), roughly the mean and deviation over photographs (Ardizzone et al. 2019,
arXiv:1907.02392, published code). Observer 2°, illuminant D65.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.sky.stretch import Stretch

__all__ = [
    "COLOUR",
    "LAB",
    "LIGHTNESS",
    "colours_grey",
    "lab_to_rgb",
    "rgb_to_lab",
]

LAB = "Lab"
"""Unit of L, a and b."""

LIGHTNESS = Stretch(np.array([47.5]), np.array([np.inf]), np.array([25.6]))
COLOUR = Stretch(np.array([2.4, 7.4]), np.array([np.inf, np.inf]), np.array([11.2, 16.8]))

Planes = NDArray[np.float32]

_STRIP = 512  # rows


def colours_grey(source: Sequence[str], target: Sequence[str]) -> bool:
    """Whether a model between bands of these names goes from lightness to colour."""
    return tuple(source) == ("L",) and tuple(target) == ("a", "b")


def rgb_to_lab(rgb: NDArray[Any]) -> Planes:
    """L, a, b (3, H, W) of sRGB (3, H, W) from 0 to 1; NaN where any of the three is."""
    from skimage.color import rgb2lab

    lab = np.empty((3, *rgb.shape[1:]), np.float32)
    for rows in _strips(rgb):
        valid = np.isfinite(rgb[:, rows]).all(0)
        part = np.where(valid, rgb[:, rows], 0).astype(np.float32)
        lab[:, rows] = np.where(valid, rgb2lab(part, channel_axis=0), np.nan)
    return lab


def lab_to_rgb(lab: NDArray[Any]) -> Planes:
    """sRGB (3, H, W) from 0 to 1 of L, a, b (3, H, W); NaN where any of the three is.

    L is clamped to 0…100, a and b to ±128; colours that no screen shows are moved to the nearest
    value of each channel.
    """
    from skimage.color import lab2rgb

    rgb = np.empty((3, *lab.shape[1:]), np.float32)
    for rows in _strips(lab):
        valid = np.isfinite(lab[:, rows]).all(0)
        part = np.where(valid, lab[:, rows], 0).astype(np.float32)
        np.clip(part[0], 0, 100, out=part[0])
        np.clip(part[1:], -128, 128, out=part[1:])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tells of impossible colours, which are expected
            rgb[:, rows] = np.where(valid, lab2rgb(part, channel_axis=0), np.nan)
    return rgb


def _strips(planes: NDArray[Any]) -> list[slice]:
    """Rows of (C, H, W), some at a time: a conversion holds many planes beside its own."""
    return [slice(top, top + _STRIP) for top in range(0, planes.shape[1], _STRIP)]
