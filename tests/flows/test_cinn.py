"""The multi-scale cINN: exact both ways, conditions once, samples by temperature, no seams."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from imgturbo.config import (
    ColorizationConditionConfig,
    FlowConfig,
    FlowDenseConfig,
    FlowStageConfig,
    PyramidConditionConfig,
    load_config,
)
from imgturbo.errors import ImgturboError
from imgturbo.flows import ColorizationCondition, MultiScaleCINN
from imgturbo.nets import PositionalNoise, count_parameters

CONDITION = PyramidConditionConfig(width=6, blocks=1)


def small(channels=2, dense=False, seed=0, size=0.1, **options):
    """Two stages, (2, 8, 8) → (4, 4, 4) → 8·2·2, its weights shaken."""
    torch.manual_seed(seed)
    stage = {"blocks": 1, "width": 5, "coarse_blocks": 1, "coarse_width": 6}
    stage["injector"] = options.pop("injector", False)
    options.setdefault("condition", CONDITION)
    config = FlowConfig(
        stages=[
            FlowStageConfig(**stage, keep=0.5),
            FlowStageConfig(**stage, keep=0.5 if dense else 1.0),
        ],
        dense=FlowDenseConfig(size=8, blocks=2, width=7) if dense else None,
        **options,
    )
    model = MultiScaleCINN(config, channels, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return model.eval()


KINDS = {
    "convolutional": {},
    "dense": {"dense": True},
    "spline": {"law": "spline", "dense": True},
    "gin": {"law": "gin", "mixing": "lu"},
    "additive": {"law": "additive", "mixing": "permutation"},
    "prior": {"prior": True, "dense": True},
    "prior-convolutional": {"prior": True},
    "actnorm": {"actnorm": True},
    "vgg": {"condition": PyramidConditionConfig(kind="vgg", width=4, blocks=1)},
    "memory": {"memory_saving": True, "dense": True},
    "three-bands": {"channels": 3},
    "five-bands": {"channels": 5, "dense": True},
    "one-band": {"channels": 1},
    "injector": {"injector": True, "actnorm": True},
    "one-band-injector": {"channels": 1, "injector": True, "memory_saving": True},
    "one-band-prior": {"channels": 1, "prior": True, "dense": True},
}
every_kind = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def data(options, dtype=torch.float64, batch=2):
    torch.manual_seed(1)
    x = torch.randn(batch, options.get("channels", 2), 8, 8, dtype=dtype)
    return x, torch.randn(batch, 1, 8, 8, dtype=dtype)


@every_kind
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_it_is_inverted_on_and_off_the_data(options, dtype, within, scale):
    model = small(**options).to(dtype)
    x, y = data(options, dtype)
    latents, log_det = model(scale * x, y)
    assert log_det.dtype == dtype
    assert (model.inverse(latents, y) - scale * x).abs().max() < within * scale
    w = [scale * torch.randn_like(latent) for latent in latents]
    for one, other in zip(model(model.inverse(w, y), y)[0], w, strict=True):
        assert (one - other).abs().max() < within * scale


@every_kind
def test_log_determinant_equals_autograds(options):
    model = small(**options).double()
    x, y = data(options, batch=1)
    log_det = model(x, y)[1]
    count = x.numel()
    copies = x.repeat(count, 1, 1, 1).requires_grad_()
    w = torch.cat([w.flatten(1) for w in model(copies, y)[0]], dim=1)
    (jacobian,) = torch.autograd.grad(w.diagonal().sum(), copies)
    expected = torch.linalg.slogdet(jacobian.flatten(1)).logabsdet
    assert float(log_det.detach()) == pytest.approx(float(expected), abs=1e-6)


@every_kind
def test_latents_hold_every_number_once(options):
    model = small(**options)
    x, y = data(options, torch.float32)
    latents, _ = model(x, y)
    assert [tuple(w.shape[1:]) for w in latents] == model.latent_shapes(8, 8)
    assert sum(w[0].numel() for w in latents) == x[0].numel()


def test_log_prob_is_the_change_of_variables():
    model = small().double()
    x, y = data({})
    latents, log_det = model(x, y)
    w = torch.cat([w.flatten(1) for w in latents], dim=1)
    normal = -0.5 * w.square().sum(1) - 0.5 * w.shape[1] * math.log(2 * math.pi)
    assert torch.allclose(model.log_prob(x, y), normal + log_det)


def test_a_fresh_network_is_a_rotation():
    torch.manual_seed(0)
    model = small(size=0.0, dense=True).double()
    x, y = data({})
    latents, log_det = model(x, y)
    norm = sum(w.square().flatten(1).sum(1) for w in latents)
    assert torch.allclose(norm, x.square().flatten(1).sum(1))
    assert log_det.abs().max() < 1e-9


def test_gradients_agree_with_the_memory_saving_mode():
    results = []
    for saving in (False, True):
        model = small(dense=True, prior=True, memory_saving=saving)
        x, y = data({}, torch.float32)
        y.requires_grad_()
        model.log_prob(x, y).sum().backward()
        results.append([y.grad, *(p.grad for p in model.parameters())])
    for one, other in zip(*results, strict=True):
        assert one is not None
        assert (one - other).abs().max() < 1e-5 * (1 + one.abs().max())


def test_a_frozen_trunk_is_not_trained_but_its_heads_are():
    model = small(condition=PyramidConditionConfig(width=4, blocks=1, frozen=True))
    model.log_prob(*data({}, torch.float32)).sum().backward()
    assert all(p.grad is None for p in model.condition.levels.parameters())
    assert all(p.grad is not None for p in model.condition.heads.parameters())


@every_kind
def test_values_stay_float32_under_bfloat16(options):
    model = small(**options)
    x, y = data(options, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        latents, log_det = model(x, y)
        samples = model.sample(y, 2)
        (-model.log_prob(x, y).mean()).backward()
    assert {w.dtype for w in (*latents, log_det, samples)} == {torch.float32}
    assert torch.isfinite(samples).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_weights_travel_through_safetensors(tmp_path):
    model = small(dense=True)
    save_file(model.state_dict(), tmp_path / "flow.safetensors")
    fresh = small(dense=True, seed=5)
    x, y = data({}, torch.float32)
    assert not torch.equal(fresh.log_prob(x, y), model.log_prob(x, y))
    fresh.load_state_dict(load_file(tmp_path / "flow.safetensors"))
    assert torch.equal(fresh.log_prob(x, y), model.log_prob(x, y))


def test_it_learns_a_conditional_distribution():
    """x = ±y·a + noise: after a few steps the likelihood beats a Gaussian's that knows no y."""
    torch.manual_seed(0)
    model = small(size=0.0, dense=False).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    pattern = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)

    def draw(batch):
        y = torch.randn(batch, 1, 8, 8)
        return y * pattern + 0.2 * torch.randn(batch, 2, 8, 8), y

    for _ in range(60):
        x, y = draw(16)
        loss = -model.log_prob(x, y).mean() / x[0].numel()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, y = draw(64)
    with torch.no_grad():
        trained = float(-model.eval().log_prob(x, y).mean() / x[0].numel())
    gaussian = 0.5 * math.log(2 * math.pi * math.e * 1.04)
    assert trained < gaussian - 0.2
    # Training must not have cost the inverse, on the data or off it.
    with torch.no_grad():
        assert (model.inverse(model(x, y)[0], y) - x).abs().max() < 1e-4
        w = [3 * torch.randn(64, *shape) for shape in model.latent_shapes(8, 8)]
        for one, other in zip(model(model.inverse(w, y), y)[0], w, strict=True):
            assert (one - other).abs().max() < 1e-4


