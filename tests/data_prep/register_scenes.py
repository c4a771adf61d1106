"""Synthetic skies for the tests of registration: stars at exact positions, seen through any map."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from imgturbo.sky import SkyImage

Map = Callable[[np.ndarray], np.ndarray]


def stars(seed: int, count: int, shape: tuple[int, int], margin: float = -40) -> tuple:
    """Positions (N, 2) that keep their distance, and fluxes; ``margin`` < 0 spills over the rim."""
    rng = np.random.default_rng(seed)
    low, high = margin, np.array([shape[1], shape[0]]) - margin
    chosen: list[np.ndarray] = []
    for point in rng.uniform(low, high, (20 * count, 2)):
        if all(np.hypot(*(point - other)) > 12 for other in chosen):
            chosen.append(point)
        if len(chosen) == count:
            break
    return np.array(chosen), rng.lognormal(4.0, 0.8, len(chosen))


def render(
    positions: np.ndarray,
    fluxes: np.ndarray,
    shape: tuple[int, int],
    noise: float = 0.5,
    seed: int = 0,
    width: float = 1.4,
) -> np.ndarray:
    """Gaussian stars of standard deviation ``width`` on white noise: (H, W) float32."""
    image = np.random.default_rng(seed).normal(10, noise, shape) if noise else np.full(shape, 10.0)
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    for (px, py), flux in zip(positions, fluxes, strict=True):
        gx = np.exp(-0.5 * ((x - px) / width) ** 2)
        gy = np.exp(-0.5 * ((y - py) / width) ** 2)
        image += flux * gx * gy
    return image.astype(np.float32)


def sky(image: np.ndarray, wcs: WCS | None = None, path: str = "field.fits") -> SkyImage:
    """An image (H, W) or (C, H, W) as read from ``path``."""
    return replace(SkyImage.from_array(image, wcs=wcs), path=Path(path))


def similarity(scale: float, degrees: float, shift: tuple, centre: tuple) -> Map:
    """r ↦ centre + shift + scale · rotation (r − centre)."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = scale * np.array([[c, -s], [s, c]])
    middle = np.asarray(centre, float)
    return lambda points: (points - middle) @ matrix.T + middle + np.asarray(shift)
