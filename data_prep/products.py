"""What preparation leaves for people: aligned images of each field, and a glance at the tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.split import Areas
from data_prep.staging import Staged
from data_prep.survey import FieldSurvey
from imgturbo.config import SplitConfig
from imgturbo.data.store import TileStore
from imgturbo.files import naming
from imgturbo.sky import SkyImage, write_sky
from imgturbo.sky.photometry import DISPLAY

__all__ = ["aligned_files", "quick_look", "write_aligned"]


def _parts(field: FieldSurvey, split: SplitConfig) -> list[str]:
    """Parts of a field's file names: the whole, and the held-out rows where there are such."""
    strip = split.method == "rows" and field.config.split == "auto"
    return ["", "validation_"] if strip else [""]


def aligned_files(folder: Path, fields: Sequence[FieldSurvey], split: SplitConfig) -> list[Path]:
    """The files that :func:`write_aligned` leaves."""
    return [
        folder / f"{field.config.name}_{part}{side}.fits"
        for field in fields
        for part in _parts(field, split)
        for side in ("source", "target")
        if getattr(field, side) is not None
    ]


def write_aligned(
    folder: Path,
    fields: Sequence[FieldSurvey],
    staged: Sequence[Staged],
    areas: Sequence[Areas],
    split: SplitConfig,
) -> None:
    """Write each field on its common grid: ``NAME_source.fits`` and ``NAME_target.fits``.

    With the ``rows`` division, the held-out rows also as ``NAME_validation_source.fits`` and
    ``NAME_validation_target.fits``. Pictures are written as FITS too: their values stay floats.
    """
    with naming(folder, "choose another folder", "cannot be made for the aligned images"):
        folder.mkdir(parents=True, exist_ok=True)
    for field, piece, area in zip(fields, staged, areas, strict=True):
        for part in _parts(field, split):
            for side in piece.sides:
                image = piece.image(side)
                if part:
                    y0, y1, x0, x1 = area.validation[0]
                    image = image.window(slice(y0, y1), slice(x0, x1))
                path = folder / f"{field.config.name}_{part}{side}.fits"
                write_sky(path, image, overwrite=True)  # of an earlier preparation


def quick_look(store: TileStore, path: Path | str, count: int = 8) -> None:
    """A picture of some training tiles: sources above, targets below, three bands at most.

    Args:
        store: the tiles.
        path: PNG or TIFF to write.
        count: tiles, spread evenly over the split.
    """
    split = store.split("train")
    rows = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int))
    strips = []
    for side in ("source", "target"):
        tiles: NDArray[np.float32] = getattr(split, side).take(rows)
        if tiles.shape[1]:
            order = [0, tiles.shape[1] // 2, -1]
            # Bands go from blue to red, the channels of a picture from red to blue.
            shown = tiles[:, order if getattr(store, side).names[0] == "R" else order[::-1]]
            up = getattr(store, side).unit != DISPLAY  # rows of the sky run upward
            strips.append(np.concatenate(list(shown[:, :, ::-1] if up else shown), axis=-1))
    picture = SkyImage.from_array(
        np.clip(np.concatenate(strips, axis=-2), 0, 1), unit="display", bands=("R", "G", "B")
    )
    write_sky(path, picture)
