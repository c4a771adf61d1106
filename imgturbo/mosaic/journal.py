"""Which parts of an unfinished output are on disk, so that a second run need not repeat them.

Beside the part file ``.NAME.part`` of an output lies ``.NAME.part.json`` (of the first process;
``.NAME.part-1.json`` and so on of the others), with the fingerprint of the job — inputs, model,
plan — and the numbers of the finished units. Order of events (law 6): the pixels are written, the
part file is fsynced, and only then does the journal name them, itself written whole. A unit that
the journal names is therefore on disk, whatever happened since.

What happened since may be anything: an edited journal, a disk that lost a block. So each unit has
the checksum of its pixels, which must still be that of the part file, and the record as a whole has
one. A journal that is not as it should be only costs the work that it would have saved.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from imgturbo.door import Schema, door, typed
from imgturbo.errors import ImgturboError
from imgturbo.files import aside_of, naming, remove, sha256, sync, write_whole

__all__ = ["Journal", "journal_path"]

_LONGEST = 64  # bytes that a unit may take in a record


class _Record(Schema):
    """What a journal holds; ``seal`` is the hash of all else."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[2]
    fingerprint: str
    done: list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]]
    """Units and the checksums of their pixels."""
    seal: str = ""

    def sealed(self) -> str:
        """The hash of what the record says."""
        return sha256(self.model_dump_json(exclude={"seal"}).encode())


class Journal:
    """Finished units of one process; committed at most every `interval` seconds."""

    def __init__(
        self,
        out: Path,
        fingerprint: str,
        part: Path,
        rank: int = 0,
        interval: float = 5.0,
    ) -> None:
        """
        Args:
            out: the final path of the output.
            fingerprint: of the job; what was done under another one counts for nothing.
            part: the file that grows aside.
            rank: of this process.
            interval: seconds between commits, so that fsync does not set the pace.
        """
        self.path = journal_path(out, rank)
        self._out = out
        self._fingerprint = fingerprint
        self._part = part
        self._interval = interval
        self._done: dict[int, int] = {}
        self._last = time.monotonic()

    def mark(self, unit: int, checksum: int) -> None:
        """Note that all pixels of `unit` have been written, and their checksum in the part file."""
        self._done[unit] = checksum
        if time.monotonic() - self._last >= self._interval:
            self.commit()

    def commit(self) -> None:
        """Make what has been marked durable.

        Raises:
            ImgturboError: the disk is full, naming the output; the former record is still there.
        """
        record = _Record(format=2, fingerprint=self._fingerprint, done=list(self._done.items()))
        record.seal = record.sealed()
        remedy = "free some space, then run the same command to continue"
        with naming(self._out, remedy):
            sync(self._part)  # what any descriptor of this process has written to it
        try:
            write_whole(self.path, record.model_dump_json().encode())
        except ImgturboError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            with naming(self._out, remedy):  # the user knows the output, not its journal
                raise error.__cause__ from None
        self._last = time.monotonic()

    def adopt(self, done: Mapping[int, int]) -> None:
        """Begin with units that earlier runs have finished."""
        self._done = dict(sorted(done.items()))

    @staticmethod
    def finished(out: Path, fingerprint: str, units: int) -> dict[int, int] | None:
        """Units that earlier runs of this very job finished, and the checksums of their pixels.

        Args:
            out: the final path of the output.
            fingerprint: of the job.
            units: how many the job has.

        Returns:
            None where there is no such run, or none whose record can be believed.
        """
        done: dict[int, int] | None = None
        for path in _journals(out):
            with suppress(ImgturboError):
                record = _read(path, units)
                if record.fingerprint == fingerprint:
                    done = (done or {}) | dict(record.done)
        return done

    @staticmethod
    def remove(out: Path, others: bool = True) -> None:
        """Forget the journals of `out`.

        Args:
            out: the final path of the output.
            others: those of all processes, for which the folder is searched; else the first's only.
        """
        for path in {journal_path(out, 0), *(_journals(out) if others else ())}:
            remove(path)
            remove(aside_of(path))  # of a kill while it was written


def _read(path: Path, units: int) -> _Record:
    """A record of at most so many units, checked.

    Raises:
        ImgturboError: it is not as it was written.
    """
    with door(path):
        if path.is_symlink() or path.stat().st_size > 1024 + _LONGEST * units:
            raise ImgturboError(f"{path}: is no journal of this job; remove it")
        record = typed(_Record, path.read_bytes(), path)
    numbers = [unit for unit, _ in record.done]
    if record.seal != record.sealed() or not set(numbers) <= set(range(units)):
        raise ImgturboError(f"{path}: was changed since it was written; remove it")
    return record


def journal_path(out: Path, rank: int) -> Path:
    """Where process `rank` keeps its journal."""
    return out.with_name(f".{out.name}.part{f'-{rank}' if rank else ''}.json")


def _journals(out: Path) -> list[Path]:
    first, stem = journal_path(out, 0), f".{out.name}.part-"
    with os.scandir(out.parent) if out.parent.is_dir() else nullcontext(()) as entries:
        names = [entry.name for entry in entries]  # names alone: there may be very many
    others = (out.with_name(n) for n in names if n.startswith(stem) and n.endswith(".json"))
    return [path for path in (first, *sorted(others)) if path.is_symlink() or path.exists()]
