"""Engines: what goes together, and that a new kind of network needs its registration alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import yaml
from refusals import in_one_line
from tiles_anywhere import anywhere
from torch import nn

from imgturbo.bundle import load_bundle
from imgturbo.config import Config, ModelConfig, NetworkConfig, load_config
from imgturbo.data import Tiles, TileSpec, TileStore
from imgturbo.engines import (
    ENGINES,
    Engine,
    build_trainable,
    complete,
    load_settled,
    register,
    settle,
    unregister,
)
from imgturbo.errors import ImgturboError
from imgturbo.losses import Ledger, Losses, Trainable
from imgturbo.nets import Generator
from imgturbo.scoring.calibrate import calibrate
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.training import best, train
from imgturbo.training.selection import Selection

MATRIX = torch.tensor([[0.5, -0.25]])
SIDES = {
    "source": Side(("A", "B"), "MJy/sr", Stretch.linear(2)),
    "target": Side(("C",), "MJy/sr", Stretch.linear(1)),
}


class LinearConfig(NetworkConfig):
    """One matrix for the bands of every pixel, or the columns of every row."""

    kind: Literal["linear"] = "linear"
    spread: float = 0.1
    density: bool = True


class Linear(Generator):
    """x̃ = A z + σ ε."""

    def __init__(self, config, in_channels, out_channels):
        super().__init__(in_channels, out_channels, stochastic=True)
        self.spread, self.has_density = config.spread, config.density
        self.matrix = nn.Parameter(torch.zeros(out_channels, in_channels))

    def forward(self, u, noise=None):
        x = torch.einsum("oc,bc...->bo...", self.matrix, u)
        return x if noise is None else x + self.spread * noise(0, x.shape, 1, x)

    def reach(self):
        return 0

    def log_density(self, y, z):
        return torch.distributions.Normal(self(z), self.spread).log_prob(y).flatten(1).sum(1)


class Fit(Trainable):
    """Its own loss, and a score of its own, of which more is better."""

    own_scores: Mapping[str, bool] = {"forward/nearness": True}

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, batch) -> Losses:
        ledger = Ledger()
        ledger.add("squares", "generator", 1.0, *self._squares(self.decoder, batch))
        return ledger.settle()

    def scores(self, maps, batch, number):
        total, count = self._squares(maps["decoder"], batch)
        return {"forward/nearness": (-total.sum(), count.sum())}

    @staticmethod
    def _squares(decoder, batch):
        valid = batch.z_valid & batch.x_valid
        return torch.where(valid, decoder(batch.z) - batch.x, 0.0).square(), valid


@pytest.fixture
def linear():
    """The engine, as a package of its own would add it."""
    engine = Engine(
        network=Linear,
        trainable=lambda config, z, x: Fit(Linear(config.model.decoder, len(z), len(x))),
        presets=("squares",),
        preset="squares",
        score="nearness",
    )
    register(LinearConfig, engine)
    yield engine
    unregister(LinearConfig)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)


def make_store(path: Path, tile: int | None = 12) -> Path:
    """x = A z + 0.1 ε, everywhere measured."""
    random = np.random.default_rng(0)
    spatial = () if tile is None else (tile, tile)
    with TileStore.create(path, TileSpec(tile, *SIDES.values(), ("field",), {})) as writer:
        for split, n in (("train", 8), ("validation", 6)):
            z = random.normal(size=(n, 2, *spatial)).astype(np.float32)
            x = np.einsum("oc,nc...->no...", MATRIX.numpy(), z)
            x = (x + 0.1 * random.normal(size=x.shape)).astype(np.float32)
            valid = np.ones((n, *spatial), bool)
            writer.append(split, Tiles(z, x, valid, valid, **anywhere(n)))
    return path


def written(folder: Path, decoder: str, tiles: Path, *more: str) -> Config:
    """A config file of a short training, read as the command line reads it."""
    folder.mkdir(exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(
        f"""
data: {{tiles: {tiles}, batch_size: 4}}
model: {{decoder: {decoder}, critic: {{width: 2, layers: 1}}}}
train: {{out: {folder / "run"}, steps: 40, warmup: 1, lr: 0.05, ema: 0, validate_every: 10,
         checkpoint_every: 10, keep: 9, trackers: [jsonl]}}
