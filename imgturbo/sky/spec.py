"""What an output FITS file holds, and where each of its bytes will be.

    primary HDU       no data; provenance: stretch cards, model hash, HISTORY with the inputs
    SCI, EXTVER 1…C   (H, W) float32 each, FILTER, BUNIT, WCS, ABZP; NaN where not measured
    STD, Q05, …       further planes a band, in the same way

Headers are made before the first pixel is known, so the place of every pixel follows from the
description alone: windows can be written in any order, and a file that is half done is recognised
by its headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.errors import ImgturboError
from imgturbo.sky.bands import ascii_name
from imgturbo.sky.headers import pixel_area, quiet, wcs_cards
from imgturbo.sky.image import BOTTOM_UP, SkyImage
from imgturbo.sky.photometry import FluxScale
from imgturbo.sky.units import parse_unit

__all__ = ["Card", "FitsLayout", "SkySpec", "padded"]

Card = tuple[str, Any] | tuple[str, Any, str]
"""(keyword, value[, comment]) of a header."""

_FITS_BLOCK = 2880


class FitsLayout(NamedTuple):
    """Where everything is in the file.

    Attributes:
        headers: (first byte, text) of each HDU's header.
        planes: first bytes of the pixels of each band, by the name of the extension.
        size: of the file in bytes.
    """

    headers: list[tuple[int, bytes]]
    planes: dict[str, list[int]]
    size: int


@dataclass(frozen=True)
class SkySpec:
    """What an image file is to hold, apart from its pixels.

    Attributes:
        shape: (C, H, W).
        bands: a name a channel.
        wcs: celestial WCS, or None.
        unit: of the data; BUNIT.
        zeropoints: AB zero points a channel, None where unknown; ABZP. None given: all unknown.
        header_cards: (keyword, value[, comment]) for the primary header.
        history: lines for HISTORY: inputs and their checksums, the model's hash.
        extensions: names of the planes a band.

    Raises:
        ImgturboError: band names or zero points of another number than channels.
    """

    shape: tuple[int, int, int]
    bands: Sequence[str]
    wcs: WCS | None = None
    unit: str = ""
    zeropoints: Sequence[float | None] = ()
    header_cards: Sequence[Card] = ()
    history: Sequence[str] = ()
    extensions: Sequence[str] = ("SCI",)

    def __post_init__(self) -> None:
        channels = self.shape[0]
        unknown = (None,) * channels
        object.__setattr__(self, "zeropoints", tuple(self.zeropoints) or unknown)
        for name in ("bands", "header_cards", "history", "extensions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.bands) != channels or len(self.zeropoints) != channels:
            raise ImgturboError(
                f"an image of {channels} channels cannot have {len(self.bands)} band names and "
                f"{len(self.zeropoints)} zero points; give one of each a channel"
            )

    @classmethod
    def of(
        cls,
        image: SkyImage,
        header_cards: Sequence[Card] = (),
        history: Sequence[str] = (),
        extensions: Sequence[str] = ("SCI",),
    ) -> SkySpec:
        """What a file of this image holds."""
        return cls(
            shape=image.shape,
            bands=image.bands,
            wcs=image.wcs,
            unit=image.unit,
            zeropoints=image.zeropoints,
            header_cards=header_cards,
            history=history,
            extensions=extensions,
        )

    @property
    def row_order(self) -> str:
        """Which way rows run: a card ROWORDER, else upward where there is a WCS, else ``""``."""
        for card in self.header_cards:
            if card[0] == "ROWORDER":
                return str(card[1])
        return "" if self.wcs is None else BOTTOM_UP

    def fits_layout(self) -> FitsLayout:
        """The headers and the places of the pixels."""
        headers = [_primary_header(self.header_cards, self.history)]
        for name in self.extensions:
            for version in range(1, self.shape[0] + 1):
                headers.append(self._image_header(name, version))
        texts: list[tuple[int, bytes]] = []
        starts: list[int] = []
        place = 0
        for number, header in enumerate(headers):
            with quiet():
                text = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
            texts.append((place, text))
            place += len(text)
            if number:
                starts.append(place)
                place += padded(4 * self.shape[1] * self.shape[2])
        channels = self.shape[0]
        planes = {
            name: starts[i * channels : (i + 1) * channels]
            for i, name in enumerate(self.extensions)
        }
        return FitsLayout(texts, planes, place)

    def _image_header(self, name: str, version: int) -> fits.Header:
        zero = self.zeropoints[version - 1]
        header = fits.Header()
        header["XTENSION"] = ("IMAGE", "image extension")
        header["BITPIX"] = (-32, "IEEE float32")
        header["NAXIS"] = 2
        header["NAXIS1"], header["NAXIS2"] = self.shape[2], self.shape[1]
        header["PCOUNT"], header["GCOUNT"] = 0, 1
        header["EXTNAME"], header["EXTVER"] = name, version
        header["FILTER"] = (ascii_name(self.bands[version - 1]), "band")
        area = pixel_area(self.wcs, self.shape[1:])
        for card in FluxScale(parse_unit(self.unit), zero, area).cards():
            header.append(card)
        if self.wcs is not None:
            header.extend(wcs_cards(self.wcs).cards, update=True)
        return header


def _primary_header(cards: Sequence[Card], history: Sequence[str]) -> fits.Header:
    header = fits.PrimaryHDU().header
    with quiet():
        for card in cards:
            if tuple(card[:2]) != ("ROWORDER", BOTTOM_UP):  # what FITS means anyway
                words = (ascii_name(word) if isinstance(word, str) else word for word in card)
                header.append(fits.Card(*words), end=True)
        for line in history:
            header.add_history(line.encode("ascii", "replace").decode("ascii"))
    return header


def padded(length: int) -> int:
    """Bytes that data of this length take in a FITS file, whose blocks have 2880."""
    return -(-length // _FITS_BLOCK) * _FITS_BLOCK
