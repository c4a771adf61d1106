"""Law 8 on events: two processes give the gradients of one with the joint batch.

Of Turbo-Sim's objective, with the networks of events and its critics on all four outputs, without
noise and penalties, which are drawn; and of the likelihood either way.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

from imgturbo.config import Config
from imgturbo.data.batch import Batch
from imgturbo.engines import build_trainable, settle
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

SPLIT = {0: slice(0, 2), 1: slice(2, 6)}
OBJECTS = [0, "transverse", "massive", "massive", "massive", "massive"]
PARTONS = [0, 0, 4.8, 4.8, 0.33, 0.33]


def config(case: str) -> Config:
    small = {"kind": "momenta", "width": 8, "blocks": 1, "noise_channels": 0}
    tree = {
        "objective": {
            "preset": "custom",
            "paired": {"z_tilde": 10, "x_hat": 10, "x_tilde": 1, "z_hat": 100},
            "marginal": {"z_tilde": 1, "x_hat": 1, "x_tilde": 10, "z_hat": 1},
            "adversarial": "wgan-gp",
            "gradient_penalty": 0,
        }
    }
    if case == "flow":
        small, tree = {"kind": "momenta_flow", "width": 8, "couplings": 2}, {}
    tree["model"] = {
        "decoder": small | {"shell": OBJECTS, "arrange": "pt"},
        "encoder": small | {"shell": PARTONS, "arrange": "masses"},
        "critic": {"kind": "momenta", "norm": "none", "hidden": [6]},
    }
    return settle(Config.model_validate(tree))


def side(letter: str) -> Side:
    stretch = Stretch(np.zeros(24), np.full(24, 60.0), np.ones(24))
    return Side(tuple(f"{letter}{n}" for n in range(24)), "GeV", stretch, kind="table")


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 6, 24, generator=generator, dtype=torch.float64)
    rows[..., 3::4] = rows[..., 3::4].abs() + 2
    known = torch.ones(6, 1, dtype=torch.bool)
    paired = torch.tensor([False, True, True, False, True, True])
    return Batch(rows[0], rows[1], known, known, paired, torch.arange(6), torch.arange(6))


def step(case: str, part: slice, wrap=lambda module: module) -> dict[str, torch.Tensor]:
    """Gradients and losses of these samples."""
    torch.manual_seed(1)
    trainable = build_trainable(config(case), side("z"), side("x")).double()
    whole = batch()
    parts = {f.name: getattr(whole, f.name) for f in fields(Batch)}
    some = Batch(**{name: None if of is None else of[part] for name, of in parts.items()})
    module = wrap(trainable)  # named: DDP reduces nothing once it is collected
    losses = module(some)
    (losses.generator + losses.critic).backward()
    found = {n: p.grad for n, p in trainable.named_parameters() if p.grad is not None}
    return found | {f"loss {name}": value for name, value in losses.terms.items()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    found = {
        f"{case}|{name}": tensor
        for case in ("turbosim", "flow")
        for name, tensor in step(case, SPLIT[rank], DistributedDataParallel).items()
    }
    safetensors.torch.save_file(found, f"{folder}/rank{rank}.safetensors")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_are_one_with_the_joint_batch(tmp_path):
    folder: Path = tmp_path
    torch.multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    for rank in (0, 1):
        found = safetensors.torch.load_file(folder / f"rank{rank}.safetensors")
        for case in ("turbosim", "flow"):
            expected = step(case, slice(0, 6))
            assert len(expected) > 10
            for name, tensor in expected.items():
                ours = found[f"{case}|{name}"]
                assert torch.isfinite(ours).all(), name
                torch.testing.assert_close(ours, tensor, rtol=1e-8, atol=1e-10)
