"""How exactly a flow of the published width and depth is undone, before and after training.

    python benchmarks/flow_inversion.py [--steps 60] [--reach 3]

The colorization network of Ardizzone et al. 2019 (arXiv:1907.02392) on 2 × 64 × 64, with a small
condition network: 20 minutes on a busy core, which is why tests/flows/test_inversion.py is an
eighth as wide. Printed are max |f⁻¹(f(x)) − x|, on the data and far from it, max |f(f⁻¹(w)) − w|
for latents at temperature 1, and the same of x where networks run in bfloat16.
"""

from __future__ import annotations

import argparse
import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from imgturbo.config import FlowConfig, FlowDenseConfig, FlowStageConfig, PyramidConditionConfig
from imgturbo.flows import MultiScaleCINN

SIDE = 64


def build(reach: float) -> MultiScaleCINN:
    """The published stages and dense backend."""
    torch.manual_seed(0)

    def unshuffled(blocks: int, width: int, coarse: int, keep: float) -> FlowStageConfig:
        return FlowStageConfig(
            blocks=blocks,
            width=width,
            coarse_width=coarse,
            keep=keep,
            down="unshuffle",
            order="channel",
        )

    stages = [
        unshuffled(4, 32, 64, 1.0),
        unshuffled(6, 64, 128, 0.5),
        unshuffled(6, 128, 256, 0.5),
        FlowStageConfig(blocks=6, width=256, coarse_width=256, keep=0.25, rebalance=0.5),
    ]
    condition = PyramidConditionConfig(width=16, max_width=64, blocks=1)
    dense = FlowDenseConfig(size=SIDE, blocks=8, width=512)
    return MultiScaleCINN(
        FlowConfig(stages=stages, dense=dense, condition=condition, reach=reach), 2, 1
    )


def pairs(batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Smooth fields y, and x that follows them with some noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(batch, 1, SIDE // 4, SIDE // 4, generator=generator)
    y = F.interpolate(y, size=(SIDE, SIDE), mode="bicubic")
    noise = 0.1 * torch.randn(batch, 2, SIDE, SIDE, generator=generator)
    return torch.cat([y, -y.square()], dim=1) + noise, y


@torch.no_grad()
def report(model: MultiScaleCINN, when: str) -> None:
    """Print all errors of one model."""
    for dtype in (torch.float32, torch.float64):
        own = copy.deepcopy(model).to(dtype).eval()
        x, y = (tensor.to(dtype) for tensor in pairs(2, seed=9999))
        torch.manual_seed(1)
        cases = {
            "data": (x, y),
            "three times the data": (3 * x, 3 * y),
            "noise": (torch.randn_like(x), torch.randn_like(y)),
            "constant": (torch.full_like(x, 2.0), torch.full_like(y, -2.0)),
            "zeros": (torch.zeros_like(x), torch.zeros_like(y)),
        }
        for name, (image, condition) in cases.items():
            latents, _ = own(image, condition)
            error = float((own.inverse(latents, condition) - image).abs().max())
            print(f"{when} {dtype} {name}: {error:.1e}", flush=True)
        drawn = [torch.randn(2, *shape, dtype=dtype) for shape in own.latent_shapes(SIDE, SIDE)]
        again, _ = own(own.inverse(drawn, y), y)
        error = max(float((a - w).abs().max()) for a, w in zip(again, drawn, strict=True))
        print(f"{when} {dtype} latents: {error:.1e}", flush=True)
    x, y = pairs(2, seed=9999)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        conditions = model.eval().conditions(y)
        latents, _ = model(x, conditions)
        off = model.inverse(latents, conditions) - x
    rms = float(off.square().mean().sqrt())
    print(f"{when} bfloat16 networks: {float(off.abs().max()):.1e}, rms {rms:.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=60, help="of training, batch 4")
    parser.add_argument("--reach", type=float, default=3.0)
    options = parser.parse_args()
    model = build(options.reach)
    report(model, "fresh")
    optimiser = torch.optim.Adam(model.train().parameters(), lr=1e-3)
    for step in range(options.steps):
        loss = -model.log_prob(*pairs(4, seed=step)).mean() / (2 * SIDE * SIDE)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step in (0, options.steps - 1):
            print(f"step {step + 1}: {float(loss.detach()):.3f} nats a dimension", flush=True)
    report(model, "trained")


if __name__ == "__main__":
    main()
