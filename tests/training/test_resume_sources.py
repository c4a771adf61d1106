"""Runs on each source of data: stopped and resumed they end as if nothing had happened (law 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stopped import stop_at
from tiles_anywhere import anywhere
from training_standins import contents, logged

from imgturbo.bundle import load_bundle
from imgturbo.config import Config
from imgturbo.data import SimulatorSource, Tiles, TileSpec, TileStore
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.simulators import Linear
from imgturbo.sky.stretch import Stretch
from imgturbo.training import train
from imgturbo.training.checkpoint import Checkpoints

STEPS = 9
KINDS = ("store", "hidden pairs", "prior", "simulator")


def table(channels: int, letter: str) -> Side:
    names = tuple(f"{letter}{i}" for i in range(channels))
    return Side(names, "GeV", Stretch.linear(channels), kind="table")


def make_tables(path: Path, source: bool) -> Path:
    """Rows of three target columns, beside two of the source if asked for."""
    sides = (table(2, "z") if source else None, table(3, "x"))
    random = np.random.default_rng(4)
    with TileStore.create(path, TileSpec(None, *sides, ("events",), {})) as writer:
        for split, n in (("train", 23), ("validation", 6)):
            z = random.normal(size=(n, 2)).astype(np.float32) if source else None
            x = random.normal(size=(n, 3)).astype(np.float32)
            known = np.ones(n, bool)
            writer.append(split, Tiles(z, x, known if source else None, known, **anywhere(n)))
    return path


def config_of(kind: str, folder: Path, out: str = "run", **train_settings) -> Config:
    data = {"batch_size": 4}
    if kind == "simulator":
        data["source"] = {"kind": "simulator", "name": "linear", "validation": 12}
        objective = {"preset": "turbo", "pool": 3}
    elif kind == "prior":
        data["tiles"] = str(folder / "targets")
        data["source"] = {"kind": "prior", "numbers": 5}
        objective = {"preset": "custom", "marginal": {"x_tilde": 1}, "pool": 3}
    else:
        data["tiles"] = str(folder / "pairs")
        data["hide_pairs"] = 0.7 if kind == "hidden pairs" else 0
        objective = {"preset": "turbo", "pool": 3}
    settings = {
        "steps": STEPS, "warmup": 2, "validate_every": 4, "validate_tiles": 6, "log_every": 1,
        "checkpoint_every": 2, "trackers": ["jsonl"], "out": str(folder / out),
    }  # fmt: skip
    return Config.model_validate(
        {
            "name": kind,
            "seed": 3,
            "data": data,
            "model": {
                "decoder": {"kind": "mlp", "hidden": [8], "noise_channels": 1},
                "critic": {"kind": "mlp", "hidden": [8]},
            },
            "objective": objective,
            "train": settings | train_settings,
        }
    )


@pytest.fixture
def folder(tmp_path):
    make_tables(tmp_path / "targets", source=False)
    make_tables(tmp_path / "pairs", source=True)
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_is_not_stopped(folder, monkeypatch, kind, workers):
    whole = train(config_of(kind, folder, "whole"))
    config = config_of(kind, folder, "parts", checkpoint_every=100)
    config.data.workers = workers
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        stopped = train(config)
    assert (stopped.finished, stopped.step) == (False, 6)
    config.train.checkpoint_every = 2
    ended = train(config)
    assert ended.scores == whole.scores
    first, second = (
        contents(Checkpoints(result.out / "checkpoints").at(STEPS).path)
        for result in (whole, ended)
    )
    second["state"]["config"]["data"]["workers"] = 0
    assert first == second
    assert any(name.startswith("pools-") for name in first)
    assert logged(whole.out) == logged(ended.out)
    assert load_bundle(whole.bundle).hash == load_bundle(ended.bundle).hash


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_a_bundle_that_says_what_its_sides_are(folder, kind):
    result = train(config_of(kind, folder, steps=2))
    bundle = load_bundle(result.bundle)
    kinds = {"store": ("table", "table"), "prior": ("latent", "table")}
    assert (bundle.source.kind, bundle.target.kind) == kinds.get(kind, ("table", "table"))
    assert bundle.decoder(torch.zeros(3, len(bundle.source))).shape == (3, len(bundle.target))
    facts = describe(result.bundle)
    assert facts["warnings"] == []
    assert "numbers" in facts["decoder"]
    assert ("drawn from a prior" in facts["source"]) == (kind == "prior")
    card = (result.bundle / "README.md").read_text()
    assert ("5 drawn numbers → x0, x1, x2" in card) == (kind == "prior")
    assert "telescope" not in card
    assert describe(result.out)["what"] == "checkpoint"
    # Whatever the kind, its pairs are scored, and where there are none nothing is.
    assert ("forward/psnr" in result.scores) == (kind != "prior")


def test_a_table_of_tiles_can_be_looked_at(folder):
    assert describe(folder / "targets")["what"] == "store of rows of tables"


def test_other_tiles_beside_a_prior_are_refused(folder):
    config = config_of("prior", folder, steps=2)
    train(config)
    config.data.source.replace = True
    config.data.tiles = folder / "pairs"
    with pytest.raises(ImgturboError, match=r"started with data\.source\.replace = False"):
        train(config)
    config.data.source.replace = False
    make_tables(folder / "pairs", source=False).rename(folder / "again")
    config.data.tiles = folder / "again"
    assert train(config).finished  # the same tiles in another place
    config.seed = 4
    with pytest.raises(ImgturboError, match=r"started with seed = 3"):
        train(config)


def test_a_simulator_that_has_changed_is_refused(folder, monkeypatch):
    config = config_of("simulator", folder, steps=2)
    train(config)
    monkeypatch.setattr(Linear, "version", 2)
    with pytest.raises(ImgturboError, match=r"other data than the simulator linear draws"):
        train(config)


def test_draws_that_are_not_finite_are_named(folder, monkeypatch):
    observe = Linear.observe

    def broken(self, generator, parameters):
        observed = observe(self, generator, parameters)
        observed[5] = np.inf
        return observed

    monkeypatch.setattr(Linear, "observe", broken)
    words = r"step 2: the loss is not finite.*draws of the simulator linear: .*training draw 5;"
    with pytest.raises(ImgturboError, match=words) as caught:
        train(config_of("simulator", folder))
    assert "inspect" not in str(caught.value)


def test_a_source_of_ones_own(folder):
    """``train`` takes any source, and asks it, not the config, for its batches."""
    config = config_of("simulator", folder, steps=2)
    wide = Linear(matrix=np.eye(2), mean=np.zeros(2), covariance=np.eye(2))
    source = SimulatorSource(config.data.source, config.data, config.seed, simulator=wide)
    bundle = load_bundle(train(config, source=source).bundle)
    assert (len(bundle.source), len(bundle.target)) == (2, 2)
