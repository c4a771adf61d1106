"""A bundle of a few hundred weights, and tiles of a sky that it has not quite learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tiles_anywhere import append

from imgturbo.bundle import Bundle, load_bundle
from imgturbo.config import Config
from imgturbo.data import TileSpec, TileStore
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.training import train

TILE = 19


def side(bands: tuple[str, ...], unit: str, softening: float = 0.5, **more: Any) -> Side:
    n = len(bands)
    stretch = Stretch(np.linspace(0.0, 0.1, n), np.full(n, softening), np.full(n, 2.0))
    return Side(bands, unit, stretch, **{"pixel_scale": 0.05, "zeropoints": (25.0,) * n} | more)


SIDES = {
    "source": side(("F606W", "F814W"), "electron/s"),
    "target": side(("F150W",), "MJy/sr", zeropoints=(None,)),
}


def make_tiles(
    path: Path,
    sides: dict[str, Side] | None = None,
    slope: float = 0.5,
    tile: int | None = TILE,
    holes: float = 0.05,
    paired: bool = True,
) -> Path:
    """Eleven training and five validation tiles of one flux, in the numbers of some sides."""
    sides = sides or SIDES
    random = np.random.default_rng(5)
    spec = TileSpec(tile, sides["source"], sides["target"], ("patch",), {})
    spatial = () if tile is None else (tile, tile)
    with TileStore.create(path, spec) as writer:
        for split, n in (("train", 11), ("validation", 5)):
            flux = random.gamma(0.7, size=(2, n, *spatial))
            made = slope * flux[:1] + 0.02
            z, x = (
                np.moveaxis(np.asarray(sides[name].stretch(values)), 0, 1).astype(np.float32)
                for name, values in (("source", flux), ("target", made))
            )
            valid = random.random((n, *spatial)) >= holes
            z, x = (np.where(valid[:, None], u, 0).astype(np.float32) for u in (z, x))
            append(writer, split, z, x, valid, paired)
    return path


def trained(
    folder: Path,
    model: dict[str, Any],
    objective: dict[str, Any],
    sides: dict[str, Side] | None = None,
    tile: int | None = TILE,
) -> Bundle:
    """A bundle after some steps."""
    tiles = make_tiles(folder / "first.zarr", sides, slope=0.4, tile=tile)
    config = Config.model_validate(
        {
            "name": "start",
            "data": {"tiles": str(tiles), "batch_size": 4},
            "model": model,
            "objective": objective,
            "train": {
                "out": str(folder / "first"),
                "steps": 12,
                "warmup": 1,
                "lr": 0.05,
                "ema": 0.5,
                "trackers": ["jsonl"],
            },
        }
    )
    bundle = train(config).bundle
    assert bundle is not None
    return load_bundle(bundle)


def other(name: str, **changes: Any) -> dict[str, Side]:
    """The usual sides, one of them changed."""
    return {**SIDES, name: replace(SIDES[name], **changes)}
