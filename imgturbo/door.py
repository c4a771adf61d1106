"""One door through which every file is read, so that damage is one line and never a traceback.

    with door(path, "extension SCI", "fetch the file again"):   what a library does with the bytes
    description = typed(Description, text, path)                JSON, of a pydantic model's shape
    room_for(8 * height * width, path, "an image of …")         before anything is allocated

A damaged file makes a library raise anything: KeyError, struct.error, a panic of Rust. A list of
names at every reader is never complete, so the door takes all of them (law 7), and a block under it
holds what a library does with the file and nothing else. What stays a traceback is a mistake of
this program: an AttributeError, a TypeError, a NameError or a failed assertion that one of its own
lines raised.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from imgturbo.errors import ImgturboError

__all__ = ["Schema", "door", "first_line", "room_for", "shortened", "typed"]

M = TypeVar("M", bound=BaseModel)

WHAT, REMEDY = "is damaged, or not what its name says", "get it again"
_MISTAKES = (AttributeError, TypeError, NameError, AssertionError, NotImplementedError)
_HERE = Path(__file__).parent
_OURS = tuple(f"{folder}{os.sep}" for folder in (_HERE, _HERE.parent / "data_prep"))
_LONGEST = 160


@contextlib.contextmanager
def door(
    path: Path | str, part: str = "", remedy: str = REMEDY, what: str = WHAT
) -> Iterator[None]:
    """Turn what a damaged file makes a library raise into ``PATH: PART WHAT (reason); REMEDY``.

    Args:
        path: the file, as the user knows it.
        part: which part of it the block reads, such as ``"extension SCI"``; empty for all of it.
        remedy: what the user can do.
        what: what has failed, after the part.

    Raises:
        ImgturboError: in place of every exception that the bytes may have caused, memory that is
            not enough among them; an ImgturboError of the block passes as it is.
    """
    try:
        yield
    except ImgturboError:
        raise
    except MemoryError as error:
        raise ImgturboError(
            f"{path}: {_with(part)}asks for more memory than there is; if that is what it should "
            "hold, read parts of it"
        ) from error
    except RecursionError as error:
        raise ImgturboError(f"{path}: {_with(part)}is nested too deeply; {remedy}") from error
    except BaseException as error:
        # Rust's panics, under safetensors and others, are no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, _MISTAKES) and _raised_here(error.__traceback__):
            raise
        raise ImgturboError(
            f"{path}: {_with(part)}{what} ({first_line(error)}); {remedy}"
        ) from error


class Schema(BaseModel):
    """The shape of JSON that is read; what an older or younger version wrote besides may stand."""

    model_config = ConfigDict(strict=True, extra="ignore")


def typed(model: type[M], text: str | bytes, path: Path | str, remedy: str = REMEDY) -> M:
    """Read JSON that must have the shape of ``model``.

    Args:
        model: what is expected; keys that it does not know are its own business.
        text: the JSON.
        path: where it was read, as the user knows it.
        remedy: what the user can do.

    Raises:
        ImgturboError: it is no JSON, or something is missing or of another type: which.
    """
    try:
        with door(path, remedy=remedy):
            return model.model_validate_json(text)
    except ImgturboError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        problem = error.__cause__.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(step) for step in problem["loc"])
        why = f"{where}: {problem['msg']}" if where else problem["msg"]
        raise ImgturboError(f"{path}: {WHAT} ({shortened(why)}); {remedy}") from error.__cause__


def room_for(needed: int, path: Path | str, what: str, remedy: str = "read parts of it") -> None:
    """Refuse what the machine cannot hold, before it is allocated.

    Args:
        needed: bytes.
        path: the file whose headers claim them.
        what: what they are for, such as ``"an image of 10⁶ × 10⁶ pixels"``.
        remedy: what the user can do.

    Raises:
        ImgturboError: there is less memory left than that.
    """
    left = memory_left()
    if needed > left:
        raise ImgturboError(
            f"{path}: {what} needs {_bytes(needed)} of memory, {_bytes(left)} are left; {remedy}"
        )


def memory_left() -> int:
    """Bytes that this process may still take: of the machine's, its group's and its own limit."""
    left = [psutil.virtual_memory().available]
    with contextlib.suppress(OSError, ValueError, KeyError):  # not Linux, or no limit ("max")
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
        shares = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        left.append(max(0, limit - used + int(shares["file"])))  # what is cached can go
    with contextlib.suppress(ImportError, OSError):  # not on Windows
        import resource

        own, _ = resource.getrlimit(resource.RLIMIT_AS)
        if own != resource.RLIM_INFINITY:
            left.append(max(0, own - psutil.Process().memory_info().vms))
    return min(left)


def first_line(error: BaseException) -> str:
    """What an exception says, short, in one printable line; its kind if it says nothing."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, KeyError):
        said = f"there is no {said}"
    line = next(iter(said.strip().splitlines()), "")
    return shortened(line) if line else type(error).__name__


def shortened(line: str) -> str:
    """A line, cut where it is long, without characters that are not printable."""
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _with(part: str) -> str:
    return f"{part} " if part else ""


def _bytes(n: float) -> str:
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while n >= 1000 and len(units) > 1:
        n, units = n / 1000, units[1:]
    return f"{n:.3g} {units[0]}"


def _raised_here(traceback: TracebackType | None) -> bool:
    """Whether the line that raised is one of this program's."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OURS)
