"""The tables of a report's page, of its numbers (:mod:`imgturbo.scoring.trust.report`).

Each number stands with its standard error; what was not measured is a dash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from imgturbo.report.page import Table

__all__ = ["trust_tables"]

Numbers = dict[str, Any]
_NONE = "–"


def trust_tables(numbers: Numbers) -> list[Table]:
    """All tables for which there are numbers, in the order of the page."""
    made = (_light, _colours, _stars, _galaxies, _draws, _noise, _consistency)
    return [table for one in made if (table := one(numbers)) is not None and table.rows]


def _said(found: Numbers | None, digits: int = 3) -> str:
    """An estimate in a cell."""
    if found is None or found["value"] is None:
        return _NONE
    error = found["error"]
    value = f"{found['value']:.{digits}f}"
    return value if error is None else f"{value} ± {error:.{digits}f}"


def _number(value: float | None, digits: int = 2) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _light(numbers: Numbers) -> Table | None:
    found = numbers["photometry"]
    if found is None:
        return None
    affine = (found["affine"] or {"bands": {}})["bands"]
    rows = []
    for band, own in found["bands"].items():
        other = affine.get(band, {})
        rows.append(
            [
                band,
                _said(own["total"]),
                _number(own["sky"]["in_sigma"], 3),
                _said(own["scatter"]),
                _said(other.get("scatter")),
                _said(own["scatter_factor"], 2),
                _said(other.get("scatter_factor"), 2),
                str(own["scatter"]["n"]),
            ]
        )
    columns = ["band", "all light", "sky off by (σ)", "scatter (mag)", "(affine)"]
    return Table(
        "Fluxes in all",
        "All light: Σ predicted / Σ true over the field, its error by blocks of sky. Scatter: of "
        "predicted less true magnitudes of n sources, robust; the last columns are how many times "
        "smaller it is than that of the best band of the input. Affine: the best affine map of the "
        "input.",
        [*columns, "input's / this", "(affine)", "n"],
        rows,
    )


def _colours(numbers: Numbers) -> Table | None:
    found = numbers["photometry"]
    if found is None:
        return None
    affine = (found["affine"] or {"colours": {}})["colours"]
    rows = []
    for name, own in found["colours"].items():
        other = affine.get(name, {})
        values = [_said(of.get(key)) for key in ("bias", "scatter") for of in (own, other)]
        rows.append([name, *values, str(own["bias"]["n"])])
    return Table(
        "Colours in all",
        "Predicted less true colour (mag) of n sources that are bright enough to have one: median "
        "and robust scatter.",
        ["colour", "bias", "(affine)", "scatter", "(affine)", "n"],
        rows,
    )


def _stars(numbers: Numbers) -> Table | None:
    found = numbers["points"]
    if found is None:
        return None
    rows = [
        [
            band,
            str(own["n"]),
            _said(own["offset_x"], 2),
            _said(own["offset_y"], 2),
            _said(own["offset_rms"], 2),
            _said(own["fwhm"], 1),
            *(_said(own[key]) for key in ("fwhm_ratio", "r50_ratio", "r80_ratio")),
            _shape(own["ellipticity"]),
        ]
        for band, own in found["stars"].items()
        if own["n"]
    ]
    unit = found["unit"]
    return Table(
        "Stars",
        f"Places and true widths in {unit}. Ratios are of the prediction over the truth: of the "
        "width, and of the radii that hold 50 and 80 % of the light. Ellipticity: predicted less "
        "true.",
        ["band", "n", "x off", "y off", "rms", "true FWHM", "FWHM", "r50", "r80", "ellipticity"],
        rows,
    )


def _shape(found: Numbers | None) -> str:
    return _NONE if found is None else _said(found["bias"])


def _galaxies(numbers: Numbers) -> Table | None:
    found = numbers["points"]
    if found is None:
        return None
    names = {
        "ellipticity": "ellipticity",
        "sersic_n": "Sérsic n",
        "gini": "Gini",
        "m20": "M20",
        "asymmetry": "asymmetry",
    }
    rows = []
    for band, own in found["galaxies"].items():
        if own["n"]:
            cells = [_said(own["r50_ratio"]), _said(own["r50_scatter"])]
            rows.append([band, str(own["n"]), *cells, *(_both(own[key]) for key in names)])
    return Table(
        "Galaxies",
        "Half-light radius: the ratio of the prediction to the truth, and its robust scatter. "
        "Shapes: predicted less true, median with its error, and the scatter of single galaxies; "
        "of the images as they are seen, within the outline of the true galaxy.",
        ["band", "n", "r50", "its scatter", *names.values()],
        rows,
    )


def _both(found: Numbers | None) -> str:
    if found is None or found["bias"]["value"] is None:
        return _NONE
    return f"{_said(found['bias'])} (scatter {_number(found['scatter']['value'], 3)})"


def _draws(numbers: Numbers) -> Table | None:
    found = numbers["draws"]
    if found is None:
        return None
    levels = next(iter(found["bands"].values()))["coverage"]
    rows = [
        [band, _said(own["crps"], 4), *(f"{share:.1%}" for share in own["coverage"].values())]
        for band, own in found["bands"].items()
    ]
    return Table(
        "Draws",
        f"{found['samples']} draws on {found['patches']} patches. CRPS on asinh(f/3σ), and in how "
        "many pixels the truth lies within the central share of the draws; energy score of whole "
        f"patches {_said(found['energy_score'], 4)}.",
        ["band", "CRPS", *(f"{float(level):.0%}" for level in levels)],
        rows,
    )


def _noise(numbers: Numbers) -> Table | None:
    found = numbers["nulls"]
    if found is None:
        return None
    rows = [
        [band, _said(found["noise"][band], 1), _said(found["negative"][band], 1)]
        for band in found["noise"]
    ]
    return Table(
        "Made of nothing",
        f"Sources per {found['unit'].replace('⁻²', '²')} that the model makes of noise like the "
        "source image's, and of the source image with its sky negated (holes for sources: what "
        "rings counts too).",
        ["band", "of noise", "of the negative"],
        rows,
    )


def _consistency(numbers: Numbers) -> Table | None:
    found = numbers["consistency"]
    if found is None:
        return None
    rows = [
        [
            band,
            *_cells((own["chi2"], own["chi2_typical"], own["correlation"], own["blur"])),
        ]
        for band, own in found["bands"].items()
    ]
    by = "the bundle's way back" if found["by"] == "encoder" else "a fitted camera"
    return Table(
        "Does it contradict the source image?",
        f"The prediction brought back by {by}, against the source image: χ² a pixel (1 where they "
        "differ by noise alone), the same by its median, correlation, and the fitted blur in "
        "pixels. The map is in maps.fits.",
        ["band of the source", "χ²", "typical χ²", "correlation", "blur"],
        rows,
    )


def _cells(values: Iterable[float | None]) -> list[str]:
    return [_number(value) for value in values]
