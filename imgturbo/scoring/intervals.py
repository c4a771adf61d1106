"""Coverage of the intervals that a translated file carries: its extensions Q05, Q95 and the like.

The central interval from Qp to Q(100 − p), p in percent, is nominally right in (100 − 2p) % of the
cases; it is closed, so that pixels on its ends count. A stretch keeps the order of fluxes, so the
coverage is the same in flux and on any stretch. The translator's quantiles take the n-th of N draws
for n/(N + 1), so that a model that is right covers what it says at any N; of files whose quantiles
were interpolated otherwise, expect a little less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.remote import readable
from imgturbo.scoring.held import held, strips
from imgturbo.sky.hdus import Hdu, hdus_of

__all__ = ["Ends", "file_ends", "file_intervals", "file_plane", "interval_names"]

Mask = NDArray[np.bool_]

_ALL = (slice(None), slice(None))
_FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz")
_NAME = re.compile(r"Q(\d+(?:\.\d+)?)")


def interval_names(names: Sequence[str]) -> list[tuple[str, str, float]]:
    """(lower, upper, level) of the central intervals that these extensions make, widest first."""
    percents = {float(match[1]): name for name in names if (match := _NAME.fullmatch(name))}
    found = []
    for percent, lower in sorted(percents.items()):
        for other, upper in percents.items():
            if percent < 50 and abs(percent + other - 100) < 1e-6:
                found.append((lower, upper, (other - percent) / 100))
    return found


@dataclass(frozen=True, eq=False)
class Ends:
    """A central interval of an open file: what it is called, its level, its two ends by band."""

    name: str
    nominal: float
    low: list[Hdu]
    high: list[Hdu]

    def inside(self, truth: NDArray[Any], rows: slice) -> tuple[Mask, Mask]:
        """Where some rows of the truth (C, h, W) lie between the ends, and where there are ends."""
        low, high = (
            np.stack([hdu.window(_ALL, rows, slice(None), np.float64) for hdu in of])
            for of in (self.low, self.high)
        )
        return (low <= truth) & (truth <= high), np.isfinite(low) & np.isfinite(high)


def file_ends(path: Path | str, order: Sequence[int], shape: tuple[int, ...]) -> Iterator[Ends]:
    """The intervals of a file, the widest first; none of what has no quantiles of that shape.

    Each can be read until the next one is asked for.

    Args:
        path: a FITS file, each quantile one image a band (EXTVER 1 …); other files have none.
        order: which of the file's bands (from 0) are wanted, in this order.
        shape: (H, W).

    Raises:
        ImgturboError: the file cannot be read.
    """
    if not str(path).lower().endswith(_FITS):
        return
    with hdus_of(readable(path), quietly=True) as hdus:
        images = {
            (hdu.name, hdu.ver): hdu
            for hdu in hdus
            if hdu.name.startswith("Q") and hdu.shape == tuple(shape)
        }
        for lower, upper, nominal in interval_names(sorted({name for name, _ in images})):
            wanted = [[(name, band + 1) for band in order] for name in (lower, upper)]
            if all(key in images for keys in wanted for key in keys):
                low, high = ([images[key] for key in keys] for keys in wanted)
                yield Ends(f"{lower}-{upper}", round(nominal, 10), low, high)


def file_plane(
    path: Path | str, name: str, order: Sequence[int], shape: tuple[int, ...]
) -> NDArray[np.float32] | None:
    """A further plane of a file, such as STD, (C, H, W); None where it has none of that shape.

    Args:
        path, order, shape: see :func:`file_ends`.
        name: of the extension.

    Raises:
        ImgturboError: the file cannot be read.
    """
    if not str(path).lower().endswith(_FITS):
        return None
    with hdus_of(Path(path), quietly=True) as hdus:
        images = {hdu.ver: hdu for hdu in hdus if hdu.name == name and hdu.shape == tuple(shape)}
        if not all(band + 1 in images for band in order):
            return None
        planes = held((len(order), *shape))
        for plane, band in zip(planes, order, strict=True):
            for rows in strips(shape):
                plane[rows] = images[band + 1].window(_ALL, rows, slice(None))
        return planes


def file_intervals(
    path: Path | str, order: Sequence[int], truth: NDArray[Any], valid: NDArray[np.bool_]
) -> dict[str, dict[str, float]] | None:
    """``{"Q05-Q95": {"nominal": 0.9, "coverage": …}}`` over the valid pixels of all bands.

    Args:
        path, order: see :func:`file_ends`.
        truth: (C, H, W), in the file's unit and on its grid.
        valid: (H, W).

    Returns:
        None where the file has no pair of quantiles of the truth's shape.

    Raises:
        ImgturboError: the file cannot be read.
    """
    result = {}
    for ends in file_ends(path, order, truth.shape[1:]):
        hits = pixels = 0
        for rows in strips(truth.shape[1:]):
            inside, known = ends.inside(truth[:, rows], rows)
            known &= valid[rows]
            hits += int((inside & known).sum())
            pixels += int(known.sum())
        if pixels:
            result[ends.name] = {"nominal": ends.nominal, "coverage": hits / pixels}
    return result or None
