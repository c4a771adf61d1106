"""Small colour flows that the tests of this room share."""

from __future__ import annotations

import pytest
import torch

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config
from imgturbo.engines import build_network
from imgturbo.sky.lab import COLOUR, LAB, LIGHTNESS

STAGE = {"blocks": 1, "width": 6, "coarse_blocks": 1, "coarse_width": 8}


def make(path, *, scale=2, dense=False, size=24, shake=0.05):
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
        name: {
            "bands": bands,
            "unit": LAB,
            "pixel_scale": None,
            "zeropoints": [None] * len(bands),
            "stretch": stretch.to_dict(),
        }
        for name, bands, stretch in (("source", ["L"], LIGHTNESS), ("target", ["a", "b"], COLOUR))
    }
    record = {"step": 1, "steps": 1, "validation": {}}
    save_bundle(path, decoder=network, encoder=None, config=config, sides=sides, record=record)
    return load_bundle(path)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return make(tmp_path_factory.mktemp("flow") / "bundle")


@pytest.fixture(scope="session")
def dense_bundle(tmp_path_factory):
    return make(tmp_path_factory.mktemp("dense") / "bundle", dense=True)
