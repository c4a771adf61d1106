"""A stream whose bytes are fetched as they are read, and no others, or not many.

Small reads (headers) are of aligned blocks, which are kept for a while; large ones are as they are;
what is known beforehand (:meth:`Ranges.want`) is fetched at once, in parts beside each other.
"""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from imgturbo.remote.server import BLOCK, Span

__all__ = ["Ranges"]

_KEPT = 64  # blocks


class Ranges(io.RawIOBase):
    """The bytes of a file at an address, fetched as they are read.

    Args:
        fetch: gives the bytes of spans.
        size: of the file, in bytes.
        head: the first of them, if they are known.
    """

    def __init__(
        self, fetch: Callable[[Sequence[Span]], list[bytes]], size: int, head: bytes = b""
    ) -> None:
        super().__init__()
        self._fetch, self.size = fetch, size
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._wanted: list[tuple[int, bytes]] = []
        self._lock = threading.RLock()
        for start in range(0, len(head), BLOCK):
            part = head[start : start + BLOCK]
            if len(part) == min(BLOCK, size - start):
                self._blocks[start // BLOCK] = part

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is fetched."""
        start = (0, self._place, self.size)[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as the file goes."""
        content = self.pread(len(buffer), self._place)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def pread(self, length: int, place: int) -> bytes:
        """So many bytes from a place, fewer at the end only.

        Raises:
            ImgturboError: they cannot be had.
        """
        stop = min(self.size, place + length)
        if stop <= place:
            return b""
        with self._lock:
            wanted = self._of_wanted(place, stop)
            if wanted is not None:
                return wanted
            if stop - place > BLOCK:
                return self._fetch([(place, stop)])[0]
            return self._of_blocks(place, stop)

    def want(self, spans: Sequence[Span]) -> None:
        """Fetch, beside each other, what will be read next; what was wanted before is forgotten."""
        with self._lock:
            self._wanted = []
            spans = sorted((a, min(b, self.size)) for a, b in set(spans) if a < self.size)
            parts = self._fetch(spans) if spans else []
            self._wanted = [(start, part) for (start, _), part in zip(spans, parts, strict=True)]

    def _of_wanted(self, place: int, stop: int) -> bytes | None:
        """Bytes that lie in what was wanted, be it in parts that touch; None if they do not."""
        parts = []
        while place < stop:
            k = bisect_right(self._wanted, place, key=lambda one: one[0]) - 1
            if k < 0:
                return None
            start, content = self._wanted[k]
            part = content[place - start : stop - start]
            if not part:
                return None
            parts.append(part)
            place += len(part)
        return b"".join(parts)

    def _of_blocks(self, place: int, stop: int) -> bytes:
        first, last = place // BLOCK, (stop - 1) // BLOCK
        missing = [k for k in range(first, last + 1) if k not in self._blocks]
        if missing:
            spans = [(k * BLOCK, min((k + 1) * BLOCK, self.size)) for k in missing]
            self._blocks.update(zip(missing, self._fetch(spans), strict=True))
        for k in range(first, last + 1):
            self._blocks.move_to_end(k)
        whole = b"".join(self._blocks[k] for k in range(first, last + 1))
        while len(self._blocks) > _KEPT:
            self._blocks.popitem(last=False)
        return whole[place - first * BLOCK : stop - first * BLOCK]
