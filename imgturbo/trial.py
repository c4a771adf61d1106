"""A first look at an HDF5 file in two other processes, which may crash alone.

libhdf5 believes the bytes of a file: a few that are wrong in the index of a dataset's pieces make
it read beside its memory, which ends the interpreter, or gives whatever lay there. So before a file
is opened here, two processes read it whole, and the C library fills their free memory differently.
If one crashes, or they do not agree, the file is damaged; what is refused in words is left to the
real reader. It reads the file for a third time, by blocks: to take what the others have read, all
of it would have to lie somewhere; and one of them alone cannot tell what it read from nowhere.

    try_out(path)

This file is also what those processes run; then it imports nothing of this package.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["try_out"]

_BLOCK = 1 << 24  # bytes of rows at a time
_DENSEST = 1100  # bytes that one of them may be unpacked to
_FILLS = ("85", "170")  # of free memory, by glibc; elsewhere only crashes are noticed


def try_out(path: Path | str) -> None:
    """Let others read an HDF5 file first; once a file, as long as it stays as it is.

    Raises:
        ValueError: one crashed, or they read different numbers.
    """
    state = os.stat(path)
    _tried(os.path.abspath(path), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(256)
def _tried(path: str, *_state: int) -> None:
    from imgturbo.stopping import alone  # not at the top, where the others would need it

    running = [
        subprocess.Popen(
            **alone(__file__, path, str(os.getpid()), MALLOC_PERTURB_=fill)
            | {"stdout": subprocess.PIPE}
        )
        for fill in _FILLS
    ]
    try:
        said = [process.communicate()[0] for process in running]
    finally:  # a signal too
        for process in running:
            process.kill()
            process.wait()
    if (crashed := min(process.returncode for process in running)) < 0:
        raise ValueError(f"the library that reads it crashed, with signal {-crashed}")
    if said[0] != said[1]:
        raise ValueError("parts of it are read from nowhere, and are others each time")


# ------------------------------------------------------------------------- the other processes


def _content(path: str) -> str:
    """A digest of all datasets of rows that were written."""
    import h5py
    import numpy as np

    digest = hashlib.blake2b()

    def see(_name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or not item.ndim:
            return
        if item.nbytes > _DENSEST * item.id.get_storage_size():
            return  # never written: no bytes to be wrong
        step = max(1, _BLOCK // max(1, item.nbytes // max(1, item.shape[0])))
        for first in range(0, item.shape[0], step):
            values = np.ascontiguousarray(item[first : first + step])
            said = (
                repr(values.tolist()).encode("utf-8", "replace") if values.dtype.hasobject else b""
            )
            digest.update(said or values.tobytes())

    with h5py.File(path, "r") as file:
        file.visititems(see)
    return digest.hexdigest()


def _end_with(parent: int) -> None:
    """A file may take hours to read, and nobody wants the answer once who asked was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before this was said
            os._exit(0)


if __name__ == "__main__":
    _end_with(int(sys.argv[2]))
    try:
        print(_content(sys.argv[1]), flush=True)
    except Exception:  # the real reader says it in words
        os._exit(0)
