"""The whole job on an embedded sky, with the same calls a user makes on their own files.

    simulate → prepare → train → translate → evaluate → picture → report

Patches of sky are simulated from different seeds. Eight become training and validation tiles.
Three are held out, registered and brought onto the Webb-like grid and translated whole from their
FITS files: one is shown, and scored against what the Webb-like camera saw there; one has many
sources, whose fluxes are compared with the truth; and one is empty, so that whatever the network
sees in it is made up.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgturbo.config import Config, load_config
from imgturbo.config.shipped import config_path
from imgturbo.demos.job import free_outputs, trained
from imgturbo.demos.skies import Sky, align, field_of
from imgturbo.files import write_json
from imgturbo.report.headline import COLUMNS, headline_rows
from imgturbo.report.preview import FIGURE, comparison
from imgturbo.report.progress import task
from imgturbo.report.tables import (
    known_sky_table,
    plain_table,
    prepare_table,
    score_table,
    wide_console,
)
from imgturbo.scoring.known_sky import KnownSky, fluxes_of_known, made_up
from imgturbo.scoring.trust.folder import free_report, write_report
from imgturbo.scoring.trust.report import card_of, look_at
from imgturbo.stopping import workers

if TYPE_CHECKING:
    from data_prep.simulate import SimulatedPair
    from imgturbo.bundle import Bundle

__all__ = ["run_demo"]


_PSF = 0.09
"""Arcsec: FWHM of Hubble's stars, for the sources that the report puts in."""

_STAR_RICH = 400.0
"""Stars per square arcmin of the training: a network learns what a star is from many of them."""

_TRAINING = tuple(Sky(f"training-{n}", 1024, n + (n > 0), _STAR_RICH) for n in range(8))
_HELD_OUT = (
    Sky("held-out", 512, 1, noiseless=True),
    Sky("known", 1024, 100, star_density=100.0, noiseless=True),
    Sky("empty", 1024, 101, star_density=0, density=0, cluster=False),
)
"""The sky that is shown and scored; one with many sources, for their fluxes; one with none."""


def run_demo(out: Path, *, quick: bool = False) -> dict[str, Any]:
    """Run the demo into ``out``; leaves prediction.fits, preview.png, scores.json and report there.

    ``quick`` is a smoke test of the installation: a small sky and a few steps, no good picture.
    What it works on lies in ``out/quick``, so that the run of the real demo may stand beside it.

    Raises:
        ImgturboError: ``out`` cannot be written, or a signal stopped the training.
    """
    # Only the command line and the demo may know data_prep; see docs/architecture.md.
    from data_prep.prepare import prepare
    from imgturbo.bundle import load_bundle
    from imgturbo.mosaic import translate_file
    from imgturbo.mosaic.recipe import TRANSLATED
    from imgturbo.scoring.evaluate import MARK, evaluate

    console = wide_console()
    started = time.monotonic()
    work = out / "quick" if quick else out
    config = _settings(work, quick)
    # So many stars on so small a sky would raise its level above that of the skies held out.
    small = replace(_TRAINING[0], pixels=256, star_density=_STAR_RICH / 2)
    training = (small,) if quick else _TRAINING
    held_out = tuple(replace(sky, pixels=192) for sky in _HELD_OUT) if quick else _HELD_OUT
    predictions = {sky.name: work / f"{sky.name}.fits" for sky in held_out}
    predictions["held-out"] = out / "prediction.fits"
    left = {
        "prediction": (predictions["held-out"], TRANSLATED),
        "picture": (out / "preview.png", FIGURE),
        "scores": (out / "scores.json", MARK),
    }
    free_report(out / "report", [], overwrite=False)
    free_outputs(dict(left.values()) | dict.fromkeys(predictions.values(), TRANSLATED))
    # A worker takes seconds to start, which the small skies of the short form do not repay.
    at_once = 1 if quick else 2
    pairs = _simulate((*held_out, *training), work / "sky", config.seed, at_once)

    config.prepare.fields = [field_of(sky.name, pairs[sky.name]) for sky in training]
    with task("preparing tiles") as progress:
        prepare_table(prepare(config.prepare, progress=progress))
    aligned = align(config.prepare, pairs, held_out, work)

    bundle = load_bundle(trained(config, console))
    with task("translating what was held out") as progress:
        for done, (name, path) in enumerate(predictions.items()):
            progress(name, done / len(predictions))
            with warnings.catch_warnings():
                # An empty sky is unlike the training's, as it should be.
                warnings.filterwarnings("ignore", ".*empty_source.*sky is not the training's")
                translate_file(bundle, [aligned[name]["source"]], path, overwrite=True)
    shown = aligned["held-out"]
    scores = evaluate(
        predictions["held-out"],
        shown["target"],
        shown["source"],
        ceiling=list(pairs["held-out"].noiseless),
    )
    scores["known_sky"] = {
        "made_up": made_up(predictions["empty"], aligned["empty"]["target"]),
        **fluxes_of_known(
            [KnownSky(predictions["known"], list(pairs["known"].noiseless), pairs["known"].truth)],
            (bundle.source.names[0], bundle.source.names[-1]),
        ),
    }
    scores["seconds"] = round(time.monotonic() - started, 1)
    write_json(out / "scores.json", scores)
    _picture(out / "preview.png", bundle, shown, predictions["held-out"], _caption(scores))

    score_table(scores)
    known_sky_table(scores["known_sky"])
    page = _report(out / "report", bundle, shown, predictions["held-out"], pairs["held-out"], quick)
    for what, path in {**{what: path for what, (path, _) in left.items()}, "report": page}.items():
        console.print(f"{what + ':':<12}{path}", markup=False)
    console.print(f"{time.monotonic() - started:.0f} s in all")
    return scores


