"""Cut-outs round the positions of a catalogue, translated without the rest of the mosaic.

Every pixel is the one that the translated whole has there (law 1): windows are read with all that
their cores depend on, holes and sky level included, and noise is drawn by the position on the
image. Many windows go through the network together, so ten thousand positions are no more than the
pixels round them. What lies beyond the image is NaN and flagged; a position of which nothing lies
in it is said in the table of positions, and makes no cut-out.

    OUT.fits     BAND, BAND_STD, … and FLAGS, EXTVER the row of the table; POSITIONS, the table
    OUT/         NAME.fits each, as of any translated image; positions.ecsv, the table
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt
from astropy.units import Quantity

from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.apply import halo_of
from imgturbo.mosaic.cutout_files import CutoutFiles, Described, Made, OneFile, Status
from imgturbo.mosaic.cutting import Axis, Cutout, cover, cut
from imgturbo.mosaic.input import Input, cards_of, digest, fingerprint
from imgturbo.mosaic.layout import Layout, prepare
from imgturbo.mosaic.reading import Reading
from imgturbo.mosaic.sweep import sweep
from imgturbo.mosaic.translate import correction_of, unstretch
from imgturbo.remote import readable, refuse_remote
from imgturbo.sky.catalogue import Positions, parse_size, read_positions
from imgturbo.sky.flags import Flag
from imgturbo.sky.frames import places_in

__all__ = ["CutoutSummary", "translate_positions"]

_MOST = 64  # windows that go through the network together


@dataclass(frozen=True)
class CutoutSummary:
    """What came of the positions: how many of each, and where the table of them is.

    Attributes:
        out: the file, or the folder.
        counts: positions by what came of them: ``whole``, ``edge``, ``unmeasured``, ``off``.
    """

    out: Path
    counts: dict[Status, int]

    def __str__(self) -> str:
        words: dict[Status, str] = {
            "whole": "whole",
            "edge": "cut off by the edge of the image",
            "unmeasured": "without a measured pixel",
            "off": "off the image",
        }
        parts = [f"{self.counts[s]} {text}" for s, text in words.items() if self.counts.get(s)]
        return f"{self.out}: {sum(self.counts.values())} positions: {', '.join(parts)}"


def translate_positions(
    bundle: Bundle,
    paths: Path | str | Sequence[Path | str],
    positions: Path | str | Positions,
    size: str | Quantity,
    out: Path | str,
    direction: str = "forward",
    *,
    folder: bool = False,
    bands: Sequence[str] | None = None,
    grid: Path | str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
    log: Callable[[str], None] | None = None,
    **settings: Unpack[SettingsDict],
) -> CutoutSummary:
    """Translate cut-outs of a mosaic, one round each position of a table, and nothing else of it.

    Args:
        bundle: a loaded bundle.
        paths: one file with all bands, or several; here or at an address.
        positions: a table with columns ``ra`` and ``dec`` (see `imgturbo.sky.catalogue`).
        size: of a cut-out, across: ``"10arcsec"``, ``"64pix"`` of the output, or an angle.
        out: a FITS file of all cut-outs; or with ``folder`` a folder of a file each, where the same
            call goes on after an interruption.
        direction, bands, grid, overwrite, progress, log, settings: as of `translate_file`.

    Returns:
        How many positions are whole, cut off by the edge, without a measured pixel, off the image.

    Raises:
        ImgturboError: input, table, size, output or settings cannot be used; no position lies in
            the image; or a network whose outputs depend on all of the image.
    """
    refuse_remote(out)
    chosen = Settings(**settings)
    files = [readable(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    table = positions if isinstance(positions, Positions) else readable(positions)
    given = table if isinstance(table, Positions) else read_positions(table)
    inputs = [*files, grid, table if isinstance(table, Path) else None]
    what = "the table" if isinstance(table, Positions) else str(table)
    with Input(bundle, files, direction, bands, grid, chosen.match_sky) as source:
        job = _Job(bundle, source, chosen, given, size, what)
        kind: type[CutoutFiles | OneFile] = CutoutFiles if folder else OneFile
        described = job.described()
        with kind(Path(out), described, inputs, [bundle.path], overwrite) as written:
            job.run(written, progress)
            made = written.finish()
    summary = CutoutSummary(Path(out), dict(Counter(one.status for one in made)))
    if log is not None and summary.counts.get("off"):
        log(f"{summary.counts['off']} of {len(given)} positions are off the image")
    return summary


class _Job:
    """Positions on an opened image, and the windows that they need."""

    def __init__(
        self,
        bundle: Bundle,
        source: Input,
        settings: Settings,
        positions: Positions,
        size: str | Quantity,
        what: str,
    ) -> None:
        self.bundle, self.source, self.settings, self.positions = (
            bundle, source, settings, positions,
        )  # fmt: skip
        image = ", ".join(map(str, source.files))
        if source.output_wcs is None:
            raise ImgturboError(
                f"{image}: has no celestial WCS, so there are no positions on it; translate the "
                "whole image, or give it a WCS first"
            )
        self.apply, self.whole = prepare(
            source.way.generator,
            *source.size,
            settings,
            source.output_size,
            correction_of(source.way, settings, source.output),
        )
        if not self.whole.exact:
            raise ImgturboError(
                "cut-outs are parts of the whole only where windows hold all that a pixel depends "
                "on; this network, or --overlap, does not allow that: translate the whole image"
            )
        self.side = self._side(size)
        self.x, self.y = places_in(source.output_wcs, positions.places)
        cutouts = cut(self.x, self.y, self.side, self.whole.size)
        self.cutouts = [cutout for cutout in cutouts if not cutout.is_off]
        if not self.cutouts:
            raise ImgturboError(
                f"{what}: none of its {len(positions)} positions lies in {image}; look at their "
                "columns and units, and at the image's WCS (imgturbo inspect)"
            )

    def _side(self, size: str | Quantity) -> int:
        """Of a cut-out, in pixels of the output."""
        value, pixels = parse_size(size)
        scale = self.source.reader.pixel_scale
        assert scale is not None
        side = round(value if pixels else value / scale * float(self.whole.zoom))
        most = 2 * max(self.whole.size)
        if not 1 <= side <= most:
            raise ImgturboError(
                f"a size of {size!s} is {side} pixels, of an image of {self.whole.size[0]} × "
                f"{self.whole.size[1]}; choose another"
            )
        return side

    def described(self) -> Described:
        """What files of cut-outs hold beside their pixels."""
        way, reader, files = self.source.way, self.source.reader, self.source.files
        digests = [digest(path) for path in files]
        job = fingerprint(
            self.source, self.bundle, self.settings, digests, self.whole.reduction, side=self.side
        )[:16]
        wcs = self.source.output_wcs
        assert wcs is not None
        return Described(
            names=self.positions.names,
            places=self.positions.places,
            x=self.x,
            y=self.y,
            side=self.side,
            count=len(self.cutouts),
            wcs=wcs,
            bands=way.output.names,
            unit=way.output.unit,
            zeropoints=self.source.output.zeropoints,
            cards=[
                *cards_of(self.source, self.bundle, self.settings),
                ("CUTJOB", job, "of all that pixels depend on"),
            ],
            inputs=[(path.name, value) for path, value in zip(files, digests, strict=True)],
            observed=reader.header,
            reduction=self.whole.reduction,
            job=job,
        )

    def run(
        self, written: CutoutFiles | OneFile, progress: Callable[[str, float], None] | None
    ) -> None:
        """Make what is not there yet."""
        left = [cutout for cutout in self.cutouts if not written.has(cutout)]
        if not left:
            return
        layout = self._layout(left)
        side = self.source.way.input
        target = self.source.output.stretch
        read = Reading(
            self.source.flux,
            self.source.size,
            self.apply.generator,
            side.stretch,
            target,
            self.source.softening,
            self.source.background,
            exact=True,
        )
        gathered = _Gathered(layout, left, self.side, self.apply.channels, written.put)

        def mark(unit: int) -> None:
            gathered.mark(unit)
            if progress is not None:
                progress("cut-outs", (unit + 1) / len(layout.windows))

        sweep(
            layout,
            layout.units,
            read,
            self.apply,
            unstretch(target),
            gathered.put,
            gathered.put_flags,
            mark,
        )

    def _layout(self, cutouts: Sequence[Cutout]) -> Layout:
        """Windows of one size, as many at once as those of the whole image would take memory."""
        generator, whole = self.apply.generator, self.whole
        tallest, widest = (max(w.shape[axis] for w in whole.windows) for axis in (0, 1))
        halo = max(self.source.size)  # what is one window stays one
        if len(whole.windows) > 1:
            halo, _ = halo_of(generator, self.settings.overlap)
        rows, cols = (
            Axis(length, self.side, halo, generator.stride, most, whole.zoom)
            for length, most in zip(self.source.size, (tallest, widest), strict=True)
        )
        windows = cover(cutouts, rows, cols)
        batch = whole.batch
        if self.settings.batch is None:
            largest = max(w.shape[0] * w.shape[1] for w in windows)
            batch = max(1, min(_MOST, whole.batch * tallest * widest // largest))
        return replace(whole, windows=windows, exact=True, batch=batch)


class _Gathered:
    """Blocks of finished windows, until all of a cut-out's are there."""

    def __init__(
        self,
        layout: Layout,
        cutouts: Sequence[Cutout],
        side: int,
        channels: int,
        done: Callable[[Cutout, Made], None],
    ) -> None:
        self._extensions = layout.reduction.extensions
        self._side, self._channels, self._done = side, channels, done
        self._owners: dict[int, list[Cutout]] = {}
        for cutout in cutouts:
            for number in cutout.windows:
                self._owners.setdefault(number, []).append(cutout)
        self._open: dict[int, Made] = {}
        self._left = {cutout.number: len(cutout.windows) for cutout in cutouts}
        self._blocks: dict[str, tuple[npt.NDArray[np.float32], slice, slice]] = {}
        self._flags: tuple[npt.NDArray[np.uint8], slice, slice] | None = None

    def put(self, block: npt.NDArray[np.float32], rows: slice, cols: slice, name: str) -> None:
        """The core of a window."""
        self._blocks[name] = (block, rows, cols)

    def put_flags(self, block: npt.NDArray[np.uint8], rows: slice, cols: slice) -> None:
        """Its flags."""
        self._flags = (block, rows, cols)

    def mark(self, unit: int) -> None:
        """All of a window is there: hand it on to the cut-outs that it belongs to."""
        assert self._flags is not None
        for cutout in self._owners[unit]:
            made = self._open.get(cutout.number) or self._open.setdefault(
                cutout.number, self._empty()
            )
            for name, (block, *where) in self._blocks.items():
                theirs, own = cutout.place(*where)
                made.planes[name][:, *own] = block[:, *theirs]
            flags, *where = self._flags
            theirs, own = cutout.place(*where)
            made.flags[own] = flags[theirs]
            self._left[cutout.number] -= 1
            if not self._left[cutout.number]:
                self._done(cutout, self._open.pop(cutout.number))
        self._blocks, self._flags = {}, None

    def _empty(self) -> Made:
        """Nothing measured anywhere, as it is beyond the image."""
        shape = (self._channels, self._side, self._side)
        planes = {name: np.full(shape, np.nan, np.float32) for name in self._extensions}
        return Made(planes, np.full(shape[1:], Flag.NEAR.value, np.uint8))
