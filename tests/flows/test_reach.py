"""How far flows see, against brute force: what a changed pixel or latent changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.config import FlowConfig, FlowStageConfig, PyramidConditionConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.mosaic import translate_array
from imgturbo.nets import receptive_field

KEEPS = st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0])
STAGES = st.fixed_dictionaries(
    {
        "keep": KEEPS,
        "blocks": st.integers(0, 2),
        "injector": st.booleans(),
        "coarse_blocks": st.integers(0, 1),
        "kernels": st.sampled_from([[3, 3, 3], [3, 1], [1, 5]]),
        "down": st.sampled_from(["haar", "unshuffle"]),
        "order": st.sampled_from(["band", "channel"]),
    }
)


def flow(stages, channels, seed=0, scale=1, kind="vgg", **options):
    """A flow of narrow networks, its weights shaken: a fresh one is the identity."""
    torch.manual_seed(seed)
    thin = {"width": 4, "coarse_width": 4}
    stages = [{**thin, **stage} for stage in stages]
    stages[-1]["keep"] = 1.0
    config = FlowConfig(
        stages=[FlowStageConfig(**stage) for stage in stages],
        condition=PyramidConditionConfig(width=4, blocks=1, scale=scale, kind=kind),
        **options,
    )
    network = CINNDecoder(config, 2, channels).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


class Latents:
    """Fixed latents, those of one cell a grid of ``stride`` changed along an axis."""

    def __init__(self, stride=None, pixel=0, axis=2):
        self.stride, self.pixel, self.axis = stride, pixel, axis

    def __call__(self, layer, shape, stride, like):
        draw = torch.Generator().manual_seed(layer)
        latents = torch.randn(tuple(shape), generator=draw, dtype=like.dtype)
        if stride == self.stride:
            latents.narrow(self.axis, self.pixel // stride, 1).mul_(-3).add_(5)
        return latents


@torch.no_grad()
def true_reach(network, beyond):
    """The farthest output that a changed column or row, or cell of latents, changes."""
    stride, farthest = network.stride, 0
    middle = (beyond // stride + 2) * stride
    for axis in (2, 3):
        shape = [1, 2, 2 * stride, 2 * stride]
        shape[axis] = 2 * middle
        u = torch.randn(shape, dtype=torch.float64)
        before = network(u, Latents())

        def changed(u, latents, before=before, axis=axis):
            places = (network(u, latents) != before)[0].any(0).any(3 - axis).nonzero().flatten()
            return (int(places[0]), int(places[-1])) if len(places) else (None, None)

        for pixel in range(middle, middle + stride):
            other = u.clone()
            other.narrow(axis, pixel, 1).add_(8)
            first, last = changed(other, Latents())
            if first is not None:
                farthest = max(farthest, pixel - first, last - pixel)
        for power in range(stride.bit_length()):
            cell = 2**power  # pixels; the nearest of them counts, as a window has all or none
            first, last = changed(u, Latents(cell, middle, axis))
            if first is not None:
                farthest = max(farthest, middle - first, last - (middle + cell - 1))
    return farthest


@settings(max_examples=15, deadline=None)
@given(
    stages=st.lists(STAGES, min_size=2, max_size=3),
    channels=st.integers(1, 6),
    mixing=st.sampled_from(["orthogonal", "lu", "permutation"]),
    law=st.sampled_from(["affine", "additive", "gin"]),
    prior=st.booleans(),
    kind=st.sampled_from(["vgg", "convnext"]),
    seed=st.integers(0, 99),
)
def test_the_measured_reach_is_the_true_one(stages, channels, mixing, law, prior, kind, seed):
    options = {"mixing": mixing, "law": law, "prior": prior, "kind": kind}
    try:
        network = flow(stages, channels, seed, **options)
    except ImgturboError:
        with pytest.raises(ImgturboError, match="no stage of this flow reads the condition"):
            flow(stages, channels, seed, **options)
        return
    measured = receptive_field(network)
    # Never less; and no more than what is lost where many small slopes round a change away.
    assert 0 <= measured - true_reach(network, measured) < network.stride


FEW = [{"keep": 0.1, "blocks": 2}, {"keep": 0.1, "blocks": 2}, {"blocks": 1}]


@pytest.mark.parametrize(
    ("channels", "stages", "options"),
    [
        (6, FEW, {}),
        (6, FEW, {"mixing": "permutation", "prior": True}),
        (4, FEW[:1] + FEW[2:], {"scale": 2}),
        (5, [{"keep": 0.2, "blocks": 1, "injector": True}, {"blocks": 2}], {"law": "spline"}),
        (9, [{"keep": 0.06, "blocks": 1}, {"blocks": 1}], {"actnorm": True}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_windows_are_the_whole_where_little_is_kept(channels, stages, options, seed):
    """Odd sizes, draws from the sky position; to the roundings of float32, not to hundredths."""
    network = flow(stages, channels, seed, **options).float()
    halo = receptive_field(network)
    shape = (2, 2 * halo + 4 * network.stride + 13, halo + 3)
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    given = {"samples": 2, "seed": seed}
    whole = translate_array(network, array, window=4 * max(shape), **given)
    window = -(-(2 * halo) // network.stride) * network.stride + 4 * network.stride
    parts = translate_array(network, array, window=window, **given)
    assert window < shape[1]
    np.testing.assert_allclose(parts.mean, whole.mean, atol=2e-5)
    np.testing.assert_allclose(parts.std, whole.std, atol=2e-5)


def test_channels_and_permutations_are_the_flow_s_own_where_it_is_measured():
    """Of 24 channels 0.1 are two; of eight one, behind which there is nothing to couple."""
    assert receptive_field(flow(FEW, 6)) > 2 * receptive_field(flow(FEW, 2))
    network = flow(FEW, 6, mixing="permutation")
    buffers = dict(network.named_buffers())
    for name, index in buffers.items():
        if name.endswith("index"):
            index.copy_(torch.arange(len(index)))
    copied = dict(network.narrow().named_buffers())
    assert copied
    for name, buffer in copied.items():
        assert torch.equal(buffer, buffers[name].to(buffer))