"""
    )
    return load_settled(file, more)


@pytest.mark.parametrize("tile", [12, None], ids=["images", "tables"])
def test_a_registered_kind_is_trained_validated_resumed_and_calibrated(linear, tmp_path, tile):
    tiles = make_store(tmp_path / "tiles.zarr", tile)
    config = written(tmp_path / "whole", "{kind: linear}", tiles)
    assert (config.objective.preset, config.train.select) == ("squares", "nearness")
    result = train(config)
    lines = (result.out / "metrics.jsonl").read_text().splitlines()
    found = {line["step"]: line["validation/forward/nearness"] for line in map(json.loads, lines)
             if "validation/forward/nearness" in line}  # fmt: skip
    assert len(found) == 4
    assert result.scores["forward/nearness"] == max(found.values()) == found[result.best_step]
    assert min(found.values()) < max(found.values())
    assert max(found.values()) > -0.03  # the variance of what cannot be known is 0.01
    kept = yaml.safe_load((result.out / "config.yaml").read_text())
    assert (kept["objective"]["preset"], kept["train"]["select"]) == ("squares", "nearness")

    config = written(tmp_path / "half", "{kind: linear}", tiles)
    train(config)
    shutil.rmtree(config.train.out / "checkpoints" / "step-00000040")  # as if killed before
    train(config)
    last = [run / "checkpoints" / "step-00000040" for run in (result.out, config.train.out)]
    for name in ("objective", "optimizers", "ema"):
        one, other = (path / f"{name}.safetensors" for path in last)
        assert one.read_bytes() == other.read_bytes()

    bundle = load_bundle(result.bundle)
    assert type(bundle.decoder) is Linear
    torch.testing.assert_close(
        bundle.decoder.matrix.detach(), MATRIX, atol=0.05 if tile else 0.2, rtol=0
    )
    calibration = calibrate(bundle, tiles, samples=32, perceptual=False, out=tmp_path / "c")
    assert calibration["likelihood"]["tiles"] == 6
    exact = 0.5 * np.log2(2 * np.pi * np.e * 0.01)
    assert calibration["likelihood"]["model"]["value"] == pytest.approx(exact, abs=0.9)
    if tile is not None:
        assert calibration["calibration"]["all"]["coverage"]["0.68"] == pytest.approx(0.68, abs=0.1)
        assert calibration["likelihood"]["model"]["value"] == pytest.approx(exact, abs=0.1)


def test_commands_know_a_registered_kind(linear, tmp_path, capsys):
    from imgturbo.cli.main import main
    from imgturbo.sky import SkyImage, read_sky, write_sky

    def run(*words) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return ended.value.code, capsys.readouterr().out

    tiles = make_store(tmp_path / "tiles.zarr")
    written(tmp_path, "{kind: linear, density: false}", tiles)
    assert run("train", tmp_path / "config.yaml", "train.steps=10")[0] == 0
    bundle = load_bundle(tmp_path / "run" / "bundle")
    flux = np.random.default_rng(1).normal(size=(2, 21, 35)).astype(np.float32)
    sky = SkyImage.from_array(flux, unit="MJy/sr", bands=("A", "B"))
    write_sky(tmp_path / "in.fits", sky)
    words = ("--bundle", bundle.path, tmp_path / "in.fits", "--out", tmp_path / "out.fits")
    assert run("translate", *words, "--window", "16")[0] == 0
    matrix = bundle.decoder.matrix.detach().numpy()
    expected = np.einsum("oc,chw->ohw", matrix, flux)
    np.testing.assert_allclose(read_sky(tmp_path / "out.fits").data, expected, atol=1e-5)
    found = bundle.translate(sky, samples=64, seed=1)
    np.testing.assert_allclose(found.mean.data, expected, atol=0.1)
    assert found.std.data.mean() == pytest.approx(0.1, rel=0.1)
    status, shown = run("calibrate", "--bundle", bundle.path, tiles, "--samples", 4)
    assert status == 0
    assert "no likelihood, only samples" in shown
    status, shown = run("inspect", bundle.path)
    assert status == 0
    assert "Linear, 2 parameters" in shown


def test_a_kind_goes_as_it_came(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("model: {decoder: {kind: linear}}")
    before = ModelConfig.model_json_schema()
    engine = Engine(Linear, lambda config, n, m: Fit(Linear(config, n, m)), ("squares",), "squares")
    register(LinearConfig, engine)
    try:
        assert load_config(path).model.decoder == LinearConfig()
        assert "spread" in json.dumps(ModelConfig.model_json_schema())
        with pytest.raises(ImgturboError, match=r"'model.decoder.spraed'; did you mean 'spread'"):
            load_config(path, ["model.decoder.spraed=1"])
        with pytest.raises(ValueError, match="kind 'linear' already"):
            register(LinearConfig, engine)
    finally:
        unregister(LinearConfig)
    with pytest.raises(ImgturboError, match=r"model.decoder: .*'linear'.*'unet'"):
        load_config(path)
    assert ModelConfig.model_json_schema() == before
    assert "linear" not in ENGINES


def test_every_kind_that_a_config_may_name_has_an_engine():
    schema = ModelConfig.model_json_schema()["properties"]["decoder"]
    assert set(schema["discriminator"]["mapping"]) == set(ENGINES)
    for kind, engine in ENGINES.items():
        config = settle(Config.model_validate({"model": {"decoder": {"kind": kind}}}))
        assert engine.preset in engine.presets
        assert (config.objective.preset, config.train.select) == (engine.preset, engine.score)
        assert settle(config) == config


# -------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["objective.preset=pix3pix"], ["objective.preset", "pix3pix", "'pix2pix'", "one_cycle"]),
        (["objective.preset=nothing"], ["'nothing'", "turbo", "likelihood", "squares"]),
        (["objective.preset=likelihood"], ["kind unet", "preset likelihood and kind cinn go"]),
        (["train.select=bits"], ["train.select bits", "kind unet", "only kind cinn"]),
        (["train.select=nearness"], ["train.select nearness", "only kind linear"]),
        (["model.decoder={kind: linear}", "objective.preset=turbo"], ["kind linear", "squares"]),
        (["model.decoder={kind: linear}", "train.select=bits"], ["only kind cinn"]),
        (
            ["model.decoder={kind: linear}", "model.encoder={kind: unet}"],
            ["kind linear has no encoder", "leave it out"],
        ),
        (["model.decoder={kind: cinn}", "objective.paired={x_tilde: 1}"], ["no paired"]),
        (["objective.noise=0.1"], ["objective.noise is set", "kind unet", "kind cinn"]),
        (["model.decoder={kind: cinn}", "objective.adversarial=hinge"], ["objective.adversarial"]),
        (["model.decoder={kind: cinn}", "objective.r1=1"], ["objective.r1", "goes with kind unet"]),
        (
            ["model.decoder={kind: cinn}", "objective.distance={x_tilde: {l2: 1}}"],
            ["objective.distance"],
        ),
        (["model.decoder={kind: diffusion}", "objective.noise=1"], ["objective.noise", "cinn"]),
        (["model.decoder={kind: diffusion}", "train.critic_lr=1"], ["train.critic_lr is set"]),
        (["model.decoder={kind: cinn}", "train.critic_steps=5"], ["train.critic_steps is set"]),
        (["objective.gradient_penalty=3"], ["objective.gradient_penalty goes", "not with lsgan"]),
        (
            ["objective.adversarial=wgan-gp", "model.critic.norm=batch"],
            ["adversarial: wgan-gp", "batch norm", "set model.critic.norm"],
        ),
        (["objective.r1=1", "model.critic.norm=batch"], ["objective.r1", "batch norm"]),
    ],
)
def test_what_does_not_go_together_is_one_line(linear, tmp_path, settings, words):
    path = tmp_path / "c.yaml"
    path.write_text("model: {decoder: {kind: unet}}\n")
    with pytest.raises(ImgturboError, match=f"^{re.escape(str(path))}: ") as caught:
        load_settled(path, settings)
    in_one_line(caught, *words)
    with pytest.raises(ImgturboError):
        build_trainable(load_config(path, settings), 2, 1)
    with pytest.raises(ImgturboError):  # before it looks for tiles
        train(load_config(path, [*settings, f"data.tiles={tmp_path / 'none.zarr'}"]))


def test_what_was_trained_with_settings_that_are_not_read_may_stand():
    config = Config.from_overrides(["objective.noise=0.1"])
    assert complete(config).objective.noise == 0.1
    with pytest.raises(ImgturboError, match=r"objective\.noise"):
        settle(config)


def test_settling_leaves_the_config_that_it_was_given():
    config = Config()
    settled = settle(config)
    assert (config.objective.preset, config.train.select) == (None, None)
    assert (settled.objective.preset, settled.train.select) == ("turbo", "psnr")


UNET = "{kind: unet, width: 2, depth: 1, blocks: 1}"


def test_a_score_that_nothing_gives_is_refused_at_the_start(tmp_path):
    tiles = make_store(tmp_path / "tiles.zarr")
    config = written(tmp_path, UNET, tiles, "train.select=lpips")
    with pytest.raises(ImgturboError) as caught:
        train(config)
    message = str(caught.value)
    assert "\n" not in message
    for word in ("'lpips'", "psnr", "backward/ssim", "forward/l1", "last"):
        assert word in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("maps", "select", "expected"),
    [
        (("decoder", "encoder"), "psnr", Selection("forward/psnr", True)),
        (("decoder", "encoder"), "backward/psnr", Selection("backward/psnr", True)),
        (("encoder",), "psnr", Selection("backward/psnr", True)),
        (("encoder",), "l1", Selection("backward/l1", False)),
        (("decoder",), "forward/ssim", Selection("forward/ssim", True)),
        (("decoder",), "nearness", Selection("forward/nearness", True)),
        (("decoder",), "forward/nearness", Selection("forward/nearness", True)),
        (("decoder",), "last", Selection(None)),
    ],
)
def test_scores_by_their_long_and_short_names(maps, select, expected):
    objective = Fit(None)
    for name in maps:
        setattr(objective, name, nn.Identity())
    assert Selection.named(select, objective) == expected
    if expected.score is not None:
        better = {expected.score: 2.0 if expected.higher else 1.0}
        worse = {expected.score: 1.0 if expected.higher else 2.0}
        assert expected.prefers(better, worse)
        assert not expected.prefers(worse, better)
        assert not expected.prefers(better, better)
    assert expected.prefers({}, {"forward/psnr": 1.0})


@pytest.mark.parametrize(
    "decoder",
    [
        UNET,
        "{kind: nafnet, width: 2, depth: 1, middle: 1}",
        "{kind: resnet, width: 2, downs: 1, blocks: 1}",
        "{kind: cinn, condition: {kind: vgg, width: 2}}",
        "{kind: diffusion, width: 2, depth: 1, steps: 4, sampling_steps: 2}",
    ],
)
def test_networks_of_images_refuse_tables_in_one_line(tmp_path, decoder):
    tiles = make_store(tmp_path / "tiles.zarr", None)
    with pytest.raises(ImgturboError, match="images, but the data are a table") as caught:
        train(written(tmp_path, decoder, tiles))
    assert "model.decoder.kind: mlp" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_networks_of_tables_refuse_images_in_one_line(tmp_path):
    tiles = make_store(tmp_path / "tiles.zarr")
    config = written(tmp_path, "{kind: mlp}", tiles, "model.critic={kind: mlp}")
    with pytest.raises(ImgturboError, match=r"data are images; set model.decoder.kind: unet"):
        train(config)
    assert not (tmp_path / "run").exists()


# ----------------------------------------------------------------------------- one map of the two


def test_an_encoder_alone_is_trained_saved_and_applied(tmp_path):
    from imgturbo.color.colorize import colorize
    from imgturbo.describe import describe

    tiles = make_store(tmp_path / "tiles.zarr")
    settings = ("objective={preset: custom, paired: {z_tilde: 1}}", "train.steps=10")
    result = train(written(tmp_path, UNET, tiles, *settings))
    assert {name.split("/")[0] for name in result.scores} == {"backward"}
    bundle = load_bundle(result.bundle)
    assert bundle.decoder is None
    assert {path.name for path in bundle.path.iterdir()} == {
        "bundle.json", "README.md", "encoder.safetensors",
    }  # fmt: skip
    card = (bundle.path / "README.md").read_text()
    assert "A, B ← C" in card
    assert "backward (target to source)\nonly" in card
    assert "--direction backward" in card
    flux = np.ones((1, 9, 9), np.float32)
    assert bundle.translate(flux, direction="backward").mean.shape == (2, 9, 9)
    with pytest.raises(ImgturboError, match="holds no decoder, so it translates backward only"):
        bundle.translate(np.ones((2, 9, 9), np.float32))
    with pytest.raises(ImgturboError, match="holds no decoder"):
        calibrate(bundle, tiles)
    with pytest.raises(ImgturboError, match="colours need a flow"):
        colorize(bundle, [], tmp_path / "coloured")
    facts = describe(bundle.path)
    assert facts["decoder"] == "none: only target → source"
    assert facts["encoder"].startswith("UNet")
    again = written(tmp_path / "more", UNET, tiles, *settings, f"train.init={bundle.path}")
    assert load_bundle(train(again).bundle).record["initial"] == bundle.hash
