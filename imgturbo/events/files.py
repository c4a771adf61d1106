"""Events on disk, in the layout of the public files of OTUS: HDF5, z under FDL, x under ROL.

    FDL   (N, 24) float64   z, the partons
    ROL   (N, 24) float64   x, what is observed of them
    attributes: columns and units of both, and of generated files their settings in JSON

Files with the keys ``z`` and ``x`` are read too. Needs h5py (``pip install 'imgturbo[hep]'``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door, room_for
from imgturbo.errors import ImgturboError
from imgturbo.events.layout import COMPONENTS, OBJECTS, PARTONS, UNIT, columns
from imgturbo.files import whole
from imgturbo.trial import try_out

__all__ = ["Events", "read_events", "write_events"]

_KEYS = (("FDL", "ROL"), ("z", "x"))
_WIDTH = len(PARTONS) * len(COMPONENTS)
_REMEDY = "give a file of events, such as 'imgturbo simulate-events' writes"


@dataclass(frozen=True)
class Events:
    """Pairs of partons and of what was observed of them.

    Attributes:
        z, x: (N, 24) float64, GeV; see :mod:`imgturbo.events.layout`.
        settings: of the generator, where the file says so.
    """

    z: NDArray[np.float64]
    x: NDArray[np.float64]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.z)


def read_events(path: Path | str) -> Events:
    """Read a file of events, whole.

    Raises:
        ImgturboError: no such file, no events in it, other numbers of rows or columns on the two
            sides, values that are not finite, or h5py is not installed.
    """
    h5py = _h5py()
    with door(path, remedy=_REMEDY):
        try_out(path)
    with door(path, remedy=_REMEDY), h5py.File(path, "r") as file:
        keys = next((pair for pair in _KEYS if set(pair) <= set(file)), None)
        if keys is None:
            there = ", ".join(map(str, file)) or "nothing"
            raise ImgturboError(f"{path}: holds {there}, not FDL and ROL; {_REMEDY}")
        shapes = [_shape(path, key, file[key]) for key in keys]
        if shapes[0] != shapes[1]:
            raise ImgturboError(
                f"{path}: {shapes[0][0]} events under {keys[0]} and {shapes[1][0]} under {keys[1]} "
                "are no pairs; get it again"
            )
        room_for(2 * 8 * int(np.prod(shapes[0])), path, f"{shapes[0][0]} events")
        z, x = (np.asarray(file[key], np.float64) for key in keys)
        settings = _settings(file.attrs.get("settings"))
    for key, rows in zip(keys, (z, x), strict=True):
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise ImgturboError(f"{path}: {key} row {row}, column {column} is no number; {_REMEDY}")
    return Events(z, x, settings)


def write_events(path: Path | str, events: Events) -> None:
    """Write a file of events, whole or not at all.

    Raises:
        ImgturboError: it cannot be written, or h5py is not installed.
        ValueError: there are not two tables of as many rows.
    """
    h5py, path = _h5py(), Path(path)
    if not events.z.shape == events.x.shape == (len(events), _WIDTH):
        raise ValueError(f"events of shape {events.z.shape} and {events.x.shape}")
    with whole(path) as aside, h5py.File(aside, "w") as file:
        for key, rows, particles in (
            ("FDL", events.z, PARTONS),
            ("ROL", events.x, OBJECTS),
        ):
            data = file.create_dataset(key, data=np.asarray(rows, np.float64))
            data.attrs["columns"] = list(columns(particles))
            data.attrs["unit"] = UNIT
        file.attrs["settings"] = json.dumps(dict(events.settings), sort_keys=True)


def _shape(path: Path | str, key: str, data: Any) -> tuple[int, ...]:
    shape = getattr(data, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != _WIDTH or data.dtype.kind not in "fiu":
        raise ImgturboError(f"{path}: {key} is no table of {_WIDTH} numbers an event; {_REMEDY}")
    return tuple(shape)


def _settings(text: Any) -> dict[str, Any]:
    """What a file says of how it was made; nothing of a file that says it otherwise."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise ImgturboError(
            "files of events are HDF5, for which h5py is needed; pip install 'imgturbo[hep]'"
        ) from None
    return h5py
