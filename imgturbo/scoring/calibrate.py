r"""How well a stochastic model knows what it does not know, on tiles it was not trained on.

For every validation pair (z, x) of a tile store the model draws x̃₁ … x̃_N ~ p(x|z), and the truth x
is compared with them, band by band and pixel by pixel, on the stretched scale with data range 1,
where both sides were measured:

- *calibration*: coverage of central intervals, calibration error, ranks — over all pixels, over
  each band, and over pixels where the **source** is bright (mean over its bands ≥ 0.25 stretched;
  choosing by the truth would make even a perfect model miss its levels);
- *scores of samples*: CRPS, energy score, best of N by both definitions, variance, mean distance,
  and beside the CRPS the absolute error of the samples' mean, which a certain model would score;
- *likelihood*, of a model that has one: bits a number of wholly measured tiles, beside those of
  the normal distributions of :mod:`imgturbo.metrics.likelihood`, fitted to training tiles. The
  noise that the likelihood was trained with is added to x here too, for model and normal alike;
- the Fréchet distance of :mod:`imgturbo.metrics.frechet` between the first draws and the truths.

Scores are means over tiles, with the standard error of a bootstrap over tiles. Everything is a
stream over batches: beside the network, memory is that of one batch's samples and what is computed
of them, about half a gigabyte, or of one tile's if those are more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imgturbo.bundle import Bundle
from imgturbo.data.batch import Batch
from imgturbo.data.loader import validation_batches
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.metrics.calibration import (
    calibration_error,
    coverage_of_ranks,
    crps,
    energy_score,
    rank_histogram,
    uniformity,
)
from imgturbo.metrics.diversity import (
    best_of_n_per_image,
    best_of_n_pixelwise,
    mean_distance,
    rms_errors,
    variance,
)
from imgturbo.metrics.frechet import FeatureMoments, frechet_features, frechet_report
from imgturbo.metrics.image import masked_mean
from imgturbo.metrics.perceptual import Unavailable
from imgturbo.mosaic.apply import pick_device
from imgturbo.nets.generator import Generator, on_grid
from imgturbo.nets.noise import PositionalNoise, Tempered
from imgturbo.places import free_folder, free_place
from imgturbo.report.preview import FIGURE
from imgturbo.scoring.stretched import as_bundle, as_image, likelihood, mean_over_tiles
from imgturbo.side import Side

__all__ = ["BRIGHT", "calibrate"]

BRIGHT = 0.25
"""Stretched source above which a pixel counts as bright: some 3 σ of the sky by default."""

MARK = (b'"calibration"', b'"tiles_scored"')
"""Of a file of numbers that a calibration made."""

_NUMBERS, _FIGURES = "calibration.json", "calibration.png"
_BATCH_NUMBERS = 1 << 24  # of samples held at once; scores need about six such arrays of float32

_SCORES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "crps": crps,
    "absolute_error_of_mean": lambda s, x, valid: masked_mean((s.mean(1) - x).abs(), valid),
    "energy_score": energy_score,
    "best_of_n_pixelwise": best_of_n_pixelwise,
    "best_of_n_per_image": best_of_n_per_image,
    "best_of_1": lambda s, x, valid: rms_errors(s[:, :1], x, valid)[:, 0],
    "variance": lambda s, x, valid: variance(s, valid),
    "mean_distance": lambda s, x, valid: mean_distance(s, valid),
}


@torch.inference_mode()
def calibrate(
    bundle: Bundle,
    tiles_path: Path | str,
    *,
    samples: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
    limit: int | None = None,
    levels: Sequence[float] = (0.5, 0.68, 0.9, 0.95),
    device: str | torch.device | None = None,
    perceptual: bool = True,
    out: Path | str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Score the samples of a bundle's decoder on the validation pairs of a tile store.

    Args:
        bundle: its decoder must be stochastic.
        tiles_path: a store with the bundle's bands and units; values stretched otherwise than the
            bundle's are stretched anew.
        samples: N, draws a tile, 2 or more.
        temperature: standard deviation of the noise, 0 or more.
        seed: draw n is a function of it, n and the tile's row: the same whatever the batches.
        limit: at most so many tiles, spread evenly.
        levels: of the central intervals, each in (0, 1).
        device: None: the first CUDA device, else the CPU.
        perceptual: whether the Fréchet distance is wanted.
        out: folder for ``calibration.json`` and ``calibration.png``; None: nothing is written.
        overwrite: replace files of these names that no calibration made.
        progress: called with what is being done and the fraction done.

    Returns:
        What ``calibration.json`` holds: ``calibration`` (``all``, ``bright``, ``bands``, each with
        ``coverage`` by level, ``calibration_error``, ``chi_square``, ``degrees``, ``misplaced``,
        ``ranks``, ``numbers``, or None where no pixel is such), ``scores`` (each ``value`` and
        ``standard_error``), ``crps_by_band`` (the same of each band or column), ``likelihood`` (or
        None), ``frechet`` (or None), ``notes``, and what was asked; ``what`` the tiles are: of a
        table they are rows.

    Raises:
        ImgturboError: a deterministic model or no decoder, fewer than two samples, a temperature
            below zero, no validation pair, other bands or units than the bundle's.
    """
    began = time.monotonic()
    decoder = _decoder(bundle)
    _check_request(samples, temperature, limit, levels)
    if out is not None:
        free_folder(out, folders=[tiles_path, bundle.path])
        for name, mark in ((_FIGURES, FIGURE), (_NUMBERS, MARK)):
            free_place(Path(out) / name, mark=mark, overwrite=overwrite)
    store = TileStore.open(tiles_path)
    _check_store(bundle, store)
    on = pick_device(device)
    decoder.to(on).eval()
    side, what = store.tile or 1, "rows" if store.tile is None else "tiles"
    at_once = max(1, _BATCH_NUMBERS // (samples * len(bundle.target) * side**2))
    total = int(store.split("validation").paired.sum())
    total = total if limit is None else min(limit, total)
    notes: list[str] = []

    empty = torch.zeros(len(bundle.target), samples + 1, dtype=torch.int64)
    counts = {"all": empty, "bright": empty}
    scores: dict[str, list[Tensor]] = {name: [] for name in _SCORES}
    by_band: dict[str, list[Tensor]] = {name: [] for name in bundle.target.names}
    features = FeatureMoments(), FeatureMoments()
    done = measured = bright_numbers = 0
    for number, read in enumerate(validation_batches(store, at_once, limit)):
        batch = as_bundle(read, bundle, store).to(on)
        drawn = _draw(decoder, batch, samples, temperature, seed, side)
        x, valid, bright = (as_image(u) for u in (batch.x, *_masks(batch, decoder.zoom)))
        for name, score in _SCORES.items():
            scores[name].append(score(drawn, x, valid).cpu())
        for place, band in enumerate(by_band):
            own = slice(place, place + 1)
            by_band[band].append(crps(drawn[:, :, own], x[:, own], valid).cpu())
        ties = seed + number
        counts["all"] = counts["all"] + rank_histogram(drawn, x, valid, ties)
        if store.tile is not None:  # a row of numbers has no bright pixels
            counts["bright"] = counts["bright"] + rank_histogram(drawn, x, bright, ties)
        measured += int(valid.sum())
        bright_numbers += int(bright.sum())
        if perceptual and batch.x.ndim == 4:
            _take_features(features, x.where(valid, 0), drawn[:, 0].where(valid, 0), notes)
        done += len(x)
        if progress is not None:
            progress(f"{done} of {total} {what}", 0.9 * done / total)
    if not measured:
        raise ImgturboError(
            f"{store.path}: no pixel of the validation pairs is measured on both sides; prepare "
            "with a higher prepare.tile.min_valid"
        )

    result: dict[str, Any] = {
        "bundle": str(bundle.path),
        "hash": bundle.hash,
        "tiles": str(store.path),
        "source_bands": list(bundle.source.names),
        "target_bands": list(bundle.target.names),
        "samples": samples,
        "temperature": temperature,
        "seed": seed,
        "tiles_scored": done,
        "data_range": 1.0,
        "levels": [float(level) for level in levels],
        "calibration": _calibration(counts, bundle.target.names, levels),
        "bright": {"source_above": BRIGHT, "fraction": bright_numbers / measured},
        "scores": {name: mean_over_tiles(torch.cat(values)) for name, values in scores.items()},
        "crps_by_band": {
            name: mean_over_tiles(torch.cat(values)) for name, values in by_band.items() if values
        },
        "what": what,
        "likelihood": likelihood(decoder, bundle, store, at_once, limit, seed, on, notes),
        "frechet": frechet_report(*features) if min(f.count for f in features) > 1 else None,
    }
    sigma = bundle.config.objective.noise
    if sigma and decoder.has_density:
        notes.append(
            f"the samples carry the training's noise, σ = {sigma:g} stretched, which the truths "
            "that they are compared with do not"
        )
    if decoder.doubt:
        notes.append(decoder.doubt)
    if not bright_numbers and store.tile is not None:
        notes.append(f"no source pixel is above {BRIGHT} stretched: bright pixels are left out")
    result |= {"device": str(on), "seconds": round(time.monotonic() - began, 1), "notes": notes}
    if out is not None:
        _write(Path(out), result)
    return result


# ---------------------------------------------------------------------------------- checks


def _decoder(bundle: Bundle) -> Generator:
    decoder = bundle.decoder
    if decoder is None:
        raise ImgturboError(
            f"{bundle.path}: holds no decoder, and samples are scored source to target; train one"
        )
    if not decoder.stochastic:
        raise ImgturboError(
            f"{bundle.path}: its decoder is deterministic, so there is no spread to score; train "
            "a cinn, a diffusion model, or a generator with noise_channels > 0 or head: gaussian"
        )
    return decoder


def _check_request(
    samples: int, temperature: float, limit: int | None, levels: Sequence[float]
) -> None:
    if samples < 2:
        raise ImgturboError(f"{samples} samples have no spread; draw 2 or more, better 32")
    if not 0 <= temperature < math.inf:
        raise ImgturboError(f"the temperature must be zero or more, not {temperature}")
    if limit is not None and limit < 1:
        raise ImgturboError(f"a limit of {limit} tiles leaves none; use 1 or more, or none at all")
    for level in levels:
        if not 0 < level < 1:
            raise ImgturboError(f"level {level}: an interval's level lies between 0 and 1")


def _check_store(bundle: Bundle, store: TileStore) -> None:
    for name, own, theirs in (
        ("source", bundle.source, store.source),
        ("target", bundle.target, store.target),
    ):
        if theirs is None:
            raise ImgturboError(f"{store.path}: has no {name} side; prepare pairs to score with")
        for what, here, wanted in (
            ("bands", ", ".join(theirs.names), ", ".join(own.names)),
            ("unit", _units(theirs), _units(own)),
        ):
            if here != wanted:
                raise ImgturboError(
                    f"{store.path}: {name} {what} {here}, but the bundle {bundle.path} was trained "
                    f"with {wanted}; prepare tiles like those"
                )
    if not store.split("validation").paired.any():
        raise ImgturboError(
            f"{store.path}: no validation {'row' if store.tile is None else 'tile'} is a pair; "
            f"prepare with prepare.{'tables' if store.tile is None else 'split'}.fraction > 0 "
            "and both source and target" + ("" if store.tile is None else " files of the same sky")
        )


def _units(side: Side) -> str:
    return ", ".join(dict.fromkeys(unit or "none" for unit in side.units)) or "none"


# ---------------------------------------------------------------------------------- drawing


def _draw(
    decoder: Generator, batch: Batch, samples: int, temperature: float, seed: int, side: int
) -> Tensor:
    """Samples (B, N, C', H, W). Every tile has an origin of its own, so that none share latents."""
    pitch = -(-side // decoder.stride) * decoder.stride
    rows = batch.z_index.cpu() * pitch
    origins = torch.stack([rows, torch.zeros_like(rows)], 1)
    noises = [Tempered(PositionalNoise(seed, origins, n), temperature) for n in range(samples)]
    return torch.stack([as_image(x).float() for x in decoder.draws(batch.z, noises)], 1)


def _masks(batch: Batch, zoom: Fraction) -> tuple[Tensor, Tensor]:
    """Where both sides were measured, and where the source is bright too; (B, 1, …) of x."""
    valid = on_grid(batch.z_valid, zoom) & batch.x_valid
    return valid, valid & on_grid(batch.z.mean(1, keepdim=True) >= BRIGHT, zoom)


def _take_features(
    features: tuple[FeatureMoments, FeatureMoments], truth: Tensor, draw: Tensor, notes: list[str]
) -> None:
    try:
        for moments, images in zip(features, (truth, draw), strict=True):
            moments.update(frechet_features(images))
    except Unavailable as reason:
        if str(reason) not in notes:
            notes.append(str(reason))


# ---------------------------------------------------------------------------------- results


def _calibration(
    counts: dict[str, Tensor], bands: Sequence[str], levels: Sequence[float]
) -> dict[str, Any]:
    by_band = zip(bands, counts["all"], strict=True)
    return {
        "all": _ranked(counts["all"].sum(0), levels),
        "bright": _ranked(counts["bright"].sum(0), levels),
        "bands": {band: _ranked(ranks, levels) for band, ranks in by_band},
    }


def _ranked(ranks: Tensor, levels: Sequence[float]) -> dict[str, Any] | None:
    if not ranks.any():
        return None
    flat = uniformity(ranks)
    found = coverage_of_ranks(ranks, levels).tolist()
    return {
        "coverage": {f"{level:g}": value for level, value in zip(levels, found, strict=True)},
        "calibration_error": calibration_error(ranks),
        "chi_square": flat.chi_square,
        "degrees": flat.degrees,
        "misplaced": flat.misplaced,
        "numbers": int(ranks.sum()),
        "ranks": ranks.tolist(),
    }


def _write(out: Path, result: dict[str, Any]) -> None:
    from imgturbo.report.calibration import calibration_figure  # matplotlib

    write_json(out / _NUMBERS, result)
    calibration_figure(out / _FIGURES, result)
