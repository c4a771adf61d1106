r"""Which sources are real, and down to which magnitude.

Sources are looked for in the sum of all bands, each over its noise, Σ_b f_b/σ_b / √C, of prediction
and truth alike and by one threshold: 5 σ of the truth. True ones are those of a catalogue, or else
those found in the truth. Of those found in the prediction one *exists* where the catalogue, or the
truth at 3 σ, has a source within two pixels. By chance alone a share 1 − exp(−π r² ρ) of places has
one, ρ being their density; it is part of the answer. What the source image shows by itself, at 5 σ
of its own, is the baseline: a prediction that finds no more than that has found nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.metrics.detection import (
    RADIUS,
    SIGNIFICANCE,
    filtered,
    mutual,
    sky_noise,
    sources_above,
)
from imgturbo.metrics.estimates import as_json, rate
from imgturbo.metrics.fluxes import aperture_fluxes
from imgturbo.metrics.recovery import LEVEL, Share, common_depth, depth, shares
from imgturbo.scoring.held import HALO, at_places, held, pieces, sampled
from imgturbo.scoring.trust.scene import Role, Scene
from imgturbo.sky.catalogue import places_of, read_table
from imgturbo.sky.frames import places_in

__all__ = [
    "Catalogue",
    "as_bins",
    "catalogue_of",
    "circles",
    "detection",
    "look_for",
    "magnitude_edges",
    "recovery",
    "threshold_of",
]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_DEEPER = 0.6  # of the threshold: 3 σ, where sources of the prediction are looked for in the truth
_STEP = 0.5  # magnitudes a bin
_MOST_BINS = 40


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Sources of a scene, a row each.

    Attributes:
        x, y: places in pixels, (N,), (N,).
        fluxes: by role, (N, C), in circles about them; NaN where a circle is not all measured.
        matched: (N,) true sources that were found; of the prediction's, those that exist.
        star: (N,), where a catalogue tells; None where nobody does.
        shown: of true sources, which of them the source image shows; None without one.
        alone: how many the source image shows that are not true.
    """

    x: Array
    y: Array
    fluxes: dict[Role, Array]
    matched: Mask
    star: Mask | None = None
    shown: Mask | None = None
    alone: int = 0

    def __len__(self) -> int:
        return len(self.x)

    def inside(self, window: tuple[slice, slice]) -> Mask:
        """Which sources lie in a part of the image (N,)."""
        col, row = np.rint(self.x), np.rint(self.y)
        (top, bottom), (left, right) = ((side.start, side.stop) for side in window)
        return np.asarray((row >= top) & (row < bottom) & (col >= left) & (col < right))

    def within(self, window: tuple[slice, slice]) -> Catalogue:
        """Those that lie in a part of the image, in its pixels."""
        chosen = self.inside(window)
        return Catalogue(
            self.x[chosen] - window[1].start,
            self.y[chosen] - window[0].start,
            {role: of[chosen] for role, of in self.fluxes.items()},
            self.matched[chosen],
            None if self.star is None else self.star[chosen],
            None if self.shown is None else self.shown[chosen],
            self.alone,
        )


def catalogue_of(scene: Scene, truth: Path | None = None) -> tuple[Catalogue | None, Catalogue]:
    """The true sources, where they are known, and those of the prediction.

    Args:
        scene: its images.
        truth: a table of true sources with ``ra`` and ``dec`` (as `imgturbo.sky.catalogue` has
            them; or ``x`` and ``y`` in pixels from 0) and perhaps ``kind`` (star, galaxy), in any
            format that astropy reads.

    Raises:
        ImgturboError: the table cannot be read, or has no places.
    """
    true, threshold = None, None
    star = None
    if "truth" in scene.light:
        true, threshold, faint = _true_sources(scene, truth is None)
    found, _ = look_for(scene.light["prediction"], scene.noise, scene.valid, threshold)
    if truth is not None:
        true, star = _read(truth, scene)
        faint = true
    exists = np.zeros(len(found), bool)
    if true is None:
        return None, _measured(scene, found, exists)
    exists[mutual(found, faint)[:, 0]] = True
    seen = np.zeros(len(true), bool)
    seen[mutual(true, found)[:, 0]] = True
    catalogue = _measured(scene, true, seen, star)
    return _with_shown(scene, catalogue, faint), _measured(scene, found, exists)


def _true_sources(scene: Scene, wanted: bool) -> tuple[Array, float, Array]:
    """Those of the truth, their threshold, and those down to 3 σ; none but it if not ``wanted``."""
    smooth = _filtered(scene.light["truth"], scene.noise, scene.valid)
    threshold = _threshold(smooth, scene.valid)
    if not wanted:
        return np.zeros((0, 2)), threshold, np.zeros((0, 2))
    true, faint = (_above(smooth, share * threshold, scene.valid) for share in (1.0, _DEEPER))
    return true, threshold, faint


