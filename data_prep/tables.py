"""From tables of numbers to a store of rows: read → divide → scale → write, block by block.

    read      columns of z and x, in the units that are wanted (:mod:`data_prep.table_rows`)
    divide    into training, validation and test, by rows or by groups of rows
    scale     y of each column has mean 0 and deviation 1 (:mod:`data_prep.table_scaling`)
    write     the store, as of images, a tile being a row; and the test rows, as they came

A side is valid in a row where all of its numbers are there; a row without a valid side is left out.
Text is read three times over (to count, to scale, to write), which costs seconds a million rows and
no memory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.reports import FieldReport, PrepareReport, finished
from data_prep.survey import checksums
from data_prep.table_rows import End, RowBlock, RowStream, TableFiles, open_rows
from data_prep.table_scaling import Scaling
from imgturbo.config import PrepareConfig, TablesConfig
from imgturbo.data.store import (
    SplitName,
    Tiles,
    TileSpec,
    TileStore,
    TileWriter,
    require_replaceable,
)
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.locks import locked
from imgturbo.places import free_folder, free_place
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.tables.reader import Column
from imgturbo.tables.writer import write_table

__all__ = ["prepare_tables"]

Report = Callable[[str, float], None]

_VERSION = 1
"""Part of the store's key: raise it when division, scaling or rows change."""

_TRAIN, _VALIDATION, _TEST = 0, 1, 2
_PARTS: dict[SplitName, int] = {"train": _TRAIN, "validation": _VALIDATION}
_MADE = "test rows kept out by imgturbo prepare"
_MARK = (b"%ECSV", _MADE.encode())
"""How a file of test rows is known (:mod:`imgturbo.places`)."""


def prepare_tables(
    config: PrepareConfig,
    tables: TablesConfig,
    *,
    progress: Report,
    resume: bool = True,
    overwrite: bool = False,
) -> PrepareReport:
    """Make the store ``config.out`` from tables; one line of the report a file.

    Args:
        config: whose ``out`` is written.
        tables: which columns of which files.
        progress: told what is being done.
        resume: do nothing where the store is there already, made of the same things.
        overwrite: replace tables of test rows that no preparation made.

    Raises:
        ImgturboError: files, columns, cells or units that do not fit; an older store is left as it
            is.
    """
    out = Path(config.out)
    require_replaceable(out)
    sides = [side for side in (tables.source, tables.target) if side is not None]
    given = list(dict.fromkeys([*tables.files, *(path for side in sides for path in side.files)]))
    free_folder(out, given, replaced=True)
    with contextlib.ExitStack() as held:
        progress("reading tables", 0.0)
        streams = open_rows(tables, held)
        wanted = _test_paths(out, streams) if tables.test else []
        for path in wanted:
            free_place(path, given, mark=_MARK, overwrite=overwrite)
        content = {
            "version": _VERSION,
            "config": tables.model_dump(mode="json"),
            "inputs": checksums(given),
        }
        key = sha256(json.dumps(content, sort_keys=True).encode())
        held.enter_context(locked(out, "free some space or choose another 'prepare.out'"))
        if resume and all(path.exists() for path in wanted):
            report = finished(out, key)
            if report is not None:
                progress("nothing to do: the rows are there already", 1.0)
                return report
        return _prepare(out, tables, streams, wanted, {"key": key, **content}, progress)


def _prepare(
    out: Path,
    tables: TablesConfig,
    streams: list[RowStream],
    wanted: list[Path],
    recipe: dict[str, Any],
    progress: Report,
) -> PrepareReport:
    """The work, of whoever holds the output."""
    codes = _divide(streams, tables)
    if not any((code == _TRAIN).any() for code in codes):
        raise ImgturboError(f"{streams[0].files[0]}: has no rows to train on; give it some")
    ends = {end.name: end for stream in streams for end in stream.ends}
    stretches = _scale(streams, codes, ends, progress)
    sides = {name: _side(end, stretches[name]) for name, end in ends.items()}
    files = [path for stream in streams for path in stream.files]
    counts = _Counts(files)
    recipe = {**recipe, "report": []}
    spec = TileSpec(
        tile=None,
        source=sides.get("source"),
        target=sides.get("target"),
        fields=tuple(path.name for path in files),
        recipe=recipe,
    )
    _write_tests(wanted, streams, codes, progress)
    with TileStore.create(out, spec) as writer:
        for _, before, block, code in _rows(streams, codes, "writing", 0.6, progress):
            counts.see(block, before, code)
            _append(writer, block, before, code, stretches)
        reports = counts.reports(streams)
        if not any(report.train for report in reports):
            raise ImgturboError(
                f"{files[0]}: no training row has all of the numbers of a side; name fewer columns"
            )
        recipe["report"] = [asdict(report) for report in reports]
    progress("done", 1.0)
    return PrepareReport(out, reports)


