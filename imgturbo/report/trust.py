"""The figures of a report, drawn from its numbers (:mod:`imgturbo.scoring.trust.report`).

Colours are Okabe and Ito's, which people with any colour vision can tell apart; every band has a
marker of its own besides.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from imgturbo.report.page import Figure

__all__ = ["trust_figures"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vP*"
_DPI = 110
Numbers = dict[str, Any]


def trust_figures(numbers: Numbers) -> list[Figure]:
    """All figures for which there are numbers, in the order of the page."""
    made = (
        _sources, _fluxes, _fluxes_of_truth, _fluxes_by_size, _colours, _injected, _structure,
        _intervals, _ranks, _existence,
    )  # fmt: skip
    return [figure for draw in made if (figure := draw(numbers)) is not None]


def _figure(
    title: str, caption: str, panels: int, draw: Callable[[Any], None], height: float = 3.6
) -> Figure:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(4.6 * panels + 0.6, height), layout="constrained")
    draw(canvas.subplots(1, panels, squeeze=False)[0])
    content = io.BytesIO()
    canvas.savefig(content, dpi=_DPI, format="png")
    return Figure(title, caption, content.getvalue())


def _line(axes: Any, k: int, label: str, rows: Iterable[Numbers], value: str, **look: Any) -> None:
    """Estimates over the middles of bins, with error bars."""
    points = [
        ((row["from"] + row["to"]) / 2, row[value]["value"], row[value]["error"] or 0.0)
        for row in rows
        if row[value]["value"] is not None
    ]
    if points:
        x, y, error = np.array(points, float).T
        axes.errorbar(
            x, y, error, label=label, color=_COLOURS[k % 7], marker=_MARKERS[k % 7],
            markersize=4, capsize=2, linewidth=1.2, **look,
        )  # fmt: skip


def _sources(numbers: Numbers) -> Figure | None:
    found = numbers["sources"]
    if found is None:
        return None
    given = found["source"]

    def draw(axes: Any) -> None:
        for panel, what in zip(axes, ("completeness", "purity"), strict=True):
            for k, (band, rows) in enumerate(found["bands"].items()):
                x = [(row["from"] + row["to"]) / 2 for row in rows[what]]
                y, error = ([row[key] for row in rows[what]] for key in ("share", "error"))
                panel.errorbar(
                    x, y, error, label=band, color=_COLOURS[k % 7], marker=_MARKERS[k % 7],
                    markersize=4, capsize=2, linewidth=1.2,
                )  # fmt: skip
            panel.axhline(found["level"], color="0.5", linestyle="--", linewidth=1)
            panel.set(
                xlabel=f"magnitude ({numbers['magnitudes']})", ylabel=what, ylim=(-0.03, 1.05)
            )
        for k, (band, rows) in enumerate({} if given is None else given["bands"].items()):
            x = [(row["from"] + row["to"]) / 2 for row in rows["completeness"]]
            y = [row["share"] for row in rows["completeness"]]
            label = f"{band}, input"
            axes[0].plot(x, y, ":", color=_COLOURS[k % 7], alpha=0.7, linewidth=1.2, label=label)
        axes[0].legend(frameon=False)

    caption = (
        f"{found['matched']} of {found['true']} true sources were found, {found['invented']} of "
        f"{found['found']} that were found do not exist; a place taken at random is near a true "
        f"source in {found['chance']:.1%} of cases. Dashed: 90 %."
    )
    if given is not None:
        caption += (
            f" Dotted: what the input shows by itself, {given['matched']} of them; "
            f"{given['invented']} of the {given['found']} that it shows are not in the truth."
        )
    return _figure("Which sources are real", caption, 2, draw)


def _ratio_figure(
    numbers: Numbers, key: str, title: str, of: str, caption: str, ceiling: str | None = None
) -> Figure | None:
    """Flux ratios of every band, the affine map's and a ceiling beside them."""
    light = numbers["photometry"] or {"bands": {}, "affine": None}
    bands, affine = light["bands"], (light["affine"] or {"bands": {}})["bands"]
    if not any(rows[key] for rows in bands.values()):
        return None

    def draw(axes: Any) -> None:
        for k, (panel, (band, rows)) in enumerate(zip(axes, bands.items(), strict=True)):
            _line(panel, k, "prediction", rows[key], "ratio")
            beside = {"affine map of the input": affine.get(band, {}).get(key, [])}
            beside |= {} if ceiling is None else {"ceiling": rows[ceiling]}
            for look, (label, found) in zip((":", "--"), beside.items(), strict=False):
                _line(panel, 6, label, found, "ratio", linestyle=look, alpha=0.6)
            panel.axhline(1, color="0.5", linestyle="--", linewidth=1)
            panel.set(xlabel=of, ylabel="Σ predicted / Σ true", title=band)
            panel.set_ylim(*np.clip(panel.get_ylim(), 0.0, 3.0))
            panel.legend(frameon=False)

    return _figure(title, caption, len(bands), draw)


