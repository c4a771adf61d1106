"""Small tiles and a small config, on which a step takes milliseconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from imgturbo.config import Config
from imgturbo.tiles import Tiles, TileSpec, TileStore

TILE = 17


def side(bands: tuple[str, ...], unit: str = "MJy/sr") -> dict[str, Any]:
    n = len(bands)
    stretch = {"kind": "asinh", "offset": [0.0] * n, "softening": [0.5] * n, "scale": [2.0] * n}
    return {
        "bands": list(bands),
        "unit": unit,
        "pixel_scale": 0.05,
        "zeropoints": [None] * n,
        "stretch": stretch,
    }


SIDES = {"source": side(("F606W", "F814W"), "electron/s"), "target": side(("F150W",))}


def make_tiles(
    path: Path, *, holes: float = 0.05, bad_row: int | None = None, paired: bool = True
) -> Path:
    """Eleven training tiles and five validation tiles; ``bad_row`` of z holds infinities."""
    spec = TileSpec(TILE, SIDES["source"], SIDES["target"], ("patch",), {"inputs": ["a", "b"]})
    random = np.random.default_rng(5)
    with TileStore.create(path, spec) as writer:
        for split, n in (("train", 11), ("validation", 5)):
            z = random.normal(size=(n, 2, TILE, TILE)).astype(np.float32)
            x = (0.5 * z[:, :1] + 0.1).astype(np.float32)
            if bad_row is not None and split == "train":
                z[bad_row] = np.inf
            valid = random.random((n, TILE, TILE)) >= holes
            rows = {
                "sky": np.zeros((n, 2)),
                "position": np.stack([np.arange(n), np.arange(n)], 1).astype(np.int32),
                "residual": np.zeros(n, np.float32),
                "field": np.zeros(n, np.int32),
            }
            if paired:
                writer.append(split, Tiles(z, x, valid, valid, **rows))
            else:
                writer.append(split, Tiles(z, None, valid, None, **rows))
                writer.append(split, Tiles(None, x, None, valid, **rows))
    return path


def tiny(folder: Path, tiles: Path | None = None, **train: Any) -> Config:
    """Networks of a few hundred weights; ``train`` replaces values of that section."""
    settings = {
        "steps": 9,
        "warmup": 2,
        "validate_every": 4,
        "validate_tiles": 4,
        "checkpoint_every": 2,
        "log_every": 1,
        "keep": 2,
        "trackers": ["jsonl"],
        "out": str(folder / "run"),
    }
    return Config.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "data": {"tiles": str(tiles or folder / "tiles.zarr"), "batch_size": 2},
            "model": {
                "decoder": {"kind": "unet", "width": 3, "depth": 1, "blocks": 1},
                "critic": {"width": 3, "layers": 1},
            },
            "objective": {"preset": "turbo", "pool": 3},
            "train": settings | train,
        }
    )


def contents(checkpoint: Path) -> dict[str, Any]:
    """Everything in a checkpoint that an exact resume must repeat: every byte of every tensor."""
    state = json.loads((checkpoint / "state.json").read_text())
    state.pop("seconds")
    state["config"]["train"].pop("out")
    files = {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}
    return {"state": state, **files}


def logged(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` without what a clock wrote."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "samples_per_second")}
        for line in lines
    ]
