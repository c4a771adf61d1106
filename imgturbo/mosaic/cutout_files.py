"""Cut-outs on the disk: one FITS file of them all, or a folder of a file each.

Both say of every position what came of it, in a table. The folder grows: a file in it is whole, and
carries the hash of all that it depends on, so the same call goes on where another has ended. The
single file takes its name when it is complete.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from imgturbo.errors import ImgturboError
from imgturbo.files import naming, whole
from imgturbo.locks import locked
from imgturbo.mosaic.cutting import Cutout
from imgturbo.mosaic.reducers import Reduction
from imgturbo.places import Mark, free_folder, free_place, made_so
from imgturbo.sky import SkySpec, SkyWriter
from imgturbo.sky.bands import ascii_name
from imgturbo.sky.checksum import add, blank, sealed
from imgturbo.sky.headers import quiet
from imgturbo.sky.provenance import history_of
from imgturbo.sky.spec import add_history, card_of, padded
from imgturbo.sky.wcs import wcs_window

__all__ = ["CutoutFiles", "Described", "Made", "OneFile", "Row", "Status"]

Status = Literal["whole", "edge", "unmeasured", "off"]

TABLE = "positions.ecsv"
_MARK: Mark = (b"%ECSV", b"imgturbo cut-outs")
_MOST_HDUS = 10_000  # that readers, our own among them, take
_LONGEST = 120
_MEASURED = re.compile(rb"CUTMEAS = +([0-9.E+-]+)")
_HEAD = 1 << 16


@dataclass(frozen=True)
class Made:
    """The pixels of a cut-out: planes (C, n, n) by extension, and their flags (n, n)."""

    planes: dict[str, npt.NDArray[np.float32]]
    flags: npt.NDArray[np.uint8]

    @property
    def measured(self) -> float:
        """Share of the pixels that have a value in every band."""
        return float(np.isfinite(next(iter(self.planes.values()))).all(0).mean())


@dataclass(frozen=True)
class Row:
    """What came of a position; ``place`` is its file's name, or its EXTVER."""

    status: Status
    measured: float
    place: str | int


@dataclass(frozen=True)
class Described:
    """What all cut-outs of a job have in common, and where their positions are."""

    names: Sequence[str]
    places: SkyCoord
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    side: int
    count: int
    wcs: WCS
    bands: Sequence[str]
    unit: str
    zeropoints: Sequence[float | None]
    cards: Sequence[tuple[str, Any, str]]
    inputs: Sequence[tuple[str, str]]
    observed: fits.Header | None
    reduction: Reduction
    job: str

    def spec(self, cutout: Cutout, made: Made | None) -> SkySpec:
        """Of the file of one cut-out."""
        return SkySpec(
            shape=(len(self.bands), self.side, self.side),
            bands=self.bands,
            wcs=wcs_window(self.wcs, cutout.rows, cutout.cols),
            unit=self.unit,
            zeropoints=self.zeropoints,
            header_cards=[*self.cards, *self.own_cards(cutout, made)],
            history=self.history(),
            extensions=self.reduction.extensions,
            image_cards=self.own_cards(cutout, made),
            flagged=True,
        )

    def own_cards(self, cutout: Cutout, made: Made | None) -> list[tuple[str, Any, str]]:
        """Which position it is, and where."""
        k = cutout.number
        return [
            ("OBJECT", ascii_name(self.names[k])[:60], "identifier, or row of the table"),
            ("CUTROW", k + 1, "row of the table of positions"),
            ("CUTRA", float(self.places[k].ra.deg), "[deg] ICRS position"),
            ("CUTDEC", float(self.places[k].dec.deg), "[deg] ICRS position"),
            ("CUTEDGE", not cutout.is_whole, "reaches beyond the image"),
            *([] if made is None else [("CUTMEAS", made.measured, "share of measured pixels")]),
        ]

    def history(self) -> list[str]:
        """Where it comes from."""
        lines = [f"cut-outs of {self.side} pixels round positions of a table"]
        for name, value in self.inputs:
            lines += [f"input {name}", value]
        return lines + history_of(self.observed)

    def table(self, rows: dict[int, Row], places: str) -> Table:
        """What came of every position."""
        every = [rows.get(k, Row("off", 0.0, "-" if places == "file" else 0)) for k in self._all]
        columns = {
            "row": np.arange(1, len(self.names) + 1),
            "name": list(self.names),
            "ra": self.places.ra.deg * u.deg,
            "dec": self.places.dec.deg * u.deg,
            "x": self.x * u.pix,
            "y": self.y * u.pix,
            "status": [row.status for row in every],
            "measured": np.array([row.measured for row in every]),
            places: [row.place for row in every],
        }
        return Table(columns, meta={"made_by": "imgturbo cut-outs", "job": self.job})

    @property
    def _all(self) -> range:
        return range(len(self.names))


def _status(cutout: Cutout, measured: float) -> Status:
    if not measured:
        return "unmeasured"
    return "whole" if cutout.is_whole else "edge"


