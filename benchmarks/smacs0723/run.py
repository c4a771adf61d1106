"""One row of the table, from pictures to scores, by one command; the same command continues it.

    python -m benchmarks.smacs0723.run ROW --pictures DIR (--steps N | --minutes M) [KEY=VALUE …]

ROW is a config (``configs/published/turbo.yaml``, ``configs/smacs0723.yaml``) or a baseline without
training: ``identity``, ``affine`` (least squares on the training rows), ``affine-best`` (on the
strip itself: what no recolouring can beat). Of a config everything counts but the field's own
preparation, which is :mod:`.field`'s for all rows; its tile size is kept. The budget is a number of
steps, or minutes of training (:mod:`.probe`); every run is validated equally often.

    prepare → plan → train → translate the strip → score → WORK/results.json

The row's folder, WORK/rows/NAME, keeps the plan, the run, the prediction and the scores. What is
done is not done again, and an interrupted training goes on; ``--fresh`` begins anew. With ``--after
ROW`` training starts from that row's weights, and its steps and seconds count as this row's too.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.smacs0723.field import (
    Strip,
    add_work,
    guarded,
    load_strip,
    load_training,
    prepare_field,
    strip_source,
)
from benchmarks.smacs0723.probe import Speed, paced, probe
from benchmarks.smacs0723.score import score
from benchmarks.smacs0723.sliding import counting, sliding_translate
from imgturbo import __version__
from imgturbo.bundle import Bundle, load_bundle
from imgturbo.config import Config, load_config
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.metrics.baselines import affine_colour
from imgturbo.mosaic import translate_file
from imgturbo.nets import count_parameters
from imgturbo.report.tables import score_table
from imgturbo.sky import SkyImage, write_sky

__all__ = ["BASELINES", "device_name", "main", "run_baseline", "run_config", "translate_strip"]

BASELINES = ("identity", "affine", "affine-best")
PUBLISHED = ("pix2pix_unet", "cyclegan_resnet")  # decoders that are translated as published
_SLIDE = 64  # pixels, their stride by default: a window covers a pixel 16 times, not 1024


def run_baseline(name: str, work: Path) -> dict[str, Any]:
    """The row of a baseline, scored."""
    strip = load_strip(work)
    started = time.monotonic()
    image = _baseline(name, strip, work)
    seconds = time.monotonic() - started
    folder = work / "rows" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_sky(folder / "prediction.fits", image, overwrite=True)
    return {
        "config": name,
        "device": device_name(torch.device("cpu")),
        "parameters": 0 if name == "identity" else 12,
        "passes": None,
        "translate_seconds": round(seconds, 2),
        **_scored(folder, strip),
    }


def _baseline(name: str, strip: Strip, work: Path) -> SkyImage:
    if name == "identity":
        return replace(strip.source, bands=strip.target.bands)
    given, truth = strip.source.data, strip.target.data
    if name == "affine":  # fitted above the strip alone: below there is no truth
        above, above_truth = load_training(work)
        given = np.concatenate([above.data, given], axis=1)
        truth = np.concatenate([above_truth.data, np.full_like(truth, np.nan)], axis=1)
    known = np.isfinite(np.concatenate([given, truth])).all(0)
    mapped = affine_colour(given, np.nan_to_num(truth), known)[:, -strip.size[0] :]
    return replace(strip.source, data=mapped.astype(np.float32), bands=strip.target.bands)


def run_config(
    path: Path,
    folder: Path,
    pictures: Path,
    work: Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    overrides: list[str] | None = None,
    translate: dict[str, Any] | None = None,
    slide: int | None = None,
    after: str | None = None,
) -> dict[str, Any]:
    """The row of a config: trained, translated, scored.

    Args:
        path: of the config.
        folder: of the row.
        pictures: folder of hubble.png and webb.png.
        work: the benchmark's folder.
        steps, minutes: the budget, one of them.
        overrides: as on imgturbo's command line.
        translate: settings of :func:`imgturbo.mosaic.translate_file`.
        slide: stride of the published procedure; 0: never; None: for the published networks.
        after: name of the row whose weights training starts from.

    Raises:
        ImgturboError: the row was begun with other settings, training was stopped, or the row to
            start from is not there.
    """
    from imgturbo.training import train

    before = _before(after, work)
    config = load_config(path, overrides or [])
    if after:
        config.train.init = work / "rows" / after / "run" / "bundle"
    tiles = prepare_field(pictures, work, config.prepare.tile)
    config.data.tiles = tiles
    config.train.out = folder / "run"
    plan = _plan(config, folder, steps, minutes)
    result = train(paced(config, plan["steps"]))
    if not result.finished or result.bundle is None:
        raise ImgturboError(f"{folder.name}: {result.message}")
    bundle = load_bundle(result.bundle)
    done = translate_strip(bundle, folder, work, translate or {}, slide)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = config.train
    return {
        "config": str(path),
        "overrides": overrides or [],
        "budget": plan["budget"],
        "probe": plan["probe"],
        "device": device_name(device),
        "precision": settings.precision,
        "seed": config.seed,
        "after": after,
        "steps": before["steps"] + result.step,
        "best_step": result.best_step,
        "batch": config.data.batch_size * settings.accumulate,
        "crop": config.data.crop,
        "train_seconds": before["train_seconds"] + result.seconds,
        "parameters": count_parameters(bundle.decoder),
        "bundle": bundle.hash,
        **done,
        **_scored(folder, load_strip(work)),
    }


def _before(row: str | None, work: Path) -> dict[str, Any]:
    """Steps and seconds that were spent before this row began."""
    if row is None:
        return {"steps": 0, "train_seconds": 0.0}
    rows = results(work)["rows"]
    if "steps" not in rows.get(row, {}):
        raise ImgturboError(
            f"{work / 'results.json'}: no trained row {row!r} to start from; run it first"
        )
    found: dict[str, Any] = rows[row]
    return found


def _plan(config: Config, folder: Path, steps: int | None, minutes: float | None) -> dict[str, Any]:
    """Steps to do, decided once: a run that continues must have the schedule it began with."""
    path = folder / "plan.json"
    budget = f"{steps} steps" if minutes is None else f"{minutes:g} minutes"
    asked = {"budget": budget, "config": config.model_dump(mode="json", by_alias=True)}
    if path.exists():
        plan: dict[str, Any] = json.loads(path.read_text())
        if {key: plan[key] for key in asked} != asked:
            raise ImgturboError(
                f"{folder}: was begun with another config or budget; --fresh begins anew, --name "
                "makes another row"
            )
        return plan
    speed: Speed | None = None
    if minutes is not None:
        speed = probe(config, folder / "probe")
        steps = speed.steps(minutes)
    plan = asked | {"steps": steps, "probe": speed.to_dict() if speed else None}
    write_json(path, plan)
    return plan


def translate_strip(
    bundle: Bundle, folder: Path, work: Path, settings: dict[str, Any], slide: int | None
) -> dict[str, Any]:
    """Write prediction.fits into ``folder``; returns how, how long, and passes a pixel."""
    source, out = strip_source(work), folder / "prediction.fits"
    if slide is None:
        slide = _SLIDE if bundle.config.model.decoder.kind in PUBLISHED else 0
    strip = load_strip(work)
    decoder: Any = bundle.decoder
    if decoder.whole_image and not slide:  # windows of such networks can only be blended
        settings = {"window": 256, "overlap": 64} | settings
    with counting(decoder) as tally:
        started = time.monotonic()
        if slide:
            batch = 16 if torch.cuda.is_available() else 1
            device = "cuda" if torch.cuda.is_available() else "cpu"
            given = bundle.source.stretch(strip.source.data)
            y = sliding_translate(
                decoder, given.astype(np.float32), stride=slide, batch=batch, device=device
            )
            flux = bundle.target.stretch.inverse(y)
            data = np.where(np.isfinite(strip.source.data).all(0), flux, np.nan)
            image = replace(strip.source, data=data.astype(np.float32), bands=strip.target.bands)
            write_sky(out, image, overwrite=True)
        else:
            translate_file(bundle, source, out, overwrite=True, **settings)
        seconds = time.monotonic() - started
    return {
        "procedure": f"published windows, stride {slide}" if slide else "imgturbo translate",
        "settings": settings,
        "translate_seconds": round(seconds, 2),
        "passes": round(tally.passes(*strip.size), 3),
    }


def _scored(folder: Path, strip: Strip) -> dict[str, Any]:
    scores = score(folder / "prediction.fits", strip)
    write_json(folder / "scores.json", scores)
    score_table(scores)
    return {"scores": scores["prediction"], "notes": scores["notes"]}


def device_name(device: torch.device) -> str:
    """The device in words: a GPU's name, or the processor and its threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {torch.get_num_threads()} thread(s)"


