"""Small things that the campaigns work on: a sky, a bundle, tiles and the config of a training."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from astropy.wcs import WCS

from benchmarks.faults.campaign import ROOT
from imgturbo.bundle import save_bundle
from imgturbo.config import Config, UNetConfig
from imgturbo.data.store import Tiles, TileSpec, TileStore
from imgturbo.nets import build_generator
from imgturbo.side import Side
from imgturbo.sky import SkyImage, Stretch, write_sky

__all__ = [
    "ENVIRONMENT",
    "command",
    "launch",
    "make_bundle",
    "make_sky",
    "make_training",
    "undated",
]

ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
}
SIDES = {
    "source": Side(
        ("F606W", "F814W"),
        "electron/s",
        Stretch(np.zeros(2), np.full(2, 0.5), np.full(2, 2.0)),
        pixel_scale=0.05,
        zeropoints=(26.5, 25.9),
    ),
    "target": Side(
        ("F150W",),
        "MJy/sr",
        Stretch(np.zeros(1), np.full(1, 0.5), np.full(1, 2.0)),
        pixel_scale=0.05,
        zeropoints=(None,),
    ),
}
SPREAD = 0.3
"""Of the weights of :func:`make_bundle`, so that every pixel of the input is noticed."""


def make_sky(path: Path, height: int, width: int) -> Path:
    """A FITS file of noise in two bands, with a hole."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.1, 2.2], [40, 30]
    wcs.wcs.cd = np.array([[-0.05, 0], [0, 0.05]]) / 3600
    data = np.random.default_rng(0).normal(0, 1, (2, height, width))
    data[:, :20, :30] = np.nan
    source = SIDES["source"]
    image = SkyImage.from_array(
        data, wcs=wcs, unit=source.unit, bands=source.names, zeropoints=source.zeropoints
    )
    return write_sky(path, image)


def make_bundle(path: Path) -> Path:
    """A network of a few hundred weights, two bands to one."""
    config = Config()
    config.model.decoder = UNetConfig(width=4, depth=1, blocks=1)
    torch.manual_seed(0)
    network = build_generator(config.model.decoder, 2, 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, SPREAD)
    save_bundle(path, decoder=network, encoder=None, config=config, sides=SIDES, record={"step": 0})
    return path


def undated(path: Path) -> list[bytes]:
    """The bytes of a FITS file but for its date, and the checksums which that changes."""
    content = path.read_bytes()
    cards = (content[n : n + 80] for n in range(0, len(content), 80))
    return [card for card in cards if not card.startswith((b"DATE    ", b"CHECKSUM"))]


def make_training(folder: Path, steps: int = 30, **settings: Any) -> Path:
    """A config of a training, with its tiles beside it; it runs into ``folder/run``."""
    tile, random = 17, np.random.default_rng(5)
    spec = TileSpec(tile, SIDES["source"], SIDES["target"], ("patch",), {"inputs": ["a"]})
    with TileStore.create(folder / "tiles.zarr", spec) as writer:
        for split, n in (("train", 11), ("validation", 5)):
            z = random.normal(size=(n, 2, tile, tile)).astype(np.float32)
            valid = random.random((n, tile, tile)) >= 0.05
            writer.append(
                split,  # type: ignore[arg-type]
                Tiles(
                    source=z,
                    target=(0.5 * z[:, :1] + 0.1).astype(np.float32),
                    source_valid=valid,
                    target_valid=valid,
                    sky=np.zeros((n, 2)),
                    position=np.zeros((n, 2), np.int32),
                    residual=np.zeros(n, np.float32),
                    field=np.zeros(n, np.int32),
                ),
            )
    tree = {
        "seed": 3,
        "data": {"tiles": str(folder / "tiles.zarr"), "batch_size": 2},
        "model": {
            "decoder": {"kind": "unet", "width": 3, "depth": 1, "blocks": 1},
            "critic": {"width": 3, "layers": 1},
        },
        "objective": {"preset": "turbo", "pool": 3},
        "train": {
            "steps": steps, "warmup": 2, "validate_every": 10, "validate_tiles": 4,
            "checkpoint_every": 2, "log_every": 1, "keep": 2, "trackers": ["jsonl"],
            "out": str(folder / "run"), **settings,
        },
    }  # fmt: skip
    path = folder / "training.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def command(*words: object, processes: int = 1) -> list[str]:
    """The words of a command of imgturbo, shared among processes if there are several."""
    if processes == 1:
        return [sys.executable, "-m", "imgturbo", *map(str, words)]
    name, *rest = words
    script = ROOT / "scripts" / f"{name}.py"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc-per-node={processes}", str(script), *map(str, rest)]


def launch(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command, as the leader of its own group, with what it says in a file."""
    with log.open("wb") as file:
        return subprocess.Popen(
            words,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
