"""Laws of `calibrate`: what a perfect model and its opposites score; mistakes are named."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiles_anywhere import anywhere

import imgturbo.scoring.calibrate
from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config
from imgturbo.data.store import Tiles, TileSpec, TileStore
from imgturbo.engines import build_network
from imgturbo.errors import ImgturboError
from imgturbo.metrics.frechet import NAME
from imgturbo.nets import Generator
from imgturbo.nets.efficientnet_lite import PACKAGE
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

TILE = 12
# The Fréchet distance's covariances take a second a call.
calibrate = partial(imgturbo.scoring.calibrate.calibrate, perceptual=False)
STRETCH = Stretch(np.zeros(3), np.full(3, 0.5), np.full(3, 2.0))


def side(bands, unit="MJy/sr"):
    kept = (getattr(STRETCH, k)[: len(bands)] for k in ("offset", "softening", "scale"))
    return Side(tuple(bands), unit, Stretch(*kept), pixel_scale=0.04)


SIDES = {"source": side(["F606W"]), "target": side(["F150W", "F277W"])}


def make_store(path, train=6, validation=10, holes=True, tile=TILE, noise=0.2, sides=SIDES):
    """x = (z, −z) + noise · ε, on a z that is bright here and there."""
    rng = np.random.default_rng(0)
    spec = TileSpec(tile, sides["source"], sides["target"], ("field",), {})
    spatial = () if tile is None else (tile, tile)
    with TileStore.create(path, spec) as writer:
        for split, count in (("train", train), ("validation", validation)):
            if not count:
                continue
            z = rng.gamma(0.5, 0.3, (count, 1, *spatial)).astype(np.float32)
            x = np.concatenate([z, -z], 1) + noise * rng.normal(size=(count, 2, *spatial))
            mask = rng.random((2, count, *spatial)) > (0.2 if holes else -1)
            mask[:, ::2] = True  # every other tile is whole
            tiles = Tiles(
                source=np.where(mask[0][:, None], z, 0).astype(np.float32),
                target=np.where(mask[1][:, None], x, 0).astype(np.float32),
                source_valid=mask[0],
                target_valid=mask[1],
                **anywhere(count),
            )
            writer.append(split, tiles)
    return path


class Truth(Generator):
    """The posterior that the store was drawn from, or one of another spread."""

    def __init__(self, spread=0.2):
        super().__init__(1, 2, stochastic=True)
        self.spread = spread

    def forward(self, u, noise=None):
        x = torch.cat([u, -u], 1)
        return x if noise is None else x + self.spread * noise(0, x.shape, 1, x)


def bundle_of(decoder, sides=SIDES, sigma=0.0):
    """What `calibrate` reads of a bundle."""
    config = SimpleNamespace(objective=SimpleNamespace(noise=sigma))
    return SimpleNamespace(path="bundle", hash="0" * 12, decoder=decoder, config=config, **sides)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("calibrate") / "tiles.zarr")


@pytest.mark.parametrize("samples", [2, 33])
def test_the_posterior_itself_is_calibrated(store, samples):
    result = calibrate(bundle_of(Truth()), store, samples=samples)
    rows = result["calibration"]
    for row in (rows["all"], rows["bright"], *rows["bands"].values()):
        for level, found in row["coverage"].items():
            error = math.sqrt(float(level) * (1 - float(level)) / row["numbers"])
            assert found == pytest.approx(float(level), abs=5 * error)
    assert list(rows["bands"]) == ["F150W", "F277W"]
    assert sum(row["numbers"] for row in rows["bands"].values()) == rows["all"]["numbers"]
    assert 0 < result["bright"]["fraction"] < 1
    scores = {name: score["value"] for name, score in result["scores"].items()}
    assert scores["crps"] == pytest.approx(0.2 / math.sqrt(math.pi), rel=0.1)
    assert scores["best_of_1"] == pytest.approx(0.2 * math.sqrt(2), rel=0.1)
    assert scores["mean_distance"] == pytest.approx(0.2 * math.sqrt(2), rel=0.1)
    assert scores["variance"] == pytest.approx(0.04 * (1 - 1 / samples), rel=0.1)
    assert result["tiles_scored"] == 10
    assert any("no likelihood" in note for note in result["notes"])


def test_too_little_and_too_much_spread_are_told_apart(store):
    found = [
        calibrate(bundle_of(Truth(s)), store, samples=16)["calibration"]["all"]["coverage"]["0.68"]
        for s in (0.1, 0.2, 0.4)
    ]
    assert found[0] < 0.6 < found[1] < 0.75 < found[2]


def test_at_temperature_zero_samples_agree(store):
    result = calibrate(bundle_of(Truth()), store, samples=3, temperature=0)
    scores = {name: score["value"] for name, score in result["scores"].items()}
    assert scores["mean_distance"] == scores["variance"] == 0
    assert scores["crps"] == pytest.approx(scores["absolute_error_of_mean"])
    assert scores["best_of_1"] == pytest.approx(scores["best_of_n_pixelwise"])


def test_the_frechet_distance_is_told_with_n_or_why_not(store):
    result = calibrate(bundle_of(Truth()), store, samples=2, limit=3, perceptual=True)
    if importlib.util.find_spec(PACKAGE) is None:
        assert result["frechet"] is None
        assert any("EfficientNet-Lite0" in note for note in result["notes"])
    else:
        assert result["frechet"]["name"] == NAME
        assert result["frechet"]["n"] == [6, 6]  # two bands, one by one


def test_batches_do_not_matter(store, monkeypatch):
    whole = calibrate(bundle_of(Truth()), store, samples=4)
    monkeypatch.setattr("imgturbo.scoring.calibrate._BATCH_NUMBERS", 1)
    single = calibrate(bundle_of(Truth()), store, samples=4)
    assert single["calibration"] == whole["calibration"]  # no ties here: nothing left to chance
    for name, score in single["scores"].items():
        assert score["value"] == pytest.approx(whole["scores"][name]["value"], rel=1e-5)
    assert calibrate(bundle_of(Truth()), store, samples=4, seed=1)["scores"] != single["scores"]


def test_tiles_of_another_stretch_are_stretched_anew(store, tmp_path):
    """The same fluxes on another scale: the bundle's numbers must not change."""
    other = {name: replace(own, stretch=Stretch.linear(len(own))) for name, own in SIDES.items()}
    moved = tmp_path / "moved.zarr"
    spec = TileSpec(TILE, other["source"], other["target"], ("field",), {})
    with TileStore.create(moved, spec) as writer:
        split = TileStore.open(store).split("validation")
        flux = {}
        for name in ("source", "target"):
            y = np.moveaxis(np.asarray(getattr(split, name)), 1, 0)
            flux[name] = np.moveaxis(SIDES[name].stretch.inverse(y), 0, 1).copy()
        masks = {f"{name}_valid": np.asarray(getattr(split, f"{name}_valid")) for name in flux}
        rest = {k: getattr(split, k) for k in ("sky", "position", "residual", "field")}
        writer.append("validation", Tiles(**flux, **masks, **rest))
    here, there = (calibrate(bundle_of(Truth()), path, samples=8) for path in (store, moved))
    for name, score in there["scores"].items():
        assert score["value"] == pytest.approx(here["scores"][name]["value"], rel=1e-4)


