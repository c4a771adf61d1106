"""Law 8: two ranks give the same gradients as one rank with the joint batch."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel
from turbo_standins import make_batch, make_objective, to_double

from imgturbo.data.batch import Batch
from imgturbo.turbo.presets import PRESETS

SPLIT = {0: slice(0, 2), 1: slice(2, 6)}  # unequal batches too
CASES = {
    "turbo": (PRESETS["turbo"].terms, {}),
    "pix2pix": (PRESETS["pix2pix"].terms, {}),
    "cyclegan": (replace(PRESETS["cyclegan"].terms, pool=0), {"c": 2, "c2": 2}),
    "hinge": (
        replace(PRESETS["turbo"].terms, adversarial="hinge", r1=0.7, shared_critics=True),
        {"scales": 2, "spectral": True},
    ),
    "wgan-gp": (replace(PRESETS["one_cycle"].terms, adversarial="wgan-gp", conditional=True), {}),
    "mmd": (
        replace(
            PRESETS["turbo"].terms,
            marginal={
                "z_tilde": {"mmd": 10.0},
                "x_hat": {"critic": 1.0, "mmd": 3.0},
                "x_tilde": {"mmd": 1.0},
                "z_hat": {"mmd": 2.0},
            },
        ),
        {},
    ),
    "sliced": (
        replace(
            PRESETS["turbo"].terms,
            marginal={
                "z_tilde": {"sliced": 10.0},
                "x_hat": {"sliced": 1.0},
                "x_tilde": {"sliced": 1.0, "critic": 1.0},
                "z_hat": {"sliced": 2.0},
            },
            slices=7,
        ),
        {},
    ),
    "posterior": (
        replace(
            PRESETS["vae_gan"].terms,
            paired=PRESETS["turbo"].terms.paired,
            distance={
                "z_tilde": {"gaussian": 1.0},
                "x_hat": {"features": 1.0},
                "x_tilde": {"features": 1.0, "l1": 1.0},
                "z_hat": {"gaussian": 0.5, "l2": 1.0},
            },
        ),
        {"headed": ("encoder",)},
    ),
    "distances": (
        replace(
            PRESETS["one_cycle"].terms,
            distance={
                "x_tilde": {"charbonnier": 1.0, "fourier": 0.3},
                "z_hat": {"l2": 1.0, "spectrum": 0.2},
            },
        ),
        {},
    ),
}
PAIRS = {
    "some": [False, True, True, False, True, True],
    "none on rank 0": [False, False, True, False, True, True],
    "none": [False] * 6,
}
EPSILON = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)


def joint_batch(pairs: str, channels: dict) -> Batch:
    batch = to_double(make_batch(n=6, pairs=PAIRS[pairs], seed=5, **channels))
    batch.x_valid[0] = False  # a rank's share of what is valid is far from half
    batch.z_valid[1, :, :6] = False
    return batch


def part_of(batch: Batch, rows: slice) -> Batch:
    parts = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return Batch(**{name: None if part is None else part[rows] for name, part in parts.items()})


def step(case: str, pairs: str, rows: slice, wrap=lambda module: module):
    """Gradients and terms of one step on some rows of the joint batch."""
    terms, kwargs = CASES[case]
    channels = {k: v for k, v in kwargs.items() if k in ("c", "c2")}
    objective = make_objective(terms, **kwargs).double()
    batch = part_of(joint_batch(pairs, channels), rows)
    module = wrap(objective)  # named: DDP reduces nothing once it is collected
    torch.manual_seed(0)
    draw, torch.rand = torch.rand, lambda n, **_: EPSILON[rows][:n]  # ε goes with its sample
    try:
        losses = module(batch)
    finally:
        torch.rand = draw
    (losses.generator + losses.critic).backward()
    found = {name: p.grad for name, p in objective.named_parameters()}
    return found | {f"term {name}": term for name, term in losses.terms.items()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {
        f"{case}|{pairs}|{name}": tensor.contiguous()
        for case in CASES
        for pairs in PAIRS
        for name, tensor in step(case, pairs, SPLIT[rank], DistributedDataParallel).items()
    }
    safetensors.torch.save_file(found, f"{folder}/rank{rank}.safetensors")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [safetensors.torch.load_file(folder / f"rank{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one_with_the_joint_batch(ranks, case, pairs):
    expected = step(case, pairs, slice(0, 6))
    for found in ranks:
        for name, tensor in expected.items():
            ours = found[f"{case}|{pairs}|{name}"]
            assert torch.isfinite(ours).all(), name
            torch.testing.assert_close(ours, tensor, rtol=1e-10, atol=1e-12)


def test_means_of_each_rank_would_differ(ranks):
    """The test above can fail: the plain average over ranks is another gradient."""
    parts = [step("turbo", "some", SPLIT[rank]) for rank in (0, 1)]
    name = "decoder.net.0.weight"
    naive = (parts[0][name] + parts[1][name]) / 2
    ours = ranks[0][f"turbo|some|{name}"]
    assert (naive - ours).norm() > 1e-2 * ours.norm()
