"""Packed files: recognised by their first bytes, unpacked to a temporary file, packed by suffix.

A stream that is packed cannot be read at random, so it is unpacked once, to the disk. What Python's
own library knows (gzip, bzip2, xz, a zip archive of one file) is read; what it does not is named.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO

from imgturbo.errors import ImgturboError
from imgturbo.files import whole

__all__ = ["PACKED_SUFFIXES", "open_unpacked", "pack"]

_BLOCK_BYTES = 1 << 22
_DAMAGED = (OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ValueError)


def _open_zip(stream: BinaryIO) -> IO[bytes]:
    archive = zipfile.ZipFile(stream)
    names = [entry for entry in archive.namelist() if not entry.endswith("/")]
    if len(names) != 1:
        raise ValueError(f"an archive of {len(names)} files")
    return archive.open(names[0])


_READERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"PK\x03\x04": _open_zip,
}
_OTHERS = {b"\x1f\x9d": "compress (.Z)", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7-zip"}
_WRITERS: dict[str, Callable[[Path], Any]] = {
    ".gz": lambda path: gzip.GzipFile(path, "wb", 4),
    ".bz2": lambda path: bz2.BZ2File(path, "wb"),
    ".xz": lambda path: lzma.LZMAFile(path, "wb", preset=3),  # noqa: SIM115
}
PACKED_SUFFIXES = tuple(_WRITERS)
"""Suffixes under which files are written packed."""


def open_unpacked(path: Path) -> BinaryIO:
    """The file, unpacked to a temporary one if it is packed.

    Raises:
        ImgturboError: it cannot be opened, is truncated or damaged, or packed by another program.
    """
    try:
        stream: BinaryIO = path.open("rb")
    except FileNotFoundError:
        raise ImgturboError(f"{path}: no such file; check the path") from None
    except OSError as reason:
        raise ImgturboError(f"{path}: cannot be opened ({reason.strerror})") from reason
    start = stream.read(8)
    stream.seek(0)
    for magic, program in _OTHERS.items():
        if start.startswith(magic):
            stream.close()
            raise ImgturboError(f"{path}: is packed by {program}; unpack it first")
    reader = next((read for magic, read in _READERS.items() if start.startswith(magic)), None)
    if reader is None:
        return stream
    try:
        with stream, reader(stream) as packed, tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(packed, unpacked, _BLOCK_BYTES)
            unpacked.seek(0)
            return os.fdopen(os.dup(unpacked.fileno()), "rb")  # lives as long as it is open
    except EOFError:
        raise ImgturboError(f"{path}: is truncated; fetch it again") from None
    except _DAMAGED as reason:
        line = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
        raise ImgturboError(f"{path}: cannot be unpacked ({line})") from reason


def pack(path: Path, suffix: str) -> None:
    """Replace a file by what the suffix says: its gzip, bzip2 or xz; it is on disk afterwards."""
    with whole(path) as aside, path.open("rb") as unpacked, _WRITERS[suffix](aside) as out:
        shutil.copyfileobj(unpacked, out, _BLOCK_BYTES)
