"""What is done with each field of an archive, by whoever does it.

A `Work` is small and made of plain values, so that it can be sent to other machines: it names the
bundle and has no weights. It is done with one field at a time, under a lease, and its outcome is a
value too: a field that fails is no failure of the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from imgturbo import __version__
from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.door import first_line
from imgturbo.errors import ImgturboError
from imgturbo.leases import Leases
from imgturbo.locks import Busy
from imgturbo.mosaic.archive.summary import Outcome
from imgturbo.mosaic.files import translate_file
from imgturbo.mosaic.manifest import Field
from imgturbo.mosaic.recipe import Recipe
from imgturbo.sky import SkyReader
from imgturbo.team import Team

__all__ = ["FAILURES", "Work", "failed"]

FAILURES = (ImgturboError, OSError, MemoryError, torch.OutOfMemoryError)
"""What a field may fail of; anything else is a mistake of ours, and would be every field's."""

Progress = Callable[[str, float], None]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """The same for every field.

    Attributes:
        hash: of the bundle.
        direction, bands, grid, overwrite, resume: as of `translate_manifest`.
        out_dir: the folder of the outputs.
        settings: how to compute.
        calibration: name of the intervals by which quantiles are put right.
        version: of this program.
    """

    hash: str
    direction: str
    bands: tuple[str, ...] | None
    grid: Path | str | None
    overwrite: bool
    resume: bool
    out_dir: Path
    settings: SettingsDict
    calibration: str | None = None
    version: str = __version__

    def out(self, entry: Field) -> Path:
        """Where a field's output goes."""
        return self.out_dir / f"{entry.name}.fits"

    def recipe(self, entry: Field) -> Recipe:
        """How a field's output is made."""
        settings, bands = Settings(**self.settings), self.bands or entry.bands
        return Recipe.of(
            self.hash, self.direction, settings, entry.files, bands, self.grid, self.calibration
        )

    def finished(self, entry: Field) -> Outcome | None:
        """What is to be said of a field whose output is there; None if it is to be made."""
        out = self.out(entry)
        if self.overwrite or not (out.exists() or out.is_symlink()):
            return None
        try:
            other = self.recipe(entry).differs(out)
        except OSError as error:
            return failed(entry, error)
        if other is None:
            return Outcome(entry.name, "skipped")
        return Outcome(
            entry.name,
            "failed",
            f"{other} in {self.out_dir}; choose another --out-dir, or --overwrite",
        )

    def do(
        self,
        entry: Field,
        bundle: Bundle,
        leases: Leases,
        *,
        wait: bool = False,
        progress: Progress | None = None,
        log: Log | None = None,
    ) -> Outcome:
        """Translate a field, unless its output is there or another process makes it.

        Args:
            entry: the field.
            bundle: the loaded bundle.
            leases: of this process.
            wait: find out whether another process that has it still lives.
            progress, log: as of `translate_file`.

        Raises:
            ImgturboError, OSError, MemoryError: the field cannot be translated.
        """
        if (before := self.finished(entry)) is not None:
            return before
        out = self.out(entry)
        lease = leases.take(out, wait)
        if lease is None:
            return Outcome(entry.name, "busy", leases.holder(out))

        def report(what: str, fraction: float) -> None:
            lease.check()
            if progress is not None:
                progress(what, fraction)

        try:
            with lease:
                if (before := self.finished(entry)) is not None:  # by another process, just now
                    return before
                translate_file(
                    bundle,
                    entry.files,
                    out,
                    self.direction,
                    bands=self.bands or entry.bands,
                    grid=self.grid,
                    overwrite=self.overwrite,
                    resume=self.resume,
                    progress=report,
                    log=log,
                    team=Team(),
                    opened=_note_names if self.bands is None else None,
                    **self.settings,
                )
        except Busy as busy:
            return Outcome(entry.name, "busy", str(busy))
        return Outcome(entry.name, "done")


def failed(entry: Field, error: BaseException) -> Outcome:
    """The outcome of a field that raised one of `FAILURES`."""
    known = isinstance(error, ImgturboError)
    return Outcome(entry.name, "failed", str(error) if known else first_line(error))


def _note_names(reader: SkyReader) -> None:
    """Say where a header calls a band something else than the manifest does."""
    for path, name, own in reader.renamed:
        warnings.warn(
            f"{path}: is {name} in the manifest, but {own} by its FILTER; the manifest is believed",
            stacklevel=2,
        )


def names_of(bands: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of bands as plain values, whatever sequence they came in."""
    return None if bands is None else tuple(map(str, bands))
