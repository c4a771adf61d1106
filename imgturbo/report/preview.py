"""Panels worth looking at: input, prediction, truth, error, on the scale that the scores use.

Colour is a display product: three bands (last → red, first → blue) of the stretched image, clipped
to 0–1. One or two bands are shown as grey or as red/blue with their mean for green.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["colour", "comparison"]


def colour(y: NDArray[Any], gamma: float = 1.0) -> NDArray[np.float32]:
    """RGB picture (H, W, 3) in 0–1 of a stretched image (C, H, W); NaN becomes mid-grey."""
    channels = len(y)
    if channels == 1:
        rgb = np.repeat(y, 3, axis=0)
    elif channels == 2:
        rgb = np.stack([y[1], y.mean(0), y[0]])
    else:
        rgb = np.stack([y[-1], y[channels // 2], y[0]])
    picture = np.clip(rgb, 0, 1) ** gamma
    return np.where(np.isfinite(rgb), picture, 0.3).transpose(1, 2, 0).astype(np.float32)


def comparison(
    out: Path,
    panels: dict[str, NDArray[Any]],
    pictures: bool = False,
    caption: str = "",
    crops: int = 2,
) -> None:
    """Write a PNG: a row of whole panels, then rows of crops around structure.

    Args:
        panels: stretched images (C, H, W) by title, ``"prediction"`` and ``"truth"`` among them;
            their mean absolute difference over bands is the last column.
        pictures: the images are RGB pictures, red first, not bands from blue to red.
        crops: how many crops, centred on the brightest separate places of the truth.
    """
    from matplotlib.figure import Figure

    order = slice(None, None, -1) if pictures else slice(None)
    error = np.abs(panels["prediction"] - panels["truth"]).mean(0)
    views = [(slice(None), slice(None)), *_crops(panels["truth"], crops)]
    columns = len(panels) + 1
    height, width = error.shape
    tall = height / width
    figure = Figure(
        figsize=(3.4 * columns, 3.4 * (tall + len(views) - 1) + 0.6), layout="constrained"
    )
    grid = figure.add_gridspec(len(views), columns, height_ratios=[tall] + [1.0] * (len(views) - 1))
    for row, (rows, cols) in enumerate(views):
        for column, (title, image) in enumerate(panels.items()):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(colour(image[order][:, rows, cols]), interpolation="nearest")
            _tidy(axes, title if row == 0 else "")
        axes = figure.add_subplot(grid[row, columns - 1])
        shown = axes.imshow(error[rows, cols], vmin=0, vmax=0.2, cmap="magma")
        _tidy(axes, "|prediction − truth|" if row == 0 else "")
    figure.colorbar(shown, ax=figure.axes[-1], shrink=0.8)
    if caption:
        figure.suptitle(caption, fontsize=10)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def _tidy(axes: Any, title: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title, fontsize=11)


def _crops(truth: NDArray[Any], count: int) -> list[tuple[slice, slice]]:
    """Square crops, a quarter of the shorter side, around the places with most structure."""
    height, width = truth.shape[1:]
    side = max(32, min(height, width) // 4)
    if min(height, width) < 2 * side:
        return []
    # Mean brightness in half-overlapping cells; a chosen cell hides its neighbours.
    half = side // 2
    rows, cols = height // half - 1, width // half - 1
    light = np.nan_to_num(truth.mean(0))[: (rows + 1) * half, : (cols + 1) * half]
    cells = np.clip(light, 0, 1).reshape(rows + 1, half, cols + 1, half).mean((1, 3))
    score = cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]
    views = []
    for _ in range(count):
        r, c = np.unravel_index(int(np.argmax(score)), score.shape)
        views.append(
            (slice(int(r) * half, int(r) * half + side), slice(int(c) * half, int(c) * half + side))
        )
        score[max(0, r - 2) : r + 3, max(0, c - 2) : c + 3] = -np.inf
    return views
