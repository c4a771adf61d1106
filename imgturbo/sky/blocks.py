"""The blocks of a FITS file, walked before a library believes what its headers say.

A file is blocks of 2880 bytes: a header of cards of 80 characters that ends with END, then as many
bytes as its cards promise,

    |BITPIX|/8 · GCOUNT · (PCOUNT + NAXIS1 · NAXIS2 · …),

padded to a block; then perhaps another header. astropy makes 2 147 483 647 axes if NAXIS says so,
and reads on wherever a wrong number leads it. So these few cards are read here first, as the
standard (Pence et al. 2010, A&A 524, A42; version 4.0) spells them, each once, and the file must be
as long as they promise. Nothing is allocated but a header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgturbo.errors import ImgturboError

__all__ = ["BLOCK", "Cards", "Extent", "extents", "walk"]

BLOCK = 2880
_CARD = 80
_MOST_AXES = 32
_MOST_HDUS = 10_000
_MOST_BLOCKS = 4_000  # of one header: 144 000 cards
_REST = 1 << 20

_WHOLE = re.compile(r" *([+-]?\d{1,19}) *(/.*)?")
_TEXT = re.compile(r" *'((?:[^']|'')*)' *(/.*)?")
_NUMBER = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)? *(/.*)?")
_TRUTH = re.compile(r" *([TF]) *(/.*)?")
_BITPIX = (8, 16, 32, 64, -32, -64)
_IMAGES = ("IMAGE", "IUEIMAGE")
_TABLES = ("TABLE", "BINTABLE", "A3DTABLE")
_OTHERS = ("FOREIGN", "DUMP")
_REMEDY = "fetch it again"


class Cards:
    """The raw cards of one header, by keyword.

    Args:
        raw: the cards, 80 bytes each, without END.
        where: the file and the HDU, for messages.

    Raises:
        ImgturboError: a keyword is no text, or a value is asked for that is not as it must be.
    """

    def __init__(self, raw: list[bytes], where: str) -> None:
        self.where = where
        self.foreign: list[str] = []
        """Keywords of cards with bytes that are no ASCII, which become ``?``."""
        self._values: dict[str, list[str]] = {}
        for place, card in enumerate(raw, start=1):
            if not all(32 <= byte < 127 for byte in card[:8]):
                raise self.error(f"card {place} has a keyword that is no text")
            if not card.isascii():
                self.foreign.append(card[:8].decode("ascii").rstrip() or f"card {place}")
            if card[8:9] == b"=":
                word = card[:8].decode("ascii").rstrip()
                self._values.setdefault(word, []).append(card[9:].decode("latin-1"))

    def __contains__(self, word: str) -> bool:
        return word in self._values

    def error(self, what: str, remedy: str = _REMEDY) -> ImgturboError:
        """In one line: the file, the HDU, what is wrong."""
        return ImgturboError(f"{self.where} is damaged: {what}; {remedy}")

    def whole(self, word: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number between two others."""
        said = self._one(word, _WHOLE)
        if said is None:
            if default is None:
                raise self.error(f"it has no {word}")
            return default
        value = int(said)
        if not low <= value <= high:
            raise self.error(f"{word} = {value} is not between {low} and {high}")
        return value

    def text(self, word: str) -> str:
        """A word between quotes, without blanks at its end; empty where there is none."""
        return (self._one(word, _TEXT) or "").rstrip()

    def truth(self, word: str) -> bool:
        """Whether a card is there and true."""
        return self._one(word, _TRUTH) == "T"

    def check_number(self, word: str) -> None:
        """Refuse a card that is there and holds neither a number nor a word that may be one."""
        for value in self._values.get(word, ()):
            if not (_NUMBER.fullmatch(value) or _TEXT.fullmatch(value) or _TRUTH.fullmatch(value)):
                raise self.error(f"{word} = {_shown(value)} cannot be")

    def _one(self, word: str, form: re.Pattern[str]) -> str | None:
        """What the card says; None where there is none. Cards that come twice must agree."""
        found = set()
        for value in self._values.get(word, ()):
            match = form.fullmatch(value)
            if match is None:
                raise self.error(f"{word} = {_shown(value)} cannot be")
            found.add(match[1])
        if len(found) > 1:
            raise self.error(f"{word} comes twice, as {' and '.join(sorted(found))}")
        return found.pop() if found else None


