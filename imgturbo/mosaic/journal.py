"""Which parts of an unfinished output are on disk, so that a second run need not repeat them.

Beside the part file ``.NAME.part`` of an output lies ``.NAME.part.json`` (of the first process;
``.NAME.part-1.json`` and so on of the others), with the fingerprint of the job — inputs, model,
plan — and the numbers of the finished units. Order of events (law 6): the pixels are written, the
part file is fsynced, and only then does the journal name them, itself written whole. A unit that
the journal names is therefore on disk, whatever happened since.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from imgturbo.files import aside_of, naming, remove, sync, write_whole

__all__ = ["Journal"]


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
        self._fingerprint = fingerprint
        self._part = part
        self._interval = interval
        self._done: list[int] = []
        self._last = time.monotonic()

    def mark(self, unit: int) -> None:
        """Note that all pixels of `unit` have been written."""
        self._done.append(unit)
        if time.monotonic() - self._last >= self._interval:
            self.commit()

    def commit(self) -> None:
        """Make what has been marked durable."""
        with naming(self._part):
            sync(self._part)  # what any descriptor of this process has written to it
        record = {"fingerprint": self._fingerprint, "done": self._done}
        write_whole(self.path, json.dumps(record).encode())
        self._last = time.monotonic()

    def adopt(self, done: set[int]) -> None:
        """Begin with units that earlier runs have finished."""
        self._done = sorted(done)

    @staticmethod
    def finished(out: Path, fingerprint: str) -> set[int] | None:
        """Units that earlier runs of this very job finished; None where there is no such run."""
        done: set[int] | None = None
        for path in _journals(out):
            try:
                record = json.loads(path.read_text())
                if record["fingerprint"] == fingerprint:
                    done = (done or set()) | {int(unit) for unit in record["done"]}
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a journal that cannot be read only costs the work it would have saved
        return done

    @staticmethod
    def remove(out: Path) -> None:
        """Forget all processes' journals of `out`."""
        for path in {journal_path(out, 0), *_journals(out)}:
            remove(path)
            remove(aside_of(path))  # of a kill while it was written


def journal_path(out: Path, rank: int) -> Path:
    """Where process `rank` keeps its journal."""
    return out.with_name(f".{out.name}.part{f'-{rank}' if rank else ''}.json")


def _journals(out: Path) -> list[Path]:
    first = journal_path(out, 0)
    stem = f".{out.name}.part-"
    others = (
        path
        for path in (out.parent.iterdir() if out.parent.is_dir() else ())
        if path.name.startswith(stem) and path.name.endswith(".json")
    )
    return [path for path in (first, *sorted(others)) if path.exists()]
