"""A strip, tiles and a bundle small enough to be made in no time; nothing of it is real."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from tiles_anywhere import anywhere

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/ is not installed

from imgturbo.data import Tiles, TileSpec, TileStore
from imgturbo.side import Side
from imgturbo.sky import SkyImage, write_sky
from imgturbo.sky.stretch import Stretch

ROWS, HEIGHT, WIDTH = 96, 61, 83  # of the field, of the strip
TILE = 16
SIDE = Side(("R", "G", "B"), "display", Stretch.linear(3))


def nominal_wcs(first_row: int = 0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 180.0, 0.0
    wcs.wcs.crpix = WIDTH / 2, ROWS / 2 - first_row
    wcs.wcs.cdelt = -1 / 3600, 1 / 3600
    return wcs


def pictures(height: int = ROWS, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """A Hubble-like blur and its Webb-like original, (3, H, W) in 0…1."""
    random = np.random.default_rng(3)
    webb = np.clip(random.random((3, height, width)) ** 3, 0, 1).astype(np.float32)
    hubble = (webb + np.roll(webb, 1, 1) + np.roll(webb, 1, 2)) / 3
    return (0.8 * hubble + 0.05).astype(np.float32), webb


def make_work(folder: Path) -> Path:
    """The benchmark's folder with aligned images, as the preparation leaves it."""
    hubble, webb = pictures()
    hubble[:, -1, :5] = np.nan
    aligned = folder / "aligned"
    aligned.mkdir(parents=True)
    first = ROWS - HEIGHT
    for side, data in (("source", hubble), ("target", webb)):
        for part, top in (("", 0), ("validation_", first)):
            image = SkyImage.from_array(
                data[:, top:], wcs=nominal_wcs(top), unit="display", bands=("R", "G", "B")
            )
            write_sky(aligned / f"smacs0723_{part}{side}.fits", image)
    return folder


def make_tiles(path: Path) -> Path:
    hubble, webb = pictures(TILE * 4, TILE * 4)
    with TileStore.create(path, TileSpec(TILE, SIDE, SIDE, ("field",), {})) as writer:
        for split, n in (("train", 8), ("validation", 3)):
            cut = [(k // 4 * TILE, k % 4 * TILE) for k in range(n)]
            z, x = (
                np.stack([u[:, y : y + TILE, c : c + TILE] for y, c in cut]) for u in (hubble, webb)
            )
            valid = np.ones((n, TILE, TILE), bool)
            writer.append(
                split,
                Tiles(
                    z, x, valid, valid,
                    **anywhere(n),
                ),
            )  # fmt: skip
    return path
