"""`evaluate`: one prediction against one target, beside what it must beat, on a stated stretch.

All scores are computed on y = stretch(flux) with data range 1, over pixels that are valid in
prediction, target and (where given) source and ceiling alike. The stretch is, in this order: the
caller's; the one in the prediction's header (fitted on the training sky); linear for pictures;
else fitted on the target. Which one was used is part of the answer.

Fluxes are compared in the prediction's unit, the one that its stretch belongs to, on the target's
pixels: a value goes from one flux scale (unit, AB zero point, pixel area) to the other by
:meth:`imgturbo.sky.FluxScale.factor_to`, and the prediction's stretch goes along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imgturbo.errors import ImgturboError
from imgturbo.metrics.baselines import affine_colour, identity
from imgturbo.metrics.crops import CropFrechet
from imgturbo.metrics.detection import compare_sources
from imgturbo.metrics.haarpsi import haarpsi
from imgturbo.metrics.image import ms_ssim, mse, psnr, ssim
from imgturbo.metrics.luminance import luminance
from imgturbo.metrics.perceptual import Unavailable, lpips_distance, st_lpips_distance
from imgturbo.metrics.spectrum import spectrum_scores
from imgturbo.scoring.ceiling import seen_again
from imgturbo.scoring.intervals import file_intervals
from imgturbo.scoring.refined import bicubic_of
from imgturbo.scoring.together import (
    Image,
    Matched,
    as_sky,
    flux_factors,
    in_unit_of,
    name_of,
    on_grid,
    there_and_back,
    with_bands_of,
)
from imgturbo.sky import SkyImage, Stretch
from imgturbo.sky.provenance import predicted_by
from imgturbo.sky.units import DISPLAY

__all__ = ["MARK", "Image", "evaluate", "scores"]

MARK = (b'"prediction"', b'"baselines"')
"""How a file of scores is known (:mod:`imgturbo.places`)."""


def evaluate(
    pred: Image,
    target: Image,
    source: Image | None = None,
    stretch: Stretch | None = None,
    perceptual: bool = True,
    bands: Sequence[str] | None = None,
    ceiling: Image | None = None,
) -> dict[str, Any]:
    """Score ``pred`` against ``target`` and, given ``source``, against both baselines.

    Each image is a :class:`SkyImage`, a path (or the paths of single-band files), or an array
    (C, H, W) in flux. Where pred and target lie on different grids and both have a WCS, pred is
    resampled to the target's grid, flux conserved; likewise source. A note says so, and
    ``"resampling"`` what a perfect prediction on pred's grid would score, by interpolation alone.

    Args:
        pred, target, source: see above; bands of pred and target go by their names.
        stretch: of the target's bands; None: see the module's docstring.
        perceptual: also the scores by networks.
        bands: names of the prediction's bands, in its order, where headers lie.
        ceiling: an image to be scored beside the prediction as what can be had at best: a
            simulation's noiseless truth, or a second exposure of the target. Where it was not
            measured, nothing is scored.

    Returns:
        JSON as it is, with one row of scores (``{"mse", "psnr", "ssim", "ms_ssim",
        "spectrum_error", "coherence", "haarpsi", "source_f1", "source_precision", "source_recall",
        "sources", "sources_matched", "sources_target", "lpips", "st_lpips", "frechet",
        "frechet_crops"}``) for each image that is scored:

        - ``"prediction"``; ``"baselines"``: ``{"identity", "affine"}``, None without a source, and
          ``"bicubic"`` where the source's pixels are a whole number of the target's wide and begin
          where these do: cubic convolution of its stretched values (super-resolution);
        - ``"ceilings"``: ``{"given", "again"}``, the ``ceiling`` and the target with fresh noise;
        - ``"by_band"``: ``{"F150W": {…}, …}`` of the prediction, the scores that go by pixels;
          ``"beside_by_band"`` the same of all the others, by their names;
        - ``"resampling"``: ``{"what", "perfect", "notes"}``, None where nothing was resampled, its
          perfect row None where only the source was;
        - ``"calibration"``: ``{"Q05-Q95": {"nominal", "coverage"}}``, None without quantiles in
          pred's file or where it had to be resampled;
        - ``"stretch"``, ``"valid_fraction"``, ``"bands"``, ``"data_range"`` and ``"notes"``.

        Scores that cannot be had, or are infinite, are None and a note says why.

    Example:
        >>> from imgturbo import Stretch
        >>> truth = np.random.default_rng(0).random((1, 20, 24)).astype(np.float32)
        >>> plain = Stretch(np.array([0.0]), np.array([1.0]), np.array([1.0]))
        >>> scores = evaluate(truth + 0.1, truth, stretch=plain, perceptual=False)
        >>> round(scores["prediction"]["psnr"], 1)
        21.3

    Raises:
        ImgturboError: bands, units or grids that cannot be reconciled, or no common valid pixel.
    """
    done = Matched()
    notes = done.notes
    truth = as_sky(target, "target")
    as_given = as_sky(pred, "prediction", bands)
    if predicted := predicted_by(truth.header):
        notes.append(f"the target was itself made {predicted}")
    chosen = with_bands_of(truth, as_given, done)
    prediction = on_grid(chosen, truth, "prediction", done, pred, bands)
    truth = in_unit_of(prediction, truth)
    valid = prediction.valid & truth.valid
    given = None
    if source is not None:
        as_given_source = as_sky(source, "source")
        given = on_grid(as_given_source, truth, "source", done, source)
        valid &= given.valid
    best = None
    if ceiling is not None:
        best = with_bands_of(truth, as_sky(ceiling, "ceiling"), done)
        best = in_unit_of(prediction, on_grid(best, truth, "ceiling", done, ceiling))
        valid &= best.valid
    if not valid.any():
        raise ImgturboError(
            f"{name_of(prediction)} ({', '.join(prediction.bands)}) and {name_of(truth)} "
            f"({', '.join(truth.bands)}) share no valid pixel; check masks and WCS"
        )
    stretch, origin = _choose_stretch(stretch, chosen, prediction, truth, valid)
    y_true = _filled(stretch(truth.data), valid)
    images: dict[str, NDArray[np.float32]] = {
        "prediction": _filled(stretch(prediction.data), valid)
    }
    if given is None:
        notes.append("no source given: the baselines (input as it is, affine colour) are missing")
    else:
        images["identity"] = _filled(_input_as_is(given, prediction, stretch, valid), valid)
        own = _filled(_own_stretch(given, valid)(given.data), valid)
        images["affine"] = affine_colour(own, y_true, valid)
        refined = bicubic_of(as_given_source, prediction, stretch)
        if refined is not None:
            images["bicubic"] = _filled(refined, valid)
    noisy = bool(np.isfinite(stretch.softening).any())  # a picture's noise is part of the picture
    if noisy:
        images["again"] = _filled(stretch(seen_again(truth.data, valid)), valid)
    if best is not None:
        images["ceiling"] = _filled(stretch(best.data), valid)
    calibration = _intervals(pred, as_given, prediction, truth, valid)
    frechet = _frechet(y_true, valid, notes) if perceptual else None
    rows: dict[str, dict[str, float | None]] = {}
    by_band: dict[str, dict[str, dict[str, float | None]]] = {}
    for label, image in images.items():
        rows[label] = scores(image, y_true, valid, truth.bands, perceptual, notes, noisy=noisy)
        by_band[label] = {
            band: _differences(image[k : k + 1], y_true[k : k + 1], valid, noisy)
            for k, band in enumerate(truth.bands)
        }
        if perceptual:
            rows[label] |= {
                "frechet": frechet(image) if frechet else None,
                "frechet_crops": frechet.crops if frechet else None,
            }
        if rows[label]["mse"] == 0:
            notes.append(f"{label}: equal to the target, its PSNR is infinite and left out")
    return {
        "prediction": rows["prediction"],
        "baselines": {label: rows.get(label) for label in ("identity", "affine")}
        | {label: rows[label] for label in ("bicubic",) if label in rows},
        "ceilings": {"given": rows.get("ceiling"), "again": rows.get("again")},
        "by_band": by_band.pop("prediction"),
        "beside_by_band": by_band,
        "resampling": _resampling(done, chosen, truth, stretch, valid),
        "calibration": calibration,
        "stretch": {"from": origin, **stretch.to_dict()},
        "valid_fraction": float(valid.mean()),
        "bands": list(truth.bands),
        "data_range": 1.0,
        "notes": list(dict.fromkeys(notes)),  # a metric that is missing is missing for all
    }


def _resampling(
    done: Matched, pred: SkyImage, truth: SkyImage, stretch: Stretch, valid: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Who was resampled, and what a perfect prediction on the grid of ``pred`` would score."""
    if not done.resampled:
        return None
    said, perfect = list(done.resampled.values()), None
    if "prediction" in done.resampled:
        back = there_and_back(truth, pred)
        both = valid & back.valid
        if both.any():
            shown, wanted = (_filled(stretch(image.data), both) for image in (back, truth))
            perfect = _differences(shown, wanted, both)
            said.append(
                "a perfect prediction, the target itself brought to the prediction's grid and "
                f"back, would score {_decibels(perfect['psnr'])} and SSIM "
                f"{_digits(perfect['ssim'])} by resampling alone; for scores of the prediction "
                "itself make it on the target's grid (translate --grid TARGET)"
            )
            done.notes.append(said[-1])
    return {"what": list(done.resampled), "perfect": perfect, "notes": said}


