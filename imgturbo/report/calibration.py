"""A calibration in a picture and in a table, as :mod:`imgturbo.scoring.calibrate` returns it.

Left, coverage of central intervals over their level: on the diagonal error bars are honest, below
it they are too short, above it too long. Right, how often the truth has each rank among the samples
over what a flat histogram would have: a bowl is too little spread, a dome too much, a slope a bias.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from imgturbo.report.preview import save_figure
from imgturbo.report.tables import wide_console

__all__ = ["calibration_figure", "calibration_table", "intervals_table"]

_LINES = {"all": ("all pixels", "#1d3557", 2.0), "bright": ("bright source", "#e76f51", 2.0)}
_BAND = {"color": "#8d99ae", "linewidth": 0.8}


def calibration_figure(out: Path, result: dict[str, Any]) -> None:
    """Write a PNG: reliability curve and rank histogram.

    Raises:
        ImgturboError: ``out`` cannot be written; what was there before is still there.
    """
    from matplotlib.figure import Figure  # no window, no global state

    found = result["calibration"]
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    curve, ranks = figure.subplots(1, 2)
    curve.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for number, row in enumerate(found["bands"].values()):
        if row is not None and len(found["bands"]) > 1:
            label = f"single {_words(result)[0]}" if number == 0 else None
            curve.plot(*_reliability(row["ranks"]), label=label, **_BAND)
    for key, (label, colour, width) in _LINES.items():
        row = found[key]
        if row is None:
            continue
        label = _words(result)[1] if key == "all" else label
        curve.plot(*_reliability(row["ranks"]), color=colour, linewidth=width, label=label)
        levels = [float(level) for level in row["coverage"]]
        curve.plot(levels, list(row["coverage"].values()), "o", color=colour, markersize=5)
        heights = np.asarray(row["ranks"], float)
        heights = heights / heights.mean()
        edges = np.arange(len(heights) + 1) - 0.5
        ranks.stairs(heights, edges, baseline=None, color=colour, linewidth=width)
    curve.set(xlabel="level of the central interval", ylabel="share of truths inside")
    curve.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title="reliability")
    curve.legend(frameon=False, loc="upper left")
    ranks.axhline(1, color="0.6", linewidth=1, linestyle="--")
    ranks.set(xlabel=f"rank of the truth among {result['samples']} samples", ylim=(0, None))
    ranks.set(ylabel="frequency, flat = 1", title="rank histogram")
    figure.suptitle(
        f"{', '.join(result['source_bands'])} → {', '.join(result['target_bands'])}, "
        f"{result['tiles_scored']} validation {result.get('what', 'tiles')}, temperature "
        f"{result['temperature']:g}",
        fontsize=10,
    )
    save_figure(figure, out)


def _reliability(ranks: list[int]) -> tuple[list[float], list[float]]:
    """(levels, coverage): linear between the levels (1 − 2k/(N + 1)) that end between two ranks."""
    counts = np.asarray(ranks, float)
    bins = len(counts)
    inner = [counts[k : bins - k].sum() / counts.sum() for k in range(bins // 2 + 1)]
    levels = [1 - 2 * k / bins for k in range(bins // 2 + 1)]
    if levels[-1] > 0:  # an odd number of ranks: the middle one is shared by all lower levels
        levels, inner = [*levels, 0.0], [*inner, 0.0]
    return levels, inner


def calibration_table(result: dict[str, Any]) -> None:
    """Print coverage by level, then scores and likelihoods, then the notes."""
    console = wide_console()
    found = result["calibration"]
    rows = {label: found[key] for key, (label, _, _) in _LINES.items()}
    rows = {_words(result)[1]: rows.pop(_LINES["all"][0])} | rows | found["bands"]
    table = Table()
    table.add_column("coverage of central intervals")
    for level in result["levels"]:
        table.add_column(f"{level:.4g}", justify="right")
    table.add_column("calibration error", justify="right")
    for label, row in rows.items():
        if row is not None:
            values = [*row["coverage"].values(), row["calibration_error"]]
            table.add_row(escape(label), *(f"{value:.3f}" for value in values))
    console.print(table)
    for name, score in result["scores"].items():
        console.print(f"{name.replace('_', ' ')}: {_with_error(score)}")
    by_band = result.get("crps_by_band", {})
    if len(by_band) > 1:
        each = (f"{name} {_with_error(score)}" for name, score in by_band.items())
        console.print(escape(f"crps of single {_words(result)[0]}: {', '.join(each)}"))
    likelihood = result["likelihood"]
    if likelihood is not None:
        console.print(
            f"{likelihood['unit']}: {_with_error(likelihood['model'])}; unconditional Gaussian "
            f"{_with_error(likelihood['gaussian_full'])}, without correlations of bands "
            f"{_with_error(likelihood['gaussian_diagonal'])}"
        )
    frechet = result["frechet"]
    if frechet is not None:
        console.print(f"{frechet['name']}: {frechet['value']:.4g}, n = {frechet['n'][0]}")
    console.print(
        f"{result['tiles_scored']} {result.get('what', 'tiles')}, {result['samples']} samples "
        f"each, temperature {result['temperature']:g}; stretched scale, data range 1"
    )
    for note in result["notes"]:
        console.print(escape(note))


def intervals_table(intervals: dict[str, Any]) -> None:
    """Print what ``calibrate --fit`` guarantees and what was measured, on folds left out."""
    fitted, console = intervals["fitted"], wide_console()
    table = Table()
    for column in ("interval", "guaranteed", "measured", "bright pixels"):
        table.add_column(column, justify="right")
    bands = list(intervals["shifts"])
    for band in bands if len(bands) > 1 else ():
        table.add_column(escape(band), justify="right")
    for level, found in fitted["measured"].items():
        of_bands = [found["bands"][band] for band in bands] if len(bands) > 1 else []
        cells = [_share(one) for one in (found["all"], found["bright"], *of_bands)]
        table.add_row(f"{float(level):.0%}", f"≥ {float(level):.0%}", *cells)
    console.print(table)
    console.print(
        f"{fitted['blocks']} blocks of {fitted['block']}² pixels; {intervals['samples']} draws, "
        f"temperature {intervals['temperature']:g}; measured on folds that were left out"
    )
    console.print(fitted["caveat"])


def _share(estimate: dict[str, float | None]) -> str:
    value, error = estimate["value"], estimate["error"]
    return "–" if value is None else f"{value:.1%}" + ("" if error is None else f" ± {error:.1%}")


def _words(result: dict[str, Any]) -> tuple[str, str]:
    """What one channel is called, and all numbers together: of images, or of tables."""
    return ("columns", "all numbers") if result.get("what") == "rows" else ("bands", "all pixels")


def _with_error(score: dict[str, float | None]) -> str:
    error = score["standard_error"]
    return f"{score['value']:.5g}" + ("" if error is None else f" ± {error:.2g}")
