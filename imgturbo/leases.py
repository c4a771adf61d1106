"""Many machines share the outputs of a folder, without a server: who is at work on which.

Beside an output that somebody makes lies a lease, ``.NAME.lease``. Who creates it (O_EXCL, one
step on every shared file system) has the output, and touches the lease every `BEAT` seconds. A lock
of the system (:mod:`imgturbo.locks`) would do on one machine; shared file systems have such locks,
have them for each machine by itself, or have none.

A lease of this machine is dead if its process no longer runs; one of another machine, if nothing of
it has changed while this process watched it for `PATIENCE` seconds. No clock of one machine is
compared with that of another, so clocks may disagree by any amount. Who finds a dead lease makes
the next one, ``.NAME.lease-1``, again with O_EXCL, so that one alone takes over; who had the former
one, and was only asleep, sees the next one and stops. Since the number grows with every process
that died at it, an output that ends them all (for want of memory, say) is given up after
`ATTEMPTS`.

    leases = Leases()
    lease = leases.take(out)
    if lease is not None:
        with lease:  # and now look whether the output has been made meanwhile
            …  lease.check()
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from pydantic import ValidationError

from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.locks import Busy, Holder

__all__ = ["ATTEMPTS", "BEAT", "PATIENCE", "Lease", "Leases"]

BEAT = 10.0
"""Seconds between signs of life."""
PATIENCE = 120.0
"""Seconds without one after which a lease is dead."""
ATTEMPTS = 5
"""Processes that may die at an output."""

_READ_ONLY = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class _Sign(NamedTuple):
    """What is seen of a lease; any change of it is a sign of life."""

    inode: int
    modified: int
    content: bytes


@dataclass
class _Watched:
    sign: _Sign
    since: float  # of this process's own clock
    moved: bool = False


class Lease:
    """An output that is this process's to make, as long as the block runs."""

    def __init__(self, out: Path, number: int, beat: float) -> None:
        self._out, self._number, self._beat = out, number, beat
        self._over = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._live, daemon=True)

    def check(self) -> None:
        """Make sure of it, before more is written.

        Raises:
            Busy: this process seemed dead, and another one took over.
        """
        if self._lost:
            raise Busy(f"{self._out}: another process took it over, since this one was asleep")

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if not _later(self._out, self._number):
            release(self._out, self._number)

    def _live(self) -> None:
        while not self._over.wait(self._beat):
            try:
                os.utime(_path(self._out, self._number))
            except FileNotFoundError:
                self._lost = True
            except OSError:  # a server that does not answer: it will be tried again
                continue
            if self._lost or _later(self._out, self._number):
                self._lost = True
                return


class Leases:
    """What this process has seen of others' leases; one such memory a process.

    Args:
        beat, patience: in seconds; every process that shares a folder has the same.
    """

    def __init__(self, beat: float | None = None, patience: float | None = None) -> None:
        self._beat = BEAT if beat is None else beat
        self._patience = PATIENCE if patience is None else patience
        self._watched: dict[Path, _Watched] = {}

    def take(self, out: Path, wait: bool = False) -> Lease | None:
        """The lease of an output, or None where another process has it.

        What others have done is on disk by then: look for the output again once it is taken.

        Args:
            out: the output, in a folder that is there.
            wait: where it is not yet known whether the other process lives, watch it until it is.

        Raises:
            ImgturboError: as many processes died at it as may; the lease cannot be written.
        """
        with naming(out.parent, "choose another folder", "takes no lease"):
            while True:
                number, sign = _youngest(out)
                if sign is None:
                    lease = self._make(out, 0)
                elif not (dead := self._dead(_path(out, number), sign)):
                    if dead is False or not wait:
                        return None
                    time.sleep(min(self._beat, self._patience) / 4)
                    continue
                elif number + 1 >= ATTEMPTS:
                    raise ImgturboError(
                        f"{out}: {ATTEMPTS} processes ended while they were at work on it (for "
                        f"want of memory?); to try again, remove {_path(out, 0)} and its like"
                    )
                else:
                    lease = self._make(out, number + 1, sign)
                if lease is not None:
                    return lease

    def holder(self, out: Path) -> str:
        """Who has an output, for a message."""
        _, sign = _youngest(out)
        holder = _holder(sign) if sign is not None else None
        return str(holder) if holder is not None else "another process"

    def _dead(self, path: Path, sign: _Sign) -> bool | None:
        """Whether a lease is; None: not yet known."""
        holder = _holder(sign)
        if holder is not None and holder.here:
            return holder.gone
        now = time.monotonic()
        seen = self._watched.get(path)
        if seen is None or seen.sign != sign:
            self._watched[path] = _Watched(sign, now, moved=seen is not None)
            return False if seen is not None else None
        if now - seen.since >= self._patience:
            return True
        # Within two beats of a sign of life it needs no second one.
        return False if seen.moved and now - seen.since < 2 * self._beat else None

    def _make(self, out: Path, number: int, before: _Sign | None = None) -> Lease | None:
        """The lease of a number, unless another process was quicker."""
        path = _path(out, number)
        try:
            handle = os.open(path, _CREATE, 0o666)
        except FileExistsError:
            return None
        try:
            with suppress(OSError):  # a full disk: it is held all the same
                os.write(handle, Holder.me().model_dump_json().encode())
        finally:
            os.close(handle)
        # Between the look and the step another process may have been through with the output.
        former = _sign(_path(out, number - 1)) if number else None
        if former != before or _later(out, number):
            path.unlink(missing_ok=True)
            return None
        return Lease(out, number, self._beat)


def release(out: Path, number: int) -> None:
    """Remove the leases of an output up to a number, the youngest first."""
    for k in range(number, -1, -1):
        with suppress(OSError):
            _path(out, k).unlink(missing_ok=True)


def _path(out: Path, number: int) -> Path:
    return out.with_name(f".{out.name}.lease{f'-{number}' if number else ''}")


def _later(out: Path, number: int) -> bool:
    """Whether somebody has taken over since."""
    return any(_path(out, later).exists() for later in range(number + 1, ATTEMPTS))


def _youngest(out: Path) -> tuple[int, _Sign | None]:
    for number in range(ATTEMPTS - 1, -1, -1):
        if (sign := _sign(_path(out, number))) is not None:
            return number, sign
    return 0, None


def _sign(path: Path) -> _Sign | None:
    # Opened, not only looked at: network file systems then ask their server.
    try:
        handle = os.open(path, _READ_ONLY)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(handle)
        return _Sign(status.st_ino, status.st_mtime_ns, os.pread(handle, 4096, 0))
    finally:
        os.close(handle)


def _holder(sign: _Sign) -> Holder | None:
    try:
        return Holder.model_validate_json(sign.content)
    except ValidationError:
        return None
