"""One process at a time grows an output; a second one is told who is at it.

The lock is the system's (``flock``), on a file beside the output, ``.NAME.lock``, or in it,
``NAME/.lock``, where the output is a folder that stays where it is. The system lets go of it when
its process ends, however that may be, so no lock outlives its process, and the file that a kill
leaves behind means nothing. In it stands who holds it, for the message alone. Where a file system
has no locks, what stands in the file must do: a process of this machine that no longer runs holds
nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from imgturbo.errors import ImgturboError
from imgturbo.files import naming

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Busy", "Holder", "locked"]

_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class Busy(ImgturboError):
    """Another process is at work on an output; nothing is wrong with it."""


class Holder(BaseModel):
    """A process that holds a lock or a lease, as it writes itself down."""

    pid: int
    host: str
    since: str
    begun: float
    """When the process began, so that another of the same number is told from it."""
    space: int = 0
    """Of process numbers: containers of one host have their own; 0 where that is not known."""

    @classmethod
    def me(cls) -> Holder:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        begun = psutil.Process().create_time()
        host, space = socket.gethostname(), _space()
        return cls(pid=os.getpid(), host=host, since=now, begun=begun, space=space)

    @property
    def here(self) -> bool:
        """Whether it is, or was, a process of this machine, or of this container of it."""
        return (self.host, self.space) == (socket.gethostname(), _space())

    @property
    def gone(self) -> bool:
        """Whether it is known to run no more."""
        if not self.here:
            return False
        try:
            return abs(psutil.Process(self.pid).create_time() - self.begun) > 1
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def _space() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not on Linux
        return 0


@contextmanager
def locked(out: Path | str, remedy: str, inside: bool = False) -> Iterator[None]:
    """Hold an output while the block runs; of several processes of one job the first calls this.

    Args:
        out: the file or folder that grows.
        remedy: what to do if the lock cannot be made, such as ``"choose another --out"``.
        inside: whether the lock lies in the folder `out`, which is made if there is none.

    Raises:
        Busy: another process holds it: which.
        ImgturboError: nothing can be written there.
    """
    out = Path(out)
    place = Path(os.path.abspath(out))
    file = place / ".lock" if inside else place.with_name(f".{place.name}.lock")
    with naming(out, remedy):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = _take(file, out)
    try:
        yield
    finally:
        with suppress(OSError):  # whatever became of it, the work is done
            file.unlink(missing_ok=True)  # while it is held: whoever opened it before looks again
            os.close(handle)


def _take(file: Path, out: Path) -> int:
    """The open lock file, held."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            given, before = _given(handle), _holder(handle)
            if given is False or (given is None and before is not None and not before.gone):
                raise _refused(out, before)
            if not _is(handle, file):  # another process has just finished, and removed it
                os.close(handle)
                continue
            with suppress(OSError):  # a full disk: it is held all the same
                os.ftruncate(handle, 0)
                os.pwrite(handle, Holder.me().model_dump_json().encode(), 0)
            return handle
        except BaseException:
            with suppress(OSError):
                os.close(handle)
            raise


def _given(handle: int) -> bool | None:
    """Whether the system has given the lock; None where it has none to give."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        if error.errno in _HELD:
            return False
        raise
    return True


def _holder(handle: int) -> Holder | None:
    """Who says that it holds the lock; None where nobody does, or it is not to be read."""
    try:
        return Holder.model_validate_json(os.pread(handle, 4096, 0))
    except (OSError, ValidationError):
        return None


def _is(handle: int, file: Path) -> bool:
    """Whether the file that was opened still has its name."""
    try:
        mine, named = os.fstat(handle), os.stat(file, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)


def _refused(out: Path, holder: Holder | None) -> Busy:
    who = f"another process ({holder})" if holder is not None else "another process"
    return Busy(f"{out}: {who} is at work on it; wait until it has finished, or stop it")
