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
from imgturbo.scoring.intervals import file_ends
from imgturbo.scoring.trust.scene import Scene

__all__ = ["BRIGHTNESS", "spread"]

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
        known = scene.valid & np.isfinite(ends.low) & np.isfinite(ends.high)
        inside = (ends.low <= truth) & (truth <= ends.high)
        result[ends.name] = {
            "nominal": ends.nominal,
            "bands": {
                name: _band(scene, band, inside[band], known[band])
                for band, name in enumerate(scene.bands)
            },
        }
    return result


def _band(
    scene: Scene, band: int, inside: NDArray[np.bool_], known: NDArray[np.bool_]
) -> dict[str, Any]:
    bright = np.nan_to_num(scene.light["prediction"][band]) / scene.noise[band]
    rows = []
    for low, high in pairwise(BRIGHTNESS):
        chosen = known & (bright >= low) & (bright < high)
        if chosen.any():
            rows.append(
                {
                    "from": None if np.isinf(low) else low,
                    "to": None if np.isinf(high) else high,
                    "pixels": int(chosen.sum()),
                    "coverage": _share(inside, chosen),
                }
            )
    return {"all": _share(inside, known), "by_brightness": rows}


def _share(inside: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """The share with its error, by blocks that have any of the chosen pixels."""
    hits, counts = (_by_blocks(mask) for mask in (inside & chosen, chosen))
    some = counts > 0
    return as_json(bootstrap(lambda h, n: h.sum(-1) / n.sum(-1), hits[some], counts[some]))


def _by_blocks(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows = np.array_split(mask, _BLOCKS, axis=0)
    return np.array([b.sum() for r in rows for b in np.array_split(r, _BLOCKS, axis=1)], float)