def _report(
    out: Path,
    bundle: Bundle,
    seen: dict[str, Path],
    prediction: Path,
    pair: SimulatedPair,
    quick: bool,
) -> Path:
    """What can be trusted of the held-out prediction, as a page; in short also in the bundle."""
    from imgturbo.bundle import annotate

    with task("measuring what can be trusted") as progress:
        findings = look_at(
            prediction,
            seen["target"],
            seen["source"],
            catalogue=pair.truth,
            bundle=bundle,
            psf=None if quick else _PSF,
            progress=progress,
        )
        page = write_report(findings, out, "The demo's held-out sky")
    annotate(bundle, headline=card_of(findings, bundle, prediction))
    plain_table(list(COLUMNS), headline_rows(findings.numbers["headline"]))
    return page


def _simulate(skies: Sequence[Sky], out: Path, seed: int, at_once: int) -> dict[str, SimulatedPair]:
    """All skies, some at once; a sky takes seconds on one core."""
    pairs = {}
    with (
        task("simulating skies") as progress,
        workers(at_once) as pool,
    ):
        jobs = {pool.submit(sky.simulate, out, seed): sky.name for sky in skies}
        for done, job in enumerate(as_completed(jobs), start=1):
            pairs[jobs[job]] = job.result()
            progress(f"{done} of {len(jobs)}", done / len(jobs))
    return pairs


def _picture(
    out: Path, bundle: Bundle, seen: dict[str, Path], prediction: Path, caption: str
) -> None:
    from imgturbo.sky import read_sky

    images = {
        "input": read_sky(seen["source"]),
        "prediction": read_sky(prediction),
        "truth": read_sky(seen["target"]),
    }
    valid = np.logical_and.reduce([image.valid for image in images.values()])
    panels = {}
    for title, image in images.items():
        side = bundle.source if title == "input" else bundle.target
        panels[title] = np.where(valid, side.stretch(image.data), np.nan)
    comparison(out, panels, caption=caption)


def _settings(work: Path, quick: bool) -> Config:
    short = ["train.steps=20", "train.validate_every=10", "data.batch_size=2", "data.crop=32",
             "prepare.tile.size=48", "prepare.tile.min_valid=0.5"]  # fmt: skip
    config = load_config(config_path("demo.yaml"), short if quick else [])
    config.prepare.out = work / "tiles.zarr"
    config.train.out = work / "run"
    return config


def _caption(scores: dict[str, Any]) -> str:
    rows = {"prediction": scores["prediction"], **scores["baselines"]}
    names = {"identity": "input as it is", "affine": "affine colour"}
    shown = [
        f"{names.get(key, key)} {row['psnr']:.2f} dB, SSIM {row['ssim']:.3f}"
        for key, row in rows.items()
    ]
    return f"Held-out simulated sky.  PSNR: {'  ·  '.join(shown)}"
