"""From a table's file to another, a block of rows at a time: a million rows in the memory of one.

The output is CSV, TSV, ECSV, FITS or HDF5 by its suffix, whatever the input was, and takes its name
when it is whole. Where it has a place for it, it says which model made it, from what and how.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from imgturbo import __version__
from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.locks import locked
from imgturbo.places import free_place
from imgturbo.remote import identity, readable
from imgturbo.sky.provenance import prediction_cards
from imgturbo.tables.files import open_table
from imgturbo.tables.quantity import factors_to
from imgturbo.tables.reader import Column, TableReader, chosen_names, listed
from imgturbo.tables.translate import RowTranslator, column_name
from imgturbo.tables.writer import check_writable, write_table
from imgturbo.team import Team

__all__ = ["translate_table_file"]

_ALL = "*"


def translate_table_file(
    bundle: Bundle,
    path: Path | str,
    out: Path | str,
    direction: str = "forward",
    *,
    keep: Sequence[str] = (),
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
    team: Team | None = None,
    **settings: Unpack[SettingsDict],
) -> Path:
    """Translate the rows of a table into a new file.

    Args:
        bundle: a loaded bundle whose sides are tables.
        path: CSV, TSV, ECSV, FITS or HDF5, with the columns of the input side among others.
        out: the file to write, its format by its suffix.
        direction: ``"forward"``, source to target, or ``"backward"``.
        keep: columns of the input to pass through beside the outputs: names, or patterns; ``"*"``
            all but those that are called like an output.
        overwrite: replace ``out``; without it an ``out`` that exists is refused.
        progress: called with (what, fraction done).
        team: the processes that share the job, of which the first does it; None: those of
            ``accelerate launch``.
        settings: as of :func:`imgturbo.tables.translate_table`.

    Returns:
        ``out``, whole: the kept columns, then the output side's, each followed, for several
        samples, by ``NAME_std`` and what else was asked for. A row in which a number is missing is
        NaN.

    Raises:
        ImgturboError: input, output or settings cannot be used; nothing new is at ``out`` then.
    """
    team = team or Team.current()
    with team.together():
        if team.first:
            _translate(
                bundle, readable(path), Path(out), direction, keep, overwrite, progress,
                Settings(**settings),
            )  # fmt: skip
    return Path(out)


def _translate(
    bundle: Bundle,
    path: Path,
    out: Path,
    direction: str,
    keep: Sequence[str],
    overwrite: bool,
    progress: Callable[[str, float], None] | None,
    settings: Settings,
) -> None:
    """The whole job, of one process."""
    kind = check_writable(out)
    if not out.parent.is_dir():
        raise ImgturboError(f"{out.parent}: no such folder; make it first")
    free_place(out, [path], [bundle.path], overwrite=overwrite)
    translator = RowTranslator(bundle, direction, settings)
    side, planes = translator.way.input, translator.reduction.extensions
    counted = _Counted()
    with open_table(path) as table:
        table.require(side.names)
        factors = factors_to([table.columns[name] for name in side.names], side.units, str(path))
        made = _made(translator, planes)
        kept = _kept(table, keep, [column.name for column in made])
        typed = not (table.is_text and kind in ("csv", "tsv"))
        types = table.types(kept) if typed else dict.fromkeys(kept, np.dtype("S1"))
        passed = [replace(table.columns[name], dtype=types[name]) for name in kept]
        meta = _provenance(bundle, path, out, direction, keep, settings)
        with locked(out, "choose another folder"), write_table(out, [*passed, *made], meta) as new:
            for block in table.blocks(side.names, kept, typed=typed):
                rows = block.numbers if factors is None else block.numbers * factors
                found = translator(rows, block.first)
                new.write(block.kept | _columns(translator, found))
                counted.see(rows, found[planes[0]])
                if progress is not None:
                    progress(out.name, table.share)
    counted.tell(path, out)


def _columns(
    translator: RowTranslator, found: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """What was found, by the names of its columns."""
    names = translator.way.output.names
    return {
        column_name(name, plane): values
        for plane, rows in found.items()
        for name, values in zip(names, rows.T, strict=True)
    }


def _made(translator: RowTranslator, planes: Sequence[str]) -> list[Column]:
    """The columns that are written of the output side, a name's own beside each other."""
    output = translator.way.output
    return [
        Column(column_name(name, plane), unit, np.dtype(np.float64))
        for name, unit in zip(output.names, output.units, strict=True)
        for plane in planes
    ]


def _kept(table: TableReader, keep: Sequence[str], made: Sequence[str]) -> list[str]:
    """The columns to pass through."""
    names: list[str] = []
    for pattern in keep:
        if pattern == _ALL:
            usable = [name for name, column in table.columns.items() if column.usable]
            here = [name for name in usable if name not in made]
            left = [name for name in table.columns if name not in here]
            if left:
                warnings.warn(f"{table.path}: not kept: {listed(left)}", stacklevel=2)
        else:
            here = chosen_names(list(table.columns), [pattern], str(table.path))
            for name in here:
                if name in made:
                    raise ImgturboError(
                        f"{table.path}: column {name} cannot be kept beside the output of the same "
                        "name; rename it, or leave it out of --keep"
                    )
        names += here
    return list(dict.fromkeys(names))


class _Counted:
    """Rows that could not be translated, and why, for one line at the end."""

    def __init__(self) -> None:
        self.rows = self.empty = self.beyond = 0

    def see(self, given: NDArray[np.float64], found: NDArray[np.float64]) -> None:
        lost = ~np.isfinite(found).all(axis=1)
        missing = np.isnan(given).any(axis=1)
        self.rows += len(given)
        self.empty += int((lost & missing).sum())
        self.beyond += int((lost & ~missing).sum())

    def tell(self, path: Path, out: Path) -> None:
        if not self.rows:
            warnings.warn(f"{path}: has no rows; {out.name} has none either", stacklevel=3)
        if self.empty:
            warnings.warn(
                f"{path}: {self.empty} of {self.rows} rows lack a number, and are NaN", stacklevel=3
            )
        if self.beyond:
            warnings.warn(
                f"{path}: {self.beyond} of {self.rows} rows hold numbers that the model's scaling "
                "cannot take (infinite, or not positive under a logarithm), and are NaN",
                stacklevel=3,
            )


def _provenance(
    bundle: Bundle, path: Path, out: Path, direction: str, keep: Sequence[str], settings: Settings
) -> dict[str, Any]:
    """What the output says of its making, in words that FITS cards can hold."""
    meta: dict[str, Any] = {"CREATOR": f"imgturbo {__version__}"}
    meta |= {key: value for key, value, _ in prediction_cards(bundle.hash, direction)}
    command = ["imgturbo", "translate", "--bundle", bundle.path.name, "--direction", direction]
    if settings.samples is not None:
        meta |= {
            "NSAMPLES": settings.samples,
            "SEED": settings.seed,
            "TEMPERAT": settings.temperature,
        }
        command += ["--samples", str(settings.samples), "--seed", str(settings.seed)]
        command += ["--temperature", str(settings.temperature)]
    if settings.quantiles:
        command += ["--quantiles", ",".join(map(str, settings.quantiles))]
    command += ["--keep-draws"] if settings.keep_draws else []
    command += ["--keep", ",".join(keep)] if keep else []
    command += [path.name, "--out", out.name]
    with naming(path, "look at its permissions and its disk", "cannot be read"):
        digest = identity(path)
    meta["HISTORY"] = [
        f"imgturbo {__version__}: {shlex.join(command)}",
        f"model {bundle.hash}, {direction}",
        f"input {path.name}",
        digest,
    ]
    return meta