def _with_shown(scene: Scene, true: Catalogue, faint: Array) -> Catalogue:
    """True sources, with which of them the source image shows by itself."""
    if "source" not in scene.light:
        return true
    light = scene.light["source"]
    noise = np.array([sky_noise(pixels) for pixels in sampled(light, scene.valid)])
    noise = np.maximum(noise, np.finfo(np.float32).tiny)  # of a simulation without any
    places, _ = look_for(light, noise, scene.valid)
    shown = np.zeros(len(true), bool)
    shown[mutual(np.column_stack([true.x, true.y]), places)[:, 0]] = True
    return replace(true, shown=shown, alone=len(places) - len(mutual(places, faint)))


def detection(light: NDArray[np.floating], noise: Array, valid: Mask) -> NDArray[np.float32]:
    """The image (H, W) in which sources are looked for: bands over their noise, added up.

    Args:
        light: (C, H, W), less the sky's level.
        noise: σ of a pixel (C,).
        valid: (H, W); elsewhere it is 0.
    """
    total = (light / noise[:, None, None]).sum(0) / math.sqrt(len(light))
    return np.where(valid, total, 0).astype(np.float32)


def look_for(
    light: NDArray[np.floating], noise: Array, valid: Mask, threshold: float | None = None
) -> tuple[Array, float]:
    """Sources of :func:`detection`'s image: places (N, 2) and the threshold, by pieces.

    Args:
        light, noise, valid: as of :func:`detection`.
        threshold: None: 5 σ of the image's own noise.
    """
    smooth = _filtered(light, noise, valid)
    if threshold is None:
        threshold = _threshold(smooth, valid)
    return _above(smooth, threshold, valid), threshold


def threshold_of(scene: Scene) -> float | None:
    """5 σ of the truth, by which sources are looked for everywhere; None without a truth."""
    if "truth" not in scene.light:
        return None
    smooth = _filtered(scene.light["truth"], scene.noise, scene.valid)
    return _threshold(smooth, scene.valid)


def _threshold(smooth: NDArray[np.float32], valid: Mask) -> float:
    return SIGNIFICANCE * sky_noise(sampled(smooth[None], valid)[0])


def _filtered(light: NDArray[np.floating], noise: Array, valid: Mask) -> NDArray[np.float32]:
    """What :func:`imgturbo.metrics.detection.filtered` makes of the image (H, W), by pieces."""
    smooth = held(valid.shape)
    for piece in pieces(valid.shape, HALO):
        known = valid[piece.wide]
        if known.any():
            image = detection(light[:, *piece.wide], noise, known)
            smooth[piece.core] = filtered(image, known)[piece.inner]
    return smooth


def _above(smooth: NDArray[np.float32], threshold: float, valid: Mask) -> Array:
    """Sources above a threshold: of each piece those whose place is its own."""
    found = []
    for piece in pieces(valid.shape, HALO):
        known, image = valid[piece.wide], smooth[piece.wide].astype(np.float64)
        places = sources_above(image, threshold, known) if known.any() else np.zeros((0, 2))
        col, row = np.rint(places).T
        rows, cols = piece.inner
        own = (row >= rows.start) & (row < rows.stop) & (col >= cols.start) & (col < cols.stop)
        found.append(places[own] + [piece.wide[1].start, piece.wide[0].start])
    return np.concatenate(found)


def _measured(scene: Scene, places: Array, matched: Mask, star: Mask | None = None) -> Catalogue:
    x, y = places.T
    fluxes = {role: circles(of, x, y, scene.radius) for role, of in scene.light.items()}
    return Catalogue(x, y, fluxes, matched, star)


def circles(light: NDArray[np.floating], x: Array, y: Array, radius: float) -> Array:
    """Fluxes (N, C) of :func:`imgturbo.metrics.fluxes.aperture_fluxes`, by pieces."""

    def measure(window: tuple[slice, slice], x: Array, y: Array) -> Array:
        return aperture_fluxes(light[:, *window].astype(np.float64), x, y, radius)

    return at_places(light.shape[1:], x, y, math.ceil(radius) + 2, measure)


