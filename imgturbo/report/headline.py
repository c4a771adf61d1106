"""The few figures by which a model is judged, in words: of a report, of a page, of a card.

A figure that nobody measured is "not measured", never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["COLUMNS", "headline_rows", "trusted"]

NOT = "not measured"

COLUMNS = (
    "band",
    "90/90 depth (mag)",
    "total flux ratio",
    "scatter (mag)",
    "colour bias (mag)",
    "FWHM ratio of stars",
    "invented on noise (arcmin⁻²)",
    "coverage of 50 %",
    "coverage of 90 %",
)
_ESTIMATES = ("flux_ratio", "scatter", "colour_bias", "fwhm_ratio")


def headline_rows(headline: Mapping[str, Any]) -> list[list[str]]:
    """A row of words a band, below :data:`COLUMNS`."""
    return [[band, *_row(row)] for band, row in headline["bands"].items()]


def _row(row: Mapping[str, Any]) -> list[str]:
    depth, invented = row["depth"], row["invented_per_arcmin2"]
    if isinstance(invented, float):  # as cards had it before it had an error
        invented = {"value": invented, "error": None}
    colour = row.get("colour")
    estimates = [_words(row[key]) for key in _ESTIMATES]
    if colour and row["colour_bias"]:
        estimates[2] = f"{colour}: {estimates[2]}"
    return [
        NOT if depth is None else f"{depth:.2f}",
        *estimates,
        _words(invented, ".3g"),
        *(_words(row[key]) for key in ("coverage_50", "coverage_90")),
    ]


def _words(estimate: Mapping[str, Any] | None, digits: str = ".3f") -> str:
    if estimate is None or estimate["value"] is None:
        return NOT
    error = "" if estimate["error"] is None else f" ± {estimate['error']:.2g}"
    return f"{estimate['value']:{digits}}{error}"


def trusted(headline: Mapping[str, Any] | None, intervals: Mapping[str, Any] | None) -> str:
    """The section of a card on what can be trusted, in Markdown."""
    lines = ["", "## Held-out sky"]
    if headline is None:
        lines += [
            "Depth, fluxes, colours, widths, invented sources and coverage: not measured "
            "(`imgturbo report --card`)."
        ]
    else:
        rows = [list(COLUMNS), ["---"] * len(COLUMNS), *headline_rows(headline)]
        lines += [f"Of {headline['of']}, which its maker says trained nothing:", ""]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines += ["", *(f"- {note}" for note in headline["notes"])]
    if intervals is not None:
        lines += ["", *_intervals(intervals)]
    return "\n".join(lines) + "\n"


def _intervals(intervals: Mapping[str, Any]) -> list[str]:
    fitted = intervals["fitted"]
    head = ["interval", "guaranteed", "measured", "bright pixels"]
    rows = [head, ["---"] * 4]
    for level, found in fitted["measured"].items():
        rows.append(
            [
                f"{float(level):.0%}",
                f"≥ {float(level):.0%}",
                *(_words(found[key]) for key in ("all", "bright")),
            ]
        )
    return [
        f"Intervals of {intervals['samples']} draws are calibrated (conformal, on "
        f"{fitted['blocks']} blocks of {fitted['block']}² pixels of {', '.join(fitted['truth'])}); "
        "measured on folds of it that were left out:",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"- {fitted['caveat']}",
    ]