def _rows(
    streams: list[RowStream],
    codes: list[NDArray[np.uint8]],
    what: str,
    begun: float,
    progress: Report,
) -> Iterator[tuple[RowStream, int, RowBlock, NDArray[np.uint8]]]:
    """All rows with what they are for, and how many files came before their stream's."""
    total, done, before = max(1, sum(stream.length for stream in streams)), 0, 0
    for stream, code in zip(streams, codes, strict=True):
        for block in stream.blocks():
            yield stream, before, block, code[block.index]
            done += len(block.index)
            progress(f"{what} {done} of {total} rows", begun + (0.99 - begun) * done / total)
        before += len(stream.files)


# --------------------------------------------------------------------------------------- divide


def _divide(streams: list[RowStream], tables: TablesConfig) -> list[NDArray[np.uint8]]:
    """What each logical row is for."""
    generator = np.random.default_rng([tables.seed, 0x7AB1E])
    if tables.group is None:
        return [_drawn(stream.length, tables, generator) for stream in streams]
    groups = [stream.groups(tables.group) for stream in streams]
    names, members = np.unique(np.concatenate(groups), return_inverse=True)
    if len(names) < 2 and (tables.fraction or tables.test):
        raise ImgturboError(
            f"{streams[0].files[0]}: all rows have one value of {tables.group}, so none can be "
            "held out; name another 'prepare.tables.group', or none"
        )
    code = _drawn(len(names), tables, generator)[members]
    return np.split(code, np.cumsum([len(own) for own in groups])[:-1])