def _read(path: Path, scene: Scene) -> tuple[Array, Mask | None]:
    """Places (N, 2) of those that lie on valid pixels, and which are stars."""
    table = read_table(path)
    named = {name.lower(): name for name in table.colnames}
    wcs = scene.images["prediction"].wcs
    if wcs is not None and (directions := places_of(table, path)) is not None:
        x, y = places_in(wcs, directions)
    elif {"x", "y"} <= set(named):
        x, y = (_numbers(table[named[name]], path) for name in ("x", "y"))
    else:
        raise ImgturboError(
            f"{path}: has columns {', '.join(table.colnames)}; give ra and dec in degrees (of an "
            "image with coordinates), or x and y in pixels from 0"
        )
    height, width = scene.valid.shape
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    inside[inside] = scene.valid[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)]
    if not inside.any():
        raise ImgturboError(f"{path}: none of its {len(x)} sources lies on the image")
    star = None
    if "kind" in named:
        star = np.array([_is_star(kind) for kind in table[named["kind"]]])[inside]
    return np.column_stack([x, y])[inside], star


def _numbers(column: Any, path: Path) -> Array:
    """A column (N,) of pixels; NaN where a cell is empty."""
    with door(path, f"column {column.info.name}", "give pixels from 0", "holds no numbers"):
        return np.asarray(np.ma.filled(np.ma.asarray(column).astype(float), np.nan), np.float64)


def _is_star(kind: object) -> bool:
    return (kind.decode() if isinstance(kind, bytes) else str(kind)).strip().lower() == "star"


# --------------------------------------------------------------------- completeness and purity


def magnitude_edges(magnitudes: Array, faintest: float = math.inf) -> list[float]:
    """Edges half a magnitude apart that hold all of these that are numbers; [] of none.

    Args:
        magnitudes: (N,).
        faintest: what is fainter is noise, and left out.
    """
    known = magnitudes[np.isfinite(magnitudes)]
    known = known[known <= faintest]
    if not known.size:
        return []
    low, high = np.floor(known.min() / _STEP) * _STEP, known.max()
    count = min(_MOST_BINS, math.floor((high - low) / _STEP) + 1)
    return [float(low + _STEP * k) for k in range(count + 1)]


def recovery(scene: Scene, true: Catalogue, found: Catalogue) -> dict[str, Any]:
    """Completeness by true magnitude and purity by predicted one, a band each, and their depths.

    Returns:
        ``{"true", "found", "matched", "invented", "invented_per_arcmin2", "chance", "level",
        "bands": {band: {"completeness": [bin, …], "purity": […], "complete_to", "pure_to",
        "depth"}}, "source"}``; a bin is ``{"from", "to", "n", "share", "error"}``. ``source`` is
        what the source image shows by itself, ``{"found", "matched", "invented", "bands": {band:
        {"completeness", "complete_to"}}}``, or None. Of a catalogue without a truth image there
        are numbers and purity; nobody knows the magnitudes of its sources in these bands.
    """
    invented = int((~found.matched).sum())
    density = len(true) / max(int(scene.valid.sum()), 1)
    by_band, by_source = {}, {}
    made = scene.magnitudes("prediction", found.fluxes["prediction"])
    real = np.full((len(true), len(scene.bands)), np.nan)
    if "truth" in true.fluxes:
        real = scene.magnitudes("truth", true.fluxes["truth"])
    limits = scene.magnitudes("prediction", scene.faintest[None])[0]
    for band, name in enumerate(scene.bands):
        edges, made_edges = (magnitude_edges(of[:, band], limits[band]) for of in (real, made))
        complete = shares(real[:, band], true.matched, edges)
        pure = shares(made[:, band], found.matched, made_edges)
        by_band[name] = {
            "completeness": as_bins(complete),
            "purity": as_bins(pure),
            "complete_to": depth(complete),
            "pure_to": depth(pure),
            "depth": common_depth(complete, pure),
        }
        if true.shown is not None:
            given = shares(real[:, band], true.shown, edges)
            by_source[name] = {"completeness": as_bins(given), "complete_to": depth(given)}
    return {
        "true": len(true),
        "found": len(found),
        "matched": int(true.matched.sum()),
        "invented": invented,
        "invented_per_arcmin2": as_json(rate(invented, scene.area)) if scene.area else None,
        "chance": 1 - math.exp(-math.pi * RADIUS**2 * density),
        "level": LEVEL,
        "bands": by_band,
        "source": _of_source(true, by_source),
    }


def _of_source(true: Catalogue, bands: dict[str, Any]) -> dict[str, Any] | None:
    if true.shown is None:
        return None
    matched = int(true.shown.sum())
    return {
        "found": matched + true.alone,
        "matched": matched,
        "invented": true.alone,
        "bands": bands,
    }


def as_bins(bins: Sequence[Share]) -> list[dict[str, Any]]:
    """JSON of shares."""
    return [
        {"from": one.low, "to": one.high, "n": one.n, "share": one.share, "error": one.error}
        for one in bins
    ]
