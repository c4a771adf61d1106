"""Collision events from nothing: collide, train both maps, score what had been held out.

    simulate-events → prepare → train → evaluate-events

The same calls that a user makes, on some events that are generated on the spot. With so few the
statistical floor is a few per cent, and that is what the table has to be read against.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from imgturbo.config import Config, load_config
from imgturbo.config.shipped import config_path
from imgturbo.demos.job import free_outputs, trained
from imgturbo.report.events import events_table
from imgturbo.report.preview import FIGURE
from imgturbo.report.progress import task
from imgturbo.report.tables import wide_console

__all__ = ["run_demo"]

_TRAINING, _HELD_OUT = 1500, 1000
_QUICK = 40
_BLOCK = 20  # small, so that two processes end together


def run_demo(out: Path, *, quick: bool = False) -> dict[str, Any]:
    """Run the demo into ``out``; leaves events.json, events.png and migration.png there.

    ``quick`` is a smoke test of the installation: 40 events and a few steps. What it works on lies
    in ``out/quick``, so that the run of the real demo may stand beside it.

    Raises:
        ImgturboError: Pythia, fastjet or h5py is not installed, ``out`` cannot be written, or a
            signal stopped the training.
    """
    # Only the command line and the demos may know data_prep; see docs/architecture.md.
    from data_prep.events import simulate_events
    from data_prep.prepare import prepare
    from imgturbo.bundle import load_bundle
    from imgturbo.scoring.events import MARK, evaluate_events

    started = time.monotonic()
    work = out / "quick" if quick else out
    left = {
        out / "events.json": MARK,
        out / "events.png": FIGURE,
        out / "migration.png": FIGURE,
    }
    free_outputs(left)
    files = {}
    counts = {"train": _TRAINING, "test": _HELD_OUT}
    for seed, (name, count) in enumerate(counts.items(), start=1):
        with task(f"colliding for {name}") as progress:
            files[name] = simulate_events(
                work / f"{name}.h5",
                events=_QUICK if quick else count,
                seed=seed,
                processes=2,
                block=_BLOCK,
                progress=progress,
            )
    config = _settings(work, files["train"], quick)
    with task("preparing") as progress:
        prepare(config.prepare, progress=progress)
    console = wide_console()
    saved = trained(config, console)
    content = evaluate_events(
        load_bundle(saved), files["test"], out=out, classifier=20 if quick else 600
    )
    events_table(content)
    for path in left:
        console.print(path, markup=False)
    console.print(f"{time.monotonic() - started:.0f} s in all")
    return content


def _settings(work: Path, events: Path, quick: bool) -> Config:
    short = ["train.steps=6", "train.validate_every=3", "data.batch_size=8", "train.warmup=1"]
    config = load_config(config_path("vectors/demo_events.yaml"), short if quick else [])
    assert config.prepare.tables is not None
    config.prepare.tables.files = [events]
    config.prepare.out = work / "events.zarr"
    config.train.out = work / "run"
    return config
