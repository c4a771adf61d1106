"""Two samples of rows in pictures: their distributions with ratios, and truth against prediction.

A panel a column: above, the histograms of truth and prediction, normalised alike; below, their
ratio with the errors of its counts, which lies on 1 where they agree. The migration plot shows how
often a true value (across) became a predicted one (up), each column of it normalised: on the
diagonal each row became itself, which histograms alone cannot tell from a shuffling of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from imgturbo.report.preview import save_figure
from imgturbo.report.tables import wide_console

__all__ = ["distribution_figure", "migration_figure", "rows_markdown", "rows_score_table"]

Rows = NDArray[np.float64]

_TRUTH, _MADE = "#8d99ae", "#d62828"
_BINS, _ACROSS, _MOST = 50, 4, 48
_INNER = (0.25, 99.75)  # percentiles of the truth that are shown


def distribution_figure(
    out: Path, names: Sequence[str], units: Sequence[str], prediction: Rows, truth: Rows
) -> None:
    """Write a PNG of the distributions of each column, with ratio panels.

    Args:
        out: the file.
        names, units: of the columns.
        prediction, truth: (n, C) and (m, C); what is not finite is left out.

    Raises:
        ImgturboError: ``out`` cannot be written.
    """
    from matplotlib.figure import Figure

    shown = min(len(names), _MOST)
    across, down = min(shown, _ACROSS), -(-shown // _ACROSS)
    figure = Figure(figsize=(3.6 * across, 3.4 * down), layout="constrained")
    cells = figure.subfigures(down, across, squeeze=False)
    for place, cell in enumerate(cells.flat[:shown]):
        above, below = cell.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        made, true = (rows[:, place] for rows in (prediction, truth))
        made, true = made[np.isfinite(made)], true[np.isfinite(true)]
        edges = _edges(true)
        counts = [np.histogram(values, edges)[0].astype(float) for values in (true, made)]
        shares = [n / max(1, len(v)) for n, v in zip(counts, (true, made), strict=True)]
        above.stairs(shares[0], edges, fill=True, color=_TRUTH, label="truth")
        above.stairs(shares[1], edges, color=_MADE, linewidth=1.4, label="prediction")
        above.set(yticks=[], ylim=(0, None), title=names[place])
        if place == 0:
            above.legend(frameon=False, fontsize=8)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = shares[1] / shares[0]
            error = ratio * np.sqrt(1 / counts[0] + 1 / counts[1])
        middle = (edges[1:] + edges[:-1]) / 2
        known = np.isfinite(ratio) & np.isfinite(error)
        below.axhline(1, color="0.6", linewidth=1)
        below.errorbar(
            middle[known], ratio[known], error[known], fmt=".", color=_MADE, markersize=3, lw=0.8
        )
        below.set(ylim=(0.5, 1.5), xlim=(edges[0], edges[-1]), xlabel=units[place] or None)
    save_figure(figure, out)


def migration_figure(
    out: Path, names: Sequence[str], units: Sequence[str], prediction: Rows, truth: Rows
) -> None:
    """Write a PNG of predicted against true values of paired rows; arguments as above, n = m.

    Raises:
        ImgturboError: ``out`` cannot be written.
    """
    from matplotlib.figure import Figure

    shown = min(len(names), _MOST)
    across, down = min(shown, _ACROSS), -(-shown // _ACROSS)
    figure = Figure(figsize=(3.4 * across, 3.4 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for cell in grid.flat[shown:]:
        cell.set_axis_off()
    for place, cell in enumerate(grid.flat[:shown]):
        made, true = prediction[:, place], truth[:, place]
        known = np.isfinite(made) & np.isfinite(true)
        edges = _edges(true[known])
        counts, _, _ = np.histogram2d(true[known], made[known], [edges, edges])
        total = counts.sum(axis=1, keepdims=True)
        shares = np.where(counts > 0, counts / np.maximum(total, 1), np.nan)
        cell.pcolormesh(edges, edges, shares.T, cmap="viridis", vmin=0, rasterized=True)
        ends = [edges[0], edges[-1]]
        cell.plot(ends, ends, color=_MADE, linewidth=0.8, linestyle="--")
        unit = f" [{units[place]}]" if units[place] else ""
        cell.set(xlabel=f"true {names[place]}{unit}", ylabel="predicted", aspect="equal")
    save_figure(figure, out)


def _edges(values: Rows) -> Rows:
    """Bins over nearly all of the truth."""
    low, high = np.percentile(values, _INNER) if len(values) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5 - 1e-9 * abs(low), high + 0.5 + 1e-9 * abs(high)
    return np.linspace(low, high, _BINS + 1)


# ---------------------------------------------------------------------------------------- tables

_ROWS = {  # heading: value, error, floor
    "KS ↓": ("ks", "ks_error", "ks_floor"),
    "W₁ ↓": ("w1", "w1_error", "w1_floor"),
    "RMSE ↓": ("rmse", "rmse_error", None),
    "bias": ("bias", "bias_error", None),
    "correlation ↑": ("correlation", None, None),
}


def rows_score_table(result: Mapping[str, Any]) -> None:
    """Print what :func:`imgturbo.scoring.tables.evaluate_tables` returned."""
    table = Table()
    heads, lines = _cells(result)
    for head in heads:
        table.add_column(escape(head), justify="left" if head == "column" else "right")
    for line in lines:
        table.add_row(*map(escape, line))
    console = wide_console()
    console.print(table)
    for line in _said(result):
        console.print(escape(line))


def rows_markdown(result: Mapping[str, Any]) -> str:
    """The same as a page of Markdown."""
    heads, lines = _cells(result)
    rows = [heads, ["---"] * len(heads), *lines]
    table = "\n".join(f"| {' | '.join(c.replace('|', '/') for c in row)} |" for row in rows)
    said = "\n".join(f"- {line}" for line in _said(result))
    return f"# {result['prediction']} against {result['truth']}\n\n{table}\n\n{said}\n"


def _cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    columns = result["columns"]
    shown = [h for h, (key, _, _) in _ROWS.items() if any(key in row for row in columns.values())]
    heads = ["column", "unit"]
    for head in shown:
        heads += [head, "floor"] if _ROWS[head][2] else [head]
    lines = []
    for name, row in columns.items():
        line = [name, row["unit"] or "–"]
        for head in shown:
            key, error, floor = _ROWS[head]
            line.append(_with_error(row.get(key), row.get(error) if error else None))
            line += [_with_error(row.get(floor), None)] if floor else []
        lines.append(line)
    return heads, lines


def _said(result: Mapping[str, Any]) -> list[str]:
    rows, lines = result["rows"], []
    classifier = result["classifier"]
    if classifier is not None:
        lines.append(
            "a classifier on all columns tells prediction from truth with an AUC of "
            f"{_with_error(classifier['auc'], classifier['error'])} (½: not at all); one half of "
            "the truth from the other with "
            f"{_with_error(classifier['floor'], classifier['floor_error'])}"
        )
    for interval, found in (result["intervals"] or {}).items():
        lines.append(
            f"{interval} holds {found['coverage']:.1%} of the true values, "
            f"nominal {found['nominal']:.1%}"
        )
    lines.append(
        f"{rows['prediction']} predicted and {rows['truth']} true rows, of which "
        f"{' and '.join(map(str, rows['complete']))} are complete; errors of {result['bootstrap']} "
        f"resamplings, seed {result['seed']}; floor: two samples of the truth of these sizes"
    )
    return [*lines, *result["notes"]]


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"
