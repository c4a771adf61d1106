"""Coverage of the intervals that a translated file carries: its extensions Q05, Q95 and the like.

The central interval from Qp to Q(100 − p), p in percent, is nominally right in (100 − 2p) % of the
cases; it is closed, so that pixels on its ends count. A stretch keeps the order of fluxes, so the
coverage is the same in flux and on any stretch. The translator's quantiles take the n-th of N draws
for n/(N + 1), so that a model that is right covers what it says at any N; of files whose quantiles
were interpolated otherwise, expect a little less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.sky.hdus import hdus_of

__all__ = ["file_intervals", "interval_names"]

_ALL = (slice(None), slice(None))
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


def file_intervals(
    path: Path | str, order: Sequence[int], truth: NDArray[Any], valid: NDArray[np.bool_]
) -> dict[str, dict[str, float]] | None:
    """``{"Q05-Q95": {"nominal": 0.9, "coverage": …}}`` over the valid pixels of all bands.

    Args:
        path: a FITS file, each quantile one image a band (EXTVER 1 …); other files have none.
        order: for each band of ``truth``, which of the file's bands (from 0) it is.
        truth: (C, H, W), in the file's unit and on its grid.
        valid: (H, W).

    Returns:
        None where the file has no pair of quantiles of the truth's shape.

    Raises:
        ImgturboError: the file cannot be read.
    """
    if not str(path).lower().endswith((".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz")):
        return None
    result = {}
    with hdus_of(Path(path), quietly=True) as hdus:
        images = {(hdu.name, hdu.ver): hdu for hdu in hdus if hdu.name.startswith("Q")}
        for lower, upper, nominal in interval_names(sorted({name for name, _ in images})):
            inside = total = 0
            for band, version in enumerate(order):
                ends = [images.get((name, version + 1)) for name in (lower, upper)]
                if any(hdu is None or hdu.shape != truth.shape[1:] for hdu in ends):
                    break
                low, high = (
                    hdu.window(_ALL, *_ALL, np.float64)[valid] for hdu in ends if hdu is not None
                )
                known = np.isfinite(low) & np.isfinite(high)
                value = truth[band][valid]
                inside += int(((low <= value) & (value <= high) & known).sum())
                total += int(known.sum())
            else:
                if total:
                    result[f"{lower}-{upper}"] = {
                        "nominal": round(nominal, 10),
                        "coverage": inside / total,
                    }
    return result or None
