"""One way to write, so that nothing is ever half-written (law 6), and one way to hash.

    write .NAME.part  →  fsync it  →  rename it NAME  →  fsync the folder

Until the rename what was called NAME before is untouched, and after it NAME is the new content,
whole: a kill, a full disk or a cut of power at any moment leaves one or the other. A folder is
written in the same way; since a folder cannot take the place of another in one step, the older one
steps aside as ``.NAME.old`` for the moment between, and back again if the new one cannot follow (a
kill in that very moment leaves both, whole, under their other names).

    with whole(path) as aside:        a file or a folder that some library writes
        table.write(aside)

    write_whole(path, content)        bytes, or write_json(path, tree)
    write_folder(path, files)         a folder of such files
    write_durably(aside / name, …)    a file of a folder that is aside itself: written and fsynced,
    put_in_place(aside, path)         and later, perhaps by another process, fsync and rename

What keeps a file open for hours (`imgturbo.sky.SkyWriter`) writes it itself and ends with
``put_in_place`` as well.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imgturbo.errors import ImgturboError

__all__ = [
    "aside_of",
    "naming",
    "put_in_place",
    "remove",
    "sha256",
    "sync",
    "whole",
    "write_durably",
    "write_folder",
    "write_json",
    "write_whole",
]

WHAT, REMEDY = "cannot be written", "free some space or choose another place"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHORT = re.compile(r"\d+ requested and \d+ written|Not enough space on disk")
"""What numpy and astropy say of a full disk, without its number."""
_NO_SUCH_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM)


# ------------------------------------------------------------------------------------ reading


def sha256(content: Path | bytes) -> str:
    """The SHA-256 of a file, or of bytes, in 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read; see :func:`naming`.
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def naming(path: Path | str, remedy: str = REMEDY, what: str = WHAT) -> Iterator[None]:
    """Turn an OSError of the block into one line: ``PATH: WHAT (the reason); REMEDY``.

    Args:
        path: what the user knows, be it the file itself or the folder of the whole run.
        remedy: what the user can do, such as ``"choose another 'train.out'"``.
        what: what has failed.

    Raises:
        ImgturboError: in place of every OSError.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in _FULL or _SHORT.search(why):
            why = f"{os.strerror(errno.ENOSPC)}, the disk is full"
        raise ImgturboError(f"{path}: {what} ({why}); {remedy}") from error


# ------------------------------------------------------------------------------------ writing


@contextlib.contextmanager
def whole(path: Path | str, remedy: str = REMEDY, what: str = WHAT) -> Iterator[Path]:
    """Give a place to write at; what stands there when the block ends well becomes ``path``.

    Args:
        path: the file or the folder to make; folders above it are made where there are none.
        remedy, what: as of :func:`naming`.

    Yields:
        A free name in the same folder; the block writes a file there, or makes a folder.

    Raises:
        ImgturboError: it cannot be written; what was there before is still there. After any other
            exception of the block too nothing is left aside.
    """
    path = Path(path)
    aside = aside_of(path)
    with naming(path, remedy, what):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(aside)
        try:
            yield aside
            put_in_place(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong first is what the user must know
                remove(aside)
            raise


def write_whole(path: Path | str, content: bytes, remedy: str = REMEDY) -> None:
    """Write a file whole or not at all; folders are made where there are none.

    Raises:
        ImgturboError: ``path`` cannot be written; what was there before is still there.
    """
    with whole(path, remedy) as aside:
        write_durably(aside, content)


def write_json(
    path: Path | str, content: Mapping[str, Any] | Sequence[Any], remedy: str = REMEDY
) -> None:
    """Write JSON whole or not at all.

    Raises:
        ImgturboError: as of :func:`write_whole`.
        ValueError: a number that JSON has no word for (NaN, infinity).
    """
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_whole(path, text.encode(), remedy)


def write_folder(
    path: Path | str, files: Mapping[str, bytes], remedy: str = REMEDY, what: str = WHAT
) -> None:
    """Write a folder of files whole or not at all, in the place of an older one.

    Args:
        path: the folder.
        files: content by name.
        remedy, what: as of :func:`naming`.

    Raises:
        ImgturboError: it cannot be written; the older folder is still there.
    """
    with whole(path, remedy, what) as aside:
        aside.mkdir()
        for name, content in files.items():
            write_durably(aside / name, content)


# ------------------------------------------------------------------- steps, for longer writers


def aside_of(path: Path) -> Path:
    """Where a file or folder grows until it is whole: ``.NAME.part`` beside it."""
    return path.with_name(f".{path.name}.part")


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and bring it to disk, at a place that nobody takes for finished yet.

    Raises:
        OSError: it cannot be written; part of it may be there.
    """
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def put_in_place(aside: Path, path: Path) -> None:
    """Bring what was written aside to disk and give it its name, which an older one loses.

    Args:
        aside: a file, or a folder, in the same folder as ``path``.
        path: the name; a folder takes it from a folder only, or from a link to one (or to nothing),
            and what a link pointed to stays as it is.

    Raises:
        OSError: before the rename, and ``path`` is as it was; or after it, and ``path`` is the new
            one, but may not outlive a cut of power.
    """
    sync(aside)
    if not aside.is_dir():
        os.replace(aside, path)
        _sync_entries(path.parent)
        return
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    old = path.with_name(f".{path.name}.old")
    if os.path.lexists(path):
        remove(old)
        os.replace(path, old)
    try:
        os.replace(aside, path)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(path):
            os.replace(old, path)
        raise
    _sync_entries(path.parent)
    remove(old)


def sync(path: Path | int) -> None:
    """Bring to disk a file, a folder with all that it holds, or an open file by its descriptor.

    The entries of a folder are synchronised where the system lets that be done.
    """
    if isinstance(path, int):
        os.fsync(path)
    elif path.is_dir():
        for parent, _, names in os.walk(path):
            for name in names:
                sync(Path(parent, name))
            _sync_entries(Path(parent))
    else:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_entries(folder: Path) -> None:
    """Make the names in a folder durable; file systems that cannot do that say so."""
    try:
        _sync_one(folder)
    except OSError as error:
        if error.errno not in _NO_SUCH_SYNC:
            raise


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that it holds, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