def _drawn(count: int, tables: TablesConfig, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Validation and test out of so many, at least one of each if any are asked for."""
    order = generator.permutation(count)
    code = np.full(count, _TRAIN, np.uint8)
    first = 0
    for share, part in ((tables.fraction, _VALIDATION), (tables.test, _TEST)):
        number = min(max(1, round(share * count)), max(0, count - 1 - first)) if share else 0
        code[order[first : first + number]] = part
        first += number
    return code


# ---------------------------------------------------------------------------------------- scale


def _scale(
    streams: list[RowStream],
    codes: list[NDArray[np.uint8]],
    ends: dict[str, End],
    progress: Report,
) -> dict[str, Stretch]:
    """The stretch of each side, from its training rows; no row but a test's may contradict it."""
    rows = sum(int((code == _TRAIN).sum()) for code in codes)
    scalings = {name: Scaling(end, rows) for name, end in ends.items()}
    for stream, _, block, code in _rows(streams, codes, "scaling", 0.2, progress):
        train = block.only(code == _TRAIN)
        for name, values in train.sides.items():
            if len(values):
                scalings[name].see(values, train.number, str(stream.files[int(train.file[0])]))
    return {name: scaling.stretch() for name, scaling in scalings.items()}


def _side(end: End, stretch: Stretch) -> Side:
    common = end.units[0] if len(set(end.units)) == 1 else ""
    return Side(end.names, common, stretch, kind="table", units=end.units)


# ---------------------------------------------------------------------------------------- write


def _append(
    writer: TileWriter,
    block: RowBlock,
    before: int,
    code: NDArray[np.uint8],
    stretches: dict[str, Stretch],
) -> None:
    scaled, valid = {}, {}
    for name, values in block.sides.items():
        with np.errstate(over="ignore", invalid="ignore"):
            y = stretches[name](values.T).T.astype(np.float32)
        valid[name] = np.asarray(np.isfinite(y).all(axis=1))
        scaled[name] = np.where(valid[name][:, None], y, np.float32(0))
    kept = np.asarray(np.stack(list(valid.values())).any(axis=0))
    for split, part in _PARTS.items():
        here = kept & (code == part)
        n = int(here.sum())
        if not n:
            continue
        position = np.stack([block.number[here], np.zeros(n, np.int64)], axis=1)
        tiles = Tiles(
            source=scaled["source"][here] if "source" in scaled else None,
            target=scaled["target"][here] if "target" in scaled else None,
            source_valid=valid["source"][here] if "source" in scaled else None,
            target_valid=valid["target"][here] if "target" in scaled else None,
            sky=np.zeros((n, 2)),
            position=position.astype(np.int32),
            residual=np.full(n, np.nan, np.float32),
            field=block.file[here] + np.int32(before),
        )
        writer.append(split, tiles)


class _Counts:
    """Rows of each file: how many there are, and what became of them."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.rows, self.complete, self.refused = (np.zeros(len(files), int) for _ in range(3))
        self.parts = np.zeros((3, len(files)), int)

    def see(self, block: RowBlock, before: int, code: NDArray[np.uint8]) -> None:
        file, n = block.file + before, len(self.files)
        valid = np.stack([np.isfinite(values).all(1) for values in block.sides.values()])
        kept = valid.any(0)
        self.rows += np.bincount(file, minlength=n)
        self.complete += np.bincount(file[valid.all(0)], minlength=n)
        self.refused += np.bincount(file[~kept & (code != _TEST)], minlength=n)
        for part in (_TRAIN, _VALIDATION, _TEST):
            taken = (code == part) & (kept | (part == _TEST))
            self.parts[part] += np.bincount(file[taken], minlength=n)

    def reports(self, streams: list[RowStream]) -> tuple[FieldReport, ...]:
        kinds = ["pair" if len(s.ends) > 1 else s.ends[0].name for s in streams for _ in s.files]
        return tuple(
            FieldReport(
                path.name,
                kinds[k],
                matched=None,
                residual_before=None,
                residual_after=None,
                valid_fraction=float(self.complete[k] / max(1, self.rows[k])),
                train=int(self.parts[_TRAIN, k]),
                validation=int(self.parts[_VALIDATION, k]),
                rows=int(self.rows[k]),
                refused=int(self.refused[k]),
                test=int(self.parts[_TEST, k]),
            )
            for k, path in enumerate(self.files)
        )


# ----------------------------------------------------------------------------------- test rows


def _test_paths(out: Path, streams: list[RowStream]) -> list[Path]:
    stem = out.name.removesuffix(".zarr")
    names = [name for stream in streams for name, _, _ in stream.tables()]
    return [out.with_name(f"{stem}_test{name and '_'}{name}.ecsv") for name in names]


def _write_tests(
    wanted: list[Path],
    streams: list[RowStream],
    codes: list[NDArray[np.uint8]],
    progress: Report,
) -> None:
    """The rows that are kept out, with all of their columns, in the order of their files."""
    if not wanted:
        return
    progress("writing the test rows", 0.55)
    sources = [(files, code[rows]) for stream, code in zip(streams, codes, strict=True)
               for _, files, rows in stream.tables()]  # fmt: skip
    for path, (files, code) in zip(wanted, sources, strict=True):
        _write_test(path, files, code == _TEST)


def _write_test(path: Path, files: TableFiles, chosen: NDArray[np.bool_]) -> None:
    names = [name for name, column in files.first.columns.items() if column.usable]
    types = [table.types(names) for table in files.tables]
    columns = []
    for name in names:
        own = files.first.columns[name]
        dtype = types[0][name] if len(types) == 1 else _common([one[name] for one in types])
        columns.append(Column(name, own.unit, dtype, own.description))
    meta = {"MADE": _MADE, "INPUTS": [file.name for file in files.paths]}
    before = 0
    with write_table(path, columns, meta, "free some space or choose another 'prepare.out'") as new:
        for table, length in zip(files.tables, files.lengths, strict=True):
            for block in table.blocks([], names):
                here = chosen[before + block.first : before + block.first + len(block)]
                if here.any():
                    new.write({name: values[here] for name, values in block.kept.items()})
            before += length


def _common(types: list[np.dtype[Any]]) -> np.dtype[Any]:
    text = [dtype for dtype in types if dtype.kind == "S"]
    return max(text, key=lambda dtype: dtype.itemsize) if text else np.result_type(*types)
