"""Rows of z and x from the files that a config names, whichever way they are paired.

    together   a row of one file holds both sides
    in order   row n of the source's files belongs to row n of the target's
    by key     rows with equal values in a column; what has no partner stays alone
    apart      the two sides have nothing to do with each other, or there is only one

Each way is a :class:`RowStream`: logical rows 0 … N − 1, read block by block as often as is asked
for. By key the target's numbers are held in memory, otherwise nothing but a block is.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import TablesConfig, TableSideConfig
from imgturbo.door import room_for
from imgturbo.errors import ImgturboError
from imgturbo.tables.files import open_table
from imgturbo.tables.quantity import factors_to
from imgturbo.tables.reader import MISSING, TableReader, chosen_names, numbers_in

__all__ = ["End", "RowBlock", "RowStream", "TableFiles", "labels", "open_rows", "unit_of"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class End:
    """The columns of one side.

    Attributes:
        name: ``"source"`` or ``"target"``.
        config: what the user says of it.
        names: of its columns.
        units: that they are read in.
    """

    name: str
    config: TableSideConfig
    names: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class RowBlock:
    """Some logical rows.

    Attributes:
        index: their numbers among the stream's, (n,).
        file: which of the stream's files each came from, (n,).
        number: of the row in that file, from 0, (n,).
        sides: (n, C) of each side that these rows have; NaN where there is no number.
    """

    index: NDArray[np.int64]
    file: NDArray[np.int32]
    number: NDArray[np.int64]
    sides: dict[str, Numbers]

    def only(self, chosen: NDArray[np.bool_]) -> RowBlock:
        """Some of the rows."""
        sides = {name: values[chosen] for name, values in self.sides.items()}
        return RowBlock(self.index[chosen], self.file[chosen], self.number[chosen], sides)


class TableFiles(contextlib.AbstractContextManager["TableFiles"]):
    """Tables of the same columns whose rows follow one another, open.

    Args:
        paths: of the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._held = contextlib.ExitStack()
        self.tables: list[TableReader] = []
        try:
            for path in self.paths:
                self.tables.append(self._held.enter_context(open_table(path)))
        except BaseException:
            self._held.close()
            raise
        self._lengths: list[int] | None = None

    @property
    def first(self) -> TableReader:
        """The table that says which columns there are."""
        return self.tables[0]

    @property
    def lengths(self) -> list[int]:
        """Rows of each file; of text files this takes a pass over them."""
        if self._lengths is None:
            self._lengths = [table.length for table in self.tables]
        return self._lengths

    def rows(self, names: Sequence[str], units: Sequence[str]) -> Iterator[RowBlock]:
        """All rows of some columns in these units, as the side ``""``."""
        before = 0
        for place, table in enumerate(self.tables):
            table.require(names)
            factors = self._factors(table, names, units)
            for block in table.blocks(names):
                values = block.numbers if factors is None else block.numbers * factors
                number = np.arange(block.first, block.first + len(block))
                file = np.full(len(block), place, np.int32)
                yield RowBlock(before + number, file, number, {"": values})
            before += self.lengths[place]

    def _factors(
        self, table: TableReader, names: Sequence[str], units: Sequence[str]
    ) -> Numbers | None:
        return factors_to([table.columns[name] for name in names], units, str(table.path))

    def labels(self, name: str) -> NDArray[np.str_]:
        """A column of all rows as text, by which rows are told apart or belong together."""
        found = []
        for table in self.tables:
            table.require([name])
            found += [labels(block.kept[name]) for block in table.blocks([], [name], typed=False)]
        return np.concatenate(found) if found else np.empty(0, np.str_)

    def __exit__(self, *error: object) -> None:
        self._held.close()


def labels(values: NDArray[Any]) -> NDArray[np.str_]:
    """Values as text; a whole number is spelled alike whatever its type."""
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (np.abs(values) < 2**53)
        whole &= values == np.rint(np.where(whole, values, 0))
        texts = values.astype(np.str_)
        return np.where(whole, np.where(whole, values, 0).astype(np.int64).astype(np.str_), texts)
    return np.char.strip(values.astype(np.str_))


class RowStream(ABC):
    """Logical rows of one or both sides.

    Attributes:
        ends: the sides that rows may have.
        files: that rows came from, one of which each row is counted to.
        length: how many logical rows there are.
    """

    ends: tuple[End, ...]
    files: list[Path]
    length: int

    @abstractmethod
    def blocks(self) -> Iterator[RowBlock]:
        """All rows, block by block."""

    @abstractmethod
    def groups(self, name: str) -> NDArray[np.str_]:
        """A column by which rows belong together, (N,)."""

    @abstractmethod
    def tables(self) -> list[tuple[str, TableFiles, NDArray[np.int64]]]:
        """The files as they are: what to call them, and the logical row of each of their rows."""


