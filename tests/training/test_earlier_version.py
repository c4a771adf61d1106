"""A tile store and a run that version 0.1.0 left go on under this one.

``version-0.1.0/`` holds the store, the checkpoint of step 3 of 6, and the weights that 0.1.0 had
after step 6 without a stop.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from imgturbo.config import Config
from imgturbo.data import TileStore
from imgturbo.training import train

BEFORE = Path(__file__).with_name("version-0.1.0")
SETTINGS = [
    "data.batch_size=2",
    "data.crop=12",
    "model.decoder={kind: unet, width: 4, depth: 1, blocks: 1, noise_channels: 1}",
    "model.critic={width: 4, layers: 1}",
    "objective.preset=cyclegan",
    "objective.pool=3",
    "objective.paired={x_tilde: 10}",
    "train.steps=6",
    "train.warmup=1",
    "train.validate_every=3",
    "train.checkpoint_every=3",
    "train.keep=9",
    "train.trackers=[jsonl]",
    "train.optimizer=muon",
]


def test_a_store_is_read_as_it_was_written():
    store = TileStore.open(BEFORE / "tiles")
    assert store.source.names == ("F606W", "F814W")
    assert store.source.zeropoints == (26.5, 25.9)
    assert (store.target.names, store.target.unit) == (("F150W",), "MJy/sr")
    assert store.target.kind == "image"
    assert len(store.split("train")) == 5


def test_a_run_goes_on_to_the_same_weights(tmp_path, capfd):
    run = shutil.copytree(BEFORE / "run", tmp_path / "run")
    config = Config.from_overrides(
        [*SETTINGS, f"data.tiles={BEFORE / 'tiles'}", f"train.out={run}"]
    )
    assert train(config).finished
    assert "continuing from" in capfd.readouterr().err
    ours = load_file(run / "checkpoints" / "step-00000006" / "objective.safetensors")
    theirs = load_file(BEFORE / "final.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        # Another processor rounds otherwise.
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-4, msg=name)


def test_another_config_is_still_refused(tmp_path):
    run = shutil.copytree(BEFORE / "run", tmp_path / "run")
    settings = [*SETTINGS, f"data.tiles={BEFORE / 'tiles'}", f"train.out={run}", "train.lr=0.1"]
    with pytest.raises(Exception, match=r"started with train\.lr"):
        train(Config.from_overrides(settings))
