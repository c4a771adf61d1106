"""The report: all that can be said of a prediction from what is given, as one JSON.

What is given decides what is there. With a truth: sources, fluxes, points, structure, intervals.
With a source image: how far the prediction contradicts it. With a bundle besides: what it makes of
noise, of a negative sky, and of sources that are put in. A section that cannot be had is None, and
a note says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.scoring.held import HALO, forget, held, pieces
from imgturbo.scoring.intervals import file_plane
from imgturbo.scoring.together import Image, Matched, in_unit_of, on_grid, with_bands_of
from imgturbo.scoring.trust.brought_back import brought_back
from imgturbo.scoring.trust.drawn import Drawn, against_truth, look_at_draws, reliability
from imgturbo.scoring.trust.light import photometry
from imgturbo.scoring.trust.nulls import blank, injected
from imgturbo.scoring.trust.points import points
from imgturbo.scoring.trust.scene import Scene, bring_together
from imgturbo.scoring.trust.sources import Catalogue, catalogue_of, recovery
from imgturbo.scoring.trust.spread import spread
from imgturbo.scoring.trust.structure import structure
from imgturbo.sky import SkyImage

if TYPE_CHECKING:
    from imgturbo.bundle import Bundle

__all__ = ["ASKED", "Findings", "card_of", "headline", "look_at"]

_QUIET: Callable[[str, float], None] = lambda what, fraction: None  # noqa: E731
ASKED = 2048
"""Pixels a side of what a bundle is asked on, at most: enough sky for its figures."""

_INJECTED = (22.0, 29.0)
_BRIGHT = 10  # of σ: the flux bias of the headline is of sources that stand out


@dataclass(frozen=True, eq=False)
class Findings:
    """Numbers, and what a page shows beside them.

    Attributes:
        numbers: the report, JSON as it is.
        scene: the images.
        true, found: sources; ``true`` is None where no truth is known.
        apart: (s − ŝ)/σ of the source image (C', H, W); None without one.
        exists: (N,) in what share of the draws each found source is, NaN where no draw was made;
            None without draws.
        std: (C, H, W) of the draws, NaN where none was made, or of the prediction's file; None
            where nobody says.
    """

    numbers: dict[str, Any]
    scene: Scene
    true: Catalogue | None
    found: Catalogue
    apart: NDArray[np.float32] | None
    exists: NDArray[np.float64] | None
    std: NDArray[np.floating] | None


def look_at(
    prediction: Image,
    truth: Image | None = None,
    source: Image | None = None,
    *,
    catalogue: Path | None = None,
    bundle: Bundle | None = None,
    draws: int = 0,
    psf: float | None = None,
    bands: Sequence[str] | None = None,
    progress: Callable[[str, float], None] = _QUIET,
) -> Findings:
    """Measure a prediction.

    Args:
        prediction, truth, source: files, images or arrays, as ``evaluate`` takes them.
        catalogue: a table of the true sources.
        bundle: the model that made the prediction.
        draws: of a stochastic bundle, by which sources are given a probability of existence.
        psf: FWHM of the source camera in arcsec (pixels without coordinates), for injected sources.
        bands: names of the prediction's bands, where headers lie.
        progress: told what is being done.

    Raises:
        ImgturboError: images that cannot be brought together, a table without places, a bundle
            without a source image, a width that is none.
    """
    if bundle is None and (psf is not None or draws):
        raise ImgturboError(
            "sources are put in (--psf) and draws made (--draws) by a model; give --bundle as well"
        )
    if psf is not None and not 0 < psf < np.inf:
        raise ImgturboError(f"--psf {psf:g} is no width; give the FWHM of the source's camera")
    if source is None and bundle is not None:
        raise ImgturboError("a bundle is given and no source image; give --source FILE as well")
    progress("bringing the images together", 0.0)
    scene = bring_together(prediction, truth, source, bands)
    if scene.is_picture:
        scene.notes.append(
            "pictures for the eye: fluxes and magnitudes are of grey values, lengths in pixels; "
            "the short table has none of them"
        )
    progress("looking for sources", 0.1)
    true, found = catalogue_of(scene, catalogue)
    numbers: dict[str, Any] = {
        "bands": list(scene.bands),
        "unit": scene.images["prediction"].unit,
        "pixel_scale": scene.pixel_scale,
        "magnitudes": scene.magnitude_name,
        "arcmin2": scene.area,
        "sources_found": len(found),
        **dict.fromkeys(("sources", "photometry", "points", "structure", "intervals")),
        **dict.fromkeys(("nulls", "injected", "consistency", "existence", "draws")),
    }
    if true is None:
        scene.notes.append("no truth given: what is said is what the prediction itself can tell")
    elif "truth" not in scene.images:
        numbers["sources"] = recovery(scene, true, found)
        scene.notes.append(
            "a catalogue and no truth image: which sources are real is said, and nothing of their "
            "fluxes, shapes and structure"
        )
    else:
        numbers |= _against_truth(scene, true, found, prediction, progress)
    apart, drawn = None, None
    if "source" in scene.images:
        progress("holding it against the source image", 0.6)
        back = None if bundle is None else _by_encoder(scene, bundle)
        numbers["consistency"], apart = brought_back(scene, back)
        if bundle is not None and bundle.direction().generator.zoom != 1:
            scene.notes.append(
                "the bundle gives finer pixels than it reads, and is not asked again on the "
                "prediction's grid: nothing is said of noise, of sources put in and of draws"
            )
        elif bundle is not None:
            part, where = scene.part(ASKED)
            if part is not scene:
                scene.notes.append(
                    "what the model makes of noise, of sources put in and of draws is of a part of "
                    f"the field: rows {where[0].start} to {where[0].stop}, columns "
                    f"{where[1].start} to {where[1].stop}"
                )
            numbers |= _by_bundle(part, bundle, psf, progress)
            if draws:
                drawn = _drawn(part, found.within(where), bundle, draws, progress)
            if drawn is not None and true is not None:
                numbers["existence"] = reliability(drawn.exists, found.within(where))
            if drawn is not None and "truth" in scene.images:
                numbers["draws"] = against_truth(part, drawn)
    numbers["notes"] = list(dict.fromkeys(scene.notes))
    numbers["headline"] = headline(numbers)
    progress("measured", 1.0)
    exists = None
    std = None
    if drawn is not None:
        exists = np.full(len(found), np.nan)
        exists[found.inside(where)] = drawn.exists
        if draws > 1:
            std = held(scene.light["prediction"].shape)
            std[:] = np.nan
            std[:, *where] = drawn.std
            forget()
    elif scene.order is not None and isinstance(prediction, str | Path):
        std = file_plane(prediction, "STD", scene.order, scene.valid.shape)
    return Findings(numbers, scene, true, found, apart, exists, std)


def _against_truth(
    scene: Scene,
    true: Catalogue,
    found: Catalogue,
    prediction: Image,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    done: dict[str, Any] = {"sources": recovery(scene, true, found)}
    progress("fluxes and colours", 0.2)
    done["photometry"] = photometry(scene, true)
    progress("stars and galaxies", 0.35)
    done["points"] = points(scene, true)
    progress("structure by scale", 0.5)
    done["structure"] = structure(scene)
    if scene.order is not None and isinstance(prediction, str | Path):
        done["intervals"] = spread(scene, prediction, scene.order) or None
    if done.get("intervals") is None:
        scene.notes.append(
            "the prediction carries no intervals (translate --samples N --quantiles 0.05,0.95)"
        )
    return done


# ------------------------------------------------------------------------------- by the model


def _like(scene: Scene, made: SkyImage) -> SkyImage:
    """What the bundle makes, in the bands, the unit and the pixels of the scene's prediction."""
    wanted = scene.images["prediction"]
    return in_unit_of(wanted, _on(wanted, with_bands_of(wanted, made, Matched())))


def _on(grid: SkyImage, made: SkyImage) -> SkyImage:
    """On these pixels: a bundle works on pixels of its own size."""
    return on_grid(made, grid, "prediction", Matched())


def _by_bundle(
    scene: Scene, bundle: Bundle, psf: float | None, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    def translate(image: SkyImage) -> SkyImage:
        return _like(scene, bundle.translate(image).mean)

    if bundle.direction().generator.stochastic:
        scene.notes.append(
            "what the model makes of noise and of sources put in is its answer without own noise"
        )
    progress("what it makes of noise", 0.65)
    done: dict[str, Any] = {"nulls": blank(scene, translate)}
    if psf is None:
        scene.notes.append("no source was put in: give the FWHM of the source's camera (--psf)")
        return done
    progress("putting sources in", 0.75)
    try:
        done["injected"] = injected(scene, translate, psf / (scene.pixel_scale or 1.0), _INJECTED)
    except ImgturboError as reason:
        scene.notes.append(str(reason))
    return done


def _by_encoder(scene: Scene, bundle: Bundle) -> NDArray[np.float32] | None:
    """The prediction, by the bundle's way back, on the source's bands and unit."""
    if bundle.encoder is None or bundle.encoder.zoom != 1:
        return None
    source, prediction = scene.images["source"], scene.images["prediction"]
    back = held(source.shape)
    for piece in pieces(scene.valid.shape, HALO):
        if not prediction.valid[piece.wide].any():
            continue
        with warnings.catch_warnings():
            # A prediction has less noise than any observation, as it should.
            warnings.filterwarnings("ignore", ".*sky is not the training's")
            made = bundle.translate(prediction.window(*piece.wide), "backward").mean
        here = source.window(*piece.wide)
        made = _on(here, in_unit_of(here, with_bands_of(here, made, Matched())))
        back[:, *piece.core] = np.nan_to_num(made.data[:, *piece.inner])
    return back


def _drawn(
    scene: Scene,
    found: Catalogue,
    bundle: Bundle,
    draws: int,
    progress: Callable[[str, float], None],
) -> Drawn | None:
    """What the bundle's draws say; None where it has no noise."""
    if not bundle.direction().generator.stochastic:
        scene.notes.append("the bundle has no noise, so that no source has a probability")
        return None
    source = scene.images["source"]

    def made() -> Iterator[NDArray[np.float32]]:
        for seed in range(draws):
            progress(f"draw {seed + 1} of {draws}", 0.85 + 0.15 * seed / draws)
            yield _like(scene, bundle.translate(source, samples=1, seed=seed).mean).data

    return look_at_draws(scene, found, made())


# ----------------------------------------------------------------------------- the headline


def headline(numbers: dict[str, Any]) -> dict[str, Any]:
    """The few figures of a card, a band each; None is "not measured".

    Grey values of pictures are no fluxes, and a depth needs a zero point.

    Returns:
        ``{"bands": {band: {"depth", "flux_ratio", "scatter", "colour", "colour_bias",
        "fwhm_ratio", "invented_per_arcmin2", "coverage_50", "coverage_90"}}, "notes": […]}``; the
        colour is that of the band and the next redder one.
    """
    rows: dict[str, dict[str, Any]] = {}
    picture = numbers["magnitudes"] == "of grey values"
    colours = {} if picture else (numbers["photometry"] or {"colours": {}})["colours"]
    for band in numbers["bands"]:
        light = None if picture else (numbers["photometry"] or {"bands": {}})["bands"].get(band)
        stars = (numbers["points"] or {"stars": {}})["stars"].get(band)
        sources = (numbers["sources"] or {"bands": {}})["bands"].get(band)
        colour = next((name for name in colours if name.startswith(f"{band}-")), None)
        nulls = numbers["nulls"] or {"noise": {}}
        rows[band] = {
            "depth": sources["depth"] if sources and numbers["magnitudes"] == "AB" else None,
            "flux_ratio": light and light["total"],
            "scatter": light and light["scatter"],
            "colour": colour,
            "colour_bias": colour and colours[colour]["bias"],
            "fwhm_ratio": stars and stars["fwhm_ratio"],
            "invented_per_arcmin2": nulls["noise"].get(band) if numbers["arcmin2"] else None,
            "coverage_50": _coverage(numbers, band, 0.5),
            "coverage_90": _coverage(numbers, band, 0.9),
        }
    return {"bands": rows, "notes": numbers["notes"]}


def card_of(findings: Findings, bundle: Bundle, prediction: Path) -> dict[str, Any]:
    """The headline as a bundle keeps it, with what it is of.

    Raises:
        ImgturboError: the prediction was made by another model.
    """
    header = findings.scene.images["prediction"].header
    made_by = str((header or {}).get("MODEL", ""))
    if made_by != bundle.hash:
        raise ImgturboError(
            f"{prediction}: was made by the model {made_by or 'of another program'}, not by "
            f"{bundle.path} ({bundle.hash}), and says nothing of it; leave --card out"
        )
    area = findings.numbers["arcmin2"]
    size = "" if area is None else f" ({area:.3g} square arcmin)"
    return {**findings.numbers["headline"], "of": f"{prediction.name}{size}"}


def _coverage(numbers: dict[str, Any], band: str, level: float) -> dict[str, Any] | None:
    for interval in (numbers["intervals"] or {}).values():
        if abs(interval["nominal"] - level) < 1e-6:
            return dict(interval["bands"][band]["all"])
    return None
