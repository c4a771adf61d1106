"""What a picture claims to be, held against its file and the memory before it is decoded.

A PNG of a hundred bytes may say that it has 40 000 × 40 000 pixels, and decoders make room for them
before they look. But packing has its limits: deflate makes at most 1032 bytes of one, and a JPEG
spends bits on every block, so a file that claims much more than that for its length is damaged.
Pages of a TIFF must lie within the file, all of them, and what tifffile complains of counts:
where its list of pages is broken it goes on with those that it has.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from imgturbo.door import room_for

__all__ = ["attentive", "check_image", "check_series"]

_DEFLATE = 1032
_JPEG = 4096  # pixels of a byte
_LZW = 4096
_SMALL = 1 << 20  # bytes that are never too many
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type of a PNG
_DEPTH, _COLOUR = 24, 25  # places of their bytes
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2}  # of a pixel, in Pillow; 4 of all others


def check_image(path: Path, image: Image.Image) -> None:
    """Refuse an opened picture that its file cannot hold, or the memory.

    Raises:
        ValueError: it claims more pixels than there can be in so many bytes.
        ImgturboError: they need more memory than is left.
    """
    width, height = image.size
    size = path.stat().st_size
    if image.format == "PNG":
        with path.open("rb") as file:
            head = file.read(_COLOUR + 1)
        bits = head[_DEPTH] * _CHANNELS.get(head[_COLOUR], 4)
        _check_packed(height * (1 + width * bits // 8), _DEFLATE, size, width, height)
    elif image.format == "JPEG":
        _check_packed(width * height, _JPEG, size, width, height)
    own = _BYTES.get(image.mode, 4)
    room_for((own + max(own, 3)) * width * height, path, f"decoding {width} × {height} pixels")


def check_series(path: Path, series: Any) -> None:
    """Refuse the pages of a TIFF that its file cannot hold, or the memory.

    Raises:
        ValueError: pages are missing, or hold less than they claim.
        ImgturboError: they need more memory than is left.
    """
    size = path.stat().st_size
    _check_places(series.keyframe)
    if series.dataoffset is not None:
        if series.dataoffset + series.nbytes > size:
            raise ValueError(f"pixels should end at byte {series.dataoffset + series.nbytes}")
    else:
        for page in series.pages:
            if page is None:
                raise ValueError("a page is missing")
            _check_places(page)
            held = sum(page.databytecounts)
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                if offset + count > size:
                    raise ValueError(f"a page should end at byte {offset + count}")
            claimed = math.prod(page.shape) * series.dtype.itemsize
            plain = series.keyframe.compression == 1
            _check_packed(claimed, 1 if plain else _LZW, held, *page.shape)
    room_for(2 * int(series.nbytes), path, f"decoding pages of shape {series.shape}")


def _check_places(page: Any) -> None:
    """Refuse a page whose pixels lie at no number: a tag is of any type that its bytes say."""
    if not all(isinstance(place, int) for place in (*page.dataoffsets, *page.databytecounts)):
        raise ValueError("where its pixels lie is no number")


def _check_packed(claimed: int, factor: int, held: int, *shape: int) -> None:
    if claimed > factor * held + (_SMALL if factor > 1 else 0):
        raise ValueError(
            f"{' × '.join(map(str, shape))} pixels cannot lie in {held} bytes of a file"
        )


@contextmanager
def attentive() -> Iterator[list[str]]:
    """What tifffile complains of, in this thread, instead of printing it."""
    log, heard = logging.getLogger("tifffile"), _Ear(threading.get_ident())
    log.addHandler(heard)
    try:
        yield heard.said
    finally:
        log.removeHandler(heard)


class _Ear(logging.Handler):
    """Keeps the errors of one thread, and warnings that something is missing."""

    def __init__(self, thread: int) -> None:
        super().__init__(logging.WARNING)
        self.thread, self.said = thread, list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        missing = "expected" in record.getMessage() or "missing" in record.getMessage()
        if record.thread == self.thread and (record.levelno >= logging.ERROR or missing):
            self.said.append(record.getMessage().partition("> ")[2] or record.getMessage())