def _fluxes(numbers: Numbers) -> Figure | None:
    return _ratio_figure(
        numbers,
        "by_input",
        "Fluxes, by what the input shows",
        "magnitude in the input",
        "In bins of the input's magnitude an honest prediction has ratio 1. Dotted: the best "
        "affine map of the input.",
    )


def _fluxes_of_truth(numbers: Numbers) -> Figure | None:
    return _ratio_figure(
        numbers,
        "by_truth",
        "Fluxes, by the truth",
        "true magnitude",
        "In bins of the true magnitude every estimate is drawn to the mean by what the input does "
        "not tell. Dashed: the ceiling, a regression on the input's fluxes; dotted: the best "
        "affine map of the input.",
        "by_truth_ceiling",
    )


def _fluxes_by_size(numbers: Numbers) -> Figure | None:
    return _ratio_figure(
        numbers,
        "by_size",
        "Fluxes, by size",
        "half-light radius (pixels)",
        "In thirds of the true half-light radius. Dotted: the best affine map of the input.",
    )


def _colours(numbers: Numbers) -> Figure | None:
    light = numbers["photometry"] or {"colours": {}, "affine": None}
    colours, affine = light["colours"], (light["affine"] or {"colours": {}})["colours"]
    if not any(colour["by_truth"] for colour in colours.values()):
        return None

    def draw(axes: Any) -> None:
        for panel, (key, what) in zip(
            axes, (("by_input", "input"), ("by_truth", "true")), strict=True
        ):
            for k, (name, colour) in enumerate(colours.items()):
                _line(panel, k, name, colour[key], "bias")
                if name in affine:
                    look = {"linestyle": ":", "alpha": 0.6}
                    _line(panel, k, f"{name}, affine", affine[name][key], "bias", **look)
            panel.axhline(0, color="0.5", linestyle="--", linewidth=1)
            panel.set(xlabel=f"{what} colour (mag)", ylabel="predicted − true colour (mag)")
        axes[1].legend(frameon=False)

    return _figure(
        "Colours",
        "Medians of sources in thirds of colour. Dotted: the best affine map of the input.",
        2,
        draw,
    )


def _structure(numbers: Numbers) -> Figure | None:
    found = numbers["structure"]
    if found is None:
        return None

    def draw(axes: Any) -> None:
        for panel, key in zip(axes, ("power_ratio", "coherence"), strict=True):
            for k, (band, rows) in enumerate(found["bands"].items()):
                y, error = (
                    np.array([np.nan if v is None else v for v in rows[name]], float)
                    for name in (key, f"{key}_error")
                )
                panel.errorbar(
                    found["k"], y, np.nan_to_num(error), label=band, color=_COLOURS[k % 7],
                    marker=_MARKERS[k % 7], markersize=3, linewidth=1,
                )  # fmt: skip
            panel.axhline(1, color="0.5", linestyle="--", linewidth=1)
            panel.set(xlabel=found["unit"], ylabel=key.replace("_", " "), ylim=(0, None))
        axes[0].legend(frameon=False)

    caption = "Power of the prediction over the truth's less its noise, and coherence with it."
    return _figure("Structure by scale", caption, 2, draw)


