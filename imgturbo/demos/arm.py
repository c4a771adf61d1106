r"""The demo of inference: which ways of standing bring the hand of an arm to a given place?

    train on a simulator → draw the posterior of some places → put the answers to the test → picture

The arm has a slider on a rail, at the height x₁, and three joints that turn by x₂, x₃, x₄. Four
numbers make a place of two, so that every place has a sheet of answers, and often two sheets, elbow
up and elbow down (Kruse et al. 2021, arXiv:2101.10763). Nobody needs to be believed: an answer is
right if the arm that stands like it has its hand there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from imgturbo.bundle import Bundle, load_bundle
from imgturbo.config import Config, load_config
from imgturbo.config.shipped import config_path
from imgturbo.data.online import SimulatorSource
from imgturbo.demos.job import free_outputs, trained
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.nets.noise import PositionalNoise
from imgturbo.report.arms import arms_figure
from imgturbo.report.preview import FIGURE
from imgturbo.report.tables import wide_console

__all__ = ["PLACES", "answers", "joints", "run_demo"]

Floats = NDArray[np.float64]

PLACES = ((1.8, 0.0), (1.0, 0.8), (0.5, -1.2))
"""Hands that are asked for: stretched out, aside, and far from what the arm likes."""

SCORES = (b'"distance"', b'"places"')
_LENGTHS = np.array([0.5, 0.5, 1.0])
_DRAWS, _SHOWN = 1000, 60


def joints(stances: Floats) -> Floats:
    """Where slider, joints and hand are: (n, 4) → (n, 4, 2)."""
    angles = np.cumsum(stances[:, 1:], axis=1)
    steps = _LENGTHS[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=2)
    slider = np.stack([np.zeros(len(stances)), stances[:, 0]], axis=1)[:, None]
    return np.concatenate([slider, slider + np.cumsum(steps, axis=1)], axis=1)


def answers(bundle: Bundle, places: Floats, draws: int, seed: int = 0) -> Floats:
    """Draws of p(stance | place): (P, 2) → (P, draws, 4), in the simulator's own units.

    Raises:
        ImgturboError: the bundle draws nothing.
    """
    way = bundle.direction("forward")
    posterior = getattr(way.generator, "posterior", None)
    if posterior is None:
        raise ImgturboError(f"{bundle.path}: draws no posteriors of rows; train a flow on them")
    given = torch.from_numpy(way.input.stretch(places.T).T.astype(np.float32))
    noise = PositionalNoise(seed, [(0, row) for row in range(len(places))])
    found = posterior(given, draws, noise).double().numpy()
    flat = way.output.stretch.inverse(found.reshape(-1, found.shape[2]).T).T
    return np.asarray(flat, np.float64).reshape(found.shape)


def run_demo(out: Path, *, quick: bool = False) -> dict[str, Any]:
    """Run the demo into ``out``; leaves arms.png, scores.json and the bundle there.

    ``quick`` is a smoke test of few steps, whose answers are no good; in ``out/quick``.

    Raises:
        ImgturboError: ``out`` cannot be written, or a signal stopped the training.
    """
    console = wide_console()
    started = time.monotonic()
    config = _settings(out / "quick" if quick else out, quick)
    free_outputs({out / "scores.json": SCORES, out / "arms.png": FIGURE})
    saved = trained(config, console)

    wish = config.data.source
    assert wish is not None
    assert wish.kind == "simulator"
    simulator = SimulatorSource(wish, config.data, config.seed).simulator
    generator = np.random.default_rng(config.seed)
    places = np.array(PLACES)
    stances = answers(load_bundle(saved), places, _DRAWS, config.seed)
    blind = simulator.prior(generator, _DRAWS)
    rows = []
    for place, own in zip(places, stances, strict=True):
        far, without = (
            np.linalg.norm(simulator.observe(generator, stance) - place, axis=1)
            for stance in (own, blind)
        )
        spread = own.std(0)
        rows.append(
            {
                "place": place.tolist(),
                "distance": float(np.median(far)),
                "distance_of_the_prior": float(np.median(without)),
                "spread": spread.tolist(),
                "spread_of_the_prior": blind.std(0).tolist(),
            }
        )
    scores = {"places": rows, "draws": _DRAWS, "seconds": round(time.monotonic() - started, 1)}
    _tell(rows)
    out.mkdir(parents=True, exist_ok=True)
    arms_figure(out / "arms.png", places, [joints(own[:_SHOWN]) for own in stances])
    write_json(out / "scores.json", scores)
    for name in ("arms.png", "scores.json"):
        console.print(str(out / name), markup=False)
    return scores


def _settings(work: Path, quick: bool) -> Config:
    short = [
        "train.steps=20",
        "train.validate_every=10",
        "train.checkpoint_every=10",
        "train.validate_tiles=64",
        "data.batch_size=64",
    ]
    config = load_config(config_path("vectors/arm.yaml"), short if quick else [])
    config.train.out = work / "run"
    return config


def _tell(rows: list[dict[str, Any]]) -> None:
    """How far the hands of the answers are from where they were wanted."""
    table = Table()
    for head in ("the hand at", "answers' hands are off by", "any stance's by", "spread left"):
        table.add_column(head, justify="right")
    for row in rows:
        left = np.array(row["spread"]) / row["spread_of_the_prior"]
        table.add_row(
            ", ".join(f"{value:g}" for value in row["place"]),
            f"{row['distance']:.3f}",
            f"{row['distance_of_the_prior']:.3f}",
            "  ".join(f"{value:.0%}" for value in left),
        )
    wide_console().print(table)
