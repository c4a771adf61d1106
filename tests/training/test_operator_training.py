"""Inverse problems: a decoder trained behind an operator, resumed, bundled, held to its data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stopped import stop_at
from training_standins import TILE, make_tiles, same_ends, tiny

from imgturbo.bundle import load_bundle
from imgturbo.config import Config, ObjectiveConfig
from imgturbo.data import open_source
from imgturbo.engines import build_trainable, settle
from imgturbo.errors import ImgturboError
from imgturbo.nets.operators import observer
from imgturbo.training import train
from imgturbo.turbo.terms import OUTPUTS

STEPS = 5
OPERATORS = {
    "identity": {"kind": "identity"},
    "mask": {"kind": "mask", "size": TILE, "share": 0.5},
    "blur": {"kind": "blur", "fwhm": 2, "side": 5},
    "compressive": {"kind": "compressive", "size": TILE},
    "learnt": {"kind": "fourier", "size": TILE, "learnable": True},
}
OBJECTIVES = {
    "supervised": {"preset": "custom", "paired": {"x_tilde": 1}},
    "pix2pix": {"preset": "pix2pix"},
    "direct": {"preset": "custom", "paired": {"x_hat": 1}},
    "turbo": {"preset": "turbo", "pool": 3},
}


def config_of(folder, operator="identity", objective="supervised", noise=0.2, **train_settings):
    tree = tiny(folder, **train_settings).model_dump(mode="json", by_alias=True)
    tree["data"]["source"] = {"kind": "observation", "replace": True}
    tree["model"]["encoder"] = {
        "kind": "operator", "operator": OPERATORS[operator], "noise": noise,
    }  # fmt: skip
    tree["objective"] = OBJECTIVES[objective]
    return Config.model_validate(tree)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("observed")
    make_tiles(folder / "tiles.zarr", holes=0)
    return folder


@pytest.mark.parametrize(("operator", "objective"), [("blur", "turbo"), ("learnt", "direct")])
def test_stopped_and_resumed_is_not_stopped(folder, tmp_path, monkeypatch, operator, objective):
    settings = {"steps": STEPS, "validate_every": STEPS}
    whole = train(config_of(folder, operator, objective, out=str(tmp_path / "whole"), **settings))
    config = config_of(folder, operator, objective, out=str(tmp_path / "parts"), **settings)
    config.train.checkpoint_every = 100
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert train(config).step == 3
    config.train.checkpoint_every = 2
    ended = train(config)
    same_ends(whole, ended, STEPS)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_operator_travels_in_the_bundle(folder, tmp_path, operator):
    objective = "direct" if operator == "learnt" else "supervised"
    config = config_of(folder, operator, objective, out=str(tmp_path / "run"), steps=2)
    result = train(config)
    bundle = load_bundle(result.bundle)
    instrument = observer(bundle.encoder)
    assert instrument.sigma == pytest.approx(0.2)
    assert bundle.source == bundle.target
    # What validation said of the consistency is what the loaded networks give.
    squares = entries = 0
    source = open_source(settle(config))
    for batch in source.validation(2, 4):
        z = instrument.observe(batch.z, batch.noise)
        with torch.inference_mode():
            found, count = instrument.residual(bundle.decoder(z), z)
        squares, entries = squares + found.sum(), entries + count * len(batch)
    ratio = float(squares / 0.2**2 / entries)
    assert result.scores["forward/consistency"] == pytest.approx(ratio, rel=1e-4)


def test_the_identity_decoder_is_as_consistent_as_can_be_told(folder):
    """x̃ = z explains z too well (0); the truth explains it to within the noise (1)."""
    config = settle(config_of(folder, "identity"))
    source = open_source(config)
    objective = build_trainable(config, source.source, source.target).eval()
    batch = next(source.validation(5))
    seen = objective.observe(batch)
    assert torch.allclose(seen.z - batch.z, 0.2 * batch.noise, atol=1e-6)
    assert objective.observe(seen) is seen
    for answer, expected in ((lambda z: z, 0.0), (lambda z: batch.z, 1.0)):
        maps = {"encoder": objective.encoder, "decoder": answer}
        total, count = objective.scores(maps, seen, 0)["forward/consistency"]
        assert float(total / count) == pytest.approx(expected, abs=0.12)


def test_only_samples_without_holes_are_judged(folder):
    config = settle(config_of(folder, "identity"))
    source = open_source(config)
    objective = build_trainable(config, source.source, source.target).eval()
    seen = objective.observe(next(source.validation(4)))
    seen.z_valid[1, 0, 3, 3] = False
    sky = seen.z.clone()
    sky[1] += 100
    maps = {"encoder": objective.encoder, "decoder": lambda z: sky}
    total, count = objective.scores(maps, seen, 0)["forward/consistency"]
    assert (float(total), int(count)) == (0, 3 * sky[0].numel())


def test_observing_costs_no_gradient_and_learning_does(folder):
    config = settle(config_of(folder, "learnt", "direct"))
    source = open_source(config)
    objective = build_trainable(config, source.source, source.target)
    assert not objective.observe(source.batch(0)).z.requires_grad
    objective(source.batch(0)).generator.backward()
    slope = objective.encoder.operator.weight.grad
    assert slope.abs().max() > 0
    assert len(objective.critic_parameters()) == 0


def test_what_is_learnt_in_an_operator_needs_a_term(folder):
    config = config_of(folder, "learnt", "supervised")
    with pytest.raises(ImgturboError, match=r"no term .* depends on the encoder; give .*x_hat"):
        train(config)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"preset": "custom", "paired": {"z_tilde": 1}}, r"paired\.z_tilde is set.*set it to 0"),
        ({"preset": "turbo", "marginal": {"z_tilde": 2}}, r"marginal\.z_tilde is set.*nothing"),
        ({"preset": "cyclegan", "identity": {"z": 1}}, r"identity\.z is set"),
        ({"preset": "turbo", "paired": dict.fromkeys(OUTPUTS, 0),
          "marginal": dict.fromkeys(OUTPUTS[1:], 0)}, "nothing would be trained"),
    ],
)  # fmt: skip
def test_terms_that_train_nothing_are_refused(folder, objective, words):
    config = config_of(folder)
    config.objective = ObjectiveConfig.model_validate(objective)
    with pytest.raises(ImgturboError, match=words):
        build_trainable(settle(config), 1, 1)


def test_a_presets_terms_that_train_nothing_are_left_out(folder):
    config = settle(config_of(folder, "blur", "turbo"))
    objective = build_trainable(config, 1, 1)
    assert set(objective.critics) == {"x_hat", "x_tilde", "z_hat"}
    assert "L/z_tilde" not in objective.terms_by_pairs()
    learnt = build_trainable(settle(config_of(folder, "learnt", "turbo")), 1, 1)
    assert "z_tilde" in learnt.critics


def test_an_operator_that_does_not_fit_the_tiles_is_refused_before_step_0(folder, tmp_path):
    config = config_of(folder, "mask", out=str(tmp_path / "run"))
    config.data.crop = 12
    with pytest.raises(ImgturboError, match=r"operator\.size is 17, but .* is 12; set it to 12"):
        train(config)


def test_a_decoder_of_another_engine_has_no_operator_beside_it(folder):
    tree = config_of(folder).model_dump(mode="json", by_alias=True)
    tree["model"]["decoder"] = {"kind": "diffusion"}
    tree["objective"] = {}
    with pytest.raises(ImgturboError, match="has no encoder beside it"):
        train(Config.model_validate(tree))


def test_training_makes_denoising_better_than_the_input(folder, tmp_path):
    settings = {
        "steps": 40,
        "lr": 1e-2,
        "validate_every": 40,
        "log_every": 40,
        "checkpoint_every": 40,
    }
    config = config_of(folder, noise=0.5, out=str(tmp_path / "run"), **settings)
    scores = train(config).scores
    assert scores["forward/psnr"] > -20 * np.log10(0.5) + 0.3
    assert 0.3 < scores["forward/consistency"] < 2
