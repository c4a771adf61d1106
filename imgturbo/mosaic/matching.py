"""Does this image fit this model? Bands by name, fluxes by zero point, pixels by scale.

A network knows only the numbers it was trained on. The same sky in another unit, or on pixels of
another area, is other numbers, so values are brought to the flux scale of the model's side first
(unit, zero point and pixel area, :class:`imgturbo.sky.FluxScale`):

    f' = f · 10^{0.4 (ZP' − ZP)} · Ω'/Ω.

What cannot be brought over is an error in one line; what is merely risky is a warning.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky import FluxScale, Stretch
from imgturbo.sky.bands import ascii_name, is_filter
from imgturbo.sky.photometry import DISPLAY, check_display

__all__ = [
    "band_order",
    "check_scale",
    "check_values",
    "flux_factors",
    "nameless",
    "warn_assumed",
    "warn_uncalibrated",
]

SCALE_TOLERANCE = 0.02
_NOTHING = 1e-4  # mag
_FAR = 1.5  # decades of noise that no two skies differ by
PICTURE_BANDS = {"L", "R", "G", "B", "A"}


def band_order(
    wanted: Sequence[str],
    given: Sequence[str],
    what: str,
    stems: Sequence[str] = (),
    stated: Sequence[bool] = (),
) -> list[int]:
    """Index within `given` of each wanted band.

    Names decide, in any order and any case; extra bands are left out. Bands without a name of their
    own (pictures, FITS without FILTER, which are called like their file) are taken by count, in the
    order in which they come, with a word to the user where they come from several files. A file
    that is called like a filter (``i.fits``) has a name.

    Args:
        wanted: the bands of the model's input side.
        given: the bands of the image.
        what: the file, for the message.
        stems: names of the files, which say nothing about bands unless they are filters'.
        stated: for each band of the image, whether its header names it; empty: not known.

    Raises:
        ImgturboError: bands are missing, or their number differs where they have no names.
    """
    names, asked = ([ascii_name(name).upper() for name in some] for some in (given, wanted))
    if len(set(names)) == len(names) and all(name in names for name in asked):
        return [names.index(name) for name in asked]
    files = {ascii_name(stem).upper() for stem in stems}
    unnamed = nameless(given, stems, stated)
    if unnamed and len(given) == len(wanted):
        if stated and len(files) > 1 and files & set(names):
            warnings.warn(
                f"{what}: no FILTER in the headers; taken to be {', '.join(wanted)}, in the order "
                "in which they are given",
                stacklevel=2,
            )
        return list(range(len(wanted)))
    got = ", ".join(given) if not unnamed else f"{len(given)} without a name"
    raise ImgturboError(
        f"{what}: bundle wants {', '.join(wanted)}; got {got}; "
        "give the missing bands, or name them with --bands if headers lie"
    )


def nameless(names: Sequence[str], stems: Sequence[str], stated: Sequence[bool]) -> bool:
    """Whether no band has a name of its own; arguments as of :func:`band_order`."""
    files = {ascii_name(stem).upper() for stem in stems}
    known = list(stated) if len(stated) == len(names) else [False] * len(names)
    return all(
        not header and _says_nothing(ascii_name(name).upper(), files)
        for name, header in zip(names, known, strict=True)
    )


def _says_nothing(name: str, files: set[str]) -> bool:
    """Whether a band is called like a colour of a picture, by a number, or like its file."""
    bare = re.sub(r"_\d+$", "", name)  # the number tells two bands of one name apart
    if bare in files:
        return not is_filter(bare)
    return not name or name in PICTURE_BANDS or name.startswith("BAND")


def flux_factors(
    scales: Sequence[FluxScale], side: Side, what: str
) -> npt.NDArray[np.float64] | None:
    """What each band's values are multiplied by to be those of the side; None where nothing is.

    Units, zero points and pixel areas are brought to the side's, so that the network sees the
    numbers that the same sky had in training; see :meth:`FluxScale.factor_to`. Pixels of nearly the
    trained size are not resampled, but their area counts.

    Args:
        scales: of the image on the pixels that the network will see, bands in the side's order.
        side: of the model's input.
        what: the file, for the message.

    Raises:
        ImgturboError: the units differ and a zero point is missing.
    """
    unit = scales[0].unit
    factors = [a.factor_to(b) for a, b in zip(scales, side.scales, strict=True)]
    if None in factors and not unit.name:
        warn_assumed(side, what)
        assumed = [replace(scale, unit=side.scales[0].unit, zeropoint=None) for scale in scales]
        factors = [a.factor_to(b) for a, b in zip(assumed, side.scales, strict=True)]
    found = np.array([factor for factor in factors if factor is not None])
    if len(found) < len(factors):
        raise ImgturboError(
            f"{what}: bundle wants {side.unit or 'no unit'}; got {unit.name}, and without AB zero "
            "points on both sides (PHOTFLAM and PHOTPLAM, PIXAR_SR, or ABZP) it cannot be converted"
        )
    like = unit.name in ("", side.scales[0].unit.name)
    return None if like and np.abs(2.5 * np.log10(found)).max() < _NOTHING else found


def warn_uncalibrated(scales: Sequence[FluxScale], side: Side, what: str) -> None:
    """Say, in one line, that a detector's unit is taken to be worth what the model's is.

    The electrons of another camera, or the counts of a longer exposure, are other fluxes.
    """
    unit = scales[0].unit
    if unit.counting and None not in side.zeropoints and None in [s.zeropoint for s in scales]:
        warnings.warn(
            f"{what}: states no AB zero point, so 1 {unit.name} is taken to be what it is in the "
            "bundle; set ABZP (or PHOTFLAM and PHOTPLAM) if camera or exposure are others",
            stacklevel=3,
        )


def warn_assumed(side: Side, what: str) -> None:
    """Say, in one line, that a unit that is not stated is taken to be the model's."""
    warnings.warn(
        f"{what}: no unit in the header; taken to be {side.unit}, as the bundle wants",
        stacklevel=3,
    )


def check_values(values: npt.NDArray[np.float32], side: Side, what: str) -> None:
    """Whether values whose unit was assumed, not stated, can be in the unit of the side.

    Args:
        values: (C, n, W) or (C, n), some of the image, bands in the side's order.
        side: of the model's input.
        what: the file, for the message.

    Raises:
        ImgturboError: the bundle reads pictures, 0 to 1, and these go far beyond.
    """
    if side.unit == DISPLAY:
        check_display(values, what)
        return
    fitted = Stretch.fit(values.reshape(len(values), -1))
    ratio = np.median(fitted.softening / side.stretch.softening)
    varied = bool(np.isfinite(values).any()) and np.nanstd(values) > 0
    if varied and 0 < ratio < np.inf and abs(np.log10(ratio)) > _FAR:
        warnings.warn(
            f"{what}: its noise is {ratio:.2g} times that of the training sky, so its unit is "
            f"hardly {side.unit}; state its unit in BUNIT, and ABZP",
            stacklevel=2,
        )


def check_scale(scale: float | None, side: Side, what: str) -> None:
    """Warn, in one line, where pixels are not the size that the model was trained on."""
    trained = side.pixel_scale
    if scale is None or not trained or abs(scale / trained - 1) <= SCALE_TOLERANCE:
        return
    warnings.warn(
        f"{what}: pixels of {scale:.4g} arcsec, but the bundle was trained at {trained:.4g}; "
        "leave --grid out, or expect wrong sharpness",
        stacklevel=2,
    )
