"""The folder of a report: ``report.html``, ``report.json``, ``figures/``, ``maps.fits``.

``maps.fits`` has, a band of the source image each, CHI, how far the source lies above what the
prediction says of it, in σ, and CHI2, its square.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.files import write_json, write_whole
from imgturbo.places import free_place
from imgturbo.report.headline import COLUMNS, headline_rows
from imgturbo.report.page import MARK, Mark, Page, binned, step_of, write_page
from imgturbo.report.trust import trust_figures
from imgturbo.report.trust_tables import trust_tables
from imgturbo.scoring.held import forget, sampled, strips
from imgturbo.scoring.trust.report import Findings
from imgturbo.scoring.trust.scene import Role, Scene
from imgturbo.scoring.trust.sources import Catalogue
from imgturbo.sky import SkySpec, SkyWriter, Stretch
from imgturbo.sky.frames import icrs
from imgturbo.sky.image import BOTTOM_UP
from imgturbo.sky.units import DISPLAY

__all__ = ["NUMBERS", "free_report", "write_report"]

NUMBERS = (b'"made_by": "imgturbo report"',)
"""How the numbers of a report are known (:mod:`imgturbo.places`): it is their first key."""

_PAGE, _NUMBERS, _MAPS, _FIGURES = "report.html", "report.json", "maps.fits", "figures"
_CREATOR = "imgturbo report"
_RANGE = 5.0  # σ at which a map is white
_LARGEST = 30.0  # σ of the noise at which a spread is white


def free_report(out: Path, inputs: Sequence[Path | str], *, overwrite: bool) -> None:
    """Ask for the places of a report, before any work.

    Raises:
        ImgturboError: something else is there, or one of the inputs.
    """
    free_place(out / _PAGE, inputs, mark=MARK, overwrite=overwrite)
    free_place(out / _NUMBERS, inputs, mark=NUMBERS, overwrite=overwrite)
    free_place(out / _MAPS, inputs, mark=(_CREATOR.encode(), b"SIMPLE"), overwrite=overwrite)


def write_report(findings: Findings, out: Path, title: str) -> Path:
    """Write a report; returns the page.

    Args:
        findings: of :func:`imgturbo.scoring.trust.report.look_at`.
        out: the folder; it is made.
        title: of the page.

    Raises:
        ImgturboError: the folder cannot be written.
    """
    scene, numbers = findings.scene, findings.numbers
    figures = trust_figures(numbers)
    for number, figure in enumerate(figures, start=1):
        name = f"{number}_{figure.title.lower().replace(' ', '_').replace(',', '')}.png"
        write_whole(out / _FIGURES / name, figure.png)
    write_json(out / _NUMBERS, {"made_by": _CREATOR, **numbers})  # which makes the folder
    if findings.apart is not None:
        _write_maps(out / _MAPS, scene, findings.apart)
    columns, marks = _marks(findings)
    order = scene.images["prediction"].row_order
    page = Page(
        title=title,
        about=_about(numbers),
        images=_images(findings),
        upward=order == BOTTOM_UP,
        columns=columns,
        sources=marks,
        short=(COLUMNS, headline_rows(numbers["headline"])),
        figures=figures,
        notes=numbers["notes"],
        radius=max(3.0, scene.radius),
        step=step_of(scene.valid.shape),
        tables=trust_tables(numbers),
    )
    write_page(out / _PAGE, page)
    return out / _PAGE


def _write_maps(path: Path, scene: Scene, apart: NDArray[np.float32]) -> None:
    """CHI and CHI2 of each band of the source image, on the common grid."""
    source = scene.images["source"]
    image = replace(source, data=apart, unit="", zeropoints=(), header=None, path=None)
    history = ["CHI: source less what the prediction says of it, in sigma; CHI2: its square"]
    cards = [("CREATOR", _CREATOR, "made by")]
    spec = SkySpec.of(image, cards, history, ("CHI", "CHI2"))
    with SkyWriter(path, spec, overwrite=True) as writer:
        for rows in strips(scene.valid.shape):
            writer.write(apart[:, rows], rows, slice(None), "CHI")
            writer.write(apart[:, rows] ** 2, rows, slice(None), "CHI2")


def _about(numbers: dict[str, Any]) -> str:
    area = numbers["arcmin2"]
    size = "" if area is None else f", {area:.3g} square arcmin"
    return f"{', '.join(numbers['bands'])}{size}; {numbers['sources_found']} sources found"


# ---------------------------------------------------------------------------------- images


def _images(findings: Findings) -> dict[str, NDArray[np.float32]]:
    """What the viewer shows, in 0–1; prediction and truth on one stretch."""
    scene = findings.scene
    height, width = scene.valid.shape
    common = _stretch(scene, "truth" if "truth" in scene.images else "prediction")
    stretches = {
        role: _stretch(scene, "source") if role == "source" else common
        for role in ("source", "prediction", "truth")
        if role in scene.images
    }
    shown: dict[str, NDArray[np.float32]] = {}

    def add(title: str, read: Callable[[slice], NDArray[Any]]) -> None:
        shown[title] = binned((height, width), read)
        forget()

    for role, stretch in stretches.items():
        add(role, partial(_shown, scene, role, stretch))
    if "truth" in shown:
        shown["error (grey: none)"] = 0.5 + (shown["prediction"] - shown["truth"]).mean(0)[None] / 2
    if (std := findings.std) is not None:
        noise = scene.noise[:, None, None]

        def spread(rows: slice) -> NDArray[Any]:
            sigmas = np.where(scene.valid[rows], std[:, rows] / noise, np.nan).mean(0)
            return np.asarray((np.arcsinh(sigmas) / np.arcsinh(_LARGEST))[None])

        add("uncertainty (white: 30 σ)", spread)
    if (apart := findings.apart) is not None:
        add(
            "source less prediction (σ)",
            lambda rows: 0.5 + apart[:, rows].mean(0)[None] / (2 * _RANGE),
        )
    return shown


def _stretch(scene: Scene, role: Role) -> Stretch:
    image = scene.images[role]
    if image.unit == DISPLAY:
        return Stretch.linear(len(image.bands))
    return Stretch.fit(sampled(image.data, scene.valid))


def _shown(scene: Scene, role: Role, stretch: Stretch, rows: slice) -> NDArray[np.float32]:
    image = scene.images[role]
    y = np.where(scene.valid[rows], stretch(image.data[:, rows]), np.nan).astype(np.float32)
    # A page takes bands from blue to red; pictures have red first.
    return y[::-1] if image.unit == DISPLAY else y


# --------------------------------------------------------------------------------- sources


def _marks(findings: Findings) -> tuple[list[str], list[Mark]]:
    """Columns and sources: true ones, matched or missed, and those that were invented."""
    scene = findings.scene
    columns = ["class", "x", "y"]
    wcs = scene.images["prediction"].wcs if scene.pixel_scale else None
    columns += ["RA", "Dec"] if wcs is not None else []
    roles = [role for role in ("prediction", "truth") if role in scene.images]
    columns += [f"{role} {band}" for role in roles for band in scene.bands]
    columns += [] if findings.exists is None else ["in draws"]
    rows: list[tuple[float, Mark]] = []

    def add(catalogue: Catalogue, kinds: NDArray[np.str_], chosen: NDArray[np.bool_]) -> None:
        magnitudes = [scene.magnitudes(role, catalogue.fluxes[role]) for role in roles]
        sky = None if wcs is None else np.stack(icrs(wcs, catalogue.x, catalogue.y))
        for k in np.flatnonzero(chosen):
            x, y = catalogue.x[k], catalogue.y[k]
            cells = [str(kinds[k]), f"{x:.1f}", f"{y:.1f}"]
            cells += [] if sky is None else [f"{sky[0, k]:.5f}", f"{sky[1, k]:.5f}"]
            cells += [_cell(value) for of in magnitudes for value in of[k]]
            if findings.exists is not None:
                share = findings.exists[k] if catalogue is findings.found else np.nan
                cells.append(_cell(share))
            brightness = float(np.nan_to_num(magnitudes[-1][k], nan=99.0).min())
            rows.append((brightness, Mark(str(kinds[k]), float(x), float(y), tuple(cells))))

    found = findings.found
    if findings.true is None:
        add(found, np.full(len(found), "found"), np.ones(len(found), bool))
    else:
        true = findings.true
        add(true, np.where(true.matched, "matched", "missed"), np.ones(len(true), bool))
        add(found, np.full(len(found), "invented"), ~found.matched)
    rows.sort(key=lambda row: row[0])
    return columns, [mark for _, mark in rows]


def _cell(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"
