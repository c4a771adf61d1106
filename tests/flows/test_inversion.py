"""Flows of published depth are undone: fresh and trained, on the data and far from it, both ways.

The published colorization network has 22 conditional couplings, 8 unconditional ones and 8 dense
ones. Here it is as deep, narrower, on images of the same 64 × 64 pixels, or of 32 × 32 where time
matters; docs/results.md has the figures at full width.
"""

from __future__ import annotations

import copy
import math
from functools import cache

import pytest
import torch

from imgturbo.config import FlowConfig, FlowDenseConfig, FlowStageConfig, PyramidConditionConfig
from imgturbo.flows import Chain, MultiScaleCINN, Transform

SIDE = 32
WITHIN = {torch.float32: 1e-4, torch.float64: 1e-10}
WHEN = ("fresh", "trained")


def narrow(**options) -> MultiScaleCINN:
    """Every layer of the published network, an eighth of its width."""
    torch.manual_seed(0)
    config = FlowConfig(
        stages=[
            FlowStageConfig(blocks=4, width=8, coarse_width=8, down="unshuffle", order="channel"),
            FlowStageConfig(
                blocks=6, width=8, coarse_width=16, keep=0.5, down="unshuffle", order="channel"
            ),
            FlowStageConfig(
                blocks=6, width=16, coarse_width=32, keep=0.5, down="unshuffle", order="channel"
            ),
            FlowStageConfig(blocks=6, width=32, coarse_width=32, keep=0.25, rebalance=0.5),
        ],
        dense=FlowDenseConfig(size=SIDE, blocks=8, width=64),
        condition=PyramidConditionConfig(width=8, max_width=16, blocks=1),
        **options,
    )
    return MultiScaleCINN(config, 2, 1)


def pairs(batch: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth fields y, and x that follows them with some noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(batch, 1, SIDE // 4, SIDE // 4, generator=generator)
    y = torch.nn.functional.interpolate(y, size=(SIDE, SIDE), mode="bicubic")
    noise = 0.1 * torch.randn(batch, 2, SIDE, SIDE, generator=generator)
    return torch.cat([y, -y.square()], dim=1) + noise, y


@cache
def network(when: str) -> MultiScaleCINN:
    model = narrow()
    if when == "trained":
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        first = last = 0.0
        for step in range(40):
            loss = -model.log_prob(*pairs(8, seed=step)).mean() / (2 * SIDE * SIDE)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            first, last = first or float(loss.detach()), float(loss.detach())
        assert last < first - 1  # nats a dimension: it has moved far from its start
    return model.eval()


def inputs() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """x and y on the data, and not."""
    x, y = pairs(2, seed=10_000)
    torch.manual_seed(1)
    return {
        "data": (x, y),
        "three times the data": (3 * x, 3 * y),
        "noise": (torch.randn_like(x), torch.randn_like(y)),
        "another's condition": (x, y.flip(0)),
        "constant": (torch.full_like(x, 2.0), torch.full_like(y, -2.0)),
        "zeros": (torch.zeros_like(x), torch.zeros_like(y)),
    }


def of_roundings(model: MultiScaleCINN, latents: list[torch.Tensor], y: torch.Tensor) -> float:
    """What the roundings of all layers amount to in x, in the precision of the model.

    A rounding is half an ε of a number; how far x moves when the latents are rounded once (half an
    ε times the condition number there) is found in float64. Each layer rounds on the way to w and
    on the way back. Independent roundings add up as the root of their number, and no pixel is
    farther off than four times that.
    """
    exact = copy.deepcopy(model).double()
    y, latents = y.double(), [w.double() for w in latents]
    generator = torch.Generator().manual_seed(3)
    epsilon = torch.finfo(next(model.parameters()).dtype).eps
    signs = [torch.randint(0, 2, w.shape, generator=generator) * 2 - 1 for w in latents]
    moved = [w * (1 + 0.5 * epsilon * sign) for w, sign in zip(latents, signs, strict=True)]
    one = float((exact.inverse(moved, y) - exact.inverse(latents, y)).abs().max())
    layers = sum(isinstance(m, Transform) and not isinstance(m, Chain) for m in model.modules())
    return 4 * math.sqrt(2 * layers) * one


@pytest.mark.slow
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("kind", inputs())
def test_images_come_back(when, dtype, kind):
    model = copy.deepcopy(network(when)).to(dtype)
    x, y = (tensor.to(dtype) for tensor in inputs()[kind])
    within = WITHIN[dtype]
    with torch.no_grad():
        latents, log_det = model(x, y)
        assert torch.isfinite(log_det).all()
        if kind == "three times the data":
            # |x| is 35 there, and the trained network carries it through numbers of 2500, of which
            # a single float32 is rounded by up to 1e-4: no arithmetic in float32 could do better.
            within = max(within, of_roundings(model, latents, y))
        assert (model.inverse(latents, y) - x).abs().max() < within


@pytest.mark.slow
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("dtype", WITHIN)
def test_latents_come_back(when, dtype):
    model = copy.deepcopy(network(when)).to(dtype)
    _, y = pairs(2, seed=10_000)
    y = y.to(dtype)
    torch.manual_seed(2)
    latents = [torch.randn(2, *shape, dtype=dtype) for shape in model.latent_shapes(SIDE, SIDE)]
    with torch.no_grad():
        again, _ = model(model.inverse(latents, y), y)
    for one, other in zip(again, latents, strict=True):
        assert (one - other).abs().max() < WITHIN[dtype]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", WITHIN)
def test_gradients_are_those_of_the_memory_saving_mode(dtype):
    plain = copy.deepcopy(network("trained")).to(dtype)
    saving = narrow(memory_saving=True).to(dtype).eval()
    saving.load_state_dict(plain.state_dict())
    x, y = (tensor.to(dtype) for tensor in pairs(2, seed=10_000))
    for model in (plain, saving):
        (-model.log_prob(x, y).mean()).backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        scale = 1 + float(one.grad.abs().max())
        assert (one.grad - other.grad).abs().max() < (
            1e-5 if dtype == torch.float32 else 1e-9
        ) * scale


@pytest.mark.slow
@pytest.mark.parametrize("when", WHEN)
def test_images_come_back_nearly_where_networks_run_in_bfloat16(when):
    """Networks are run on the same numbers both ways but for float32's rounding.

    A number that the rounding carries over an edge of bfloat16's makes a network's output differ by
    2⁻⁸ of its value, so that errors are those of bfloat16, but they do not grow from layer to layer
    as they do where the transforms are bfloat16 as well.
    """
    model = network(when)
    x, y = pairs(2, seed=10_000)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        conditions = model.conditions(y)
        latents, _ = model(x, conditions)
        error = (model.inverse(latents, conditions) - x).abs()
    assert latents[0].dtype == error.dtype == torch.float32
    assert error.max() < 0.1
    assert error.square().mean().sqrt() < 0.01