# ----------------------------------------------------------------------------------- sampling


def test_samples_have_their_shape_differ_and_repeat():
    model = small(dense=True)
    _, y = data({}, torch.float32)
    torch.manual_seed(3)
    samples = model.sample(y, 4)
    assert samples.shape == (2, 4, 2, 8, 8)
    assert (samples[:, 0] - samples[:, 1]).abs().max() > 0.1
    torch.manual_seed(3)
    assert torch.equal(model.sample(y, 4), samples)


def test_temperature_zero_is_one_image_and_spread_grows_with_it():
    model = small()
    _, y = data({}, torch.float32)
    still = model.sample(y, 3, temperature=0)
    assert torch.equal(still[:, 0], still[:, 1])
    zeros = [torch.zeros(2, *shape) for shape in model.latent_shapes(8, 8)]
    assert torch.allclose(still[:, 0], model.inverse(zeros, y), atol=1e-6)
    spreads = [float(model.sample(y, 8, t).std(dim=1).mean()) for t in (0.1, 0.5, 1.0)]
    assert spreads == sorted(spreads)


def test_conditions_are_computed_once_for_all_samples():
    model = small(dense=True, prior=True)
    seen = []
    model.condition.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    _, y = data({}, torch.float32)
    samples = model.sample(y, 5)
    assert seen == [2]
    # And the samples are those of the condition repeated.
    latents, _ = model(samples.flatten(0, 1), y.repeat_interleave(5, dim=0))
    again = model.inverse(latents, y.repeat_interleave(5, dim=0))
    assert torch.allclose(again, samples.flatten(0, 1), atol=1e-4)
    shared, _ = model(samples.flatten(0, 1), model.conditions(y))
    for one, other in zip(shared, latents, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_sampled_latents_are_standard_normal():
    model = small(dense=True)
    _, y = data({}, torch.float32)
    samples = model.sample(y, 200)
    latents, _ = model(samples.flatten(0, 1), model.conditions(y))
    w = torch.cat([w.flatten() for w in latents])
    assert abs(w.mean()) < 5 / len(w) ** 0.5
    assert abs(w.var() - 1) < 5 * (2 / len(w)) ** 0.5


@pytest.mark.parametrize("kind", ["vgg", "convnext"])
@pytest.mark.parametrize("prior", [False, True])
def test_windows_agree_with_the_whole_image(kind, prior):
    model = small(condition=PyramidConditionConfig(kind=kind, width=4, blocks=1), prior=prior)
    y = torch.randn(1, 1, 96, 96)
    noise = [PositionalNoise(seed, [(0, 0)]) for seed in range(2)]
    whole = model.sample(y, 2, noise=noise)
    top, left, halo = 16, 12, 32
    window = y[..., top:, left:]
    noise = [PositionalNoise(seed, [(top, left)]) for seed in range(2)]
    part = model.sample(window, 2, noise=noise)
    assert (part - whole[..., top:, left:])[..., halo:, halo:].abs().max() < 1e-4
    # The halo is needed: at the cut itself the two differ.
    assert (part - whole[..., top:, left:]).abs().max() > 1e-3


def test_a_finer_condition_is_read_at_its_own_scale():
    model = small(condition=PyramidConditionConfig(width=4, blocks=1, scale=4), dense=True)
    assert model.sample(torch.randn(1, 1, 32, 32)).shape == (1, 1, 2, 8, 8)


def test_kernels_choose_how_far_a_stage_sees():
    def reach(kernels):
        stage = FlowStageConfig(
            blocks=1, width=5, kernels=kernels, coarse_blocks=1, coarse_width=6, down="unshuffle"
        )
        torch.manual_seed(0)
        flow = MultiScaleCINN(FlowConfig(stages=[stage], condition=CONDITION), 2, 1).flow.double()
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        x = torch.zeros(1, 2, 32, 32, dtype=torch.float64)
        condition = torch.zeros(1, 5, 32, 32, dtype=torch.float64)
        moved = x.clone()
        moved[..., 16, 16] = 1
        change = flow(moved, [condition])[0][0] - flow(x, [condition])[0][0]
        rows = change.detach().abs().sum(dim=(0, 1, 3)).nonzero().flatten()
        return int(rows.max() - rows.min())

    assert reach([1, 1]) == 0
    assert reach([1, 1]) < reach([3, 1, 3]) < reach([3, 3, 3]) < reach([5, 3, 3])


# ---------------------------------------------------------------------- the published network


def published() -> FlowConfig:
    """Ardizzone et al. 2019, colorization, as it ships: 64² ab given the 256² L."""
    config = load_config(Path(__file__).parents[2] / "configs" / "cinn_colorize.yaml")
    assert isinstance(config.model.decoder, FlowConfig)
    return config.model.decoder


def test_the_published_colorization_network():
    torch.manual_seed(0)
    small = PyramidConditionConfig(scale=4, width=8, max_width=16, blocks=1)
    model = MultiScaleCINN(published().model_copy(update={"condition": small}), 2, 1).eval()
    shapes = model.latent_shapes(64, 64)
    assert [math.prod(shape) for shape in shapes] == [4096, 2048, 1536, 512]
    # The published INN has 54.35 M parameters, 14.02 M of them in its condition subnetworks.
    assert count_parameters(model.flow) == pytest.approx(54.35e6 - 14.02e6, abs=0.01e6)
    x, y = torch.randn(1, 2, 64, 64), torch.randn(1, 1, 256, 256)
    with torch.no_grad():
        latents, log_det = model(x, y)
        # All of the start's log-determinant is the wavelets' rebalance: 2048·ln ½.
        assert float(log_det) == pytest.approx(2048 * math.log(0.5), rel=1e-6)
        assert (model.inverse(latents, y) - x).abs().max() < 1e-4


def test_the_published_condition_network():
    with torch.device("meta"):  # counted, not computed
        stages, dense = published().stages, published().dense
        net = ColorizationCondition(ColorizationConditionConfig(), 1, stages, dense.width)
        # In millions: the INN's 54.35 has these 14.02 in it; trunk 32.15, vector 2.36.
        assert count_parameters(net.heads) == pytest.approx(14.02e6, abs=0.005e6)
        assert count_parameters(net.vector) == pytest.approx(2.36e6, abs=0.005e6)
        assert count_parameters(net.trunk) == pytest.approx(32.15e6, abs=0.01e6)
        conditions = net(torch.empty(2, 1, 256, 256))
    for own, stage, side in zip(conditions[:-1], stages, (64, 32, 16, 8), strict=True):
        assert [tuple(c.shape) for c in own] == [(2, stage.width, side, side)] * stage.blocks
    assert conditions[-1].shape == (2, 512)


@pytest.mark.parametrize("options", [{}, {"memory_saving": True, "actnorm": True}])
def test_a_condition_for_each_coupling(options):
    torch.manual_seed(0)
    config = FlowConfig(
        stages=[
            FlowStageConfig(blocks=2, width=3, coarse_blocks=1, coarse_width=4, keep=0.5),
            FlowStageConfig(blocks=1, width=5, coarse_blocks=0, keep=0.5),
        ],
        dense=FlowDenseConfig(size=16, blocks=1, width=6),
        condition=ColorizationConditionConfig(frozen=True),
        prior=True,
        **options,
    )
    model = MultiScaleCINN(config, 2, 1)
    with torch.no_grad():
        for parameter in model.flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, y = torch.randn(2, 2, 16, 16), torch.randn(2, 1, 64, 64)
    model.log_prob(x, y).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.condition.heads.parameters())
    model.eval()
    with torch.no_grad():
        latents, _ = model(x, y)
        assert (model.inverse(latents, y) - x).abs().max() < 1e-4
        samples = model.sample(y, 3)
        assert samples.shape == (2, 3, 2, 16, 16)
        shared, _ = model(samples.flatten(0, 1), model.conditions(y))
        alone, _ = model(samples[1], y[1:].expand(3, -1, -1, -1))
    for one, other in zip(shared, alone, strict=True):
        assert torch.allclose(one[3:], other, atol=1e-4)


