"""A diffusion model in the loop: its loss falls, a killed run ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stopped import stop_at
from training_standins import logged, make_tiles, same_ends, tiny

from imgturbo.bundle import load_bundle
from imgturbo.config import Config
from imgturbo.diffusion import DiffusionDecoder
from imgturbo.errors import ImgturboError
from imgturbo.training import best, train

DECODER = {
    "kind": "diffusion", "width": 4, "depth": 1, "blocks": 1, "dropout": 0.1, "steps": 20,
    "sampling_steps": 2, "center": 0.0, "spread": 1.0,
}  # fmt: skip


def config(folder: Path, tiles: Path, **settings) -> Config:
    tree = tiny(folder, tiles, **settings).model_dump(mode="json", by_alias=True)
    tree["model"]["decoder"] = DECODER
    tree["objective"] = {}
    return Config.model_validate(tree)


@pytest.fixture
def tiles(tmp_path):
    return make_tiles(tmp_path / "tiles.zarr")


def test_the_loss_falls_and_a_bundle_is_left(tmp_path, tiles):
    settings = {"validate_every": 120, "checkpoint_every": 120}
    result = train(config(tmp_path, tiles, steps=120, lr=0.01, **settings))
    losses = [line["term/denoising"] for line in logged(result.out) if "term/denoising" in line]
    assert np.mean(losses[-30:]) < 0.5 * np.mean(losses[:5])
    assert set(result.scores) == {"forward/psnr", "forward/ssim", "forward/l1"}
    assert [p.name for p in (result.out / "samples").iterdir()] == ["step-00000120-forward.png"]
    bundle = load_bundle(result.bundle)
    assert isinstance(bundle.decoder, DiffusionDecoder)
    assert bundle.encoder is None
    assert bundle.decoder(torch.rand(1, 2, 9, 5)).shape == (1, 1, 9, 5)


@pytest.mark.parametrize("asked", [False, True])
def test_unpaired_tiles_are_refused(tmp_path, asked):
    tiles = make_tiles(tmp_path / "tiles.zarr", paired=asked)
    wanted = config(tmp_path, tiles)
    wanted.data.pairing = "unpaired" if asked else "auto"
    with pytest.raises(ImgturboError, match=r"no training sample is a pair.*\(denoising\)"):
        train(wanted)


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path, tiles, monkeypatch):
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)
    whole = train(config(tmp_path / "whole", tiles))
    parts = config(tmp_path / "parts", tiles)
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert train(parts).step == 6
    ended = train(parts)
    assert ended.scores == whole.scores
    same_ends(whole, ended, 9)
