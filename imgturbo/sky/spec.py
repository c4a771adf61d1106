"""What an output FITS file holds, and where each of its bytes will be.

    primary HDU       no data; provenance: stretch cards, model hash, HISTORY with the inputs
    SCI, EXTVER 1…C   (H, W) float32 each, FILTER, BUNIT, WCS, ABZP; NaN where not measured
    STD, Q05, …       further planes a band, in the same way
    FLAGS             (H, W) 8 bits, of a prediction: what is doubtful (:mod:`imgturbo.sky.flags`)

Headers are made before the first pixel is known, so the place of every pixel follows from the
description alone: windows can be written in any order, and a file that is half done is recognised
by its headers. DATE, DATASUM and CHECKSUM, which every HDU has, are left open until the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.errors import ImgturboError
from imgturbo.sky.bands import ascii_name
from imgturbo.sky.checksum import SEALS, blank
from imgturbo.sky.flags import FLAGS, flag_cards
from imgturbo.sky.headers import quiet
from imgturbo.sky.image import BOTTOM_UP, SkyImage
from imgturbo.sky.photometry import FluxScale
from imgturbo.sky.units import parse_unit
from imgturbo.sky.wcs import pixel_area, wcs_cards

__all__ = ["Card", "FitsLayout", "SkySpec", "add_history", "card_of", "padded"]

Card = tuple[str, Any] | tuple[str, Any, str]
"""(keyword, value[, comment]) of a header."""

_FITS_BLOCK = 2880


class FitsLayout(NamedTuple):
    """Where everything is in the file.

    Attributes:
        headers: (first byte, text) of each HDU's header.
        planes: first bytes of the pixels of each band, by the name of the extension.
        flags: first byte of FLAGS; None without.
        size: of the file in bytes.
    """

    headers: list[tuple[int, bytes]]
    planes: dict[str, list[int]]
    flags: int | None
    size: int

    @property
    def data(self) -> list[tuple[int, int]]:
        """(first byte, bytes) of each HDU's data, padding included."""
        ends = [place for place, _ in self.headers[1:]] + [self.size]
        starts = [place + len(text) for place, text in self.headers]
        return [(start, end - start) for start, end in zip(starts, ends, strict=True)]


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
        image_cards: (keyword, value[, comment]) for the header of every image.
        flagged: whether there is a plane of FLAGS.

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
    image_cards: Sequence[Card] = ()
    flagged: bool = False

    def __post_init__(self) -> None:
        channels = self.shape[0]
        unknown = (None,) * channels
        object.__setattr__(self, "zeropoints", tuple(self.zeropoints) or unknown)
        for name in ("bands", "header_cards", "history", "extensions", "image_cards"):
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
        image_cards: Sequence[Card] = (),
        flagged: bool = False,
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
            image_cards=image_cards,
            flagged=flagged,
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
        headers = [(_primary_header(self.header_cards, self.history), 0)]
        pixels = self.shape[1] * self.shape[2]
        for name in self.extensions:
            for version in range(1, self.shape[0] + 1):
                headers.append((self.image_header(name, version, version - 1), 4 * pixels))
        if self.flagged:
            headers.append((self.flags_header(), pixels))
        texts: list[tuple[int, bytes]] = []
        starts: list[int] = []
        place = 0
        for header, used in headers:
            with quiet():
                header.extend(blank(), update=True)
                text = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
            texts.append((place, text))
            starts.append(place + len(text))
            place = starts[-1] + padded(used)
        channels = self.shape[0]
        planes = {
            name: starts[1 + i * channels : 1 + (i + 1) * channels]
            for i, name in enumerate(self.extensions)
        }
        return FitsLayout(texts, planes, starts[-1] if self.flagged else None, place)

    def image_header(self, name: str, version: int, band: int) -> fits.Header:
        """Of an image of a band (its number), called so (EXTNAME, EXTVER)."""
        zero = self.zeropoints[band]
        header = self._extension(name, version, -32, "IEEE float32")
        header["FILTER"] = (ascii_name(self.bands[band]), "band")
        area = pixel_area(self.wcs, self.shape[1:])
        for card in FluxScale(parse_unit(self.unit), zero, area).cards():
            header.append(card)
        for further in self.image_cards:
            header.append(card_of(*further), end=True)
        return self._placed(header)

    def flags_header(self, version: int = 1) -> fits.Header:
        """Of the plane of FLAGS."""
        header = self._extension(FLAGS, version, 8, "unsigned bytes")
        for card in flag_cards():
            header.append(card, end=True)
        return self._placed(header)

    def _extension(self, name: str, version: int, bits: int, words: str) -> fits.Header:
        header = fits.Header()
        header["XTENSION"] = ("IMAGE", "image extension")
        header["BITPIX"] = (bits, words)
        header["NAXIS"] = 2
        header["NAXIS1"], header["NAXIS2"] = self.shape[2], self.shape[1]
        header["PCOUNT"], header["GCOUNT"] = 0, 1
        header["EXTNAME"], header["EXTVER"] = name, version
        return header

    def _placed(self, header: fits.Header) -> fits.Header:
        if self.wcs is not None:
            header.extend(wcs_cards(self.wcs).cards, update=True)
        return header


def _primary_header(cards: Sequence[Card], history: Sequence[str]) -> fits.Header:
    header = fits.PrimaryHDU().header
    with quiet():
        for card in cards:
            if card[0] not in SEALS and tuple(card[:2]) != (
                "ROWORDER",
                BOTTOM_UP,
            ):  # what FITS means anyway
                header.append(card_of(*card), end=True)
        add_history(header, history)
    return header


def card_of(*words: Any) -> fits.Card:
    """A card of what may come from names of files and other headers: FITS has printable ASCII."""
    make = _shown if words[0] == "HISTORY" else ascii_name
    return fits.Card(*(make(word) if isinstance(word, str) else word for word in words))


def add_history(header: fits.Header, lines: Sequence[str]) -> None:
    """Append lines of any letters; FITS shows a question mark for those it has not."""
    for line in lines:
        header.add_history(_shown(line))


def _shown(line: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in line)


def padded(length: int) -> int:
    """Bytes that data of this length take in a FITS file, whose blocks have 2880."""
    return -(-length // _FITS_BLOCK) * _FITS_BLOCK