@dataclass(frozen=True)
class Extent:
    """Where an HDU lies in the file.

    Attributes:
        number: of the HDU, from 0.
        data: the byte at which its data begin.
        size: their bytes, without padding.
        cards: of its header.
    """

    number: int
    data: int
    size: int
    cards: Cards

    @property
    def end(self) -> int:
        """The byte at which the next HDU begins."""
        return self.data + -(-self.size // BLOCK) * BLOCK


def walk(read: Callable[[int], bytes], path: str) -> Iterator[Extent]:
    """The HDUs of a file, one after the other.

    Args:
        read: gives so many bytes, fewer at the end only. Whoever asks for the next HDU has brought
            it to the end of this one's data.
        path: for messages.

    Raises:
        ImgturboError: no FITS, a header that cannot be, or something else behind the last HDU.
    """
    place = 0
    for number in range(_MOST_HDUS):
        block = read(BLOCK)
        if number == 0 and not block.startswith(b"SIMPLE  ="):
            raise ImgturboError(
                f"{path}: is not a FITS file, or is damaged (it does not begin with SIMPLE = T); "
                "give a FITS file, or a picture (.png, .jpg, .tif)"
            )
        if number and not block.startswith(b"XTENSION="):
            _check_rest(block + read(_REST), path, number)
            return
        raw = _header(block, read, path)
        cards = Cards(raw, _named(path, number, raw))
        place += -(-(len(raw) + 1) // (BLOCK // _CARD)) * BLOCK
        extent = Extent(number, place, _size(cards, number), cards)
        yield extent
        place = extent.end
    raise ImgturboError(f"{path}: has more than {_MOST_HDUS} HDUs; is it a FITS file?")


def extents(stream: BinaryIO, length: int, path: str) -> list[Extent]:
    """The HDUs of a file that is there whole; where the stream is afterwards does not matter.

    Raises:
        ImgturboError: as :func:`walk`, or the file is shorter than its headers promise.
    """
    stream.seek(0)
    found = []
    for extent in walk(stream.read, path):
        stop = extent.data + extent.size
        if length < extent.end and length != stop:  # some writers leave the last padding out
            raise ImgturboError(
                f"{extent.cards.where} is truncated: it should end at byte "
                f"{stop if length < stop else extent.end} but the file has {length}; {_REMEDY}"
            )
        stream.seek(extent.end)
        found.append(extent)
    return found


def _check_rest(rest: bytes, path: str, number: int) -> None:
    """What follows the last HDU may be empty blocks, and not much of them."""
    if rest.strip(b"\0 \r\n"):
        raise ImgturboError(
            f"{path}: is damaged: what follows HDU {number - 1} is no HDU; {_REMEDY}"
        )
    if len(rest) > _REST:
        raise ImgturboError(f"{path}: is damaged: it goes on after its last HDU; {_REMEDY}")


def _header(block: bytes, read: Callable[[int], bytes], path: str) -> list[bytes]:
    """The cards before END; the stream stands behind its block then."""
    found: list[bytes] = []
    for _ in range(_MOST_BLOCKS):
        if len(block) < BLOCK:
            raise ImgturboError(f"{path}: is truncated within a header; {_REMEDY}")
        for start in range(0, BLOCK, _CARD):
            card = block[start : start + _CARD]
            if card.rstrip() == b"END":
                return found
            found.append(card)
        block = read(BLOCK)
    raise ImgturboError(f"{path}: is damaged: a header has no end; {_REMEDY}")


def _named(path: str, number: int, raw: list[bytes]) -> str:
    for card in raw:
        match = _TEXT.fullmatch(card[9:].decode("latin-1")) if card[:9] == b"EXTNAME =" else None
        if match and match[1].strip().isprintable() and match[1].strip():
            return f"{path}: HDU {number} ({match[1].strip()})"
    return f"{path}: HDU {number}"


def _size(cards: Cards, number: int) -> int:
    """Bytes of data, without padding."""
    kind = cards.text("XTENSION") if number else ""
    if not number and not cards.truth("SIMPLE"):
        raise cards.error("SIMPLE is not T")
    if number and kind not in (*_IMAGES, *_TABLES, *_OTHERS):
        raise cards.error(f"XTENSION = {_shown(kind)} is no kind of extension that FITS knows")
    for word in ("BSCALE", "BZERO", "BLANK"):
        cards.check_number(word)
    bits = cards.whole("BITPIX", -64, 64)
    if bits not in _BITPIX:
        raise cards.error(f"BITPIX = {bits} is none of {', '.join(map(str, _BITPIX))}")
    axes = [
        cards.whole(f"NAXIS{i + 1}", 0, 1 << 62) for i in range(cards.whole("NAXIS", 0, _MOST_AXES))
    ]
    grouped = not number and cards.truth("GROUPS") and axes[:1] == [0]
    plain = kind in _IMAGES or not (number or grouped)
    most = 1 if plain or kind in _TABLES else 1 << 31
    groups = cards.whole("GCOUNT", 1, most, 1)
    extra = cards.whole("PCOUNT", 0, 0 if plain else 1 << 62, 0)
    if kind in _TABLES:
        cards.whole("TFIELDS", 0, 999)
        if len(axes) != 2 or bits != 8:
            raise cards.error("a table has two axes of bytes")
    values = math.prod(axes[1:] if grouped else axes) if axes else 0
    return abs(bits) // 8 * groups * (extra + values)


def _shown(value: str) -> str:
    return repr(value.partition("/")[0].strip()[:40])
