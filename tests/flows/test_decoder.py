"""A flow as a generator: its draws, its density, windows that agree, and its loss."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imgturbo.config import (
    Config,
    FlowConfig,
    FlowDenseConfig,
    FlowStageConfig,
    PyramidConditionConfig,
)
from imgturbo.data.batch import Batch
from imgturbo.engines import build_network, build_trainable
from imgturbo.errors import ImgturboError
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.mosaic import translate_array
from imgturbo.nets import FreshNoise, PositionalNoise, Tempered, receptive_field


def decoder(in_channels=1, out_channels=2, *, scale=1, dense=False, seed=0, size=0.1, **options):
    """A small flow, its weights shaken: a fresh one is the identity."""
    torch.manual_seed(seed)
    stage = {"blocks": 1, "width": 4, "coarse_blocks": 1, "coarse_width": 4}
    config = FlowConfig(
        stages=[
            FlowStageConfig(**stage, keep=0.5),
            FlowStageConfig(**stage, keep=0.5 if dense else 1.0),
        ],
        dense=FlowDenseConfig(size=8, blocks=2, width=6) if dense else None,
        condition=PyramidConditionConfig(width=4, blocks=1, scale=scale, kind="vgg"),
        **options,
    )
    network = build_network(config, in_channels, out_channels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    assert isinstance(network, CINNDecoder)
    return network.eval()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 7), (1, 19)])
def test_draws_have_the_size_of_the_input_whatever_it_is(scale, height, width):
    network = decoder(3, 2, scale=scale)
    u = torch.randn(2, 3, height, width)
    quiet = network(u)
    assert quiet.shape == (2, 2, height, width)
    torch.testing.assert_close(network(u, Tempered(FreshNoise(), 0.0)), quiet)
    one, other = network.draws(u, [FreshNoise(), FreshNoise()])
    assert (one - other).abs().max() > 1e-3


def test_the_condition_is_computed_once_for_all_draws():
    network = decoder()
    calls = []
    network.flow.condition.register_forward_hook(lambda *_: calls.append(1))
    u, origins = torch.randn(2, 1, 8, 8), [(0, 0), (8, 16)]
    noises = [PositionalNoise(seed, origins) for seed in range(3)]
    together = list(network.draws(u, noises))
    assert len(calls) == 1
    for draw, noise in zip(together, noises, strict=True):
        torch.testing.assert_close(draw, network(u, noise))


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("samples", [None, 3])
def test_windows_of_a_flow_agree_with_the_whole(scale, samples):
    network = decoder(2, 1, scale=scale)
    halo = receptive_field(network)
    array = np.random.default_rng(0).normal(size=(2, 3 * halo, 2 * halo + 5)).astype(np.float32)
    settings = {"samples": samples, "quantiles": (0.25,) if samples else (), "seed": 4}
    whole = translate_array(network, array, window=10 * halo, **settings)
    parts = translate_array(network, array, window=2 * halo + 4 * network.stride, **settings)
    assert (whole.std is not None, list(whole.quantiles)) == (bool(samples), [0.25] * bool(samples))
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-4)
    if samples:
        np.testing.assert_allclose(parts.std, whole.std, atol=1e-4)
        np.testing.assert_allclose(parts.quantiles[0.25], whole.quantiles[0.25], atol=1e-4)


def test_draws_vanish_with_the_temperature_and_grow_with_it():
    network = decoder()
    array = np.random.default_rng(1).normal(size=(1, 24, 24)).astype(np.float32)
    spread = [
        float(translate_array(network, array, samples=8, temperature=t).std.mean())
        for t in (0.0, 0.5, 1.0)
    ]
    assert spread[0] < 1e-6 < spread[1] < spread[2]


def test_the_density_is_that_of_the_flow_on_area_means():
    network = decoder(scale=2).double()
    x, z = torch.randn(3, 2, 16, 8).double(), torch.randn(3, 1, 16, 8).double()
    mean = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(network.log_prob(x, z), network.flow.log_prob(mean, z))
    assert network.dimensions(x) == mean[0].numel()


def batch(side=8, seed=0, channels=(1, 2)):
    torch.manual_seed(seed)
    mask = torch.ones(4, 1, side, side, dtype=torch.bool)
    index = torch.arange(4)
    z, x = (torch.randn(4, count, side, side) for count in channels)
    return Batch(z, x, mask, mask.clone(), torch.ones(4, dtype=torch.bool), index, index)


CINN = {
    "kind": "cinn",
    "stages": [{"blocks": 1, "width": 4, "coarse_width": 4}],
    "condition": {"kind": "vgg", "width": 4, "blocks": 1},
}


def likelihood(noise=0.0, **objective):
    torch.manual_seed(0)
    config = {"model": {"decoder": CINN}, "objective": {"noise": noise, **objective}}
    return build_trainable(Config.model_validate(config), 1, 2)


def test_the_loss_of_a_fresh_flow_is_that_of_white_noise():
    """A fresh network is orthogonal, so its density is N(0, 1)'s."""
    losses = likelihood()(data := batch())
    expected = 0.5 * (data.x.square().mean() + math.log(2 * math.pi))
    torch.testing.assert_close(losses.generator, expected)
    torch.testing.assert_close(losses.terms["nll"], expected)
    assert losses.critic == 0


