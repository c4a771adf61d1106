"""What the campaigns of single files share: whole ones, what is read of them, a place to damage."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky

__all__ = ["Wholes", "emptied", "read_wholes"]


class Wholes(NamedTuple):
    """Whole files by name, and what is read of them."""

    files: Mapping[str, bytes]
    truth: Mapping[str, NDArray[np.float32]]


def read_wholes(files: Mapping[str, bytes], folder: Path, refused: Collection[str] = ()) -> Wholes:
    """Whole files and their pixels; those that must be ``refused`` have none."""
    truth = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in files.items():
            (folder / name).write_bytes(content)
            try:
                truth[name] = read_sky(folder / name).data
            except ImgturboError:
                assert name in refused
            (folder / name).unlink()
    return Wholes(files, truth)


def emptied(folder: Path) -> Path:
    """The folder, without what an earlier attempt left in it."""
    for old in folder.iterdir():
        old.unlink()
    return folder