def record(work: Path, name: str, row: dict[str, Any], command: str) -> None:
    """Put the row into WORK/results.json, in the place of an older one of its name."""
    known = results(work)
    versions = {"imgturbo": __version__, "torch": torch.__version__}
    known["rows"][name] = {"command": command, **row, "versions": versions}
    write_json(work / "results.json", known)


def results(work: Path) -> dict[str, Any]:
    """WORK/results.json, or one without rows."""
    path = work / "results.json"
    if not path.exists():
        return {"format": 1, "rows": {}}
    known: dict[str, Any] = json.loads(path.read_text())
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description="Train, translate and score one row.")
    parser.add_argument("row", help=f"a config, or one of {', '.join(BASELINES)}")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="data.crop=128 …")
    parser.add_argument("--pictures", type=Path, required=True, help="hubble.png and webb.png")
    parser.add_argument("--name", help="of the row (default: the config's name and its budget)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, help="training steps")
    budget.add_argument("--minutes", type=float, help="of training, validations included")
    parser.add_argument("--after", metavar="ROW", help="start from that row's weights")
    parser.add_argument(
        "--slide", type=int,
        help="stride of the published 256-pixel windows; 0: never (default: 64 for its networks)",
    )  # fmt: skip
    parser.add_argument(
        "--translate", action="append", default=[], metavar="KEY=VALUE",
        help="a setting of the translation, such as samples=8",
    )  # fmt: skip
    parser.add_argument("--fresh", action="store_true", help="begin this row anew")
    add_work(parser)
    options = parser.parse_intermixed_args()
    work, command = options.work, _command(sys.argv[1:])
    if options.row in BASELINES:
        prepare_field(options.pictures, work)
        record(work, options.row, run_baseline(options.row, work), command)
        return
    if (options.steps is None) == (options.minutes is None):
        parser.error("give --steps or --minutes")
    path = Path(options.row)
    name = options.name or _default_name(path, options.steps, options.minutes)
    folder = work / "rows" / name
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    row = run_config(
        path, folder, options.pictures, work, steps=options.steps, minutes=options.minutes,
        overrides=options.overrides, translate=_settings(options.translate), slide=options.slide,
        after=options.after,
    )  # fmt: skip
    record(work, name, row, command)


def _default_name(path: Path, steps: int | None, minutes: float | None) -> str:
    stem = f"published-{path.stem}" if path.parent.name == "published" else path.stem
    return f"{stem}-{steps}steps" if minutes is None else f"{stem}-{minutes:g}min"


def _settings(words: list[str]) -> dict[str, Any]:
    pairs = (word.partition("=") for word in words)
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _command(words: list[str]) -> str:
    return shlex.join(["python", "-m", "benchmarks.smacs0723.run", *words])


if __name__ == "__main__":
    guarded(main)
