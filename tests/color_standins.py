"""Small pictures, skies and colour flows for the tests of this room."""

from __future__ import annotations

import numpy as np
import torch
from astropy.wcs import WCS
from PIL import Image

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config
from imgturbo.engines import build_network
from imgturbo.side import Side
from imgturbo.sky import SkyImage, write_sky
from imgturbo.sky.lab import COLOUR, LAB, LIGHTNESS


def smooth(height, width, seed=0):
    """Smooth greys from 0.25 to 0.75, where every mild colour can be shown."""
    coarse = np.random.default_rng(seed).random((4, 5))
    rows = np.linspace(0, 3, height)
    cols = np.linspace(0, 4, width)
    across = np.array([np.interp(cols, range(5), row) for row in coarse])
    plane = np.array([np.interp(rows, range(4), column) for column in across.T]).T
    return 0.25 + 0.5 * plane


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(path)
    return path


def grey_picture(path, height=40, width=57, seed=0):
    return save(path, smooth(height, width, seed))


def colour_picture(path, height=40, width=57):
    return save(path, np.stack([smooth(height, width, seed) for seed in range(3)], axis=-1))


def sky(path, bands=("F606W",), height=44, width=61):
    """Fluxes with a star, a NaN corner and coordinates."""
    random = np.random.default_rng(1)
    data = random.normal(0.01, 0.02, (len(bands), height, width)).astype(np.float32)
    data[:, 10:14, 20:24] += 3.0
    data[:, :5, :7] = np.nan
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.1, 2.2], [20, 30], [-1e-5, 1e-5]
    write_sky(path, SkyImage.from_array(data, wcs=wcs, unit="MJy/sr", bands=bands))
    return path


STAGE = {"blocks": 1, "width": 6, "coarse_blocks": 1, "coarse_width": 8}


def make_bundle(path, *, scale=2, dense=False, size=24, shake=0.05):
    """A bundle of a flow L → ab with two stages, its weights shaken."""
    torch.manual_seed(0)
    decoder = {
        "kind": "cinn",
        "stages": [{**STAGE, "keep": 0.5}, {**STAGE, "keep": 0.5 if dense else 1.0}],
        "dense": {"size": 8, "blocks": 1, "layers": 1, "width": 8} if dense else None,
        "condition": {"kind": "convnext", "scale": scale, "width": 6, "blocks": 1},
    }
    config = Config.model_validate(
        {
            "prepare": {"pictures": {"files": ["photographs"], "size": size}},
            "model": {"decoder": decoder},
        }
    )
    network = build_network(config.model.decoder, 1, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(shake * torch.randn_like(parameter))
    sides = {
        "source": Side(("L",), LAB, LIGHTNESS),
        "target": Side(("a", "b"), LAB, COLOUR),
    }
    record = {"step": 1, "steps": 1, "validation": {}}
    save_bundle(path, decoder=network, encoder=None, config=config, sides=sides, record=record)
    return load_bundle(path)
