"""What every file of a table is, once it is open: named columns with units, rows by blocks.

Numbers are read as float64, whatever the file holds them in, and are NaN where a cell is empty or
masked. What is passed through as it is (text, whole numbers, identifiers) keeps its type. Memory
holds a block of rows, however many there are.
"""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import shortened
from imgturbo.errors import ImgturboError
from imgturbo.sky.readers import FileReader

__all__ = [
    "BLOCK_ROWS",
    "MISSING",
    "Block",
    "Column",
    "TableReader",
    "chosen_names",
    "numbers_in",
]

BLOCK_ROWS = 1 << 15
"""Rows that are read at once, by default."""

MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "--", "masked"})
"""What a cell of text says, in small letters, that has no value."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: by which it is found.
        unit: as the file spells it; ``""`` where it states none.
        dtype: of its values; None where only reading them shows it, as in CSV.
        description: in words, if the file has any.
        usable: False for a column whose cells are arrays or objects.
    """

    name: str
    unit: str = ""
    dtype: np.dtype[Any] | None = None
    description: str = ""
    usable: bool = True

    @property
    def is_number(self) -> bool | None:
        """Whether its cells are numbers; None where only reading them shows it."""
        return None if self.dtype is None else self.usable and self.dtype.kind in "iufb"


@dataclass(frozen=True)
class Block:
    """Some rows that follow one another.

    Attributes:
        first: number of the first of them in the table, from 0.
        numbers: (n, C) float64, NaN where a cell is empty or masked.
        kept: columns that are passed through, as they are in the file, (n,) each.
    """

    first: int
    numbers: Numbers
    kept: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)


class TableReader(FileReader):
    """An open table; a context manager.

    Attributes:
        path: of the file.
        columns: by name, in the file's order.
        meta: what the file says of itself.
        share: how much of the file the latest pass has read, 0 to 1.
        is_text: whether cells are written as text, which can be passed through letter by letter.
    """

    path: Path
    columns: dict[str, Column]
    meta: dict[str, Any]
    share: float = 0.0
    is_text: bool = False

    @property
    @abstractmethod
    def length(self) -> int:
        """How many rows there are; of text files this takes a pass over the file."""

    @abstractmethod
    def _read(
        self, numbers: Sequence[str], kept: Sequence[str], rows: int, typed: bool
    ) -> Iterator[Block]:
        """As :meth:`blocks`, of columns that there are."""

    @abstractmethod
    def types(self, names: Sequence[str]) -> dict[str, np.dtype[Any]]:
        """Types that hold all values of some columns; text is bytes (``S8``), UTF-8.

        Of text files this takes a pass over the file.
        """

    def blocks(
        self,
        numbers: Sequence[str] = (),
        kept: Sequence[str] = (),
        rows: int | None = None,
        *,
        typed: bool = True,
    ) -> Iterator[Block]:
        """All rows, a block at a time.

        Args:
            numbers: columns to read as float64.
            kept: columns to read as they are.
            rows: of a block, None: as many as are usual; the last one may have fewer.
            typed: give kept columns their types; else a text file's cells as they are written.

        Raises:
            ImgturboError: a column that there is not, a cell that is no number (which row, which
                column), a file that is damaged.
        """
        self.require([*numbers, *kept])
        for name in numbers:
            if self.columns[name].is_number is False:
                raise ImgturboError(
                    f"{self.path}: column {name} holds {self._contents(name)}, no numbers; name "
                    "another column"
                )
        for name in kept:
            if not self.columns[name].usable:
                raise ImgturboError(
                    f"{self.path}: column {name} holds {self._contents(name)}, which cannot be "
                    "passed through; leave it out"
                )
        self.share = 0.0
        yield from self._read(numbers, kept, rows or BLOCK_ROWS, typed)
        self.share = 1.0

    def require(self, names: Sequence[str]) -> None:
        """Refuse names of columns that there are not.

        Raises:
            ImgturboError: naming the first one, and the nearest that there is.
        """
        for name in names:
            if name in self.columns:
                continue
            near = difflib.get_close_matches(name, self.columns, n=1, cutoff=0.6)
            near = near or [own for own in self.columns if own.lower() == name.lower()]
            hint = f"did you mean {near[0]}?" if near else f"it has {listed(list(self.columns))}"
            raise ImgturboError(f"{self.path}: has no column {name}; {hint}")

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def _contents(self, name: str) -> str:
        column = self.columns[name]
        if not column.usable:
            return "arrays or objects"
        return "text" if column.dtype is not None and column.dtype.kind in "SUO" else "other things"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def numbers_in(table: TableReader, but: Sequence[str] = ()) -> list[str]:
    """Names of all columns that hold numbers; of CSV this takes a pass over the file.

    Args:
        table: an open one.
        but: names that are left out.
    """
    candidates = [name for name, column in table.columns.items() if column.is_number is not False]
    candidates = [name for name in candidates if name not in but]
    unknown = [name for name in candidates if table.columns[name].is_number is None]
    types = table.types(unknown) if unknown else {}
    return [name for name in candidates if name not in types or types[name].kind in "iufb"]


def chosen_names(names: Sequence[str], patterns: Sequence[str], where: str) -> list[str]:
    """The names that patterns fit, in the order of the patterns, each once.

    Args:
        names: that there are.
        patterns: names, or patterns such as ``jet*_E``.
        where: who asks, for messages.

    Raises:
        ImgturboError: a pattern that fits none.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        own = [name for name in names if name == pattern] or [
            name for name in names if fnmatchcase(name, pattern)
        ]
        if not own:
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {listed(names)}"
            raise ImgturboError(f"{where}: has no column {pattern}; {hint}")
        found |= dict.fromkeys(own)
    return list(found)


def listed(names: Sequence[str]) -> str:
    """Some names in words; of many, the first ones."""
    shown = ", ".join(map(shortened, names[:8]))
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "no column at all"
