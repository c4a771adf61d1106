"""Every config in configs/published, tiny, through the loop; buffers in an exact resume."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from stopped import stop_at
from tiles_anywhere import anywhere
from torch import nn
from training_standins import contents, logged, same_ends

from imgturbo.bundle import load_bundle
from imgturbo.config import Config, load_config
from imgturbo.data import Tiles, TileSpec, TileStore, open_source
from imgturbo.engines import settle
from imgturbo.nets import build_generator
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.training import best, train
from imgturbo.training.checkpoint import Checkpoints
from imgturbo.training.statistics import running_statistics, share_statistics

CONFIGS = Path(__file__).parents[2] / "configs" / "published"
VICTIM = Path(__file__).with_name("training_victim.py")
NAMES = sorted({path.stem for path in CONFIGS.glob("*.yaml")} - {"palette"})  # see tests/diffusion
TILE = 20
PICTURE = Side(("R", "G", "B"), "display", Stretch.linear(3))


@pytest.fixture
def tiles(tmp_path) -> Path:
    """Eight training and three validation tiles of two pictures, the target a sharper source."""
    path = tmp_path / "tiles.zarr"
    random = np.random.default_rng(1)
    with TileStore.create(path, TileSpec(TILE, PICTURE, PICTURE, ("field",), {})) as writer:
        for split, n in (("train", 8), ("validation", 3)):
            x = random.random((n, 3, TILE, TILE), np.float32)
            z = (x + np.roll(x, 1, axis=3)) / 2
            valid = np.ones((n, TILE, TILE), bool)
            writer.append(
                split,
                Tiles(
                    z,
                    x,
                    valid,
                    valid,
                    **anywhere(n),
                ),
            )
    return path


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)


def tiny(name: str, folder: Path, tiles: Path, *overrides: str) -> Config:
    """A published config of a few thousand weights and a few steps."""
    kind = "depth=3" if name in ("l2", "pix2pix") else "blocks=1"
    return load_config(
        CONFIGS / f"{name}.yaml",
        [
            f"data.tiles={tiles}",
            "data.crop=16",
            "model.decoder.width=4",
            f"model.decoder.{kind}",
            "model.critic.width=4",
            f"train.out={folder / 'run'}",
            "train.steps=8",
            "train.validate_every=4",
            "train.checkpoint_every=3",
            "train.log_every=1",
            "train.trackers=[jsonl]",
            *overrides,
        ],
    )


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", NAMES)
def test_trains_and_leaves_a_bundle(name, tmp_path, tiles):
    config = tiny(name, tmp_path, tiles)
    result = train(config)
    rates = [line["learning_rate"] for line in logged(result.out) if "learning_rate" in line]
    assert rates == pytest.approx([2e-4] * 5 + [1.5e-4, 1e-4, 5e-5])
    bundle = load_bundle(result.bundle)
    assert bundle.decoder.whole_image == (name not in ("l2", "pix2pix"))
    u = torch.rand(1, 3, 21, 13)
    with torch.no_grad():
        assert bundle.decoder(u).shape == u.shape
    # Without an average the bundle is the network itself, running statistics included.
    saved = Checkpoints(result.out / "checkpoints").at(result.best_step).tensors("objective")
    for key, value in bundle.decoder.state_dict().items():
        assert torch.equal(value, saved[f"decoder.{key}"]), key


@pytest.mark.usefixtures("no_pictures")
def test_running_statistics_follow_the_images(tmp_path, tiles):
    config = tiny("l2", tmp_path, tiles)
    bundle = load_bundle(train(config).bundle)
    fresh = running_statistics(build_generator(config.model.decoder, 3, 3))
    learnt = running_statistics(bundle.decoder)
    assert len(learnt) == 6  # of one batch norm on the way down, two on the way up
    for before, after in zip(fresh, learnt, strict=True):
        assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", ["pix2pix", "turbo"])
def test_stopped_and_continued_it_ends_with_the_same_bits(name, tmp_path, tiles, monkeypatch):
    whole = train(tiny(name, tmp_path / "whole", tiles, "train.ema=0.9"))
    config = tiny(name, tmp_path / "parts", tiles, "train.ema=0.9")
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        assert train(config).step == 5
    ended = train(config)
    same_ends(whole, ended, 8)


def test_older_runs_without_the_newer_keys_go_on(tmp_path, tiles, no_pictures):
    config = settle(tiny("l2", tmp_path, tiles, "train.schedule=cosine"))
    train(config)
    checkpoint = Checkpoints(config.train.out / "checkpoints").at(8)
    del checkpoint.state.config["train"]["schedule"]
    checkpoint.refuse_other(config, open_source(config))
    config.train.schedule = "linear"
    with pytest.raises(Exception, match=r"train\.schedule = 'cosine', not 'linear'"):
        checkpoint.refuse_other(config, open_source(config))


def test_statistics_are_averaged_over_the_processes():
    networks = [
        nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(2), nn.InstanceNorm2d(4)) for _ in "ab"
    ]
    for network in networks:
        for buffer in running_statistics(network):
            buffer.copy_(torch.rand_like(buffer))
    mine, others = (torch.cat(running_statistics(network)) for network in networks)
    team = SimpleNamespace(size=2, sum=lambda values: values + others)
    share_statistics(networks[0], team)
    torch.testing.assert_close(torch.cat(running_statistics(networks[0])), (mine + others) / 2)


@pytest.mark.slow
def test_two_processes_with_batch_norm_killed_and_continued(tmp_path, tiles):
    def run(name: str, *harm: str) -> int:
        config = tiny("pix2pix", tmp_path / name, tiles, "train.ema=0.9")
        (tmp_path / name).mkdir(exist_ok=True)
        path = tmp_path / name / "config.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        done = subprocess.run(
            [sys.executable, *launch, str(VICTIM), str(path), *harm],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            timeout=300,
        )
        return done.returncode

    assert run("whole") == 0
    assert run("parts", "kill:6@1") != 0
    assert run("parts") == 0
    first, second = (
        contents(Checkpoints(tmp_path / name / "run" / "checkpoints").at(8).path)
        for name in ("whole", "parts")
    )
    assert first == second
    assert logged(tmp_path / "whole" / "run") == logged(tmp_path / "parts" / "run")
