"""`evaluate`: one prediction against one target, beside what it must beat, on a stated stretch.

All scores are computed on y = stretch(flux) with data range 1, over pixels that are valid in
prediction, target and (where given) source alike. The stretch is, in this order: the caller's; the
one in the prediction's header (fitted on the training sky); linear for pictures; else fitted on the
target. Which one was used is part of the answer.

Fluxes are compared in the prediction's unit, the one that its stretch belongs to, on the target's
pixels: a value goes from one flux scale (unit, AB zero point, pixel area) to the other by
:meth:`imgturbo.sky.FluxScale.factor_to`, and the prediction's stretch goes along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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
from imgturbo.metrics.spectrum import log_spectrum_error
from imgturbo.scoring.intervals import file_intervals
from imgturbo.sky import FluxScale, SkyImage, Stretch, open_sky, read_sky, resample
from imgturbo.sky.headers import same_grid
from imgturbo.sky.units import DISPLAY

__all__ = ["Image", "evaluate", "scores"]

Image = SkyImage | NDArray[Any] | Path | str | Sequence[Path | str]


def evaluate(
    pred: Image,
    target: Image,
    source: Image | None = None,
    stretch: Stretch | None = None,
    perceptual: bool = True,
) -> dict[str, Any]:
    """Score ``pred`` against ``target`` and, given ``source``, against both baselines.

    Each image is a :class:`SkyImage`, a path (or the paths of single-band files), or an array
    (C, H, W) in flux. Where pred and target lie on different grids and both have a WCS, pred is
    resampled to the target's grid, flux conserved, each band once; likewise source.

    Returns:
        ``{"prediction": {"mse", "psnr", "ssim", "ms_ssim", "spectrum_error", "haarpsi",
        "source_f1", "source_precision", "source_recall", "sources", "sources_matched",
        "sources_target", "lpips", "st_lpips", "frechet", "frechet_crops"}, "baselines":
        {"identity": {…}, "affine": {…}}, "calibration": {"Q05-Q95": {"nominal", "coverage"}},
        "stretch": {…}, "valid_fraction": …, "bands": […], "data_range": 1.0, "notes": […]}``, JSON
        as it is: scores that cannot be had, or are infinite, are None and a note says why.
        Baselines are None without a source, calibration without quantiles in pred's file or where
        it had to be resampled.

    Raises:
        ImgturboError: bands, units or grids that cannot be reconciled, or no common valid pixel.
    """
    truth = _as_sky(target, "target")
    as_given = _as_sky(pred, "prediction")
    notes: list[str] = []
    prediction = _common_bands(_on_grid(pred, as_given, truth, notes), truth)
    truth = _in_unit_of(prediction, truth)
    valid = prediction.valid & truth.valid
    given = None
    if source is not None:
        given = _on_grid(source, _as_sky(source, "source"), truth, notes)
        valid &= given.valid
    if not valid.any():
        raise ImgturboError(
            f"{_name(prediction)} and {_name(truth)} share no valid pixel; check masks and WCS"
        )
    stretch, origin = _choose_stretch(stretch, as_given, prediction, truth, valid)
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
    calibration = _intervals(pred, as_given, prediction, truth, valid)
    frechet = _frechet(y_true, valid, notes) if perceptual else None
    rows: dict[str, dict[str, float | None]] = {}
    for label, image in images.items():
        rows[label] = scores(image, y_true, valid, truth.bands, perceptual, notes)
        if perceptual:
            rows[label] |= {
                "frechet": frechet(image) if frechet else None,
                "frechet_crops": frechet.crops if frechet else None,
            }
        if rows[label]["mse"] == 0:
            notes.append(f"{label}: equal to the target, its PSNR is infinite and left out")
    return {
        "prediction": rows["prediction"],
        "baselines": {label: rows.get(label) for label in ("identity", "affine")},
        "calibration": calibration,
        "stretch": {"from": origin, **stretch.to_dict()},
        "valid_fraction": float(valid.mean()),
        "bands": list(truth.bands),
        "data_range": 1.0,
        "notes": list(dict.fromkeys(notes)),  # a metric that is missing is missing for all
    }


def scores(
    pred: NDArray[np.float32],
    target: NDArray[np.float32],
    valid: NDArray[np.bool_],
    bands: Sequence[str],
    perceptual: bool = True,
    notes: list[str] | None = None,
) -> dict[str, float | None]:
    """All metrics of stretched arrays (C, H, W) over ``valid`` (H, W).

    HaarPSI and source detection see the luminance of ``bands`` alone. None where a metric is not
    available, infinite, or not defined (SSIM of images below 11 pixels).
    """
    p, t = torch.from_numpy(pred)[None], torch.from_numpy(target)[None]
    mask = torch.from_numpy(np.ascontiguousarray(valid))[None, None]
    result: dict[str, float | None] = {
        "mse": _number(mse(p, t, mask)),
        "psnr": _number(psnr(p, t, mask)),
        "ssim": _number(ssim(p, t, mask)),
        "ms_ssim": _number(ms_ssim(p, t, mask)),
        "spectrum_error": _number(log_spectrum_error(p, t, mask)),
    }
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


def _name(image: SkyImage) -> str:
    return str(image.path) if image.path is not None else "the array"


def _as_sky(image: Image, role: str) -> SkyImage:
    if isinstance(image, SkyImage):
        return image
    if isinstance(image, np.ndarray):
        if image.ndim == 2:
            image = image[None]
        if image.ndim != 3:
            raise ImgturboError(f"{role}: an array must be (C, H, W) or (H, W), not {image.shape}")
        return SkyImage.from_array(image)
    return read_sky(image)


def _on_grid(given: Image, image: SkyImage, grid: SkyImage, notes: list[str]) -> SkyImage:
    """``image``, read of ``given``, on the grid of ``grid``; without a unit, in the other's.

    Files are read again, so that bands on several grids are moved once.
    """
    same_shape = image.shape[1:] == grid.shape[1:]
    if image.wcs is None or grid.wcs is None:
        if same_shape:
            return image
        raise ImgturboError(
            f"{_name(image)} is {image.shape[1]} × {image.shape[2]} pixels but {_name(grid)} is "
            f"{grid.shape[1]} × {grid.shape[2]}, and without a WCS on both sides they cannot be "
            "brought together; crop or register them first (imgturbo prepare)"
        )
    if same_shape and same_grid(image.wcs, grid.wcs, (image.shape[1], image.shape[2])):
        return image
    if grid.unit and any(scale.unit.kind == "none" for scale in image.scales):
        notes.append(f"{_name(image)}: no unit, taken to be {grid.unit} as in {_name(grid)}")
        image = replace(image, unit=grid.unit)
    if isinstance(given, SkyImage | np.ndarray):
        return resample(image, grid.wcs, grid.shape[1:])
    with open_sky(given, unit=grid.unit) as reader:
        return reader.on(grid.wcs, grid.shape[1:], name=_name(grid)).read()


def _common_bands(pred: SkyImage, target: SkyImage) -> SkyImage:
    """``pred`` with its bands in the target's order, by name; else the order is the user's."""
    if set(pred.bands) == set(target.bands):
        return pred.select(target.bands)
    if len(pred.bands) == len(target.bands):
        return pred
    raise ImgturboError(
        f"{_name(pred)} has bands {', '.join(pred.bands)} but {_name(target)} has "
        f"{', '.join(target.bands)}; give the same bands on both sides"
    )


def _in_unit_of(reference: SkyImage, image: SkyImage) -> SkyImage:
    """``image`` in the flux unit of ``reference``, band by band."""
    factors = _flux_factors(image.scales, reference)
    if factors is not None:
        data = image.data * factors
        return replace(image, data=data, unit=reference.unit, zeropoints=reference.zeropoints)
    if not image.unit or not reference.unit:
        return image  # an array, or a header without BUNIT: the user's word is taken
    raise ImgturboError(
        f"{_name(reference)} is in {reference.unit} but {_name(image)} in {image.unit}, and "
        "without AB zero points in both they cannot be compared; bring them to one unit"
    )


def _flux_factors(scales: Sequence[FluxScale], reference: SkyImage) -> NDArray[np.float32] | None:
    """(C, 1, 1), from the flux scales to the reference's; None where nothing connects them."""
    factors = [a.factor_to(b) for a, b in zip(scales, reference.scales, strict=True)]
    known = np.array([factor for factor in factors if factor is not None])
    return known.astype(np.float32)[:, None, None] if len(known) == len(factors) else None


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
                f"the stretch is of {len(stretch)} bands but {_name(target)} has "
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
    of_band = dict(zip(given.bands, given.scales, strict=True))
    names = pred.bands if set(pred.bands) == set(of_band) else given.bands
    pairs = zip((of_band[name] for name in names), pred.scales, strict=True)
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
    factors = _flux_factors([source.scales[k] for k in taken], prediction)
    if factors is None:
        return identity(_own_stretch(source, valid)(source.data), channels)
    return stretch(source.data[taken] * factors)


def _filled(y: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Invalid pixels set to 0 (the sky) in every image alike, so that spectra see the same mask."""
    return np.where(valid, y, 0).astype(np.float32)
