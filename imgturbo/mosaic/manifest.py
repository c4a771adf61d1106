"""An archive of fields as a CSV, one row each.

    field,F606W,F814W
    m31-07,07_f606w.fits,07_f814w.fits

The first column names the field (and its output, ``NAME.fits``), the others hold one file a band,
with the band's name above them; a single column ``file`` will do where one file holds all bands.
Paths are relative to the CSV, or addresses. Fields stand on their own: one that fails is noted and
the others go on; one that is finished is skipped, one that is half done continues. With several
processes each takes its share of the fields.
"""

from __future__ import annotations

import csv
import io
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import torch

from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.door import door, first_line
from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.mosaic.files import translate_file
from imgturbo.remote import is_remote, on_disk, readable, refuse_remote
from imgturbo.sky import open_sky
from imgturbo.sky.bands import ascii_name
from imgturbo.team import Team

__all__ = ["Field", "ManifestSummary", "read_manifest", "translate_manifest"]

_LONGEST = 64 << 20  # bytes of a CSV
_LONGEST_NAME = 200  # bytes; an output's name is longer, and that of its journal still more


@dataclass(frozen=True)
class Field:
    """One row: the files, and the names of their bands where the header gives them."""

    name: str
    files: tuple[Path, ...]
    bands: tuple[str, ...] | None


