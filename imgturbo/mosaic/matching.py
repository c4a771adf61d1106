"""Does this image fit this model? Bands by name, fluxes by zero point, pixels by scale.

A network knows only the numbers it was trained on. The same sky in another unit is other numbers,
so fluxes are brought to the unit of the model's side first. With AB zero points ZP and ZP' of one
unit per pixel, in the image and in the model's side, m = ZP − 2.5 log₁₀ f holds in both, hence

    f' = f · 10^{0.4 (ZP' − ZP)}.

What cannot be brought over is an error in one line; what is merely risky is a warning.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.photometry import canonical_unit, is_surface_brightness

__all__ = ["band_order", "check_scale", "flux_factors", "output_zeropoints"]

SCALE_TOLERANCE = 0.02
PICTURE_BANDS = {"L", "R", "G", "B", "A"}
FILTER = re.compile(r"F\d{3,4}")


def band_order(
    wanted: Sequence[str], given: Sequence[str], what: str, stems: Sequence[str] = ()
) -> list[int]:
    """Index within `given` of each wanted band.

    Names decide, in any order and any case; extra bands are left out. Bands without a name of their
    own (pictures, FITS without FILTER, which are called like their file) are taken by count, in the
    order in which they come.

    Args:
        wanted: the bands of the model's input side.
        given: the bands of the image.
        what: the file, for the message.
        stems: names of the files, which say nothing about bands.

    Raises:
        ImgturboError: bands are missing, or their number differs where they have no names.
    """
    names = [name.upper() for name in given]
    if len(set(names)) == len(names) and all(name.upper() in names for name in wanted):
        return [names.index(name.upper()) for name in wanted]
    files = {stem.upper() for stem in stems}
    nameless = all(_says_nothing(name, files) for name in names)
    if nameless and len(given) == len(wanted):
        return list(range(len(wanted)))
    got = ", ".join(given) if not nameless else f"{len(given)} without a name"
    raise ImgturboError(
        f"{what}: bundle wants {', '.join(wanted)}; got {got}; "
        "give the missing bands, or name them with --bands if headers lie"
    )


def _says_nothing(name: str, files: set[str]) -> bool:
    """Whether a band is called like a colour of a picture, by a number, or like its file."""
    if name in PICTURE_BANDS or name.startswith("BAND"):
        return True
    bare = re.sub(r"_\d+$", "", name)  # the number tells two bands of one name apart
    return not name or (bare in files and not FILTER.match(bare))


def flux_factors(
    unit: str,
    zeropoints: Sequence[float | None],
    side: Side,
    what: str,
) -> npt.NDArray[np.float64] | None:
    """What each band's flux is multiplied by to be in the side's unit; None where nothing is.

    Surface brightness in the same unit is left alone. So are per-pixel units with the same zero
    points; with other ones (another detector, another exposure time) they are rescaled.

    Args:
        unit, zeropoints: of the image, bands already in the side's order.
        side: of the model's input.
        what: the file, for the message.

    Raises:
        ImgturboError: the units differ and a zero point is missing.
    """
    theirs, ours = unit, canonical_unit(side.unit)
    shifts = [
        None if a is None or b is None else float(b) - float(a)
        for a, b in zip(zeropoints, side.zeropoints, strict=True)
    ]
    if theirs == ours:
        moved = not is_surface_brightness(ours) and None not in shifts
        if not moved or max(abs(shift or 0.0) for shift in shifts) < 1e-3:
            return None
    elif not theirs:
        warnings.warn(
            f"{what}: no unit in the header; taken to be {side.unit}, as the bundle wants",
            stacklevel=2,
        )
        return None
    elif None in shifts:
        raise ImgturboError(
            f"{what}: bundle wants {side.unit or 'no unit'}; got {unit}, and without AB zero "
            "points on both sides (PHOTFLAM and PHOTPLAM, PIXAR_SR, or ABZP) it cannot be converted"
        )
    return 10.0 ** (0.4 * np.array([shift or 0.0 for shift in shifts]))


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


def output_zeropoints(side: Side, scale: float | None) -> tuple[float | None, ...]:
    """AB zero points of one unit per pixel on the output's grid.

    A surface brightness collects more flux in a larger pixel: ZP falls by 2.5 log₁₀ of the area.
    """
    trained = side.pixel_scale
    shift = 0.0
    if scale is not None and trained and is_surface_brightness(canonical_unit(side.unit)):
        shift = 5.0 * float(np.log10(scale / trained))
    return tuple(None if zp is None else float(zp) - shift for zp in side.zeropoints)
