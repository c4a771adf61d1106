"""The whole job on an embedded sky, with the same calls a user makes on their own files.

    simulate → prepare → train → translate → evaluate → picture

Three patches of sky are simulated from different seeds. Two become training and validation
tiles; the third is held out: it is registered and brought onto the Webb-like grid, translated
whole from its FITS file, and scored against what the Webb-like camera saw there.
"""

from __future__ import annotations

import shutil
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgturbo.config import Config, FieldConfig, load_config
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.report.preview import comparison
from imgturbo.report.progress import task
from imgturbo.report.tables import prepare_table, score_table, wide_console

if TYPE_CHECKING:
    from data_prep.simulate import SimulatedPair

__all__ = ["config_path", "run_demo"]


def config_path(name: str) -> Path:
    """A config that ships with imgturbo: from the installed package, else from the checkout."""
    packaged = Path(str(files("imgturbo"))) / "configs" / name
    return packaged if packaged.exists() else Path(__file__).parents[2] / "configs" / name


def run_demo(out: Path, *, quick: bool = False) -> dict[str, Any]:
    """Run the demo into ``out``; leaves prediction.fits, preview.png and scores.json there.

    ``quick`` is a smoke test of the installation: a small sky and a few steps, no good picture.
    What it works on lies in ``out/quick``, so that the run of the real demo may stand beside it.

    Raises:
        ImgturboError: ``out`` cannot be written, or a signal stopped the training.
    """
    # Only the command line and the demo may know data_prep; see docs/architecture.md.
    from data_prep.prepare import prepare
    from data_prep.simulate import simulate
    from imgturbo.bundle import load_bundle
    from imgturbo.mosaic import translate_file
    from imgturbo.scoring.evaluate import evaluate
    from imgturbo.sky import read_sky
    from imgturbo.training import train

    console = wide_console()
    started = time.monotonic()
    work = out / "quick" if quick else out
    config = _settings(work, quick)

    def observe(name: str, size: int, seed: int) -> SimulatedPair:
        with task(f"simulating the {name} sky") as progress:
            return simulate(work / "sky" / name, pixels=size, seed=seed, progress=progress)

    heldout = observe("held-out", 192 if quick else 512, config.seed + 1)
    skies = {"first": config.seed} if quick else {"first": config.seed, "second": config.seed + 2}
    config.prepare.fields = [
        _field(name, observe(name, 256 if quick else 1024, seed)) for name, seed in skies.items()
    ]
    with task("preparing tiles") as progress:
        prepare_table(prepare(config.prepare, progress=progress))
    alone = config.prepare.model_copy(
        update={"fields": [_field("held-out", heldout)], "out": work / "held-out.zarr"}
    )
    aligned = work / "aligned"
    source, target = aligned / "held-out_source.fits", aligned / "held-out_target.fits"
    for former in (source, target):  # of an earlier demo here; prepare would not overwrite them
        former.unlink(missing_ok=True)
    with task("aligning the held-out sky") as progress:
        prepare(alone, keep_aligned=aligned, progress=progress)

    result = train(config)
    if result.bundle is None:
        raise ImgturboError(f"{out}: {result.message}")
    console.print(result.message, markup=False)

    bundle = load_bundle(result.bundle)
    prediction = out / "prediction.fits"
    translate_file(bundle, [source], prediction, overwrite=True)
    scores = evaluate(prediction, target, source)
    scores["seconds"] = round(time.monotonic() - started, 1)
    write_json(out / "scores.json", scores)

    images = {
        "input": read_sky(source),
        "prediction": read_sky(prediction),
        "truth": read_sky(target),
    }
    valid = np.logical_and.reduce([image.valid for image in images.values()])
    panels = {}
    for title, image in images.items():
        side = bundle.source if title == "input" else bundle.target
        y = side.stretch(image.data)
        panels[title] = np.where(valid, y, np.nan)
    comparison(out / "preview.png", panels, caption=_caption(scores))

    score_table(scores)
    shutil.rmtree(work / "held-out.zarr", ignore_errors=True)
    left = {"prediction": prediction, "picture": out / "preview.png", "scores": out / "scores.json"}
    for what, path in left.items():
        console.print(f"{what + ':':<12}{path}", markup=False)
    console.print(f"{scores['seconds']:.0f} s in all")
    return scores


def _settings(work: Path, quick: bool) -> Config:
    short = ["train.steps=20", "train.validate_every=10", "data.batch_size=2", "data.crop=32",
             "prepare.tile.size=48", "prepare.tile.min_valid=0.5"]  # fmt: skip
    config = load_config(config_path("demo.yaml"), short if quick else [])
    config.prepare.out = work / "tiles.zarr"
    config.train.out = work / "run"
    return config


def _field(name: str, pair: SimulatedPair) -> FieldConfig:
    return FieldConfig(name=name, source=list(pair.source), target=list(pair.target))


def _caption(scores: dict[str, Any]) -> str:
    rows = {"prediction": scores["prediction"], **scores["baselines"]}
    names = {"identity": "input as it is", "affine": "affine colour"}
    shown = [
        f"{names.get(key, key)} {row['psnr']:.2f} dB, SSIM {row['ssim']:.3f}"
        for key, row in rows.items()
    ]
    return f"Held-out simulated sky.  PSNR: {'  ·  '.join(shown)}"
