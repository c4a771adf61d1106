"""From file to file without holding either: mosaics of any size, by windows, resumable.

Memory holds a few windows, whatever the mosaic's height. The output grows under another name and is
renamed when whole (`imgturbo.sky.SkyWriter`); a journal says what is done, so that the same call
continues after any end (`imgturbo.mosaic.journal`). Started by ``accelerate launch``, the processes
share the windows: the first makes the file, each writes its own part of it, the first renames it.
"""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from imgturbo import __version__
from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.errors import ImgturboError
from imgturbo.files import aside_of
from imgturbo.locks import locked
from imgturbo.mosaic.input import Input, cards_of, digest, fingerprint
from imgturbo.mosaic.journal import Journal, journal_path
from imgturbo.mosaic.layout import Layout, prepare
from imgturbo.mosaic.reading import Reading
from imgturbo.mosaic.recipe import Recipe
from imgturbo.mosaic.sweep import sweep
from imgturbo.mosaic.translate import correction_of, unstretch
from imgturbo.places import free_place
from imgturbo.remote import readable, refuse_remote
from imgturbo.sky import SkyReader, SkySpec, SkyWriter
from imgturbo.sky.flags import flag_line
from imgturbo.sky.picture import is_picture
from imgturbo.sky.provenance import history_of, prediction_cards
from imgturbo.team import Team

__all__ = ["Job", "translate_file"]

Progress = Callable[[str, float], None]
Hands = Callable[["Job", Sequence[int]], None]


