r"""Do the intervals hold, for faint pixels and for bright ones?

Of the pixels whose *prediction* lies in a bin of brightness (in σ of the truth's noise; a bin of
the truth itself would choose those that fell outside), the share whose truth lies within the stated
interval. Its error comes from blocks of sky, since neighbouring pixels err together.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.metrics.estimates import as_json, bootstrap
from imgturbo.scoring.held import strips
from imgturbo.scoring.intervals import Ends, file_ends
from imgturbo.scoring.trust.scene import Scene

__all__ = ["BRIGHTNESS", "spread"]

Array = NDArray[np.float64]

BRIGHTNESS = (-np.inf, 1.0, 3.0, 10.0, np.inf)
"""Edges in σ of a pixel."""

_BLOCKS = 8  # a side


def spread(scene: Scene, prediction: Path | str, order: tuple[int, ...]) -> dict[str, Any]:
    """Coverage of every interval that the prediction's file carries, by band and brightness.

    Args:
        scene: with a truth, on the prediction's own grid.
        prediction: its file.
        order: for each band of the scene, which of the file's it is.

    Returns:
        ``{"Q05-Q95": {"nominal": 0.9, "bands": {band: {"all": estimate, "by_brightness": [{"from",
        "to", "pixels", "coverage": estimate}, …]}}}}``, edges in σ, None for the open ends.
    """
    truth, result = scene.images["truth"].data, {}
    for ends in file_ends(prediction, order, truth.shape[1:]):
        hits, counts = _counted(scene, truth, ends)
        result[ends.name] = {
            "nominal": ends.nominal,
            "bands": {
                name: _band(hits[band], counts[band]) for band, name in enumerate(scene.bands)
            },
        }
    return result


def _counted(scene: Scene, truth: NDArray[np.float32], ends: Ends) -> tuple[Array, Array]:
    """Pixels within the interval and pixels that count, by band, brightness and block of sky."""
    height, width = scene.valid.shape
    row, col = (
        np.repeat(np.arange(_BLOCKS), [len(of) for of in np.array_split(np.arange(side), _BLOCKS)])
        for side in (height, width)
    )
    bins, blocks = len(BRIGHTNESS) - 1, _BLOCKS**2
    hits, counts = (np.zeros((len(truth), bins * blocks)) for _ in range(2))
    for rows in strips((height, width)):
        inside, known = ends.inside(truth[:, rows], rows)
        known &= scene.valid[rows]
        block = row[rows, None] * _BLOCKS + col[None, :]
        for band, noise in enumerate(scene.noise):
            bright = np.nan_to_num(scene.light["prediction"][band, rows]) / noise
            bin_ = np.searchsorted(BRIGHTNESS[1:-1], bright, side="right")
            cell = (bin_ * blocks + block)[known[band]]
            counts[band] += np.bincount(cell, minlength=bins * blocks)
            hits[band] += np.bincount(cell, inside[band][known[band]], bins * blocks)
    return hits.reshape(-1, bins, blocks), counts.reshape(-1, bins, blocks)


def _band(hits: Array, counts: Array) -> dict[str, Any]:
    """Of one band, of counts (bins, blocks)."""
    rows = []
    for (low, high), inside, pixels in zip(pairwise(BRIGHTNESS), hits, counts, strict=True):
        if pixels.any():
            rows.append(
                {
                    "from": None if np.isinf(low) else low,
                    "to": None if np.isinf(high) else high,
                    "pixels": int(pixels.sum()),
                    "coverage": _share(inside, pixels),
                }
            )
    return {"all": _share(hits.sum(0), counts.sum(0)), "by_brightness": rows}


def _share(hits: Array, counts: Array) -> dict[str, Any]:
    """The share with its error, by blocks that have any of the pixels."""
    some = counts > 0
    return as_json(bootstrap(lambda h, n: h.sum(-1) / n.sum(-1), hits[some], counts[some]))
