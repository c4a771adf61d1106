"""What campaigns damage: whole files and what is read of them, whole folders, a place for them."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky

__all__ = ["Tree", "Wholes", "emptied", "read_wholes"]


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


class Tree(NamedTuple):
    """A folder in memory, made anew for each input: never linked, so that no damage reaches it."""

    folders: list[Path]
    files: dict[Path, bytes]

    @classmethod
    def of(cls, place: Path) -> Tree:
        """All that a folder holds, which has no links."""
        found = sorted(path.relative_to(place) for path in place.rglob("*"))
        folders = [path for path in found if (place / path).is_dir()]
        files = {path: (place / path).read_bytes() for path in found if (place / path).is_file()}
        return cls(folders, files)

    @property
    def names(self) -> list[Path]:
        """Of its files, in order."""
        return list(self.files)

    def put(self, place: Path) -> None:
        """Make ``place`` this folder, whatever is there."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        base = str(place)  # joining paths as text: there are many
        for folder in self.folders:  # in order: an outer one before those within
            os.mkdir(f"{base}/{folder}")
        for name, content in self.files.items():
            with open(f"{base}/{name}", "xb", buffering=0) as file:
                file.write(content)
