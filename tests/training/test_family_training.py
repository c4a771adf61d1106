"""Every config of configs/family, tiny: trained, killed, resumed exactly, loaded, applied."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from training_standins import contents, logged, make_tiles

from imgturbo.bundle import load_bundle
from imgturbo.config import load_config
from imgturbo.data import open_source
from imgturbo.engines import build_trainable, settle
from imgturbo.nets import FreshNoise
from imgturbo.training import best, loop, train
from imgturbo.training.checkpoint import Checkpoints
from imgturbo.turbo import distances
from imgturbo.turbo.presets import PRESETS

CONFIGS = Path(__file__).parents[2] / "configs" / "family"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
STEPS, KILLED = 12, 9


class Killed(BaseException):
    """What a process that is killed does not live to see."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No pictures, and LPIPS of a random small network: the true weights may not be there."""
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)
    judge = partial(distances.Lpips, "alex", random_backbone=True)
    monkeypatch.setattr(distances, "Lpips", judge)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[int, Path]:
    """Tiles by their size; LPIPS looks at none below 32 pixels."""
    folder = tmp_path_factory.mktemp("stores")
    return {size: make_tiles(folder / f"{size}.zarr", tile=size) for size in (16, 32)}


def tiny(name: str, stores: dict[int, Path], out: Path):
    """The config as it is shipped, of the smallest networks that are of its kind."""
    overrides = [
        f"train.out={out}", f"train.steps={STEPS}", f"train.validate_every={STEPS}",
        "train.checkpoint_every=4", "train.log_every=1", "train.trackers=[jsonl]",
        "train.validate_tiles=4", "train.keep=9",
    ]  # fmt: skip
    config = load_config(CONFIGS / f"{name}.yaml", overrides)
    if PRESETS[name].terms.pool:
        config.objective.pool = 6  # so small that images leave it before the run is killed
    if config.data.source is None:
        size = 32 if "lpips" in name else 16
        config.data.tiles, config.data.batch_size, config.data.crop = stores[size], 2, size
        config.model.decoder.width = config.model.critic.width = 4
        config.model.critic.layers = config.model.decoder.depth = 1
    else:
        config.data.batch_size, config.data.source.validation = 16, 8
    return config


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*sky is not the training's")
def test_trains_is_killed_goes_on_and_is_applied(name, stores, tmp_path, monkeypatch):
    whole = train(tiny(name, stores, tmp_path / "whole"))
    config = tiny(name, stores, tmp_path / "parts")
    update = loop._update

    def until_killed(state, batches, stop):
        if state.progress.step == KILLED:
            raise Killed
        return update(state, batches, stop)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_update", until_killed)
        with pytest.raises(Killed):
            train(config)
    ended = train(config)
    first, second = (
        contents(Checkpoints(result.out / "checkpoints").at(STEPS).path)
        for result in (whole, ended)
    )
    assert first == second
    assert logged(whole.out)[-1] == logged(ended.out)[-1]

    bundle = load_bundle(ended.bundle)
    assert bundle.hash == load_bundle(whole.bundle).hash
    terms = PRESETS[name].terms
    flow = name == "flow"
    assert (bundle.encoder is not None) == (terms.needs_encoder or flow)
    assert (bundle.decoder is not None) == (terms.needs_decoder or flow)
    batch = next(open_source(config).validation(4))
    torch.manual_seed(0)
    for network, given, wanted in (
        (bundle.decoder, batch.z, batch.x),
        (bundle.encoder, batch.x, batch.z),
    ):
        if network is not None:
            made = network(given, FreshNoise())
            assert made.shape == wanted.shape
            assert made.isfinite().all()
    if bundle.decoder is not None and config.data.source is None:
        sky = np.random.default_rng(0).normal(size=(2, 40, 37)).astype(np.float32)
        assert np.isfinite(bundle.translate(sky).mean).all()


def test_there_is_one_for_every_preset():
    assert set(NAMES) == set(PRESETS) - {"custom", "one_cycle"}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_config_that_settles(name, stores, tmp_path):
    config = settle(tiny(name, stores, tmp_path))
    assert config.objective.preset == name
    source = open_source(config)
    trainable = build_trainable(config, source.source, source.target)
    trainable.check(source)
    assert trainable.idle_terms(source) == []