def translate_file(
    bundle: Bundle,
    paths: Path | str | Sequence[Path | str],
    out: Path | str,
    direction: str = "forward",
    *,
    bands: Sequence[str] | None = None,
    grid: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
    team: Team | None = None,
    hands: Hands | None = None,
    opened: Callable[[SkyReader], None] | None = None,
    **settings: Unpack[SettingsDict],
) -> Path:
    """Translate a FITS mosaic (or a picture) of any size, by windows, into a new file.

    Args:
        bundle: a loaded bundle.
        paths: one file with all bands, or several; in any order.
        out: the file to write; FITS, or a picture by its suffix.
        direction: ``"forward"``, source to target, or ``"backward"``.
        bands: names of the given bands, in their order, where headers lie.
        grid: a FITS file whose pixel grid the output shall have; None: the input's own, at the
            pixel scale that the model was trained on.
        overwrite: replace `out`; without it an `out` that exists is refused.
        resume: continue an unfinished run of the same job.
        progress: called with (what, fraction done).
        log: told, in a line at the end, how many pixels are flagged, if any are.
        team: the processes that share the job; None: those of ``accelerate launch``.
        hands: has the units of the output made elsewhere (`imgturbo.mosaic.archive.strips`).
        opened: told of the input as soon as it is open, before it is matched to the model.
        settings: see `imgturbo.mosaic.Settings`.

    Returns:
        `out`, whole. Extensions are SCI; for two samples or more STD, and quantiles and draws if
        asked for; and FLAGS (:mod:`imgturbo.sky.flags`). A picture has none of the latter.

    Raises:
        ImgturboError: input, output or settings cannot be used. Nothing new is at `out` then; what
            was done is kept aside, and the same call continues.
    """
    team = team or Team.current()
    refuse_remote(out)
    out = Path(out)
    files = [readable(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    chosen = Settings(**settings)
    if chosen.device is None and team.size > 1:
        chosen = replace(chosen, device=team.device)
    with team.together():
        if not out.parent.is_dir():
            raise ImgturboError(f"{out.parent}: no such folder; make it first")
        free_place(out, [*files, grid], [bundle.path], overwrite=overwrite)
        source = Input(bundle, files, direction, bands, grid, chosen.match_sky, opened)
    with source, contextlib.ExitStack() as held:
        with team.together():
            job = Job(source, out, bundle, chosen, overwrite)
        with team.together():
            if team.first:
                held.enter_context(locked(out, "choose another folder"))
        job.run(team, resume, progress, log, hands)
    return out


class Job:
    """One output: planned, described, then made by one process or several."""

    def __init__(
        self, source: Input, out: Path, bundle: Bundle, settings: Settings, overwrite: bool
    ) -> None:
        self.source, self.out, self.bundle, self.settings = source, out, bundle, settings
        self.overwrite, self._begun = overwrite, False
        self.apply, self.layout = prepare(
            source.way.generator,
            *source.size,
            settings,
            source.output_size,
            correction_of(source.way, settings, source.output),
        )
        self.target = source.output.stretch
        self.read = Reading(
            source.flux,
            source.size,
            self.apply.generator,
            source.way.input.stretch,
            self.target,
            source.softening,
            source.background,
            self.layout.exact,
        )

    def run(
        self,
        team: Team,
        resume: bool,
        progress: Progress | None,
        log: Callable[[str], None] | None,
        hands: Hands | None = None,
    ) -> None:
        """Make the output; every process of the team must call it.

        Args:
            hands: has units made elsewhere, all of them, instead of here.
        """
        with team.together():
            digests = [digest(path) for path in self.source.files] if team.first else []
        # Each has planned by the memory of its own device.
        self.settle(team.share(digests), team.share(self.layout))
        picture = is_picture(self.out)
        writer: SkyWriter | None = None
        done: dict[int, int] = {}
        try:
            with team.together():
                if team.first:
                    writer, done = self._open(resume and not picture)
            done = team.share(done)
            with team.together():
                left = [unit for unit in self.layout.units if unit not in done]
                if writer is None and not picture:
                    self.part(team.portion(left), team.rank, done, progress)
                elif writer is not None and hands is not None and not picture:
                    self._journal(writer, team.rank, done)
                    hands(self, left)
                elif writer is not None:
                    mine = left if picture else team.portion(left)
                    journal = None if picture else self._journal(writer, team.rank, done)
                    self._sweep(writer, mine, journal, progress)
            with team.together():
                if team.first and writer is not None:
                    line = flag_line(writer.flag_counts(), math.prod(self.layout.size))
                    writer.close()
                    if line is not None and log is not None:
                        log(f"{self.out.name}: {line}")
                    shared = self._begun or team.size > 1 or hands is not None
                    Journal.remove(self.out, others=shared)
        except BaseException as error:
            if writer is not None:
                writer.__exit__(type(error), error, error.__traceback__)
            raise

    def settle(self, digests: Sequence[str], layout: Layout) -> None:
        """Say what was read and how it is cut, which is the same for all who share the job."""
        self.digests, self.layout = list(digests), layout
        self._fingerprint = self._fingerprint_of(digests)
        self._spec = self._spec_of(digests)

    def part(
        self,
        units: Sequence[int],
        rank: int,
        done: dict[int, int],
        progress: Progress | None,
    ) -> None:
        """Make some units of an output that another process has begun and will finish."""
        with SkyWriter.resume(self.out, self._spec, overwrite=self.overwrite) as writer:
            journal = self._journal(writer, rank, done)
            self._sweep(writer, units, journal, progress)
            writer.detach()

    def finished(self, units: Sequence[int]) -> dict[int, int]:
        """Those of the units that are in the part file, by any process's journal."""
        done = Journal.finished(self.out, self._fingerprint, len(self.layout.units)) or {}
        with SkyWriter.resume(self.out, self._spec, overwrite=self.overwrite) as writer:
            kept = self._kept(writer, {unit: done[unit] for unit in units if unit in done})
            writer.detach()
        return kept

    def _open(self, resume: bool) -> tuple[SkyWriter, dict[int, int]]:
        """The part file of an earlier run of this very job and what is in it, or a new one."""
        done = None
        part = aside_of(self.out).exists()
        self._begun = part or journal_path(self.out, 0).exists()
        if resume and part:
            units = len(self.layout.units)
            done = Journal.finished(self.out, self._fingerprint, units)
        if done is not None:
            try:
                writer = SkyWriter.resume(self.out, self._spec, overwrite=self.overwrite)
            except ImgturboError:
                pass  # the journal outlived its file: begin anew
            else:
                return writer, self._kept(writer, done)
        Journal.remove(self.out, others=self._begun)
        return SkyWriter(self.out, self._spec, overwrite=self.overwrite, keep_part=True), {}

    def _kept(self, writer: SkyWriter, done: dict[int, int]) -> dict[int, int]:
        return {u: s for u, s in done.items() if self._checksum(writer, u) == s}

    def _checksum(self, writer: SkyWriter, unit: int) -> int:
        """Of what the part file holds of a unit."""
        return writer.checksum(*self.layout.places(unit))

    def _journal(self, writer: SkyWriter, rank: int, done: dict[int, int]) -> Journal:
        journal = Journal(self.out, self._fingerprint, writer.part, rank)
        journal.adopt(done)
        journal.commit()
        return journal

    def _sweep(
        self,
        writer: SkyWriter,
        units: Sequence[int],
        journal: Journal | None,
        progress: Progress | None,
    ) -> None:
        finished = 0

        def mark(unit: int) -> None:
            nonlocal finished
            finished += 1
            if journal is not None:
                journal.mark(unit, self._checksum(writer, unit))
            if progress is not None:
                progress(f"{self.out.name}", finished / len(units))

        try:
            sweep(
                self.layout,
                units,
                self.read,
                self.apply,
                unstretch(self.target),
                writer.write,
                writer.write_flags,
                mark,
            )
        except BaseException:
            if journal is not None:
                with contextlib.suppress(ImgturboError):  # what stopped it is what must be known
                    journal.commit()
            raise
        if journal is not None:
            journal.commit()

    def _spec_of(self, digests: Sequence[str]) -> SkySpec:
        """What the output holds, and where it came from."""
        way, reader = self.source.way, self.source.reader
        bands, source = way.output.names, self.source
        recipe = Recipe.of(
            self.bundle.hash,
            way.name,
            self.settings,
            source.files,
            source.bands,
            source.grid,
            way.calibration(self.settings),
        )
        cards = [*cards_of(source, self.bundle, self.settings), recipe.card]
        command = ["imgturbo", "translate", "--bundle", self.bundle.path.name]
        command += ["--direction", way.name, "--out", self.out.name]
        if self.settings.samples is not None:
            command += ["--samples", str(self.settings.samples), "--seed", str(self.settings.seed)]
            command += ["--temperature", str(self.settings.temperature)]
            if self.settings.quantiles:
                command += ["--quantiles", ",".join(map(str, self.settings.quantiles))]
                command += ["--raw-quantiles"] if self.settings.raw_quantiles else []
            command += ["--keep-draws"] if self.settings.keep_draws else []
        if self.settings.ensemble != "none":
            command += ["--ensemble", self.settings.ensemble]
        command += ["--match-sky"] if self.settings.match_sky else []
        if self.source.grid is not None:
            command += ["--grid", readable(self.source.grid).name]
        command += [path.name for path in self.source.files]
        history = [f"imgturbo {__version__}: {shlex.join(command)}"]
        history += [f"model {self.bundle.hash}, {way.name}"]
        for path, known in zip(self.source.files, digests, strict=True):
            history += [f"input {path.name}", known]
        history += history_of(reader.header)
        if self.settings.match_sky:
            shifts = zip(way.input.names, self.source.background.shift, strict=True)
            history += [f"sky {band} - {v:.6g} {way.input.unit}" for band, v in shifts]
        return SkySpec(
            shape=(len(bands), *self.layout.size),
            bands=bands,
            wcs=self.source.output_wcs,
            unit=way.output.unit,
            zeropoints=self.source.output.zeropoints,
            header_cards=cards,
            history=history,
            extensions=self.layout.reduction.extensions,
            image_cards=[
                *prediction_cards(self.bundle.hash, way.name),
                ("HISTORY", f"predicted from {', '.join(path.name for path in self.source.files)}"),
            ],
            flagged=True,
        )

    def _fingerprint_of(self, digests: Sequence[str]) -> str:
        """Of all that decides the pixels of each unit."""
        return fingerprint(
            self.source,
            self.bundle,
            self.settings,
            digests,
            self.layout.reduction,
            windows=[[*w.origin, *w.shape] for w in self.layout.windows],
            size=self.layout.size,
            exact=self.layout.exact,
            computed=[self.layout.batch, self.apply.device.type],
        )
