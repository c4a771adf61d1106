"""The whole job on an embedded sky, with the same calls a user makes on their own files.

    simulate → prepare → train → translate → evaluate → picture

Two patches of sky are simulated from different seeds. The first becomes training and validation
tiles; the second is held out: it is registered and brought onto the Webb-like grid, translated
whole from its FITS file, and scored against what the Webb-like camera saw there.
"""

from __future__ import annotations

import shutil
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
from rich.console import Console

from imgturbo.config import Config, FieldConfig, load_config
from imgturbo.report.files import write_json
from imgturbo.report.preview import comparison
from imgturbo.report.progress import task
from imgturbo.report.tables import prepare_table, score_table

__all__ = ["config_path", "run_demo"]


def config_path(name: str) -> Path:
    """A config that ships with imgturbo: from the installed package, else from the checkout."""
    packaged = Path(str(files("imgturbo"))) / "configs" / name
    return packaged if packaged.exists() else Path(__file__).parents[1] / "configs" / name


def run_demo(out: Path, *, quick: bool = False) -> dict[str, object]:
    """Run the demo into ``out``; leaves prediction.fits, preview.png and scores.json there.

    ``quick`` is a smoke test of the installation: a small sky and a few steps, no good picture.
    """
    # Only the command line and the demo may know data_prep; see docs/architecture.md.
    from data_prep.prepare import prepare
    from data_prep.simulate import SimulatedPair, simulate
    from imgturbo.bundle import load_bundle
    from imgturbo.metrics.evaluate import evaluate
    from imgturbo.mosaic import translate_file
    from imgturbo.sky import Stretch, read_sky
    from imgturbo.training import train

    console = Console()
    started = time.monotonic()
    config = _settings(out, quick)

    def observe(name: str, size: int, seed: int) -> SimulatedPair:
        with task(f"simulating the {name} sky") as progress:
            return simulate(out / "sky" / name, pixels=size, seed=seed, progress=progress)

    training = observe("training", 256 if quick else 1024, config.seed)
    heldout = observe("held-out", 192 if quick else 512, config.seed + 1)

    config.prepare.fields = [_field("training", training)]
    with task("preparing tiles") as progress:
        prepare_table(prepare(config.prepare, progress=progress))
    alone = config.prepare.model_copy(
        update={"fields": [_field("held-out", heldout)], "out": out / "held-out.zarr"}
    )
    aligned = out / "aligned"
    with task("aligning the held-out sky") as progress:
        prepare(alone, keep_aligned=aligned, progress=progress)
    source, target = aligned / "held-out_source.fits", aligned / "held-out_target.fits"

    result = train(config)
    console.print(result.message)

    bundle = load_bundle(config.train.out / "bundle")
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
        y = Stretch.from_dict(side["stretch"])(image.data)
        panels[title] = np.where(valid, y, np.nan)
    comparison(out / "preview.png", panels, caption=_caption(scores))

    score_table(scores)
    shutil.rmtree(out / "held-out.zarr", ignore_errors=True)
    console.print(f"prediction: {prediction}\npicture:    {out / 'preview.png'}")
    console.print(f"scores:     {out / 'scores.json'}\n{scores['seconds']:.0f} s in all")
    return scores


def _settings(out: Path, quick: bool) -> Config:
    short = ["train.steps=20", "train.validate_every=10", "data.batch_size=2", "data.crop=32",
             "prepare.tile.size=48", "prepare.tile.min_valid=0.5"]  # fmt: skip
    config = load_config(config_path("demo.yaml"), short if quick else [])
    config.prepare.out = out / "tiles.zarr"
    config.train.out = out / "run"
    return config


def _field(name: str, pair: object) -> FieldConfig:
    return FieldConfig(name=name, source=list(pair.source), target=list(pair.target))  # type: ignore[attr-defined]


def _caption(scores: dict[str, object]) -> str:
    prediction = scores["prediction"]
    identity = scores["baselines"]["identity"]  # type: ignore[index]
    return (
        f"held-out simulated sky: PSNR {prediction['psnr']:.1f} dB "  # type: ignore[index]
        f"(input as it is {identity['psnr']:.1f} dB)"
    )