@dataclass
class _Cutouts:
    """What both kinds of output share: the rows of the table, and the life of a context."""

    out: Path
    described: Described
    inputs: Sequence[Path | str | None]
    folders: Sequence[Path | str]
    overwrite: bool
    rows: dict[int, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._held = contextlib.ExitStack()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def _all_rows(self) -> list[Row]:
        none = Row("off", 0.0, "-")
        return [self.rows.get(k, none) for k in range(len(self.described.names))]


class CutoutFiles(_Cutouts):
    """A folder of a FITS file for each cut-out, and a table; use it as a context.

    Raises:
        ImgturboError: the folder cannot be used, or holds a file of such a name of another job.
    """

    def __enter__(self) -> CutoutFiles:
        self._names = _file_names(self.described.names)
        free_folder(self.out, self.inputs, self.folders)
        with naming(self.out, "choose another --out-dir", "cannot be made a folder"):
            self.out.mkdir(parents=True, exist_ok=True)
        table = self.out / TABLE
        free_place(table, self.inputs, mark=_MARK, overwrite=self.overwrite)
        self._held.enter_context(locked(table, "choose another folder"))
        return self

    def has(self, cutout: Cutout) -> bool:
        """Whether a file of this very job is there; one of another is refused."""
        path = self._path(cutout)
        if self.overwrite or not path.exists():
            return False
        if not made_so(path, (f"CUTJOB  = '{self.described.job}'".encode(), b"CUTROW")):
            raise ImgturboError(
                f"{path}: exists, and is of another job; choose another folder, or --overwrite"
            )
        with path.open("rb") as file:
            found = _MEASURED.search(file.read(_HEAD))
        measured = float(found[1]) if found else 0.0
        self.rows[cutout.number] = Row(_status(cutout, measured), measured, path.name)
        return True

    def put(self, cutout: Cutout, made: Made) -> None:
        """Write a cut-out."""
        path = self._path(cutout)
        free_place(path, self.inputs, overwrite=self.overwrite)
        spec = self.described.spec(cutout, made)
        every = slice(None)
        with SkyWriter(path, spec, overwrite=self.overwrite) as writer:
            for name, plane in made.planes.items():
                writer.write(plane, every, every, name)
            writer.write_flags(made.flags, every, every)
        status = _status(cutout, made.measured)
        self.rows[cutout.number] = Row(status, made.measured, path.name)

    def finish(self) -> list[Row]:
        """Write the table; what came of each position."""
        with whole(self.out / TABLE) as aside, quiet():
            self.described.table(self.rows, "file").write(aside, format="ascii.ecsv")
        return self._all_rows()

    def _path(self, cutout: Cutout) -> Path:
        return self.out / f"{self._names[cutout.number]}.fits"


class OneFile(_Cutouts):
    """One FITS file of all cut-outs and of the table; use it as a context.

    Raises:
        ImgturboError: it cannot be written, or there are more cut-outs than a file has HDUs.
    """

    def __enter__(self) -> OneFile:
        described = self.described
        if not self.out.parent.is_dir():
            raise ImgturboError(f"{self.out.parent}: no such folder; make it first")
        if not self.out.name.lower().endswith((".fits", ".fit", ".fts")):
            raise ImgturboError(f"{self.out}: cut-outs are written as .fits, or into a --out-dir")
        free_place(self.out, self.inputs, self.folders, overwrite=self.overwrite)
        each = len(described.bands) * len(described.reduction.extensions) + 1
        if described.count * each + 2 > _MOST_HDUS:
            raise ImgturboError(
                f"{self.out}: {described.count} cut-outs of {each} images each are more than the "
                f"{_MOST_HDUS} HDUs that readers of FITS take; name a folder (--out-dir)"
            )
        try:
            self._begin()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _begin(self) -> None:
        """Lock the name, and write the primary HDU aside."""
        self._held.enter_context(locked(self.out, "choose another name"))
        aside = self._held.enter_context(whole(self.out))
        with naming(self.out):
            self._file: BinaryIO = self._held.enter_context(aside.open("wb"))
        header = fits.PrimaryHDU().header
        with quiet():
            for card in self.described.cards:
                header.append(card_of(*card), end=True)
            add_history(header, self.described.history())
        self._write(header, b"")

    def has(self, cutout: Cutout) -> bool:
        """Never: the file is written in one go."""
        return False

    def put(self, cutout: Cutout, made: Made) -> None:
        """Append a cut-out: a band's planes, its STD, …, and FLAGS, EXTVER its row."""
        spec, version = self.described.spec(cutout, made), cutout.number + 1
        for name, planes in made.planes.items():
            for band, plane in enumerate(planes):
                called = ascii_name(self.described.bands[band])
                called += "" if name == "SCI" else f"_{name}"
                self._write(spec.image_header(called, version, band), plane.astype(">f4").tobytes())
        self._write(spec.flags_header(version), made.flags.tobytes())
        self.rows[version - 1] = Row(_status(cutout, made.measured), made.measured, version)

    def finish(self) -> list[Row]:
        """Append the table; what came of each position."""
        table = self.described.table(self.rows, "extver")
        table["name"] = [ascii_name(name) for name in table["name"]]
        hdu = fits.table_to_hdu(table)
        hdu.name = "POSITIONS"
        hdu.add_checksum()
        with quiet(), io.BytesIO() as buffer:
            primary = fits.PrimaryHDU()
            fits.HDUList([primary, hdu]).writeto(buffer)
            content = buffer.getvalue()[len(primary.header.tostring()) :]
        with naming(self.out):
            self._file.write(content)
            self._file.flush()
        return self._all_rows()

    def _write(self, header: fits.Header, data: bytes) -> None:
        """An HDU with its date and its sums."""
        with quiet():
            header.extend(blank(), update=True)
            text = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
        data = data.ljust(padded(len(data)), b"\0")
        with naming(self.out):
            date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._file.write(sealed(text, date, add(0, data)))
            self._file.write(data)


def _file_names(names: Sequence[str]) -> list[str]:
    """A name of a file for each, all of them different on every disk: ``A``, ``A-2``, ``A-3``."""
    taken: set[str] = set()
    found = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9.+_-]+", "_", ascii_name(name)).lstrip(".")[:_LONGEST] or "_"
        candidate, number = plain, 2
        while candidate.lower() in taken:
            candidate, number = f"{plain}-{number}", number + 1
        taken.add(candidate.lower())
        found.append(candidate)
    return found
