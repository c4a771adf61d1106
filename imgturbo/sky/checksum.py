"""Checksums of FITS files: DATASUM and CHECKSUM, by blocks, whatever the size of the file.

A sum is that of big-endian 32-bit words in ones' complement arithmetic, where a carry beyond the
32nd bit comes in again at the first. DATASUM is the sum of an HDU's data; CHECKSUM is sixteen
letters chosen so that the sum over the whole HDU is −0, all bits one (Seaman, Pence & Rots 2012,
https://fits.gsfc.nasa.gov/registry/checksum.html). The value of a card begins at its 12th byte,
one before a word does, so the letters are turned by one place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.io import fits

from imgturbo.errors import ImgturboError
from imgturbo.sky.blocks import BLOCK, Extent

__all__ = ["SEALS", "Seal", "add", "blank", "sealed", "unsealed"]

SEALS = ("DATE", "CHECKSUM", "DATASUM")
"""Cards that every HDU of an output has, and that are known at its end only."""

_CARD = 80
_STRIP = 1 << 22  # bytes that are summed in one go
_ALL_ONES = 0xFFFFFFFF
_ZERO = "0" * 16
_PUNCTUATION = range(0x3A, 0x41), range(0x5B, 0x61)  # between digits, capitals and small letters


def add(total: int, content: bytes) -> int:
    """The ones' complement sum of ``total`` and of bytes, a multiple of four of them."""
    found = total + int(np.frombuffer(content, ">u4").sum(dtype=np.uint64))
    while found > _ALL_ONES:
        found = (found & _ALL_ONES) + (found >> 32)
    return found


def blank() -> list[fits.Card]:
    """The cards of a header whose HDU is not finished."""
    return [
        fits.Card("DATE", "", "UTC at which this file was written"),
        fits.Card("CHECKSUM", _ZERO, "of this HDU"),
        fits.Card("DATASUM", "0", "of its data"),
    ]


def sealed(text: bytes, date: str, datasum: int) -> bytes:
    """A header with its date and its sums.

    Args:
        text: of the header, padded, with the cards of :func:`blank` in any state.
        date: ISO 8601, UTC.
        datasum: sum of the HDU's data, from :func:`add`.
    """
    values = {"DATE": date, "CHECKSUM": _ZERO, "DATASUM": str(datasum)}

    def change(card: fits.Card) -> str:
        return str(fits.Card(card.keyword, values[card.keyword], card.comment))

    values["CHECKSUM"] = _letters(_ALL_ONES ^ add(datasum, _with_cards(text, change)))
    return _with_cards(text, change)


def unsealed(text: bytes) -> bytes:
    """A header as it was before it was sealed, so that two can be compared."""
    plain = {card.keyword: str(card) for card in blank()}
    return _with_cards(text, lambda card: plain[card.keyword])


def _with_cards(text: bytes, change: Callable[[fits.Card], str]) -> bytes:
    cards = [text[k : k + _CARD] for k in range(0, len(text), _CARD)]
    for k, card in enumerate(cards):
        if card[:8].decode("latin-1").strip() in SEALS:  # whatever a disk has made of it
            cards[k] = change(fits.Card.fromstring(card)).encode("ascii")
    return b"".join(cards)


def _letters(value: int) -> str:
    """Sixteen letters and digits whose sum as four words, beyond that of sixteen "0", is this."""
    columns = []
    for shift in (24, 16, 8, 0):
        byte = value >> shift & 0xFF
        quarters = [byte // 4 + ord("0")] * 4
        quarters[0] += byte % 4
        while any(letter in marks for letter in quarters for marks in _PUNCTUATION):
            for a, b in ((0, 1), (2, 3)):
                if any(quarters[k] in marks for k in (a, b) for marks in _PUNCTUATION):
                    quarters[a] += 1
                    quarters[b] -= 1
        columns.append(quarters)
    text = "".join(chr(columns[byte][word]) for word in range(4) for byte in range(4))
    return text[-1] + text[:-1]


class Seal:
    """The sums that an HDU came with, held against its bytes: the header now, the data when asked.

    Args:
        pread: ``(length, place) → bytes`` of the file, not packed.
        start: the byte at which the header begins.
        extent: of the HDU.
        at_hand: whether all data may be read for their sum's sake; those of a file at an address
            are not fetched for that, and so not verified.
    """

    def __init__(
        self,
        pread: Callable[[int, int], bytes],
        start: int,
        extent: Extent,
        at_hand: bool = True,
    ) -> None:
        self._pread, self._extent = pread, extent
        self._said = extent.cards.text("DATASUM").strip()
        self._checked = not (self._said and at_hand)  # an empty one: nobody has summed
        self.header_holds = self._header_holds(start)
        """False where CHECKSUM contradicts the header; True also where there is none."""

    def check(self) -> None:
        """Read all data once, if a sum is known.

        Raises:
            ImgturboError: they are not those that were summed.
        """
        if self._checked:
            return
        found = self._sum(self._extent.data, self._extent.end)
        if str(found) != self._said:
            raise ImgturboError(
                f"{self._extent.cards.where} is damaged: its DATASUM is {self._said[:20]} and its "
                f"data give {found}; fetch it again, or, if a program has changed the data and "
                "left the card, write it anew (astropy's fitscheck --write FILE)"
            )
        self._checked = True

    def _header_holds(self, start: int) -> bool:
        """CHECKSUM makes the sum of header and data all ones; the data's is what DATASUM says."""
        cards = self._extent.cards
        letters = cards.text("CHECKSUM")
        if not letters.strip("0 ") or not (self._said.isascii() and self._said.isdigit()):
            return True
        return self._sum(start, self._extent.data, int(self._said) & _ALL_ONES) == _ALL_ONES

    def _sum(self, start: int, stop: int, total: int = 0) -> int:
        for place in range(start, stop, _STRIP):
            content = self._pread(min(_STRIP, stop - place), place)
            total = add(total, content.ljust(-(-len(content) // BLOCK) * BLOCK, b"\0"))
        return total
