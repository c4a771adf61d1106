"""An archive on a cluster: one task a field."""

from __future__ import annotations

import contextlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from imgturbo.bundle import Bundle
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.leases import Leases
from imgturbo.mosaic.archive.summary import ManifestSummary, Outcome
from imgturbo.mosaic.archive.tasks import (
    MORE_MEMORY,
    BundleName,
    Here,
    Task,
    Unfit,
    absolute,
    handed_out,
    passing,
)
from imgturbo.mosaic.archive.work import FAILURES, Log, Progress, Work, failed
from imgturbo.mosaic.manifest import Field

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Opener", "on_cluster"]

_leases = Leases()
_HOPELESS = 3  # fields in a row at which every worker ended


Opener = Callable[[], AbstractContextManager["Client"]]
"""Opens a cluster, which ends with the block."""


def on_cluster(
    client: Client | Opener,
    work: Work,
    bundle: Bundle,
    fields: Sequence[Field],
    progress: Progress | None,
    log: Log | None,
) -> ManifestSummary:
    """Do the fields on the workers of a cluster; see `translate_manifest`."""
    grid = None if work.grid is None else absolute(work.grid)
    work = replace(work, out_dir=work.out_dir.absolute(), grid=grid)
    driver = _Driver(work, BundleName.of(bundle), len(fields), progress, log)
    with contextlib.ExitStack() as held:
        for last in (False, True):  # what other processes had may be free by the end
            tasks = driver.tasks(fields)
            first = next(tasks, None)
            if first is None:
                break
            if callable(client):
                client = held.enter_context(client())
            ended = handed_out(client, itertools.chain([first], tasks), log)
            with contextlib.closing(ended):
                for task, result in ended:
                    driver.take(task.of, result)
            if not last:
                fields = driver.again()
    return driver.found


class _Driver:
    """What becomes of the fields, as their tasks end."""

    def __init__(
        self,
        work: Work,
        bundle: BundleName,
        total: int,
        progress: Progress | None,
        log: Log | None,
    ) -> None:
        self._work, self._bundle, self._total = work, bundle, total
        self._progress, self._log = progress, log
        self.found = ManifestSummary()
        self._killed = 0  # fields in a row at which all workers ended
        self._busy: list[Field] = []

    def tasks(self, fields: Sequence[Field]) -> Iterator[Task]:
        """Of the fields whose outputs are not there."""
        for entry in fields:
            if (before := self._work.finished(entry)) is not None:
                self._add(before)
                continue
            sent = replace(entry, files=tuple(map(absolute, entry.files)))
            key = f"translate-{self._digest(entry)}-{entry.name}"
            yield Task(key, translate_field, (self._work, self._bundle, sent), entry)

    def take(self, entry: Field, result: Outcome | BaseException) -> None:
        """Note what came of a field.

        Raises:
            BaseException: of a task, if it is a mistake of ours.
        """
        if isinstance(result, BaseException):
            result = self._ended(entry, result)
        else:
            self._killed = 0
        for note in result.notes:
            warnings.warn(note, stacklevel=2)
        if self._log is not None:
            for line in result.lines:
                self._log(line)
        if result.kind == "busy":
            self._busy.append(entry)
        self._add(result)

    def again(self) -> list[Field]:
        """Fields that other processes had, to be tried once more."""
        fields, self._busy = self._busy, []
        self.found.busy = {}
        return fields

    def _add(self, outcome: Outcome) -> None:
        self.found.add(outcome)
        found = self.found
        done = len(found.done) + len(found.skipped) + len(found.failed) + len(found.busy)
        if self._progress is not None:
            failed = " failed" if outcome.kind == "failed" else ""
            self._progress(f"{outcome.name}{failed} ({done}/{self._total})", done / self._total)

    def _ended(self, entry: Field, error: BaseException) -> Outcome:
        """The outcome of a task that raised something.

        Raises:
            ImgturboError: workers end at every field.
        """
        from distributed import KilledWorker

        if not isinstance(error, KilledWorker):
            self._killed = 0
            return _raised(entry, error)
        self._killed += 1
        why = "every worker that took it ended, for want of memory as a rule"
        if self._killed == _HOPELESS:
            raise ImgturboError(
                f"{entry.name}: {why}, and so it was with the {_HOPELESS - 1} fields before it; "
                f"{MORE_MEMORY}; the same command continues"
            )
        return Outcome(entry.name, "failed", f"{why}; {MORE_MEMORY}, or smaller windows")

    def _digest(self, entry: Field) -> str:
        work = self._work
        content = [work.recipe(entry).digest, str(work.out_dir), work.overwrite, work.resume]
        content.append({key: str(value) for key, value in sorted(work.settings.items())})
        return sha256(json.dumps(content).encode())[:12]


def _raised(entry: Field, error: BaseException) -> Outcome:
    """The outcome of a task that raised what was none of the worker's death."""
    if isinstance(error, Unfit):
        raise error
    if isinstance(error, FAILURES):
        return failed(entry, error)
    raise error


def translate_field(work: Work, name: BundleName, entry: Field) -> Outcome:
    """What a worker runs: one field, with what was said of it.

    Raises:
        Unfit: this worker can do no field.
        ImgturboError, OSError: what may be gone at the next try.
    """
    here, bundle, lines = Here(), name.load(), list[str]()

    def report(what: str, fraction: float) -> None:
        here.check()

    if work.settings.get("device") is None and here.device is not None:
        work = replace(work, settings={**work.settings, "device": here.device})
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always", UserWarning)
        try:
            outcome = work.do(entry, bundle, _leases, wait=True, progress=report, log=lines.append)
        except FAILURES as error:
            if passing(error):
                raise
            outcome = failed(entry, error)
    notes = dict.fromkeys(str(one.message) for one in given if one.category is UserWarning)
    return replace(outcome, notes=tuple(notes), lines=tuple(lines))
