"""Whether a flow's intervals hold on a sky it never saw, observed again and again.

    python benchmarks/sky_calibration.py BUNDLE --out DIR [--seed 99] [--again 3] [--samples 64]

A sky that no training run has drawn is simulated, observed once by Hubble and, with new noise each
time, several times by Webb: draws from what a posterior of the Webb image must cover, given this
Hubble image. The Hubble image is translated, file to file, and the share of Webb pixels between the
quantiles is counted, for all pixels and for those where Hubble saw something (its stretched mean
over bands at least 0.25), with the bands apart. DIR/skies.png shows the Hubble image, the mean, two
draws, five times the half width of the 68 % interval and what Webb saw.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from data_prep.prepare import prepare
from data_prep.simulate import simulate
from imgturbo.bundle import Bundle, load_bundle
from imgturbo.config import FieldConfig, PrepareConfig
from imgturbo.files import write_json
from imgturbo.mosaic import translate_file
from imgturbo.mosaic.reducers import quantile_name
from imgturbo.report.preview import comparison
from imgturbo.scoring.calibrate import BRIGHT
from imgturbo.sky import SkyImage, read_sky

LEVELS = (0.025, 0.05, 0.16, 0.25, 0.75, 0.84, 0.95, 0.975)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=512, help="side of the Webb image, pixels")
    parser.add_argument("--seed", type=int, default=99, help="of the sky; none of the training's")
    parser.add_argument("--again", type=int, default=3, help="Webb exposures of the one sky")
    parser.add_argument("--samples", type=int, default=64)
    arguments = parser.parse_args()
    print(json.dumps(run(**vars(arguments)), indent=2))


def run(bundle: Path, out: Path, size: int, seed: int, again: int, samples: int) -> dict[str, Any]:
    """Simulate, align, translate and count; also written to ``out/calibration.json``."""
    started = time.monotonic()
    model = load_bundle(bundle)
    bands = {
        "source_bands": model.source.names,
        "target_bands": model.target.names,
    }
    pairs = [
        simulate(out / f"sky-{k}", pixels=size, seed=seed, noise_seed=1000 * seed + k, **bands)
        for k in range(again)
    ]
    field = FieldConfig(name="sky", source=list(pairs[0].source), target=list(pairs[0].target))
    settings = PrepareConfig(fields=[field], out=out / "tiles.zarr")
    aligned = out / "aligned"
    for former in aligned.glob("sky_*.fits"):
        former.unlink()
    prepare(settings, keep_aligned=aligned)
    prediction = out / "prediction.fits"
    translate_file(
        model, [aligned / "sky_source.fits"], prediction,
        samples=samples, quantiles=LEVELS, overwrite=True,
    )  # fmt: skip

    source = read_sky(aligned / "sky_source.fits")
    y = model.source.stretch(source.data)
    bright = np.nanmean(np.where(np.isfinite(y), y, np.nan), axis=0) >= BRIGHT
    names = [quantile_name(level) for level in LEVELS]
    planes = dict(zip(LEVELS, _planes(prediction, model.target.names, names).values(), strict=True))
    exposures = [read_sky(list(pair.target)) for pair in pairs]
    report = {
        "bundle": model.hash, "seed": seed, "exposures": again, "samples": samples,
        "coverage": {
            f"{upper - lower:.2f}": _coverage(planes, lower, upper, exposures, bright)
            for lower, upper in zip(LEVELS, LEVELS[::-1], strict=True)
            if lower < upper
        },
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    write_json(out / "calibration.json", report)
    _picture(out, model, aligned / "sky_source.fits", exposures[0])
    return report


def _picture(out: Path, model: Bundle, source: Path, truth: SkyImage) -> None:
    two = out / "draws.fits"
    translate_file(model, [source], two, samples=2, keep_draws=True, overwrite=True)
    given, wanted = (side.stretch for side in (model.source, model.target))
    bands = model.target.names
    planes = _planes(out / "prediction.fits", bands, ("SCI", "Q16", "Q84"))
    draws = _planes(two, bands, ("S001", "S002"))
    panels = {
        "Hubble": given(read_sky(source).data),
        "prediction": wanted(planes["SCI"]),
        "a draw": wanted(draws["S001"]),
        "another draw": wanted(draws["S002"]),
        "5 × half width of 68 %": 2.5 * (wanted(planes["Q84"]) - wanted(planes["Q16"])),
        "truth": wanted(truth.data),
    }
    comparison(out / "skies.png", panels, caption="A sky that no training saw, seed of the noise 0")


def _planes(path: Path, bands: list[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Extensions (C, H, W) in flux."""
    with fits.open(path) as file:
        return {
            name: np.stack([file[name, k + 1].data for k in range(len(bands))]) for name in names
        }


def _coverage(
    planes: dict[float, np.ndarray],
    lower: float,
    upper: float,
    exposures: list[SkyImage],
    bright: np.ndarray,
) -> dict[str, float]:
    """Shares of pixels within the interval, over all exposures."""
    data = np.stack([image.data for image in exposures])
    known = np.isfinite(data) & np.isfinite(planes[lower])
    inside = known & (planes[lower] <= data) & (data <= planes[upper])
    shares = {
        "all": inside.sum() / known.sum(),
        "bright": (inside & bright).sum() / (known & bright).sum(),
        "faint": (inside & ~bright).sum() / (known & ~bright).sum(),
    }
    for band, name in enumerate(exposures[0].bands):
        shares[name] = inside[:, band].sum() / known[:, band].sum()
    return {name: round(float(share), 4) for name, share in shares.items()}


if __name__ == "__main__":
    main()
