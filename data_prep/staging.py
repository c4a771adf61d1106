"""Aligned fields, kept on disk between registration and tiling.

Registering and resampling a field takes minutes, cutting it takes seconds, and the cut needs all
fields at once (one stretch, one division of the sky). So each aligned field is put aside in a work
folder beside the store, named by a hash of everything that it depends on: an interrupted
``prepare`` finds what is finished and goes on with the rest. What has its name is whole (see
:mod:`imgturbo.files`); arrays are ``.npy`` and read as memory maps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from data_prep.reproject import Aligned, align, repeated
from data_prep.survey import FieldSurvey
from imgturbo.door import door
from imgturbo.files import sha256, whole, write_durably
from imgturbo.sky import SkyImage, open_sky
from imgturbo.sky.grids import zoomed_grid
from imgturbo.sky.wcs import celestial_wcs, wcs_cards

__all__ = ["Staged", "piece_key", "stage"]

_VERSION = 5
"""Part of every key: raise it when alignment changes its results."""

_LATTICE = 16
"""Pixels between the points at which the registration residual is kept; it is a smooth function."""


def piece_key(field: FieldSurvey, checksums: dict[str, str]) -> str:
    """A hash of all that an aligned field depends on."""
    content = {
        "version": _VERSION,
        "sides": {
            side: [checksums[str(path)] for path in getattr(field.config, side)]
            for side in ("source", "target")
        },
        "bands": [side and side.bands for side in (field.source, field.target)],
        "register": field.register.model_dump(mode="json"),
        "pixel_scale": field.pixel_scale,
        **({} if field.factor == 1 else {"factor": field.factor}),
    }
    digest = sha256(json.dumps(content, sort_keys=True).encode())
    return f"{field.config.name}-{digest[:16]}"


def stage(
    field: FieldSurvey,
    folder: Path,
    report: Callable[[str, float], None] | None = None,
) -> None:
    """Read, register and resample a field, and leave the result as ``folder``.

    Raises:
        ImgturboError: as :func:`data_prep.reproject.align`, or the folder cannot be written.
    """
    say = report or (lambda what, fraction: None)
    name = field.config.name
    say(f"{name}: reading", 0.0)
    with ExitStack() as files:
        source, target = (
            files.enter_context(open_sky(side.paths, unit=side.unit, names=side.bands))
            if side
            else None
            for side in (field.source, field.target)
        )
        say(f"{name}: registering and resampling", 0.2)
        aligned = align(source, target, field.register, field.pixel_scale, field.factor)
    say(f"{name}: storing", 0.9)
    remedy = "free some space or choose another 'prepare.out'"
    with whole(folder, remedy, "the work folder cannot be written") as aside:
        aside.mkdir()
        _write(aligned, field, aside)


def _write(aligned: Aligned, field: FieldSurvey, folder: Path) -> None:
    sides: dict[str, Any] = {}
    for side in ("source", "target"):
        image: SkyImage | None = getattr(aligned, side)
        if image is None:
            continue
        np.save(folder / f"{side}.npy", image.data, allow_pickle=False)
        np.save(folder / f"{side}_valid.npy", image.valid, allow_pickle=False)
        sides[side] = {
            "unit": image.unit,
            "bands": list(image.bands),
            "zeropoints": list(image.zeropoints),
            "header": image.header.tostring(sep="\n") if image.header is not None else None,
            "path": str(image.path),
        }
    wcs, (height, width) = aligned.grid
    y = np.arange(0, height + _LATTICE, _LATTICE, dtype=float)
    x = np.arange(0, width + _LATTICE, _LATTICE, dtype=float)
    xx, yy = np.meshgrid(x, y)
    np.save(folder / "residual.npy", aligned.residuals(xx, yy), allow_pickle=False)
    registration = aligned.registration
    sources = registration if registration and registration.method != "none" else None
    content = {
        "sides": sides,
        "wcs": None if wcs is None else wcs_cards(wcs).tostring(),
        # The nominal WCS of pictures says nothing of their place in the sky.
        "celestial": field.reference.pixel_scale is not None,
        "scale": aligned.scale,
        "factor": aligned.factor,
        "registration": None if registration is None else _json(registration.to_dict()),
        "matched": sources and int(sources.matched),
        "rejected": sources and int(sources.rejected),
        # Like the tiles' own, in pixels of this grid.
        **{
            name: _number(sources and aligned.scale * getattr(sources, name))
            for name in ("residual_before", "residual_after", "residual_held_out")
        },
    }
    write_durably(folder / "field.json", json.dumps(content).encode())


def _json(tree: Any) -> Any:
    """The same content in JSON's types."""
    if isinstance(tree, dict):
        return {str(key): _json(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_json(value) for value in tree]
    if isinstance(tree, np.ndarray | np.generic):
        return _json(tree.tolist())
    return _number(tree) if isinstance(tree, float) else tree


def _number(value: Any) -> float | None:
    """A finite number, or None: JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


@dataclass(frozen=True)
class Staged:
    """An aligned field on disk; arrays are memory maps.

    Attributes:
        folder: where it lies.
        facts: the content of its ``field.json``.
        wcs: of the grid, the target's; for pictures the nominal one of the registration, or None.
    """

    folder: Path
    facts: dict[str, Any]
    wcs: WCS | None

    @classmethod
    def load(cls, folder: Path) -> Staged:
        """Open a finished piece.

        Raises:
            ImgturboError: it is damaged.
        """
        with door(folder, remedy="remove it and run the same command again"):
            facts = json.loads((folder / "field.json").read_text())
            wcs = None
            if facts["wcs"] is not None:
                wcs = celestial_wcs(fits.Header.fromstring(facts["wcs"]), str(folder))
            piece = cls(folder, facts, wcs)
            shapes = {piece.seen(side).shape for side in facts["sides"]}
            for side in facts["sides"]:
                sides = piece.data(side).shape[1:]
                shapes.add(tuple(pixels * piece.factor(side) for pixels in sides))
            (shape,) = shapes
            if wcs is not None:
                wcs.array_shape = shape
            return piece

    @property
    def sides(self) -> dict[str, dict[str, Any]]:
        """Unit, bands, zero points, header and path of each side that there is."""
        return self.facts["sides"]

    @property
    def sky(self) -> WCS | None:
        """The WCS if it is true, None for pictures."""
        return self.wcs if self.facts["celestial"] else None

    def factor(self, side: str) -> int:
        """Pixels of the grid across one of this side."""
        return int(self.facts["factor"]) if side == "source" else 1

    def pixel_scale(self, side: str) -> float | None:
        """Arcsec a pixel of this side, None for pictures."""
        return None if self.sky is None else self.image(side).pixel_scale

    def data(self, side: str) -> NDArray[np.float32]:
        """Fluxes (C, H, W) of a side."""
        return np.load(self.folder / f"{side}.npy", mmap_mode="r", allow_pickle=False)

    def valid(self, side: str) -> NDArray[np.bool_]:
        """Mask (H, W) of a side, on its own pixels."""
        return np.load(self.folder / f"{side}_valid.npy", mmap_mode="r", allow_pickle=False)

    def seen(self, side: str) -> NDArray[np.bool_]:
        """The mask of a side on the grid, (H, W)."""
        return repeated(self.valid(side), self.factor(side))

    def all_valid(self) -> NDArray[np.bool_]:
        """(H, W) True where every side was measured."""
        return np.logical_and.reduce([self.seen(side) for side in self.sides])

    def residual(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
        """Registration residual at pixels (x, y), in pixels of the grid; NaN where unknown."""
        lattice = np.load(self.folder / "residual.npy", allow_pickle=False)
        at = [y / _LATTICE, x / _LATTICE]
        return map_coordinates(lattice, at, order=1, mode="nearest").astype(np.float32)

    def image(self, side: str) -> SkyImage:
        """A side as an image, with its provenance."""
        facts = self.sides[side]
        header = None
        if facts["header"] is not None:
            header = fits.Header.fromstring(facts["header"], sep="\n")
        wcs, factor = self.wcs, self.factor(side)
        if wcs is not None and factor > 1:
            wcs, _ = zoomed_grid(wcs, wcs.array_shape, Fraction(1, factor))
        return SkyImage(
            data=self.data(side),
            valid=self.valid(side),
            wcs=wcs,
            unit=facts["unit"],
            bands=tuple(facts["bands"]),
            header=header,
            zeropoints=tuple(facts["zeropoints"]),
            path=Path(facts["path"]),
        )
