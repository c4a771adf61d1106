"""Two images brought together: to one grid, to the same bands, into one unit.

What is done to an image before it is scored is part of its score. Bands go by their names, and
names that differ are refused. Another grid is reached by interpolation, which blurs, and a score
then judges the blur too; how much of it, a perfect prediction tells, the target itself brought to
the prediction's grid and back. What is read of large files lies in scratch files
(:mod:`imgturbo.scoring.held`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.mosaic.matching import nameless
from imgturbo.scoring.held import held, strips
from imgturbo.sky import FluxScale, SkyImage, SkyReader, open_sky, resample
from imgturbo.sky.bands import ascii_name, stem
from imgturbo.sky.frames import same_grid
from imgturbo.sky.overlap import require_common

__all__ = [
    "Image",
    "Matched",
    "as_sky",
    "flux_factors",
    "in_unit_of",
    "name_of",
    "on_grid",
    "there_and_back",
    "with_bands_of",
]

Image = SkyImage | NDArray[Any] | Path | str | Sequence[Path | str]


@dataclass
class Matched:
    """What was done to bring images together.

    Attributes:
        notes: lines for the user.
        resampled: what is to be known of each image that was brought to the target's grid, by its
            role; also among the notes.
    """

    notes: list[str] = field(default_factory=list)
    resampled: dict[str, str] = field(default_factory=dict)


def name_of(image: SkyImage, role: str = "") -> str:
    """What to call an image in a message."""
    if image.path is not None:
        return str(image.path)
    return f"the {role}'s array" if role else "the array"


def as_sky(image: Image, role: str, names: Sequence[str] | None = None) -> SkyImage:
    """An image of whatever is given, its bands called ``names`` if headers lie.

    Args:
        image: what is given.
        role: what it is, for messages.
        names: of its bands.

    Raises:
        ImgturboError: an array of another shape, names of another number, no common pixel.
    """
    sky = _opened(image, role, names)
    blocks = (np.isfinite(sky.data[:, rows]) for rows in strips(sky.valid.shape))
    require_common(blocks, sky.bands, name_of(sky, role))
    return sky


def _read(reader: SkyReader) -> SkyImage:
    """All of an image, some rows at a time."""
    shape = reader.shape
    parts = strips(shape[1:])
    data, valid = held(shape), held(shape[1:], np.bool_)
    for rows in parts:
        part = reader.read(rows)
        data[:, rows], valid[rows] = part.data, part.valid
    return replace(part, data=data, valid=valid, wcs=reader.wcs, zeropoints=reader.zeropoints)


def _opened(image: Image, role: str, names: Sequence[str] | None) -> SkyImage:
    if isinstance(image, SkyImage):
        return image if names is None else _renamed(image, names)
    if isinstance(image, np.ndarray):
        if image.ndim == 2:
            image = image[None]
        if image.ndim != 3:
            raise ImgturboError(f"{role}: an array must be (C, H, W) or (H, W), not {image.shape}")
        sky = SkyImage.from_array(image)
        return sky if names is None else _renamed(sky, names)
    with open_sky(image, names=names) as reader:
        return _read(reader)


def _renamed(image: SkyImage, names: Sequence[str]) -> SkyImage:
    if len(names) != len(image.bands):
        raise ImgturboError(
            f"{name_of(image)}: {len(names)} band names for {len(image.bands)} bands "
            f"({', '.join(image.bands)}); name each of them once"
        )
    return replace(image, bands=tuple(map(ascii_name, names)), named=(True,) * len(names))


def on_grid(
    image: SkyImage,
    grid: SkyImage,
    role: str,
    done: Matched,
    given: Image | None = None,
    names: Sequence[str] | None = None,
) -> SkyImage:
    """``image`` on the pixel grid of ``grid``; without a unit of its own, in the other's.

    Args:
        image: what was read.
        grid: whose grid it is to be on.
        role: what the image is, for messages.
        done: told what was done.
        given: what ``image`` was read of. Files are read again, so that bands on several grids are
            moved once.
        names: of the bands of ``given``, if headers lie.

    Raises:
        ImgturboError: sizes differ, and without a WCS on both sides nothing connects them.
    """
    same_shape = image.shape[1:] == grid.shape[1:]
    if image.wcs is None or grid.wcs is None:
        if same_shape:
            return image
        raise ImgturboError(
            f"{name_of(image)} is {image.shape[1]} × {image.shape[2]} pixels but {name_of(grid)} "
            f"is {grid.shape[1]} × {grid.shape[2]}, and without a WCS on both sides they cannot be "
            "brought together; crop or register them first (imgturbo prepare)"
        )
    if same_shape and same_grid(image.wcs, grid.wcs, (image.shape[1], image.shape[2])):
        return image
    if grid.unit and any(scale.unit.kind == "none" for scale in image.scales):
        done.notes.append(
            f"{name_of(image)}: no unit, taken to be {grid.unit} as in {name_of(grid)}"
        )
        image = replace(image, unit=grid.unit)
    done.resampled[role] = (
        f"the {role} was resampled from its own grid ({_grid_line(image)}) to the target's "
        f"({_grid_line(grid)}); interpolation blurs, and the scores judge the blur too"
    )
    done.notes.append(done.resampled[role])
    if given is None or isinstance(given, SkyImage | np.ndarray):
        return resample(image, grid.wcs, grid.shape[1:])
    with open_sky(given, unit=grid.unit, names=names) as reader:
        on = reader.on(grid.wcs, grid.shape[1:], name=name_of(grid))
        return _read(on).select(image.bands)


def _grid_line(image: SkyImage) -> str:
    _, height, width = image.shape
    return f"{height} × {width} pixels of {image.pixel_scale:.4g} arcsec"


def there_and_back(truth: SkyImage, grid: SkyImage) -> SkyImage:
    """The target as a perfect prediction on another grid would show it, on its own grid again."""
    assert truth.wcs is not None
    assert grid.wcs is not None
    there = resample(truth, grid.wcs, grid.shape[1:])
    return resample(there, truth.wcs, truth.shape[1:])


def with_bands_of(target: SkyImage, pred: SkyImage, done: Matched) -> SkyImage:
    """``pred`` with its bands in the target's order, by name; by count where one has no names.

    Names are what headers and callers say. Bands of pictures, of arrays and of files without
    FILTER have none.

    Raises:
        ImgturboError: bands of other names, or of another number.
    """
    wanted, given = ([ascii_name(band).upper() for band in im.bands] for im in (target, pred))
    if len(given) == len(wanted) and set(given) == set(wanted):
        return pred.select([pred.bands[given.index(name)] for name in wanted])
    unnamed = [_nameless(image) for image in (target, pred)]
    if any(unnamed) and len(wanted) == len(given):
        if not all(unnamed) and None not in (target.path, pred.path):
            told, silent = (pred, target) if unnamed[0] else (target, pred)
            done.notes.append(
                f"{name_of(silent)} does not name its bands: taken to be {', '.join(told.bands)}, "
                "in that order"
            )
        return pred
    raise ImgturboError(
        f"{name_of(pred)} has bands {', '.join(pred.bands)} but {name_of(target)} has "
        f"{', '.join(target.bands)}; give the same bands on both sides, or name the prediction's "
        "with --bands if headers lie"
    )


def _nameless(image: SkyImage) -> bool:
    stems = [] if image.path is None else [stem(image.path)]
    return nameless(image.bands, stems, image.named)


def in_unit_of(reference: SkyImage, image: SkyImage) -> SkyImage:
    """``image`` in the flux unit of ``reference``, band by band."""
    factors = flux_factors(image.scales, reference)
    if factors is not None:
        data = image.data
        if (factors != 1).any():
            data = held(image.shape)
            for rows in strips(image.valid.shape):
                data[:, rows] = image.data[:, rows] * factors
        return replace(image, data=data, unit=reference.unit, zeropoints=reference.zeropoints)
    if not image.unit or not reference.unit:
        return image  # an array, or a header without BUNIT: the user's word is taken
    raise ImgturboError(
        f"{name_of(reference)} is in {reference.unit} but {name_of(image)} in {image.unit}, and "
        "without AB zero points in both they cannot be compared; bring them to one unit"
    )


def flux_factors(scales: Sequence[FluxScale], reference: SkyImage) -> NDArray[np.float32] | None:
    """(C, 1, 1), from the flux scales to the reference's; None where nothing connects them."""
    factors = [a.factor_to(b) for a, b in zip(scales, reference.scales, strict=True)]
    known = np.array([factor for factor in factors if factor is not None])
    return known.astype(np.float32)[:, None, None] if len(known) == len(factors) else None
