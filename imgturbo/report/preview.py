"""Panels worth looking at: input, prediction, truth, error, on the scale that the scores use.

Colour is a display product: three bands (last → red, first → blue) of the stretched image y,
clipped to 0–1, its faint end lifted by y^γ, γ < 1. One band is grey; two are red and blue with
their mean for green. Pixels without a value are grey. Rows of sky images run upward, rows of
pictures downward.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.files import write_whole

__all__ = ["FIGURE", "colour", "comparison", "save_figure"]

_MAKER = "imgturbo figure"
FIGURE = (b"\x89PNG", _MAKER.encode())
"""How a figure is known that was saved here (:mod:`imgturbo.places`)."""

_GAMMA = 0.8
_MISSING = 0.3  # grey of pixels without a value
_PANEL = 3.4  # inches
_DPI = 150
_ERROR_RANGE = (0.05, 0.5)  # of y: within these the colour bar follows the errors
_BIN = 4  # pixels; structure is looked for on this scale
_MARKS = ("#ffd166", "#4cc9f0", "#ef476f", "#80ed99")

View = tuple[slice, slice]


def colour(y: NDArray[Any], gamma: float = 1.0) -> NDArray[np.float32]:
    """RGB picture (H, W, 3) in 0–1 of a stretched image (C, H, W); NaN becomes grey."""
    channels = len(y)
    if channels == 1:
        rgb = np.repeat(y, 3, axis=0)
    elif channels == 2:
        rgb = np.stack([y[1], y.mean(0), y[0]])
    else:
        rgb = np.stack([y[-1], y[channels // 2], y[0]])
    picture = np.clip(rgb, 0, 1) ** gamma
    measured = np.isfinite(rgb).all(0)
    return np.where(measured, picture, _MISSING).transpose(1, 2, 0).astype(np.float32)


def comparison(
    out: Path,
    panels: dict[str, NDArray[Any]],
    pictures: bool = False,
    caption: str = "",
    crops: int = 2,
) -> None:
    """Write a PNG: a row of whole panels, then rows of zooms on the detail.

    Args:
        panels: stretched images (C, H, W) by title, ``"prediction"`` and ``"truth"`` among them;
            their mean absolute difference over bands is the last column. Channel counts may differ
            where one of them is neither.
        pictures: the images are RGB pictures, red first and top row first, not bands from blue to
            red with rows running upward.
        crops: how many zooms, at the places of the truth with most structure.

    Raises:
        ImgturboError: ``out`` cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Rectangle

    order = slice(None, None, -1) if pictures else slice(None)
    origin = "upper" if pictures else "lower"
    error = np.abs(panels["prediction"] - panels["truth"]).mean(0)
    brightest = _error_range(error)
    height, width = error.shape
    whole = (slice(0, height), slice(0, width))
    views = [whole, *_crops(panels["truth"], crops)]
    columns, tall = len(panels) + 1, min(4.0, max(0.25, height / width))
    figure = Figure(
        figsize=(_PANEL * columns + 0.6, _PANEL * (tall + len(views) - 1) + 0.5),
        layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0),
    )
    grid = figure.subplots(
        len(views), columns, squeeze=False, height_ratios=[tall] + [1.0] * (len(views) - 1)
    )
    rgb = {title: colour(image[order], _GAMMA) for title, image in panels.items()}
    for (rows, cols), axes in zip(views, grid, strict=True):
        # A zoom shows its pixels, the whole must not drop any.
        look = {"origin": origin, "interpolation": "antialiased" if axes is grid[0] else "nearest"}
        for cell, picture in zip(axes, rgb.values(), strict=False):
            cell.imshow(picture[rows, cols], **look)
        shown = axes[-1].imshow(error[rows, cols], vmin=0, vmax=brightest, cmap="magma", **look)
        axes[-1].set_facecolor(str(_MISSING))
    for cell, title in zip(grid[0], [*panels, "|prediction − truth|"], strict=True):
        cell.set_title(title, fontsize=12)
    for number, (rows, cols) in enumerate(views[1:]):
        mark = _MARKS[number % len(_MARKS)]
        for cell in grid[0]:
            size = (cols.stop - cols.start, rows.stop - rows.start)
            corner = (cols.start - 0.5, rows.start - 0.5)
            cell.add_patch(Rectangle(corner, *size, fill=False, edgecolor=mark, linewidth=1.2))
        for cell in grid[number + 1]:
            cell.spines[:].set(color=mark, linewidth=2)
    for cell in grid.flat:
        cell.set(xticks=[], yticks=[])
    bar = figure.colorbar(shown, ax=list(grid[:, -1]), shrink=0.6, aspect=30, extend="max")
    bar.set_label("mean over bands, stretched scale (data range 1)", fontsize=9)
    if caption:
        figure.suptitle(caption, fontsize=11)
    save_figure(figure, out)


def save_figure(figure: Any, out: Path) -> None:
    """Write a PNG of a matplotlib figure, whole or not at all; errors as of ``write_whole``."""
    content = io.BytesIO()
    figure.savefig(content, dpi=_DPI, format="png", metadata={"Software": _MAKER})
    write_whole(out, content.getvalue())


def _crops(truth: NDArray[Any], count: int) -> list[View]:
    """Square windows, about a quarter of the shorter side, where the truth (C, H, W) varies most.

    The measure is the mean step between neighbours of an image binned 4 × 4, so that noise counts
    little, and clipped to 0–1, so that a saturated star counts by its rim and not by its area.
    Windows do not overlap, and lie where all pixels have a value if there are such places; images
    below 64 pixels have none.
    """
    height, width = truth.shape[1:]
    cell = max(4, min(height, width) // (8 * _BIN))  # half a window, in bins
    half, rows, cols = cell * _BIN, height // (cell * _BIN), width // (cell * _BIN)
    if min(rows, cols) < 4:
        return []
    y = np.clip(truth, 0, 1)[:, : rows * half, : cols * half]
    y = y.reshape(len(y), rows * cell, _BIN, cols * cell, _BIN).mean((2, 4))
    steps = np.zeros(y.shape[1:])
    steps[1:] += np.abs(np.diff(y, axis=1)).mean(0)
    steps[:, 1:] += np.abs(np.diff(y, axis=2)).mean(0)
    steps[~np.isfinite(steps)] = -1.0  # places without a value come last
    cells = steps.reshape(rows, cell, cols, cell).mean((1, 3))
    score = cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]
    views: list[View] = []
    while len(views) < count and np.isfinite(score).any():
        r, c = (int(k) for k in np.unravel_index(np.argmax(score), score.shape))
        views.append((slice(r * half, (r + 2) * half), slice(c * half, (c + 2) * half)))
        score[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2] = -np.inf
    return views


def _error_range(error: NDArray[Any]) -> float:
    """Where the colour bar ends: near the largest errors, but never so low that noise glares."""
    finite = error[np.isfinite(error)]
    lowest, highest = _ERROR_RANGE
    return float(np.clip(np.percentile(finite, 99), lowest, highest)) if finite.size else lowest