# -------------------------------------------------------------------------------------- errors


def test_bad_input_is_named_in_one_line():
    model, dense = small(), small(dense=True)
    x, y = data({}, torch.float32)
    latents, _ = model(x, y)
    for call, words in [
        (lambda: model(x, y.expand(-1, 3, -1, -1)), "conditions of 1 band(s)"),
        (lambda: model(x[:, :1], y), "2 channels"),
        (lambda: model(x[..., :6], y), "multiples of 4"),
        (lambda: model.sample(y[..., :7]), "multiples of 2"),
        (lambda: model.sample(y[..., :6]), "multiples of 4"),
        (lambda: dense(torch.zeros(1, 2, 16, 16), torch.zeros(1, 1, 16, 16)), "8 × 8"),
        (lambda: model(x, torch.zeros(2, 1, 16, 16)), "does not fit"),
        (lambda: model.sample(y, temperature=-0.5), "temperature"),
        (lambda: model.sample(y, temperature=math.nan), "temperature"),
        (lambda: model.sample(y, 0), "0 samples"),
        (lambda: model.inverse(latents[:1], y), "latents of shapes"),
        (lambda: model.inverse([latents[0][..., :2], latents[1]], y), "latents of shapes"),
    ]:
        with pytest.raises(ImgturboError) as caught:
            call()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kernels", [[3, 2, 3], [3, 3, -1], [3]])
def test_kernels_without_a_centre_or_a_hidden_layer_are_refused(kernels):
    with pytest.raises(ValidationError, match="kernels"):
        FlowStageConfig(kernels=kernels)


def test_a_config_that_leaves_channels_nowhere_is_refused():
    with pytest.raises(ValidationError, match="keep 1 there"):
        FlowConfig(stages=[FlowStageConfig(keep=0.5)])
    with pytest.raises(ImgturboError, match="multiple of 4"):
        MultiScaleCINN(
            FlowConfig(
                stages=[FlowStageConfig(), FlowStageConfig()], dense=FlowDenseConfig(size=6)
            ),
            2,
            1,
        )