def test_tables_of_numbers(tmp_path):
    path = make_store(tmp_path / "rows.zarr", validation=500, tile=None)
    result = calibrate(bundle_of(Truth()), path, samples=9)
    assert result["calibration"]["all"]["coverage"]["0.9"] == pytest.approx(0.9, abs=0.06)
    assert result["frechet"] is None


# ---------------------------------------------------------------------------------- a real bundle


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """An untrained flow, saved and loaded: a normal distribution of deviation 1."""
    stages = [{"blocks": 1, "width": 4, "coarse_blocks": 0}] * 2
    decoder = {"kind": "cinn", "stages": stages, "condition": {"kind": "vgg", "width": 4}}
    config = Config.model_validate({"model": {"decoder": decoder}, "objective": {"noise": 0.05}})
    torch.manual_seed(0)
    network = build_network(config.model.decoder, 1, 2)
    path = tmp_path_factory.mktemp("flow") / "bundle"
    save_bundle(path, decoder=network, encoder=None, config=config, sides=SIDES, record={})
    return load_bundle(path)


def test_a_flow_has_a_likelihood_beside_the_normals(flow, store, tmp_path):
    result = calibrate(flow, store, samples=5, limit=4, out=tmp_path / "out")
    bits = result["likelihood"]
    # −log₂ N(x; 0, 1) of a fresh flow, which is a rotation, at numbers of this mean square.
    split = TileStore.open(store).split("validation")
    rows = np.linspace(0, 10, 4, endpoint=False).astype(int)
    rows = rows[np.asarray(split.target_valid)[rows].all((1, 2))]
    square = np.mean(np.asarray(split.target)[rows].astype(float) ** 2) + 0.05**2
    exact = 0.5 * (math.log(2 * math.pi) + square) / math.log(2)
    assert bits["model"]["value"] == pytest.approx(exact, abs=0.02)
    assert bits["tiles"] == len(rows)
    assert bits["training_tiles"] == 3
    values = [bits[k]["value"] for k in ("gaussian_full", "gaussian_diagonal", "model")]
    assert values == sorted(values)  # the bands are anticorrelated, and far from deviation 1
    assert any("noise" in note for note in result["notes"])
    assert json.loads((tmp_path / "out" / "calibration.json").read_text()) == result
    assert (tmp_path / "out" / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_the_command(flow, store, tmp_path, capsys):
    from imgturbo.cli.main import main

    words = ["calibrate", "--bundle", str(flow.path), str(store), "--samples", "3"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--limit", "2", "--levels", "0.5,0.9", "--out", str(tmp_path / "c")])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for word in ("calibration error", "crps", "bits per stretched number", "2 tiles"):
        assert word in shown
    assert json.loads((tmp_path / "c" / "calibration.json").read_text())["levels"] == [0.5, 0.9]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--levels", "half"])
    assert ended.value.code == 2
    assert "--levels half: these are not numbers" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------- mistakes


class Plain(Truth):
    def __init__(self):
        super().__init__()
        self.stochastic = False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1}, "draw 2 or more"),
        ({"temperature": -0.1}, "zero or more, not -0.1"),
        ({"temperature": math.nan}, "zero or more"),
        ({"limit": 0}, "limit of 0"),
        ({"levels": [0.5, 90]}, "level 90"),
        ({"device": "abacus"}, "cannot be used here"),
    ],
)
def test_settings_that_make_no_sense(store, settings, message):
    with pytest.raises(ImgturboError, match=message):
        calibrate(bundle_of(Truth()), store, **settings)


def test_a_deterministic_model_is_named(store):
    with pytest.raises(ImgturboError, match="bundle: its decoder is deterministic"):
        calibrate(bundle_of(Plain()), store)


def test_other_tiles_are_named(store, tmp_path):
    with pytest.raises(ImgturboError, match="no validation tile is a pair"):
        calibrate(bundle_of(Truth()), make_store(tmp_path / "a.zarr", validation=0))
    for wrong, message in (
        ({"target": side(["F150W", "F444W"])}, "target bands F150W, F277W, but .* F150W, F444W"),
        ({"source": side(["F606W"], unit="electron/s")}, "source unit MJy/sr, but .* electron/s"),
    ):
        with pytest.raises(ImgturboError, match=message):
            calibrate(bundle_of(Truth(), SIDES | wrong), store)
    with pytest.raises(ImgturboError, match="no such tile store"):
        calibrate(bundle_of(Truth()), tmp_path / "none.zarr")


def test_without_a_whole_tile_there_is_no_likelihood(flow, tmp_path):
    path = make_store(tmp_path / "t.zarr", train=0, validation=2)
    result = calibrate(replace(flow), path, samples=2)
    assert result["likelihood"] is None
    assert any("likelihood is left out" in note for note in result["notes"])