@dataclass
class ManifestSummary:
    """What came of each field, by name; `failed` holds the reasons."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{name}: failed: {reason}" for name, reason in self.failed.items()]
        counts = f"{len(self.done)} translated, {len(self.skipped)} finished before"
        return "\n".join([*lines, f"{counts}, {len(self.failed)} failed"])


def read_manifest(path: Path | str) -> list[Field]:
    """The fields of a CSV.

    Raises:
        ImgturboError: no such file, no header, rows of another length, a name that is missing,
            repeated or no file name; each with its line.
    """
    path = readable(path)
    if not path.exists():
        raise ImgturboError(f"{path}: no such manifest; name a CSV of fields")
    with door(path, remedy="write it as UTF-8", what="cannot be read as CSV"):
        with on_disk(path) as here, here.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise ImgturboError(f"{path}: is longer than {_LONGEST >> 20} MB; divide it")
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        rows = _rows(csv.reader(text, strict=True))
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise ImgturboError(
            f"{path}: a manifest has a header such as 'field,F606W,F814W' and one row a field"
        )
    header = [cell.strip() for cell in rows[0][1]]
    first = next((k for k, cell in enumerate(header) if cell.lower() == "field"), 0)
    columns = [k for k in range(len(header)) if k != first]
    single = len(columns) == 1 and header[columns[0]].lower() in ("file", "files", "path")
    fields: list[Field] = []
    names: set[str] = set()
    for number, row in rows[1:]:
        cells = [cell.strip() for cell in row]
        if len(cells) != len(header):
            raise ImgturboError(
                f"{path}: line {number} has {len(cells)} columns, the header {len(header)}"
            )
        name = cells[first]
        if not _is_name(name):
            raise ImgturboError(
                f"{path}: line {number}: {_shown(name)} cannot be the name of a field; give one "
                f"that can be a file's, of at most {_LONGEST_NAME} bytes"
            )
        if name in names:
            raise ImgturboError(f"{path}: line {number}: the field {name!r} is named twice")
        names.add(name)
        odd = next((cell for cell in cells if not _is_shown(cell)), None)
        if odd is not None:
            raise ImgturboError(f"{path}: line {number}: {_shown(odd)} is no file's name; mend it")
        files = tuple(_file(path, cells[k]) for k in columns if cells[k])
        bands = None if single else tuple(header[k] for k in columns if cells[k])
        fields.append(Field(name, files, bands))
    return fields


def _file(manifest: Path, cell: str) -> Path:
    """What a cell names: an address, or a file beside the manifest."""
    return readable(cell) if is_remote(cell) else manifest.parent / cell


def _is_name(name: str) -> bool:
    """Whether a field can be called so, and its output, and what grows beside that."""
    plain = Path(name).name == name and name.isprintable() and not name.startswith(".")
    return bool(name) and plain and len(name.encode()) <= _LONGEST_NAME


def _is_shown(text: str) -> bool:
    """Whether every character is one that is seen, or a space of some width."""
    return all(c.isprintable() or unicodedata.category(c) == "Zs" for c in text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _rows(reader: Iterable[list[str]]) -> list[tuple[int, list[str]]]:
    """Rows that are not empty, each with the line of the file on which it begins."""
    rows, line = [], 1
    for row in reader:
        if any(cell.strip() for cell in row):
            rows.append((line, row))
        line = reader.line_num + 1  # type: ignore[attr-defined]
    return rows


def _note_names(entry: Field) -> None:
    """Say where a header calls a band something else than the manifest does."""
    if entry.bands is None:
        return
    for name, path in zip(entry.bands, entry.files, strict=True):
        with open_sky(path) as reader:
            own, named = reader.bands[0], reader.named[0]
        if named and own.upper() != ascii_name(name).upper():
            warnings.warn(
                f"{path}: is {name} in the manifest, but {own} by its FILTER; the manifest is "
                "believed",
                stacklevel=2,
            )


def translate_manifest(
    bundle: Bundle,
    manifest: Path | str,
    out_dir: Path | str,
    direction: str = "forward",
    *,
    bands: Sequence[str] | None = None,
    grid: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: Callable[[str, float], None] | None = None,
    log: Callable[[str], None] | None = None,
    **settings: Unpack[SettingsDict],
) -> ManifestSummary:
    """Translate every field into ``out_dir/NAME.fits``.

    Args:
        bundle: a loaded bundle.
        manifest: the CSV.
        out_dir: made if need be.
        direction, grid, resume: as of `translate_file`.
        bands: names that replace those of the header row.
        overwrite: do finished fields again.
        progress: called with (what, fraction of the whole).
        log: told of each field's flagged pixels, as by `translate_file`.
        settings: see `imgturbo.mosaic.Settings`.

    Raises:
        ImgturboError: the manifest itself, or the folder, cannot be used. A field that cannot is in
            the summary instead.
    """
    Settings(**settings)  # a setting that there is not is no failure of a field
    team = Team.current()
    refuse_remote(out_dir)
    out_dir = Path(out_dir)
    with team.together():
        fields = read_manifest(manifest)
        with naming(out_dir, "choose another --out-dir", "cannot be made a folder"):
            out_dir.mkdir(parents=True, exist_ok=True)
    if team.size > 1 and settings.get("device") is None:
        settings["device"] = team.device
    mine = ManifestSummary()
    share = team.portion(fields)
    for number, entry in enumerate(share):

        def report(
            what: str, fraction: float, name: str = entry.name, before: int = number
        ) -> None:
            if progress is not None:
                progress(f"{name}: {what}", (before + fraction) / len(share))

        out = out_dir / f"{entry.name}.fits"
        if out.exists() and not overwrite:
            mine.skipped.append(entry.name)
            continue
        try:
            if bands is None:
                _note_names(entry)
            translate_file(
                bundle,
                entry.files,
                out,
                direction,
                bands=bands or entry.bands,
                grid=grid,
                overwrite=overwrite,
                resume=resume,
                progress=report,
                log=log,
                team=Team(),
                **settings,
            )
        except (ImgturboError, OSError, MemoryError, torch.OutOfMemoryError) as error:
            # The other fields do not depend on it; a mistake of ours would be theirs too.
            known = isinstance(error, ImgturboError)
            mine.failed[entry.name] = str(error) if known else first_line(error)
            report("failed", 1.0)
        else:
            mine.done.append(entry.name)
    total = ManifestSummary()
    for summary in team.gather(mine):
        total.done += summary.done
        total.skipped += summary.skipped
        total.failed |= summary.failed
    return total