def _intervals(numbers: Numbers) -> Figure | None:
    found = numbers["intervals"]
    if found is None:
        return None
    names = ["< 1 σ", "1–3 σ", "3–10 σ", "> 10 σ"]
    places = {None: 0, 1.0: 1, 3.0: 2, 10.0: 3}

    def draw(axes: Any) -> None:
        for panel, (name, interval) in zip(axes, found.items(), strict=True):
            for k, (band, rows) in enumerate(interval["bands"].items()):
                known = [
                    row for row in rows["by_brightness"] if row["coverage"]["value"] is not None
                ]
                panel.errorbar(
                    [places[row["from"]] + 0.06 * k for row in known],
                    [row["coverage"]["value"] for row in known],
                    [row["coverage"]["error"] or 0.0 for row in known],
                    label=band, color=_COLOURS[k % 7], marker=_MARKERS[k % 7], linestyle="none",
                    capsize=2,
                )  # fmt: skip
            panel.axhline(interval["nominal"], color="0.5", linestyle="--", linewidth=1)
            panel.set(title=name, ylabel="share of truths inside", ylim=(0, 1.03))
            panel.set_xticks(range(4), names)
        axes[0].legend(frameon=False)

    caption = "By brightness of the prediction. Dashed: what the interval promises."
    return _figure("Do the intervals hold", caption, len(found), draw)


def _injected(numbers: Numbers) -> Figure | None:
    found = numbers["injected"]
    if found is None:
        return None

    def draw(axes: Any) -> None:
        for k, kind in enumerate(("stars", "galaxies")):
            rows = found[kind]["completeness"]
            x = [(row["from"] + row["to"]) / 2 for row in rows]
            y, error = ([row[key] for row in rows] for key in ("share", "error"))
            axes[0].errorbar(
                x, y, error, label=kind, color=_COLOURS[k], marker=_MARKERS[k], markersize=4,
                capsize=2, linewidth=1.2,
            )  # fmt: skip
        axes[0].axhline(0.9, color="0.5", linestyle="--", linewidth=1)
        axes[0].set(xlabel="magnitude put in (AB)", ylabel="share found", ylim=(-0.03, 1.05))
        axes[0].legend(frameon=False)

    caption = (
        f"{found['placed']} stars and Sérsic galaxies put into dark places of the source "
        "image, and looked for in what the model makes of it. Dashed: 90 %."
    )
    return _figure("Sources that were put in", caption, 1, draw)


def _ranks(numbers: Numbers) -> Figure | None:
    found = numbers["draws"]
    if found is None:
        return None

    def draw(axes: Any) -> None:
        for k, (band, rows) in enumerate(found["bands"].items()):
            heights = np.asarray(rows["ranks"], float)
            edges = np.linspace(0, 1, len(heights) + 1)
            axes[0].stairs(heights / heights.mean(), edges, label=band, color=_COLOURS[k % 7])
        axes[0].axhline(1, color="0.5", linestyle="--", linewidth=1)
        axes[0].set(xlabel="rank of the truth among the draws", ylabel="frequency, flat = 1")
        axes[0].set_ylim(0, None)
        axes[0].legend(frameon=False)
        axes[1].plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
        axes[1].plot(found["tarp"]["level"], found["tarp"]["coverage"], color=_COLOURS[0])
        axes[1].set(xlabel="credibility", ylabel="coverage (TARP, patches)", xlim=(0, 1))
        axes[1].set_ylim(0, 1)

    caption = (
        f"{found['samples']} draws. Left: a bowl is too little spread, a dome too much, a slope a "
        "bias. Right: of whole patches of sky at once; above the diagonal too wide, below it too "
        "narrow."
    )
    return _figure("Ranks and joint coverage of the draws", caption, 2, draw)


def _existence(numbers: Numbers) -> Figure | None:
    rows = numbers["existence"]
    if not rows:
        return None

    def draw(axes: Any) -> None:
        axes[0].plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
        said, real = ([row[key] for row in rows] for key in ("said", "real"))
        error = [row["error"] for row in rows]
        axes[0].errorbar(said, real, error, marker="o", color=_COLOURS[0], capsize=2)
        for row in rows:
            axes[0].annotate(
                str(row["n"]), (row["said"], row["real"]), (6, -12),
                textcoords="offset points", fontsize=8,
            )  # fmt: skip
        axes[0].set(xlabel="share of draws that have it", ylabel="share that is real")
        axes[0].set(xlim=(0, 1), ylim=(0, 1.05))

    return _figure("Does a source exist", "Numbers: how many sources.", 1, draw)
