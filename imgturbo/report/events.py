"""Scores of generated collision events in a table and in pictures.

The table has the rows of the papers beside ours, in units of 10⁻²: Turbo-Sim (arXiv:2112.10629,
table 1) and its later slides, OTUS as that paper cites it, and OTUS as its public code printed it
(arXiv:2101.08944; of generated events that pass its thresholds). Their events are MadGraph's and
Delphes', ours are not: rows are beside each other, not one under the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from imgturbo.events import MASSES, TABLE
from imgturbo.report.preview import save_figure
from imgturbo.report.tables import wide_console

__all__ = ["PUBLISHED", "distributions_figure", "events_table", "migration_figure"]

Floats = NDArray[np.float64]

PUBLISHED: Mapping[str, tuple[float, ...]] = {
    "Turbo-Sim, paper": (5.28, 7.28, 3.96, 2.89, 10.3, 4.43, 2.97, 7.72, 5.20, 8.52),
    "Turbo-Sim, slides 2022": (2.06, 1.06, 1.77, 5.14, 2.31, 3.42, 6.60, 14.7, 6.78, 8.19),
    "OTUS, in that paper": (1.59, 1.23, 2.76, 3.78, 2.39, 5.75, 15.8, 11.7, 14.1, 24.9),
    "OTUS, its code, passing": (1.25, 1.65, 4.04, 4.59, 0.69, 4.80, 10.3, 10.9, 13.1, 23.5),
}
"""KS distances × 100 of the ten observables, in the order of ``TABLE``."""

_HEADINGS = {"m_tt": "m_tt", "m_W_had": "m_W had", "m_t_lep": "m_t lep", "m_t_had": "m_t had"}
_OURS = {
    "observables": "this bundle, all events",
    "passing": "this bundle, passing",
    "baseline": "no network, all events",
    "baseline_passing": "no network, passing",
    "floor": "floor: truth against truth",
}
_TRUE, _MADE = "#1d3557", "#e76f51"


def events_table(content: Mapping[str, Any]) -> None:
    """Print what :func:`imgturbo.scoring.events.evaluate_events` returned."""
    table = Table(title="KS distance to the truth × 100 ↓", title_justify="left")
    table.add_column("")
    for name in TABLE:
        table.add_column(_HEADINGS.get(name, name.replace("_", " ")), justify="right")
    for key, label in _OURS.items():
        cells = (content[key].get(name) for name in TABLE)
        table.add_row(label, *("–" if c is None else f"{100 * c:.2f}" for c in cells))
    table.add_section()
    for label, row in PUBLISHED.items():
        table.add_row(label, *(f"{value:g}" for value in row))
    console = wide_console()
    console.print(table)
    share = content["passing_share"]
    console.print(
        f"{content['events']} events against {content['events']} others, one draw each, seed "
        f"{content['seed']}" + ("" if share is None else f"; {share:.1%} of x̃ pass the thresholds")
    )
    console.print("published rows are of other events (MadGraph, Delphes) than these")
    for name, found in content["auc"].items():
        console.print(
            f"classifier AUC of {name}: {found['auc']:.3f}, of truth against truth "
            f"{found['floor']:.3f} (0.5: cannot be told apart)"
        )
    ranks = ", ".join(f"{name} {value:.2f}" for name, value in content["rank_correlation"].items())
    console.print(f"event by event, rank correlation with the event's own: {ranks}")


def distributions_figure(
    out: Path, truth: Mapping[str, Floats], made: Mapping[str, Floats], passing: NDArray[np.bool_]
) -> None:
    """Write a PNG: each observable of truth and of what was made, and their ratio below.

    Args:
        out: the file.
        truth, made: by observable, (N,) each.
        passing: which generated events pass; the figure's simulated ones are all of them, the
            dotted line is of those.

    Raises:
        ImgturboError: it cannot be written.
    """
    from matplotlib.figure import Figure  # no window, no global state

    names = [name for name in TABLE if name in made]
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.3 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 1] * rows)
    for place, name in enumerate(names):
        above, below = (axes[2 * (place // columns) + n, place % columns] for n in (0, 1))
        edges = _edges(truth[name], 0.5)
        true = _density(truth[name], edges)
        above.stairs(true, edges, fill=True, color=_TRUE, alpha=0.25, label="truth")
        lines = [(made[name], "-", "made")]
        if TABLE[name] == "x" and not passing.all():
            lines.append((made[name][passing], ":", "made, passing"))
        for values, style, label in lines:
            found = _density(values, edges)
            above.stairs(found, edges, color=_MADE, linestyle=style, linewidth=1.5, label=label)
            ratio = np.divide(found, true, out=np.full_like(found, np.nan), where=true > 0)
            below.stairs(ratio, edges, baseline=None, color=_MADE, linestyle=style)
        above.set(title=f"{_HEADINGS.get(name, name)}", yticks=[], xticklabels=[])
        below.axhline(1, color="0.6", linewidth=0.8)
        below.set(ylim=(0.5, 1.5), xlabel="GeV")
    for empty in range(len(names), rows * columns):
        for n in (0, 1):
            axes[2 * (empty // columns) + n, empty % columns].set_axis_off()
    # Where every sort of line is: partons have no thresholds to pass.
    fullest = max(axes[::2].flat, key=lambda panel: len(panel.get_legend_handles_labels()[0]))
    fullest.legend(frameon=False, fontsize=8)
    save_figure(figure, out)


def migration_figure(out: Path, own: Mapping[str, Floats], made: Mapping[str, Floats]) -> None:
    """Write a PNG: each mass, and one momentum of either space, of an event against its own.

    A map that shuffles events well has right margins and no diagonal.

    Args:
        out: the file.
        own, made: by observable, (N,) each, of the same events.

    Raises:
        ImgturboError: it cannot be written.
    """
    from matplotlib.figure import Figure

    names = [name for name in ("b_E", "jet1_E", *MASSES) if name in made]
    figure = Figure(figsize=(3.3 * len(names), 3.9), layout="constrained")
    for axis, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        edges = _edges(own[name], 1.0)
        counts, _, _ = np.histogram2d(own[name], made[name], bins=(edges, edges))
        axis.pcolormesh(edges, edges, np.sqrt(counts.T), cmap="magma_r", rasterized=True)
        axis.plot(edges[[0, -1]], edges[[0, -1]], color="0.4", linewidth=0.8, linestyle="--")
        axis.set(title=_HEADINGS.get(name, name), xlabel="the event's own, GeV", aspect="equal")
    figure.axes[0].set_ylabel("made from it, GeV")
    save_figure(figure, out)


def _edges(values: Floats, outside: float) -> Floats:
    """Of forty bins that leave so many per cent outside on either side."""
    lowest, highest = np.percentile(values, [outside, 100 - outside])
    return np.linspace(float(lowest), float(highest), 41)


def _density(values: Floats, edges: Floats) -> Floats:
    """Share of all values in each bin; those outside count in the whole."""
    counts, _ = np.histogram(values, edges)
    return counts / max(len(values), 1)
