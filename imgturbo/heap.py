"""Memory that is freed and soon wanted again stays with the process.

The C library gives blocks of more than 32 MB back to the system as soon as they are freed, and
whatever lies free at the heap's end with them. The next layer of a network asks for the same block
again, and the system fills it with zeros, page by page: on a CPU a third of the time that a large
window takes. Within `kept` blocks come from the heap and go back to it; the price is what lies in
gaps between blocks.

glibc alone is asked (``mallopt``); elsewhere `kept` does nothing.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["kept"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # of malloc.h
_NEVER = (1 << 31) - 1
_USUAL = {
    _MMAP_MAX: 65536,
    _MMAP_THRESHOLD: 32 << 20,  # where glibc's own adjusting ends, which a call turns off
    _TRIM_THRESHOLD: 64 << 20,
    _TOP_PAD: 128 << 10,
}
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: 16 << 20}

_lock = threading.Lock()
_inside = 0


@cache
def _library() -> ctypes.CDLL | None:
    """The C library, if it is one that can be asked."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
        _ = library.mallopt, library.malloc_trim, library.gnu_get_libc_version
    except (OSError, AttributeError):  # another C library
        return None
    return library


def _set(options: dict[int, int]) -> None:
    if (library := _library()) is not None:
        for option, value in options.items():
            library.mallopt(option, value)


@contextmanager
def kept(on: bool = True) -> Iterator[None]:
    """Keep freed memory until the block ends, then give back what is free.

    Blocks may lie within each other and in several threads; the last one that ends gives back.

    Args:
        on: whether to; a job too small to gain from it need not.
    """
    global _inside
    if not on:
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(_KEPT)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(_USUAL)
                if (library := _library()) is not None:
                    trim: Callable[[int], int] = library.malloc_trim
                    trim(0)
