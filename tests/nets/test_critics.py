"""Critics: the 70-pixel patch, any size, conditions, scales, spectral norm as a pure function."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch.func import functional_call

from imgturbo.config import CriticConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import build_critic, count_parameters, patch_field
from imgturbo.nets.spectral import SpectralConv2d, SpectralLinear, spectral_norm

SMALL = CriticConfig(width=4)


def small(**changes) -> CriticConfig:
    return SMALL.model_copy(update=changes)


@pytest.mark.parametrize(("layers", "field"), [(0, 7), (1, 16), (2, 34), (3, 70), (4, 142)])
def test_patch_is_the_papers(layers, field):
    assert patch_field(build_critic(small(layers=layers), 3)) == [field]


@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_patch_is_the_gradients_support(norm):
    # Independent of the probing: the pixels that one score's gradient touches.
    critic = build_critic(small(norm=norm, layers=2, scales=2), 1).double()
    for scale, field in enumerate(patch_field(critic)):
        u = torch.randn(1, 1, 160, 176, dtype=torch.float64, requires_grad=True)
        score = critic(u)[scale]
        score[0, 0, score.shape[2] // 2, score.shape[3] // 2].backward()
        assert u.grad is not None
        touched = u.grad[0, 0] != 0
        assert int(touched.any(0).sum()) == int(touched.any(1).sum()) == field


def test_default_is_pix2pixs_patchgan():
    critic = build_critic(CriticConfig(norm="none"), 3)
    assert critic(torch.zeros(1, 3, 256, 256))[0].shape == (1, 1, 30, 30)
    # 2.765 million, as published with instance norm, which has nothing to learn.
    assert count_parameters(critic) == 2_764_737


@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    layers=st.integers(0, 3),
    scales=st.integers(1, 3),
    norm=st.sampled_from(["none", "spectral"]),
)
def test_images_of_any_size_are_scored(height, width, layers, scales, norm):
    critic = build_critic(small(layers=layers, scales=scales, norm=norm, width=2), 2)
    scores = critic(torch.randn(2, 2, height, width))
    assert len(scores) == scales
    for score in scores:
        assert score.shape[:2] == (2, 1)
        assert score.numel() > 0
        assert score.isfinite().all()


@pytest.mark.parametrize("norm", ["none", "spectral"])
@pytest.mark.parametrize("kind", ["patchgan", "mlp"])
def test_gradient_reaches_every_parameter_and_the_image(kind, norm):
    critic = build_critic(small(kind=kind, norm=norm, scales=2, hidden=[8, 8]), 3, 2)
    shape = (24, 31) if kind == "patchgan" else ()
    u = torch.randn(4, 3, *shape, requires_grad=True)
    scores = critic(u, torch.randn(4, 2, *shape))
    sum(score.square().mean() for score in scores).backward()
    assert u.grad is not None
    assert u.grad.abs().max() > 0
    for key, parameter in critic.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


def test_a_condition_changes_the_score_and_must_be_given():
    critic = build_critic(SMALL, 1, 2)
    u, c = torch.randn(1, 1, 32, 32), torch.randn(1, 2, 32, 32)
    assert not torch.equal(critic(u, c)[0], critic(u, -c)[0])
    with pytest.raises(ValueError, match="2 condition channels was given 0"):
        critic(u)
    with pytest.raises(ValueError, match="0 condition channels was given 2"):
        build_critic(SMALL, 1)(u, c)


def test_wrong_input_is_named():
    with pytest.raises(ImgturboError, match=r"critic\.kind: mlp"):
        build_critic(SMALL, 3)(torch.zeros(4, 3))
    with pytest.raises(ImgturboError, match=r"critic\.kind: patchgan"):
        build_critic(small(kind="mlp"), 3)(torch.zeros(4, 3, 8, 8))
    with pytest.raises(ImgturboError, match="judges 3 channels but was given 1"):
        build_critic(SMALL, 3)(torch.zeros(4, 1, 8, 8))


@pytest.mark.parametrize("kind", ["patchgan", "mlp"])
def test_scores_do_not_depend_on_the_batch(kind):
    critic = build_critic(small(kind=kind, hidden=[8]), 2)
    u = torch.randn(3, 2, *((29, 31) if kind == "patchgan" else ()))
    together = critic(u)[0]
    torch.testing.assert_close(together[1:2], critic(u[1:2])[0], rtol=1e-4, atol=1e-6)
    offenders = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
    assert not any(isinstance(part, offenders) for part in critic.modules())


def test_scales_have_weights_of_their_own_and_see_a_halved_image():
    critic = build_critic(small(scales=2), 1)
    fine, coarse = critic(torch.randn(1, 1, 64, 64))
    assert fine.shape[2] == 6
    assert coarse.shape[2] == 2
    assert count_parameters(critic) == 2 * count_parameters(build_critic(SMALL, 1))


# ------------------------------------------------------------------------------ spectral norm


def trained_like(outputs: int, inputs: int) -> torch.Tensor:
    """A matrix with a few directions that stand out, as training makes them."""
    torch.manual_seed(outputs)
    outer = torch.randn(outputs, 2) @ torch.randn(2, inputs) / inputs**0.5
    return torch.randn(outputs, inputs) / inputs**0.5 + outer


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 64), (8, 48), (64, 1024), (256, 1152)])
def test_sigma_is_the_largest_singular_value(outputs, inputs):
    layer = SpectralLinear(inputs, outputs)
    for weight, tolerance in ((trained_like(outputs, inputs), 0.03), (layer.weight, 0.1)):
        sigma = spectral_norm(weight, layer.start)
        exact = torch.linalg.matrix_norm(weight, 2)
        assert sigma <= exact * (1 + 1e-5)
        assert sigma >= exact * (1 - tolerance)


def test_gradient_of_sigma_is_its_singular_vectors():
    weight = trained_like(6, 20).double().requires_grad_()
    left, _, right = torch.linalg.svd(weight.detach())
    spectral_norm(weight, left[:, :1].t()).backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.outer(left[:, 0], right[0]), atol=1e-8, rtol=0)


def test_layers_do_not_stretch():
    conv = SpectralConv2d(3, 5, 4, 2, 1)
    dense = SpectralLinear(7, 9)
    with torch.no_grad():
        for layer in (conv, dense):
            layer.weight.mul_(50)
            assert layer.bias is not None
            layer.bias.zero_()
        v = torch.randn(100, 7)
        assert (dense(v).norm(dim=1) <= 1.1 * v.norm(dim=1)).all()
        scaled = conv(torch.ones(1, 3, 8, 8))
        conv.weight.mul_(3)
        torch.testing.assert_close(conv(torch.ones(1, 3, 8, 8)), scaled)


@pytest.mark.parametrize("kind", ["patchgan", "mlp"])
def test_a_critic_is_a_pure_function_of_its_weights(kind):
    critic = build_critic(small(kind=kind, hidden=[8]), 2).train()
    u = torch.randn(3, 2, *((32, 32) if kind == "patchgan" else ()))
    before = copy.deepcopy(critic.state_dict())
    live = critic(u)[0]
    frozen = {name: p.detach() for name, p in critic.named_parameters()}
    image = u.clone().requires_grad_()
    again = functional_call(critic, frozen, (image,))[0]
    assert torch.equal(live, again)
    assert torch.equal(live, critic.eval()(u)[0])
    assert torch.equal(live, copy.deepcopy(critic)(u)[0])
    again.mean().backward()
    assert image.grad is not None
    assert all(p.grad is None for p in critic.parameters())
    assert critic.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in critic.state_dict().items())


def test_state_dict_round_trip(tmp_path):
    critic, other = (build_critic(small(scales=2), 3) for _ in range(2))
    save_file(critic.state_dict(), tmp_path / "critic.safetensors")
    other.load_state_dict(load_file(tmp_path / "critic.safetensors"))
    u = torch.randn(1, 3, 40, 40)
    for a, b in zip(critic(u), other(u), strict=True):
        assert torch.equal(a, b)


def test_second_derivatives_exist_for_gradient_penalties():
    critic = build_critic(SMALL, 1)
    u = torch.randn(2, 1, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(u)[0].sum(), u, create_graph=True)
    gradient.square().sum().backward()
    first = critic.scales[0].layers[0]
    assert first.weight.grad.abs().max() > 0


def test_half_precision_does_not_touch_sigma():
    layer = SpectralLinear(32, 16)
    exact = spectral_norm(layer.weight, layer.start)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(spectral_norm(layer.weight, layer.start), exact)


def test_dead_weights_give_zero_not_nan():
    layer = SpectralLinear(3, 2)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    assert torch.equal(layer(torch.ones(1, 3)), torch.zeros(1, 2))
