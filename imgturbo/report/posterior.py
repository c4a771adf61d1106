"""Scores of posteriors in pictures and in a table, as :mod:`imgturbo.scoring.posterior` has them.

ranks.png         rank histograms of all parameters, with the bands of a right posterior
coverage.png      coverage of central intervals over their level, and TARP
recovery.png      posterior means and deviations over the true parameters
draws.png         draws for three targets, pair by pair of parameters, with the truth
resimulation.png  how far what draws would give is from what was observed, and what was
                  observed among what draws would give, for three targets
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imgturbo.report.preview import save_figure
from imgturbo.report.tables import wide_console
from imgturbo.simulators import Simulator

__all__ = ["FIGURES", "posterior_figures", "posterior_table", "truth_table"]

FIGURES = ("ranks.png", "coverage.png", "recovery.png", "draws.png", "resimulation.png")
"""What :func:`posterior_figures` writes."""

Floats = NDArray[np.float64]

_DARK, _RED, _GREY = "#1d3557", "#e76f51", "#8d99ae"
_SHOWN = 3  # targets whose draws are shown
_POINTS = 400  # of a scatter plot
_PAIRS = 5  # parameters of the pair plot
_APART = 10  # observations that are named and drawn each by itself


class _Drawn(Protocol):
    """What is shown of :class:`imgturbo.scoring.draws.Drawn`, which stands above this room."""

    @property
    def truth(self) -> Floats: ...
    @property
    def observed(self) -> Floats: ...
    @property
    def draws(self) -> NDArray[np.float32]: ...
    @property
    def seen(self) -> Floats: ...


def posterior_figures(
    out: Path, result: dict[str, Any], drawn: _Drawn, simulator: Simulator
) -> None:
    """Write all figures into a folder.

    Raises:
        ImgturboError: one cannot be written.
    """
    save_figure(_ranks(result), out / FIGURES[0])
    save_figure(_coverage(result), out / FIGURES[1])
    save_figure(_recovery(result, drawn), out / FIGURES[2])
    save_figure(_draws(drawn, simulator.parameters.names), out / FIGURES[3])
    save_figure(_resimulation(result, drawn, simulator.observations.names), out / FIGURES[4])


def _grid(count: int, width: float = 2.4, height: float = 1.9) -> tuple[Any, list[Any]]:
    """A figure and as many axes, in rows of six."""
    from matplotlib.figure import Figure  # no window, no global state

    columns = min(count, 6)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(4.0, width * columns), height * rows + 0.8), layout="constrained")
    axes = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, list(axes[:count])


def _ranks(result: dict[str, Any]) -> Any:
    rows, ranks = result["posterior"], result["ranks"]
    figure, axes = _grid(len(rows))
    edges = np.linspace(0, 1, ranks["bins"] + 1)
    for panel, (name, row) in zip(axes, rows.items(), strict=True):
        for key, shade in (("simultaneous", 0.15), ("pointwise", 0.25)):
            panel.axhspan(*ranks[key], color=_GREY, alpha=shade, linewidth=0)
        colour = _DARK if row["inside_band"] else _RED
        panel.stairs(row["bins"], edges, color=colour, linewidth=1.4)
        panel.set(xlim=(0, 1), ylim=(0, None), title=name)
        panel.tick_params(labelsize=7)
    figure.suptitle(
        f"{result['problem']}: ranks of the truth among {result['samples']} draws, "
        f"{result['targets']} targets; {ranks['level']:.0%} bands, of each bin and of all",
        fontsize=9,
    )
    return figure


def _coverage(result: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    curve, tarp = figure.subplots(1, 2)
    levels = [0, *result["ranks"]["curve_levels"], 1]
    rows = result["posterior"]
    for name, row in rows.items():
        label = name if len(rows) <= 8 else None
        curve.plot(levels, [0, *row["curve"], 1], linewidth=1.1, label=label)
    if len(rows) <= 8:
        curve.legend(frameon=False, fontsize=7, loc="upper left")
    curve.set(xlabel="level of the central interval", ylabel="share of truths inside")
    curve.set(title="coverage of each parameter")
    tarp.plot([0, *result["tarp"]["levels"], 1], [0, *result["tarp"]["coverage"], 1], color=_DARK)
    tarp.set(xlabel="level", ylabel="share of truths nearer to a random point than that")
    tarp.set(title=f"TARP, p = {result['tarp']['p_value']:.2g}")
    for panel in (curve, tarp):
        panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return figure


def _recovery(result: dict[str, Any], drawn: _Drawn) -> Any:
    rows = result["posterior"]
    figure, axes = _grid(len(rows), height=2.3)
    mean, deviation = drawn.draws.mean(1), drawn.draws.std(1)
    step = max(1, len(mean) // _POINTS)
    for k, (panel, (name, row)) in enumerate(zip(axes, rows.items(), strict=True)):
        true = drawn.truth[::step, k]
        panel.errorbar(
            true, mean[::step, k], deviation[::step, k], fmt=".", color=_DARK, ecolor=_GREY,
            elinewidth=0.4, markersize=2,
        )  # fmt: skip
        ends = [true.min(), true.max()]
        panel.plot(ends, ends, color=_RED, linewidth=0.8)
        panel.set_title(f"{name}   R² {row['r2']:.2f}", fontsize=8)
        panel.tick_params(labelsize=6)
    figure.suptitle(f"{result['problem']}: posterior mean ± deviation over the truth", fontsize=9)
    return figure


def _draws(drawn: _Drawn, names: Sequence[str]) -> Any:
    from matplotlib.figure import Figure

    count = min(len(names), _PAIRS)
    figure = Figure(figsize=(1.9 * count + 0.6, 1.9 * count + 0.6), layout="constrained")
    axes = figure.subplots(count, count, squeeze=False)
    colours = (_DARK, _RED, "#2a9d8f")
    for row in range(count):
        for column in range(count):
            panel = axes[row, column]
            panel.tick_params(labelsize=6)
            if column > row:
                panel.set_axis_off()
                continue
            for target in range(min(_SHOWN, len(drawn.draws))):
                draws, truth = drawn.draws[target], drawn.truth[target]
                colour = colours[target]
                if row == column:
                    panel.hist(draws[:, row], 40, histtype="step", density=True, color=colour)
                    panel.axvline(truth[row], color=colour, linewidth=0.8, linestyle=":")
                    continue
                panel.plot(
                    draws[:1000, column], draws[:1000, row], ".", ms=1, alpha=0.4, color=colour
                )
                panel.plot(truth[column], truth[row], "+", ms=11, mew=2, color="k", zorder=9)
            if row == count - 1:
                panel.set_xlabel(names[column], fontsize=8)
            if column == 0 and row:
                panel.set_ylabel(names[row], fontsize=8)
    return figure


def _resimulation(result: dict[str, Any], drawn: _Drawn, names: Sequence[str]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    top, *below = figure.subplot_mosaic("aaa;bcd").values()
    distance = np.sqrt(((drawn.seen - drawn.observed[:, None]) ** 2).sum(2))
    distance = distance[np.isfinite(distance) & (distance > 0)]
    if len(distance):
        ends = np.log10([distance.min(), distance.max() * 1.001])
        bins = np.logspace(ends[0], ends[1], 60).tolist()
        top.hist(distance, bins, color=_DARK, histtype="stepfilled")
        top.set_xscale("log")
    mean = result["resimulation"]["distance"]["mean"]
    top.set(xlabel="distance between what a draw would give and what was observed")
    top.set(ylabel="draws", title="re-simulation" + (f", mean {mean:.3g}" if mean else ""))
    place = np.arange(len(names))
    for target, panel in enumerate(below[: len(drawn.seen)]):
        fine = drawn.seen[target][np.isfinite(drawn.seen[target]).all(1)]
        if len(fine):
            for low, high, shade in ((0.025, 0.975, 0.25), (0.25, 0.75, 0.5)):
                ends = np.quantile(fine, (low, high), axis=0)
                colour = (_GREY, shade)
                if len(names) <= _APART:
                    panel.vlines(place, ends[0], ends[1], color=colour, linewidth=12)
                else:
                    panel.fill_between(place, ends[0], ends[1], color=colour, lw=0, step="mid")
        panel.plot(place, drawn.observed[target], ".", color=_RED, markersize=3)
        panel.set(title=f"target {target + 1}: 50 % and 95 % of the draws")
        panel.title.set_fontsize(8)
        panel.set_xlim(-0.5, len(names) - 0.5)
        if len(names) <= _APART:
            panel.set_xticks(place, names, fontsize=6)
        else:
            panel.set_xlabel(f"{names[0]} … {names[-1]}")
    return figure


# ------------------------------------------------------------------------------------ tables


def posterior_table(result: dict[str, Any]) -> None:
    """Print a line a parameter, then the scores of all of them together."""
    console = wide_console()
    table = Table()
    table.add_column("parameter")
    heads = (
        "calibration error",
        "of 100 levels",
        "cover 68 %",
        "cover 95 %",
        "ranks",
        "contraction",
    )
    for head in (*heads, "R²", "NRMSE"):
        table.add_column(head, justify="right")
    for name, row in result["posterior"].items():
        table.add_row(
            escape(name),
            f"{row['calibration_error']:.3f}",
            f"{row['calibration_error_100']:.3f}",
            f"{row['coverage']['0.68']:.3f}",
            f"{row['coverage']['0.95']:.3f}",
            "inside" if row["inside_band"] else "OUTSIDE",
            f"{row['contraction']:.3f}",
            f"{row['r2']:.3f}",
            f"{row['nrmse']:.3f}",
        )
    console.print(table)
    ranks = result["ranks"]
    console.print(
        f"ranks: {ranks['bins_outside_pointwise']} bins outside of their {ranks['level']:.0%} "
        f"bands, {ranks['expected_outside']:g} expected; "
        f"{ranks['parameters_outside_simultaneous']} parameters outside of the band of all bins"
    )
    tarp = result["tarp"]
    console.print(f"TARP: p = {tarp['p_value']:.3g}, largest gap {tarp['largest_gap']:.3f}")
    again = result["resimulation"]
    console.print(
        f"re-simulation, {again['draws']} draws: squared {_spread(again['squared'])}; distance "
        f"{_spread(again['distance'])}; nothing observed of {again['missing']:.2%}"
    )
    best = ", ".join(f"{t}: {_number(row['mean'])}" for t, row in again["best_of"].items())
    console.print(f"least squared error of so many draws, mean over targets: {best}")
    if result["prediction"] is not None:
        found = result["prediction"]
        console.print(
            f"a second observation among those of the draws: {found['coverage']['0.9']:.3f} in "
            f"90 % intervals, calibration error {found['calibration_error']:.3f}"
        )
    if result["likelihood"] is not None:
        console.print(
            f"−log q of the truth: {_spread(result['likelihood'], 'nats')} nats, stretched"
        )
    if result["modes"] is not None:
        _modes_lines(console, result["modes"])
    if result["mmd"] is not None:
        _mmd_table(result["mmd"])
    console.print(
        f"{result['problem']}: {result['targets']} targets, {result['samples']} draws each, seed "
        f"{result['seed']}, {result['seconds']} s on {result['device']}"
    )
    for note in result["notes"]:
        console.print(escape(note))


def _modes_lines(console: Console, found: dict[str, Any]) -> None:
    rows = (
        f"{escape(name)} {share:.1%} (truth {found['truth'][name]:.1%})"
        for name, share in found["share"].items()
    )
    console.print(f"modes: {', '.join(rows)}; largest error {found['largest_error']:.1%}")
    if (each := found["by_target"]) is not None:
        console.print(
            f"by target: shares are off by {each['distance']:.1%}; {each['several']:.0%} of the "
            f"targets have several modes; {each['lost']:.1%} of the modes are lost"
        )


def _mmd_table(found: dict[str, Any]) -> None:
    console = wide_console()
    table = Table()
    table.add_column("MMD² to the truth: kernel")
    for head in ("estimate", "mean", "median", "quartiles", "noise floor"):
        table.add_column(head, justify="right")
    for kernel, estimates in found["kernels"].items():
        for estimate, row in estimates.items():
            quartiles = f"{_number(row['quartile_1'])} … {_number(row['quartile_3'])}"
            values = (row["mean"], row["median"])
            cells = (*map(_number, values), quartiles, _number(row["floor"]))
            table.add_row(kernel, estimate, *cells)
    console.print(table)
    asked = ", ".join(f"{name} {value}" for name, value in found["truth"].items())
    console.print(f"{found['targets']} targets, truth: {asked}; reach {_number(found['reach'])}")


def truth_table(truth: Any) -> None:
    """Print what a ground truth is, and how far two of them are apart."""
    console = wide_console()
    reach = float(np.mean(truth.reach))
    far = "drawn exactly" if np.isnan(reach) else f"mean reach {reach:.4g}"
    console.print(
        f"{truth.problem}: {len(truth.observed)} targets, {truth.draws.shape[1]} draws each; "
        f"{int(truth.complete.sum())} targets have all of them; {far}"
    )
    for kernel, row in truth.floor().items():
        console.print(
            f"noise floor of MMD², kernel {kernel}: biased {row['biased']:.4g}, unbiased "
            f"{row['unbiased']:.4g}"
        )


def _spread(row: dict[str, Any], key: str = "mean") -> str:
    error = row["standard_error"]
    return _number(row[key]) + ("" if error is None else f" ± {error:.2g}")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
