"""ActNorm: set once, by the first batch of all processes together, and never again."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from imgturbo.flows import ActNorm, Chain


def test_actnorm_standardises_its_first_batch_and_no_other():
    layer = ActNorm(3)
    x = 4 + 7 * torch.randn(5, 3, 8, 8)
    z = layer(x)[0].transpose(0, 1).flatten(1)
    assert torch.allclose(z.mean(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(z.var(1, correction=0), torch.ones(3), atol=1e-4)
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(5, 3, 8, 8))
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)


def test_actnorm_does_not_start_over_after_loading():
    trained = ActNorm(2)
    trained(3 + torch.randn(4, 2, 3, 3))
    layer = ActNorm(2)
    layer.load_state_dict(trained.state_dict())
    layer(100 + torch.randn(4, 2, 3, 3))
    assert torch.equal(layer.mean, trained.mean)


def test_actnorm_is_the_identity_before_training_and_survives_a_constant_band():
    layer = ActNorm(2).eval()
    x = torch.randn(4, 2, 3, 3)
    assert torch.equal(layer(x)[0], x)
    assert not layer.initialised
    z, log_det = layer.train()(torch.full((4, 2, 3, 3), 5.0))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()


def test_memory_saving_chains_initialise_too():
    torch.manual_seed(0)
    x = 5 + 3 * torch.randn(4, 2, 3, 3)
    chain = Chain(ActNorm(2), memory_saving=True)
    z, log_det = chain(x)
    assert chain.transforms[0].initialised
    assert torch.allclose(z.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5)
    (z.square().sum() - log_det.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in chain.parameters())


def first_batch(rank: int, folder: str) -> None:
    """One process: its rows of a batch of five, 2 or 3 of them."""
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    layer = ActNorm(3)
    layer(batch_of_five()[2:] if rank else batch_of_five()[:2])
    torch.distributed.destroy_process_group()
    save_file(layer.state_dict(), f"{folder}/{rank}.safetensors")


def batch_of_five() -> torch.Tensor:
    numbers = torch.arange(5 * 3 * 4 * 4, dtype=torch.float32).view(5, 3, 4, 4)
    return numbers.sin() * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1) + numbers / 100


@pytest.mark.slow
def test_processes_agree_on_the_joint_first_batch(tmp_path):
    torch.multiprocessing.spawn(first_batch, (str(tmp_path),), nprocs=2)
    alone = ActNorm(3)
    alone(batch_of_five())
    for rank in range(2):
        state = load_file(tmp_path / f"{rank}.safetensors")
        for name, value in alone.state_dict().items():
            assert torch.allclose(state[name], value, atol=1e-6)
