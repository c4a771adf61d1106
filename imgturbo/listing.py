"""What a folder's files weigh and hash to, written down when they were whole: damage shows by it.

{"bytes": 5130319, "sha256": "e0772b…"}      an entry a file, in the folder's own JSON
"""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, Field

from imgturbo.door import Schema, door, room_for
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256

__all__ = ["Entry", "read_file"]


_PARSED = 10
"""Bytes of memory that a byte of JSON may take, read and understood."""


def read_file(folder: Path, name: str, remedy: str) -> bytes:
    """The content of a file of a folder; devices and pipes, which have no end, are none.

    Raises:
        ImgturboError: it is missing, no file, cannot be read, or is more than the memory can hold.
    """
    with door(folder, name, remedy, "cannot be read"):
        _refuse_no_file(folder, name, remedy)
        file = folder / name
        room_for(_PARSED * file.stat().st_size, file, "what it describes", remedy)
        return file.read_bytes()


def _refuse_no_file(folder: Path, name: str, remedy: str) -> None:
    if not (folder / name).exists():
        raise ImgturboError(f"{folder}: {name} is missing; {remedy}")
    if not (folder / name).is_file():
        raise ImgturboError(f"{folder}: {name} is no file; {remedy}")


class Entry(Schema):
    """Size and hash of one file.

    Attributes:
        bytes: how long it is.
        sha256: of its content, 64 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True)

    bytes: int = Field(ge=0, lt=1 << 63)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def of(cls, content: Path | builtins.bytes) -> Self:
        """The entry of a file, or of what is to become one.

        Raises:
            OSError: it cannot be read.
        """
        length = len(content) if isinstance(content, bytes) else content.stat().st_size
        return cls(bytes=length, sha256=sha256(content))

    def check(self, folder: Path, name: str, remedy: str, *, content: bool = True) -> None:
        """Refuse a file that is not the one that was listed.

        Args:
            folder: where it should lie, which the user knows.
            name: of the file, within.
            remedy: what the user can do.
            content: look at every byte; else at the size alone, which costs nothing.

        Raises:
            ImgturboError: it is missing, no file, of another size or of another content.
        """
        file = folder / name
        with door(folder, name, remedy, "cannot be read"):
            _refuse_no_file(folder, name, remedy)
            if (size := file.stat().st_size) != self.bytes:
                raise ImgturboError(
                    f"{folder}: {name} is corrupt (it has {size} bytes, not {self.bytes}); {remedy}"
                )
            if content and sha256(file) != self.sha256:
                raise ImgturboError(f"{folder}: {name} is corrupt (its sha256 differs); {remedy}")