class _Alone(RowStream):
    """Rows of one set of files, which hold one side or both."""

    def __init__(self, files: TableFiles, ends: tuple[End, ...], called: str) -> None:
        self.ends, self.files, self._files, self._called = ends, files.paths, files, called
        self.length = sum(files.lengths)

    def blocks(self) -> Iterator[RowBlock]:
        names = [name for end in self.ends for name in end.names]
        units = [unit for end in self.ends for unit in end.units]
        edges = np.cumsum([len(end.names) for end in self.ends])[:-1]
        for block in self._files.rows(names, units):
            parts = np.split(block.sides[""], edges, axis=1)
            sides = {end.name: part for end, part in zip(self.ends, parts, strict=True)}
            yield RowBlock(block.index, block.file, block.number, sides)

    def groups(self, name: str) -> NDArray[np.str_]:
        return self._files.labels(name)

    def tables(self) -> list[tuple[str, TableFiles, NDArray[np.int64]]]:
        return [(self._called, self._files, np.arange(self.length))]


class _InOrder(RowStream):
    """The n-th row of one set of files belongs to the n-th of the other."""

    def __init__(self, source: TableFiles, target: TableFiles, ends: tuple[End, End]) -> None:
        self.ends, self.files, self._both = ends, source.paths, (source, target)
        here, there = (sum(files.lengths) for files in self._both)
        if here != there:
            raise ImgturboError(
                f"{source.paths[0]}: has {here} rows, and {target.paths[0]} has {there}: they "
                "cannot be paired in order; name a 'key' in 'prepare.tables', or set 'paired: "
                "false' there"
            )
        self.length = here

    def blocks(self) -> Iterator[RowBlock]:
        source, target = (
            files.rows(end.names, end.units)
            for files, end in zip(self._both, self.ends, strict=True)
        )
        waiting = np.empty((0, len(self.ends[1].names)))
        for block in source:
            while len(waiting) < len(block.index):
                waiting = np.concatenate([waiting, next(target).sides[""]])
            x, waiting = waiting[: len(block.index)], waiting[len(block.index) :]
            sides = {"source": block.sides[""], "target": x}
            yield RowBlock(block.index, block.file, block.number, sides)

    def groups(self, name: str) -> NDArray[np.str_]:
        holder = next((f for f in self._both if name in f.first.columns), self._both[0])
        return holder.labels(name)

    def tables(self) -> list[tuple[str, TableFiles, NDArray[np.int64]]]:
        named = zip(("source", "target"), self._both, strict=True)
        return [(name, files, np.arange(self.length)) for name, files in named]


class _ByKey(RowStream):
    """Rows with equal keys; target rows without a partner follow after all source rows."""

    def __init__(
        self, source: TableFiles, target: TableFiles, ends: tuple[End, End], key: str
    ) -> None:
        self.ends, self._both = ends, (source, target)
        self.files = [*source.paths, *target.paths]
        keys = [_unique_keys(files, key) for files in self._both]
        order = np.argsort(keys[1], kind="stable")
        place = np.minimum(np.searchsorted(keys[1][order], keys[0]), max(len(order) - 1, 0))
        found = order[place] if len(order) else np.zeros(len(keys[0]), np.int64)
        same = keys[1][found] == keys[0] if len(order) else np.zeros(len(keys[0]), bool)
        self._partner = np.where(same, found, -1)
        left = np.ones(len(keys[1]), bool)
        left[found[same]] = False
        self._left = np.flatnonzero(left)
        self.length = len(keys[0]) + len(self._left)
        self._target = self._held(target)

    def _held(self, target: TableFiles) -> RowBlock:
        """All of the target's numbers."""
        end, total = self.ends[1], sum(target.lengths)
        remedy = "bring the rows of both files into one order"
        room_for(16 * total * len(end.names), target.paths[0], "pairing by a key", remedy)
        blocks = list(target.rows(end.names, end.units))
        if not blocks:
            none = np.empty(0, np.int64)
            empty = np.empty((0, len(end.names)))
            return RowBlock(none, none.astype(np.int32), none, {"": empty})
        return RowBlock(
            np.concatenate([block.index for block in blocks]),
            np.concatenate([block.file for block in blocks]),
            np.concatenate([block.number for block in blocks]),
            {"": np.concatenate([block.sides[""] for block in blocks])},
        )

    def blocks(self) -> Iterator[RowBlock]:
        x = self._target.sides[""]
        for block in self._both[0].rows(self.ends[0].names, self.ends[0].units):
            partner = self._partner[block.index]
            sides = {"source": block.sides[""], "target": x[np.maximum(partner, 0)]}
            whole = RowBlock(block.index, block.file, block.number, sides)
            yield whole.only(partner >= 0)
            alone = whole.only(partner < 0)
            yield RowBlock(alone.index, alone.file, alone.number, {"source": alone.sides["source"]})
        left, before = self._left, sum(self._both[0].lengths)
        yield RowBlock(
            before + np.arange(len(left)),
            self._target.file[left] + len(self._both[0].paths),
            self._target.number[left],
            {"target": x[left]},
        )

    def groups(self, name: str) -> NDArray[np.str_]:
        here, there = (files.labels(name) for files in self._both)
        return np.concatenate([here, there[self._left]])

    def tables(self) -> list[tuple[str, TableFiles, NDArray[np.int64]]]:
        rows = sum(self._both[0].lengths)
        theirs = np.empty(sum(self._both[1].lengths), np.int64)
        theirs[self._left] = rows + np.arange(len(self._left))
        with_partner = np.flatnonzero(self._partner >= 0)
        theirs[self._partner[with_partner]] = with_partner
        return [("source", self._both[0], np.arange(rows)), ("target", self._both[1], theirs)]


