"""Flux scales: what one number in one pixel means, and what it becomes elsewhere.

    m_AB = ZP − 2.5 log₁₀(f),    f the sum of pixel values

A flux of one jansky has m_AB = 8.90, so for a pixel value of u janskys ZP = 8.90 − 2.5 log₁₀ u:
31.4 for nJy, 28.9 for the 10 nJy of DJA/grizli mosaics. A surface brightness is multiplied by the
pixel's solid angle Ω first: ZP = −6.10 − 2.5 log₁₀ Ω for the MJy/sr of JWST. Counting units need a
calibration (:mod:`imgturbo.sky.zeropoints`).

A value f of (unit, ZP, Ω) is the sky brightness f·10^(−0.4 ZP)/Ω. That is what a change of unit or
of grid must keep, so with (unit', ZP', Ω') it becomes

    f' = f · 10^(0.4 (ZP' − ZP)) · Ω'/Ω.

On other pixels (:meth:`FluxScale.on`) a flux per pixel keeps ZP, hence f' = f Ω'/Ω; a brightness
has ZP' = ZP − 2.5 log₁₀ Ω'/Ω, hence f' = f. Sources: ACS Data Handbook ("zeropoints"), JWST
documentation (``PIXAR_SR``).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky.units import DISPLAY, Unit, parse_unit
from imgturbo.sky.zeropoints import ZEROPOINT_CARDS, number_of, zeropoint_of_unit, zeropoints

__all__ = [
    "ARCSEC2",
    "DISPLAY",
    "FluxScale",
    "check_display",
    "check_lost",
    "check_resizable",
    "stated_unit",
    "unit_is_unstated",
]

ARCSEC2 = math.radians(1 / 3600) ** 2
"""One square arcsecond in steradians."""

CONTRADICTS = 0.02
"""Magnitudes by which two cards may differ that say the same; averages of a detector's pixel areas
and roundings of AB constants differ by less."""

_UNIT_CARD = "FLUXUNIT"
_WHITE = 2.0
_WHITE_SHARE = 1e-3


@dataclass(frozen=True)
class FluxScale:
    """What the value 1 in a pixel of one band means: unit, AB zero point and pixel area as one.

    Attributes:
        unit: of the values; see :class:`imgturbo.sky.units.Unit`.
        zeropoint: AB magnitude of the value 1 in one pixel; None where it is not known.
        pixel_area: in steradians; None without coordinates.

    Example:
        >>> jwst = FluxScale.of("MJy/sr", pixel_area=9.4e-15)
        >>> round(jwst.zeropoint, 2), round(jwst.on(4 * 9.4e-15).zeropoint, 2)
        (28.97, 27.46)
        >>> round(jwst.factor_to(FluxScale.of("10 nJy", pixel_area=9.4e-15)), 3)
        0.94
    """

    unit: Unit
    zeropoint: float | None = None
    pixel_area: float | None = None

    def __post_init__(self) -> None:
        if self.unit.kind == "none" and self.zeropoint is not None:
            # Values of no stated unit whose sum has a magnitude are fluxes per pixel.
            object.__setattr__(self, "unit", replace(self.unit, kind="flux"))

    @classmethod
    def of(
        cls, unit: str, zeropoint: float | None = None, pixel_area: float | None = None
    ) -> FluxScale:
        """From a unit as it is written; a zero point that is not given is the unit's own, if any.

        Args:
            unit: in any spelling of :func:`imgturbo.sky.units.parse_unit`.
            zeropoint: AB magnitude of the value 1 in one pixel.
            pixel_area: in steradians.
        """
        parsed = parse_unit(unit)
        if zeropoint is None:
            zeropoint = zeropoint_of_unit({}, parsed, pixel_area)
        return cls(parsed, zeropoint, pixel_area)

    @classmethod
    def of_header(
        cls,
        header: Mapping[str, Any],
        pixel_area: float | None,
        unit: str = "",
        what: str = "the image",
    ) -> FluxScale:
        """Read from the header of an image, in the conventions of the module.

        Cards that say the same thing twice and disagree by more than 0.02 mag are warned of in one
        line: of pixel areas the coordinates' counts, of zero points ABZP, then the unit's own.

        Args:
            header: of the image, with the primary header's cards.
            pixel_area: in steradians, by the coordinates; None without.
            unit: taken where no BUNIT is stated.
            what: the file, for the warning.
        """
        parsed = stated_unit(header)
        if parsed.kind == "none":
            parsed = _assumed_unit(header, parse_unit(unit), what)
        area = pixel_area
        if parsed.kind == "brightness" or number_of(header, "PHOTMJSR"):
            area = _pixel_area(header, pixel_area, what)
        found = zeropoints(header, parsed, area)
        for other, value in found[1:]:
            if abs(value - found[0][1]) > CONTRADICTS:
                first, zero = found[0]
                warnings.warn(
                    f"{what}: {first} gives the AB zero point {zero:.3f}, but {other} {value:.3f}; "
                    f"{first} is believed, correct the one that is wrong",
                    stacklevel=2,
                )
                break
        kept = area if parsed.kind == "brightness" else pixel_area or area
        return cls(parsed, found[0][1] if found else None, kept)

    def on(self, pixel_area: float | None) -> FluxScale:
        """The same unit on pixels of another area, in steradians."""
        zero = self.zeropoint
        if zero is not None and pixel_area and self.pixel_area and self.unit.intensive:
            zero -= 2.5 * math.log10(pixel_area / self.pixel_area)
        return replace(self, zeropoint=zero, pixel_area=pixel_area)

    def factor_to(self, other: FluxScale) -> float | None:
        """What a value is multiplied by to mean the same sky brightness in the other scale.

        Pixels of unknown area count as the other's.

        Returns:
            The factor, or None where nothing connects the two units: no zero points in both.
        """
        area = 1.0
        if self.pixel_area and other.pixel_area:
            area = other.pixel_area / self.pixel_area
        same = self.unit == other.unit
        if same and self.unit.intensive:
            return 1.0
        if self.zeropoint is not None and other.zeropoint is not None:
            return float(10 ** (0.4 * (other.zeropoint - self.zeropoint))) * area
        if same:
            return area if self.unit.known else 1.0
        if self.unit.intensive is not other.unit.intensive or other.unit.physical is None:
            return None
        ratio = self.unit.value_in(other.unit.physical)
        return ratio if ratio is None or self.unit.intensive else ratio * area

    def fits_unit(self) -> str:
        """BUNIT in the spelling of the FITS standard; ``""`` where it has none."""
        return self.unit.fits()

    def cards(self) -> list[tuple[str, str | float, str]]:
        """Header cards (keyword, value, comment) that :meth:`of_header` reads as this scale."""
        cards: list[tuple[str, str | float, str]] = []
        standard = self.fits_unit()
        if standard:
            cards.append(("BUNIT", standard, "unit of the values"))
        if parse_unit(standard) != self.unit:
            cards.append((_UNIT_CARD, self.unit.name, "the unit where FITS has no name for it"))
        if self.zeropoint is not None:
            cards.append(("ABZP", self.zeropoint, "AB magnitude of the value 1 in one pixel"))
        if self.pixel_area is not None and self.unit.kind == "brightness":
            cards.append(("PIXAR_SR", self.pixel_area, "[sr] pixel area"))
        return cards


def check_resizable(unit: Unit, what: str) -> None:
    """Refuse to bring values to pixels of another size whose unit does not say what that does.

    Raises:
        ImgturboError: the unit is not stated, or not known.
    """
    if unit.known:
        return
    stated = "states no unit" if unit.kind == "none" else f"is in {unit.name!r}, an unknown unit"
    raise ImgturboError(
        f"{what}: {stated}, so what a pixel of another size holds cannot be told; set BUNIT to a "
        "flux per pixel (nJy, electron/s, count) or a brightness (MJy/sr, Jy/beam), or say it to "
        "prepare and finetune by --source-unit and --target-unit (of a config 'source_unit', …)"
    )


def check_display(values: NDArray[Any], what: str) -> None:
    """Refuse values that are taken for a picture's, 0 to 1, but can't be: integers, or 0 to 255.

    Raises:
        ImgturboError: more than one in a thousand of the measured values is above 2.
    """
    finite = values[np.isfinite(values)]
    if finite.size and np.mean(finite > _WHITE) > _WHITE_SHARE:
        raise ImgturboError(
            f"{what}: states no unit and holds values up to {float(finite.max()):g}, but pictures "
            "are wanted, with values from 0 to 1; divide it by its white level (255 for 8 bits, "
            "65535 for 16), or give a PNG or TIFF"
        )


# -------------------------------------------------------------------------------- the header


def check_lost(lost: Collection[str], header: Mapping[str, Any], where: str) -> None:
    """Refuse an image whose values would mean something else without the cards that it has lost.

    A calibration that nobody can read (``PHOTFLAM = NaN``) counts as missing: then no zero point is
    known. But a zero point also says that values without a unit are fluxes, and an instrument that
    its zero point is Vega's.

    Args:
        lost: keywords of cards whose values nobody can read.
        header: of the image, with the primary header's cards, without them.
        where: what to call it in a message.

    Raises:
        ImgturboError: which card has to be corrected.
    """
    zeros = ("ABZP", "FLUXMAG0", *ZEROPOINT_CARDS)
    wanted = [card for card in zeros if card in lost and stated_unit(header).kind == "none"]
    if "INSTRUME" in lost and any(card in header for card in ZEROPOINT_CARDS):
        wanted.append("INSTRUME")
    if wanted:
        raise ImgturboError(
            f"{where}: {', '.join(wanted)} has no value that FITS knows, and without it the pixels "
            "would be taken to be in another unit; correct it"
        )


def stated_unit(header: Mapping[str, Any]) -> Unit:
    """BUNIT; or the unit that :meth:`FluxScale.cards` wrote beside it, if they still agree."""
    value = header.get("BUNIT")
    written = value.strip() if isinstance(value, str) else ""
    ours = header.get(_UNIT_CARD)
    if isinstance(ours, str) and parse_unit(ours).fits() == written:
        return parse_unit(ours)
    return parse_unit(written)


def unit_is_unstated(header: Mapping[str, Any]) -> bool:
    """Whether nothing in a header says what the values are: no unit, nor the zero point of one."""
    return stated_unit(header).kind == "none" and not zeropoints(header, parse_unit(""), None)


def _assumed_unit(header: Mapping[str, Any], assumed: Unit, what: str) -> Unit:
    """The assumed unit, unless it is a brightness and a zero point says: fluxes per pixel."""
    stated = zeropoints(header, parse_unit(""), None)
    if not stated or not assumed.intensive:
        return assumed
    warnings.warn(
        f"{what}: states no unit, but {stated[0][0]} gives an AB zero point, so it is taken as "
        f"flux per pixel and not as {assumed.name}; set BUNIT if it is that",
        stacklevel=3,
    )
    return parse_unit("")


def _pixel_area(header: Mapping[str, Any], by_wcs: float | None, what: str) -> float | None:
    """In steradians: the card's, unless the coordinates say another."""
    card, area = "PIXAR_SR", number_of(header, "PIXAR_SR")
    if area is None and (arcsec2 := number_of(header, "PIXAR_A2")) is not None:
        card, area = "PIXAR_A2", arcsec2 * ARCSEC2
    if area is None or not by_wcs:
        return area or by_wcs
    if abs(2.5 * math.log10(area / by_wcs)) <= CONTRADICTS:
        return area
    warnings.warn(
        f"{what}: {card} is the area of pixels of {math.sqrt(area / ARCSEC2):.4g} arcsec, but by "
        f"the WCS they have {math.sqrt(by_wcs / ARCSEC2):.4g}; the WCS is believed, correct {card}",
        stacklevel=3,
    )
    return by_wcs
