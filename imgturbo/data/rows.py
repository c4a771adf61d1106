"""One column of a tile store, in memory or by rows."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from imgturbo.data.stored import AGAIN
from imgturbo.door import door, room_for
from imgturbo.listing import Entry

__all__ = ["Rows"]


class Rows:
    """One array of a split, read when first asked for: in memory if it may be, else by rows.

    Behaves as a read-only numpy array for ``shape``, ``dtype``, ``len``, ``[index]`` and
    ``numpy.asarray``.

    Args:
        array: of the store.
        name: what error messages call it, such as ``train/source``.
        path: of the store.
        cached: keep it in memory once read.
        files: what its files must be, where that is known; looked at when it is read whole.
    """

    def __init__(
        self,
        array: zarr.Array[Any],
        name: str,
        path: Path,
        cached: bool,
        files: dict[str, Entry],
    ) -> None:
        self._array, self._name, self._path = array, name, path
        self._cached, self._files = cached, files
        self._data: NDArray[Any] | None = None
        self._lock = threading.Lock()  # prefetching threads must not load the same array twice
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def whole(self) -> NDArray[Any]:
        """All of it, in memory; its files are what they were when the store was written.

        Raises:
            ImgturboError: they are not, or there is not enough memory.
        """
        room_for(self._array.nbytes, self._path, self._name, "give the process more memory")
        for name, entry in self._files.items():
            entry.check(self._path, name, AGAIN)
        with self._reading():
            return np.asarray(self._array[:])

    def _reading(self) -> AbstractContextManager[None]:
        return door(self._path, self._name, AGAIN, "is damaged")

    def _loaded(self) -> NDArray[Any] | None:
        if self._data is None and self._cached:
            with self._lock:
                if self._data is None:
                    self._data = self.whole()
                    self._data.flags.writeable = False
        return self._data

    def __getitem__(self, index: Any) -> NDArray[Any]:
        data = self._loaded()
        if data is not None:
            return data[index]
        np.broadcast_to(np.empty((), self.dtype), self.shape)[index]  # a wrong index is a mistake
        with self._reading():
            return np.asarray(self._array[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype=dtype)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of these rows, in this order; each row is read once even where it is repeated."""
        data = self._loaded()
        if data is not None:
            return data[rows]
        unique, inverse = np.unique(rows, return_inverse=True)
        if len(unique) and not 0 <= unique[0] <= unique[-1] < len(self):
            raise IndexError(f"rows {unique[0]} to {unique[-1]} of {len(self)}")
        with self._reading():
            return np.asarray(self._array.oindex[unique])[inverse]  # type: ignore[index]