def _unique_keys(files: TableFiles, key: str) -> NDArray[np.str_]:
    """The values of a key; a row in which it is missing has one that no other row has."""
    keys = files.labels(key)
    missing = np.flatnonzero(np.isin(np.char.lower(keys), list(MISSING)))
    own = [f"{files.paths[0]} \t row {row}" for row in missing]
    keys = keys.astype(object)
    keys[missing] = own
    keys = keys.astype(np.str_)
    found, counts = np.unique(keys, return_counts=True)
    if (counts > 1).any():
        twice = found[counts > 1][0]
        raise ImgturboError(
            f"{files.paths[0]}: {counts.max()} rows have {key} {twice}: by it rows cannot be "
            "paired; name another 'prepare.tables.key'"
        )
    return keys


# ------------------------------------------------------------------------------- which columns


def open_rows(config: TablesConfig, held: contextlib.ExitStack) -> list[RowStream]:
    """The rows that a config names, its files open until ``held`` is closed.

    Raises:
        ImgturboError: a file that cannot be read, a column that there is not, units that do not
            agree, rows that cannot be paired.
    """
    given = {
        name: side
        for name, side in (("source", config.source), ("target", config.target))
        if side is not None
    }
    if config.files:
        files = held.enter_context(TableFiles(config.files))
        first = next(iter(given))
        order = sorted(given, key=lambda name: not given[name].columns)  # the named ones first
        ends: dict[str, End] = {}
        for name in order:
            others = [own for end in ends.values() for own in end.names]
            ends[name] = _end(name, given[name], files, config, others)
        called = "" if len(given) > 1 else first
        return [_Alone(files, tuple(ends[name] for name in given), called)]
    opened = {name: held.enter_context(TableFiles(side.files)) for name, side in given.items()}
    both = {name: _end(name, side, opened[name], config, ()) for name, side in given.items()}
    if len(given) == 2 and config.paired:
        pair = (both["source"], both["target"])
        if config.key is None:
            return [_InOrder(opened["source"], opened["target"], pair)]
        return [_ByKey(opened["source"], opened["target"], pair, config.key)]
    return [_Alone(opened[name], (both[name],), name) for name in given]


def _end(
    name: str,
    side: TableSideConfig,
    files: TableFiles,
    config: TablesConfig,
    others: Sequence[str],
) -> End:
    """The columns of a side in its first file, and the units that all of its files are read in."""
    table = files.first
    if side.columns:
        names = chosen_names(list(table.columns), side.columns, str(table.path))
    else:
        apart = [*others, *(own for own in (config.key, config.group) if own is not None)]
        names = numbers_in(table, apart)
    if not names:
        raise ImgturboError(f"{table.path}: no column of numbers is left for the {name} side")
    wanted: dict[str, str] = {}
    for pattern, unit in side.units.items():
        wanted |= dict.fromkeys(chosen_names(names, [pattern], f"{table.path}: {name}"), unit)
    units = tuple(wanted.get(own) or unit_of(files, own) for own in names)
    return End(name, side, tuple(names), units)


def unit_of(files: TableFiles, name: str) -> str:
    """The unit of a column in the first file that states one."""
    stated = (table.columns[name].unit for table in files.tables if name in table.columns)
    return next((unit for unit in stated if unit), "")


def by_pattern(names: Sequence[str], patterns: dict[str, str], default: str) -> list[str]:
    """A word for each name: of the last pattern that fits it."""
    found = []
    for name in names:
        fitting = [word for pattern, word in patterns.items() if fnmatchcase(name, pattern)]
        found.append(patterns.get(name) or (fitting[-1] if fitting else default))
    return found
