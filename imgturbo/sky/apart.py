"""Decoders that believe their bytes work in another process, which may crash alone.

HCOMPRESS's decoder reads past the end of its bytes for as long as they tell it to (9 kB that say
"62 planes of 4096 × 4096 pixels" end the interpreter), and how far that is only decoding shows. So
tiles that are packed so, or by PLIO, are unpacked by a helper: one a process, started when the
first such tile is wanted, that ends with the process. It is sent the open file and where in it the
HDU lies, and sends the pixels back. If it dies, the file is damaged, and the next one gets another.

    pixels = unpacked(fd, start, stop, index)

This file is also what the helper runs; then it imports nothing of this package.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["APART", "unpacked"]

APART = ("HCOMPRESS_1", "PLIO_1") if hasattr(socket, "send_fds") else ()
"""Compressions that are undone in another process, where files can be sent to one."""

_LONGEST = 1 << 16
_FIRST = "".join(
    f"{card:<80}"
    for card in (
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    0",
        "EXTEND  =                    T",
        "END",
    )
).encode("ascii")
_FIRST += b" " * (-len(_FIRST) % 2880)
"""A primary HDU without data, which an extension has to follow."""


class _Helper:
    """The other process, while it lives."""

    def __init__(self) -> None:
        from imgturbo.stopping import alone  # not at the top, where the helper would need it

        ours, theirs = socket.socketpair()
        with theirs:
            end = theirs.fileno()
            self._process = subprocess.Popen(**alone(__file__, str(end)), pass_fds=(end,))
        self._socket, self._answers = ours, ours.makefile("rb")

    def ask(
        self, fd: int, start: int, stop: int, index: Sequence[int | slice], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        words = [[s.start, s.stop] if isinstance(s, slice) else int(s) for s in index]
        asked = json.dumps([start, stop, words]).encode() + b"\n"
        try:
            socket.send_fds(self._socket, [asked], [fd])
            line = self._answers.readline(_LONGEST)
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise ValueError(f"its decoder crashed, with status {self._process.wait(5)}")
        answer = json.loads(line)
        if "error" in answer:
            raise _Refused(answer["error"])
        kind = np.dtype(answer["dtype"])
        if tuple(answer["shape"]) != shape or kind.kind not in "iuf":
            raise ValueError(f"its pixels are {answer['shape']} of {kind}")
        content = bytearray(math.prod(shape) * kind.itemsize)
        if self._answers.readinto(content) != len(content):
            raise ValueError("its decoder crashed")
        return np.frombuffer(content, kind).reshape(shape)

    def end(self) -> None:
        """Let go of it, whatever it is at."""
        for held in (self._answers, self._socket):
            with contextlib.suppress(OSError):
                held.close()
        self._process.kill()
        self._process.wait()


class _Refused(ValueError):
    """What a library said in the helper, which lives."""


_lock = threading.Lock()
_helpers: dict[int, _Helper] = {}
"""By process: one that was forked must not speak into another one's talk."""


def unpacked(
    fd: int, start: int, stop: int, index: Sequence[int | slice], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Part of the image of a tile-compressed HDU, as it is stored (BSCALE and BZERO not applied).

    Args:
        fd: of the open file.
        start, stop: bytes between which the HDU lies, header included.
        index: of the image's array: numbers, and slices with a start and a stop.
        shape: of the array, rows before columns.

    Raises:
        ValueError: it cannot be unpacked, or the decoder crashed.
    """
    full = [
        slice(*s.indices(n)[:2]) if isinstance(s, slice) else s
        for s, n in zip(index, shape, strict=True)
    ]
    wanted = tuple(max(0, s.stop - s.start) for s in full if isinstance(s, slice))
    with _lock:
        helper = _helpers.get(os.getpid())
        if helper is None:
            helper = _helpers[os.getpid()] = _Helper()
            atexit.register(helper.end)
        try:
            return helper.ask(fd, start, stop, full, wanted)
        except _Refused:
            raise
        except BaseException:  # a signal too: the rest of an answer must not be taken for the next
            del _helpers[os.getpid()]
            atexit.unregister(helper.end)
            helper.end()
            raise


# ------------------------------------------------------------------------------ the helper


class _Part(io.RawIOBase):
    """A primary HDU without data, then a part of a file."""

    def __init__(self, fd: int, start: int, stop: int) -> None:
        super().__init__()
        self._fd, self._start, self._place = fd, start - len(_FIRST), 0
        self._size = len(_FIRST) + stop - start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, (0, self._place, self._size)[whence] + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        many = min(len(buffer), max(0, self._size - self._place))
        if self._place < len(_FIRST):
            content = _FIRST[self._place : self._place + many]
        else:
            content = os.pread(self._fd, many, self._start + self._place)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def _answer(fd: int, start: int, stop: int, words: list[Any]) -> NDArray[Any]:
    from astropy.io import fits

    part: BinaryIO = io.BufferedReader(_Part(fd, start, stop))  # type: ignore[assignment]
    index = tuple(slice(*word) if isinstance(word, list) else word for word in words)
    with fits.open(part, memmap=False, do_not_scale_image_data=True) as opened:
        return np.ascontiguousarray(opened[1].section[index])


def _serve(ours: socket.socket) -> None:
    """Unpack what is asked for until nobody is there who asks."""
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other process's business
    warnings.simplefilter("ignore")
    while True:
        asked, fds, _, _ = socket.recv_fds(ours, _LONGEST, 1)
        if not asked:
            return
        pixels = None
        try:
            while not asked.endswith(b"\n"):
                asked += ours.recv(_LONGEST)
            pixels = _answer(fds[0], *json.loads(asked))
            said: dict[str, Any] = {"shape": pixels.shape, "dtype": pixels.dtype.str}
        except Exception as error:
            said = {"error": f"{error}"[:1000] or type(error).__name__}
        finally:
            for fd in fds:
                os.close(fd)
        ours.sendall(json.dumps(said).encode() + b"\n")
        if pixels is not None:
            ours.sendall(pixels.tobytes())


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
