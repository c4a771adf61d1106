"""Packed files: recognised by their first bytes, unpacked to a temporary file, packed by suffix.

A stream that is packed cannot be read at random, so it is unpacked once, to the disk. What Python's
own library knows (gzip, bzip2, xz, a zip archive of one file) is read; what it does not is named.
A small file may hold any number of bytes: no more of them are unpacked than the FITS headers among
them promise, and nothing of what the disk cannot hold.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.files import naming, whole
from imgturbo.remote import is_remote
from imgturbo.sky.blocks import Extent, walk

__all__ = ["PACKED_SUFFIXES", "open_unpacked", "pack"]

_BLOCK_BYTES = 1 << 22
_SPARE = 1 << 24  # bytes of the disk that are left to others


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
    with door(path, what="cannot be opened", remedy="check the path and its permissions"):
        stream: BinaryIO = path.open("rb")
    try:
        with door(path, what="cannot be read", remedy="check the disk"):
            start = stream.read(8)
            stream.seek(0)
        for magic, program in _OTHERS.items():
            if start.startswith(magic):
                raise ImgturboError(f"{path}: is packed by {program}; unpack it first")
        reader = next((read for magic, read in _READERS.items() if start.startswith(magic)), None)
        if reader is None:
            return stream
        if is_remote(path):
            raise ImgturboError(
                f"{path}: is packed as a whole, so no part of it can be read over the network; "
                "fetch the file and name it here, or give one that is packed by tiles (fpack)"
            )
        unpacked = _unpacked(path, reader, stream)
    except BaseException:
        stream.close()
        raise
    stream.close()
    return unpacked


def _unpacked(path: Path, reader: Callable[[BinaryIO], Any], stream: BinaryIO) -> BinaryIO:
    """A temporary file of all HDUs, which lives as long as it is open."""
    remedy = "set TMPDIR to a folder with more room"
    with (
        naming(path, remedy, "cannot be unpacked to the temporary folder"),
        tempfile.TemporaryFile() as unpacked,
    ):

        def read(size: int) -> bytes:
            with door(path, what="cannot be unpacked", remedy="fetch it again"):
                try:
                    return bytes(packed.read(size))
                except EOFError:
                    raise ImgturboError(f"{path}: is truncated; fetch it again") from None

        def header(size: int) -> bytes:
            block = read(size)
            unpacked.write(block)
            return block

        with door(path, what="cannot be unpacked", remedy="fetch it again"):
            packed = reader(stream)
        with packed:
            for extent in walk(header, str(path)):
                _copy(extent, read, unpacked, path)
        unpacked.seek(0)
        return os.fdopen(os.dup(unpacked.fileno()), "rb")


def _copy(extent: Extent, read: Callable[[int], bytes], out: BinaryIO, path: Path) -> None:
    """The data of an HDU, if the disk has room for them."""
    left = extent.end - extent.data
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if left > free - _SPARE:
        raise ImgturboError(
            f"{path}: takes {left / 1e6:.0f} MB more in {tempfile.gettempdir()} unpacked, where "
            f"{free / 1e6:.0f} MB are free; set TMPDIR to a folder with more room, or unpack it"
        )
    while left:
        block = read(min(left, _BLOCK_BYTES))
        if not block:  # the last padding may lack; who walks the HDUs sees whether more does
            return
        out.write(block)
        left -= len(block)


def pack(path: Path, suffix: str) -> None:
    """Replace a file by what the suffix says: its gzip, bzip2 or xz; it is on disk afterwards."""
    with whole(path) as aside, path.open("rb") as unpacked, _WRITERS[suffix](aside) as out:
        shutil.copyfileobj(unpacked, out, _BLOCK_BYTES)