def test_only_pairs_that_were_measured_count_and_nothing_under_a_mask_does():
    objective, data = likelihood(), batch()
    torch.nn.init.normal_(objective.decoder.flow.flow.stages[0].transforms[0]
                          .predict_second.layers[-1].weight, std=0.1)  # fmt: skip
    data.paired[1] = False
    data.x_valid[2, 0, 3:] = False  # 24 of 64 pixels are left
    data.z_valid[0, 0, 2, 2] = False
    kept = replace(
        data,
        z=data.z[[0, 3]].where(data.z_valid[[0, 3]], 0), x=data.x[[0, 3]],
        z_valid=data.z_valid[[0, 3]], x_valid=data.x_valid[[0, 3]], paired=data.paired[[0, 3]],
    )  # fmt: skip
    torch.testing.assert_close(objective(data).generator, objective(kept).generator)
    data.paired[:] = False
    loss = objective(data).generator
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in objective.generator_parameters())


def test_holes_are_filled_by_draws_that_teach_nothing_and_weigh_nothing():
    """E ∇ log p = 0 over draws of p: where x is of the model, holes leave the gradient at 0."""
    config = {"model": {"decoder": CINN | {"actnorm": True}}}
    objective = build_trainable(Config.model_validate(config), 1, 2)
    scale = next(p for name, p in objective.named_parameters() if "log_scale" in name)
    objective.eval()  # so that ActNorm stays the identity, and the flow N(0, 1)
    for layer in objective.modules():
        if hasattr(layer, "initialised"):
            layer.initialised.fill_(True)
    data = batch(side=128)
    data.x_valid[:, :, :, ::3] = False
    data.x[:, :, :, ::3] = 1e6
    loss = objective(data).generator
    (gradient,) = torch.autograd.grad(loss, scale)
    assert float(loss.detach()) == pytest.approx(0.5 * (1 + math.log(2 * math.pi)), abs=0.02)
    # Of each of two channels; a fill by the mean would give a third of 1/2.
    assert gradient.abs().max() < 0.1 * (1 / 3) / 2

    whole = batch(side=128)
    share = float(data.x_valid.float().mean())
    data.x_valid[1:] = whole.x_valid[1:]
    data.x[1:] = 2.0
    parts = [0.5 * (1 + math.log(2 * math.pi)), *[0.5 * (4 + math.log(2 * math.pi))] * 3]
    expected = np.average(parts, weights=[share, 1, 1, 1])
    assert float(objective(data).generator.detach()) == pytest.approx(expected, abs=0.02)


def test_before_its_first_batch_a_flow_has_no_draws_and_holes_are_means():
    config = {"model": {"decoder": CINN | {"actnorm": True}}}
    found = []
    for seed in (1, 2):
        torch.manual_seed(0)
        objective, data = build_trainable(Config.model_validate(config), 1, 2), batch()
        data.x_valid[2, 0, 3, 3] = False
        data.x[2, :, 3, 3] = 1e6 * seed
        torch.manual_seed(seed)
        found.append(objective(data).generator.detach())
    assert found[0] == found[1] < 5