def _decibels(psnr: float | None) -> str:
    return "an infinite PSNR" if psnr is None else f"PSNR {psnr:.2f} dB"


def _digits(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


def scores(
    pred: NDArray[np.float32],
    target: NDArray[np.float32],
    valid: NDArray[np.bool_],
    bands: Sequence[str],
    perceptual: bool = True,
    notes: list[str] | None = None,
    *,
    noisy: bool = False,
) -> dict[str, float | None]:
    """All metrics of stretched arrays (C, H, W) over ``valid`` (H, W).

    HaarPSI and source detection see the luminance of ``bands`` alone; spectra what stands out from
    the noise of a ``noisy`` target. None where a metric is not
    available, infinite, or not defined (SSIM of images below 11 pixels).
    """
    p, t, mask = _tensors(pred, target, valid)
    result = _differences(pred, target, valid, noisy)
    grey_p, grey_t = (torch.from_numpy(luminance(u, bands))[None, None] for u in (pred, target))
    result["haarpsi"] = _number(haarpsi(grey_p, grey_t, mask))
    found = compare_sources(grey_p[0, 0].numpy(), grey_t[0, 0].numpy(), valid)
    result |= {
        "source_f1": _finite(found.f1),
        "source_precision": _finite(found.precision),
        "source_recall": _finite(found.recall),
        "sources": found.predicted,
        "sources_matched": found.matched,
        "sources_target": found.true,
    }
    if perceptual:
        for name, distance in (("lpips", lpips_distance), ("st_lpips", st_lpips_distance)):
            try:
                result[name] = _number(distance(p, t))
            except Unavailable as reason:
                result[name] = None
                if notes is not None:
                    notes.append(str(reason))
    return result


def _tensors(
    pred: NDArray[np.float32], target: NDArray[np.float32], valid: NDArray[np.bool_]
) -> tuple[Tensor, Tensor, Tensor]:
    p, t = (torch.from_numpy(np.ascontiguousarray(u))[None] for u in (pred, target))
    return p, t, torch.from_numpy(np.ascontiguousarray(valid))[None, None]


def _differences(
    pred: NDArray[np.float32],
    target: NDArray[np.float32],
    valid: NDArray[np.bool_],
    noisy: bool = False,
) -> dict[str, float | None]:
    """The metrics that go by pixels, of arrays (C, H, W): of all bands together, or of one."""
    p, t, mask = _tensors(pred, target, valid)
    spectrum = spectrum_scores(p, t, mask, noisy=noisy)
    return {
        "mse": _number(mse(p, t, mask)),
        "psnr": _number(psnr(p, t, mask)),
        "ssim": _number(ssim(p, t, mask)),
        "ms_ssim": _number(ms_ssim(p, t, mask)),
        "spectrum_error": _number(spectrum.error),
        "coherence": _number(spectrum.coherence),
    }


def _frechet(
    target: NDArray[np.float32], valid: NDArray[np.bool_], notes: list[str]
) -> CropFrechet | None:
    try:
        return CropFrechet(target, valid)
    except Unavailable as reason:
        notes.append(str(reason))
        return None


def _intervals(
    pred: Image, given: SkyImage, prediction: SkyImage, truth: SkyImage, valid: NDArray[np.bool_]
) -> dict[str, dict[str, float]] | None:
    """Coverage of the quantiles in the file of ``pred``, read as ``given`` and perhaps moved."""
    if not isinstance(pred, str | Path) or prediction.wcs is not given.wcs:
        return None
    return file_intervals(pred, [given.bands.index(b) for b in prediction.bands], truth.data, valid)


def _number(score: Tensor) -> float | None:
    return _finite(float(score))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _choose_stretch(
    stretch: Stretch | None,
    given: SkyImage,
    pred: SkyImage,
    target: SkyImage,
    valid: NDArray[np.bool_],
) -> tuple[Stretch, str]:
    if stretch is not None:
        if len(stretch) != len(target.bands):
            raise ImgturboError(
                f"the stretch is of {len(stretch)} bands but {name_of(target)} has "
                f"{len(target.bands)} ({', '.join(target.bands)}); give one of these bands"
            )
        return stretch, "caller"
    if pred.header is not None:
        found = Stretch.from_header(pred.header, pred.bands)
        if found is not None:
            return _moved_stretch(found, given, pred), "prediction header"
    if target.unit == DISPLAY:
        return Stretch.linear(len(target.bands)), "linear (pictures)"
    return Stretch.fit(target.data, valid), "fitted on the target"


def _moved_stretch(stretch: Stretch, given: SkyImage, pred: SkyImage) -> Stretch:
    """Of a prediction that was ``given`` on other pixels, where fluxes per pixel are others."""
    pairs = zip(given.scales, pred.scales, strict=True)
    factors = np.array([old.factor_to(new) or 1.0 for old, new in pairs])
    return stretch.scaled(factors) if np.abs(np.log(factors)).max() > 1e-6 else stretch


def _own_stretch(image: SkyImage, valid: NDArray[np.bool_]) -> Stretch:
    if image.unit == DISPLAY:
        return Stretch.linear(len(image.bands))
    return Stretch.fit(image.data, valid)


def _input_as_is(
    source: SkyImage, prediction: SkyImage, stretch: Stretch, valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The source in the prediction's flux unit, then stretched like it.

    Without zero points in both a flux cannot be compared, and the source's own stretch puts it on
    the range 0–1 instead.
    """
    channels = len(prediction.bands)
    taken = identity(np.arange(len(source.bands)), channels)
    factors = flux_factors([source.scales[k] for k in taken], prediction)
    if factors is None:
        return identity(_own_stretch(source, valid)(source.data), channels)
    return stretch(source.data[taken] * factors)


def _filled(y: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Invalid pixels set to 0 (the sky) in every image alike, so that spectra see the same mask."""
    return np.where(valid, y, 0).astype(np.float32)