def test_a_batch_of_which_nothing_counts_leaves_the_first_scales_open():
    config = {"model": {"decoder": CINN | {"actnorm": True, "memory_saving": True}}}
    objective, data = build_trainable(Config.model_validate(config), 1, 2), batch()
    data.paired[:] = False
    objective(data).generator.backward()
    layers = [layer for layer in objective.modules() if hasattr(layer, "initialised")]
    assert layers
    assert not any(layer.initialised for layer in layers)
    data.paired[2:] = True
    objective(data).generator.backward()
    assert all(layer.initialised for layer in layers)
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters())


# Torch's own look at its inputs, which it hides unless warnings are errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_what_a_likelihood_runs_is_what_is_compiled():
    seen = []

    def backend(graph, _):
        seen.append(graph)
        return graph.forward

    objective = likelihood()
    objective.decoder.compile(backend=backend)
    loss = objective(batch()).generator
    assert seen
    torch.testing.assert_close(loss, likelihood()(batch()).generator)


def test_what_does_not_count_does_not_set_the_first_scales():
    config = {"model": {"decoder": CINN | {"actnorm": True}}}
    scales = []
    for spoilt in (False, True):
        torch.manual_seed(0)
        objective, data = build_trainable(Config.model_validate(config), 1, 2), batch()
        data.paired[1] = False
        if spoilt:
            data.x[1] *= 100
        objective(data)
        scales.append(torch.cat([p.detach().flatten() for p in objective.parameters()]))
    torch.testing.assert_close(*scales)


def test_training_noise_has_the_deviation_asked_for():
    data = batch(side=32)
    data.x.zero_()
    nll = float(likelihood(noise=2.0)(data).generator.detach())
    assert nll == pytest.approx(0.5 * (4 + math.log(2 * math.pi)), rel=0.05)


@pytest.mark.parametrize(
    ("objective", "named"),
    [({"paired": {"x_tilde": 1}}, "no paired"), ({"identity": {"x": 1}}, "identity")],
)
def test_weights_beside_the_likelihood_are_refused(objective, named):
    with pytest.raises(ImgturboError, match=named):
        likelihood(**objective)


def sized(extent):
    sides = (extent, extent)
    return SimpleNamespace(
        extent=extent, extents=lambda whole=False: sides, pairs=None, measured=lambda: None
    )


def test_sides_that_do_not_fit_are_named_with_those_that_do():
    objective = likelihood()
    objective.check(sized(6))
    with pytest.raises(ImgturboError, match=r"data.crop or .*tile.size is 7.*multiples of 2"):
        objective.check(sized(7))
    with pytest.raises(ImgturboError, match=r"are a table of numbers; set model.decoder.kind: mlp"):
        objective.check(sized(None))
    objective.decoder.size = 8
    with pytest.raises(ImgturboError, match=r"tile.size is 16.*dense backend for 8"):
        objective.check(sized(16))


def test_a_dense_backend_reads_whole_images_of_its_size_only():
    network = decoder(dense=True, scale=2)
    assert network.size == 16
    whole = translate_array(network, np.zeros((1, 16, 16), np.float32), samples=2)
    assert whole.std.max() > 0
    with pytest.raises(ImgturboError, match="16 × 16 pixels only"):
        translate_array(network, np.zeros((1, 32, 16), np.float32))


def test_bands_and_temperatures_that_make_no_sense_are_named():
    network, array = decoder(2), np.zeros((2, 8, 8), np.float32)
    with pytest.raises(ImgturboError, match="reads 2 bands"):
        network(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ImgturboError, match="zero or more"):
        translate_array(network, array, samples=2, temperature=-0.1)
    with pytest.raises(ImgturboError, match="--samples"):
        translate_array(network, array, temperature=0.5)
    with pytest.raises(ImgturboError, match="zero or more"):
        Tempered(FreshNoise(), math.nan)


@pytest.mark.parametrize("options", [{}, {"scale": 2, "prior": True}, {"actnorm": True}])
def test_the_narrow_network_that_is_probed_sees_as_far(options, monkeypatch):
    wide = decoder(2, 3, **options)
    narrow = receptive_field(wide)
    again = decoder(2, 3, **options)
    monkeypatch.setattr(again, "narrow", lambda: again)
    assert receptive_field(again) == narrow
