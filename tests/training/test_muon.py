"""Muon: its steps are orthogonal, those of torch on matrices, and the same for any layout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from imgturbo.training.muon import Muon, is_matrix, orthogonal

shapes = st.tuples(st.integers(16, 70), st.integers(16, 70))


@given(shapes, st.integers(1, 3))
def test_all_directions_become_about_equally_long(shape, count):
    matrices = torch.randn(count, *shape)
    made = orthogonal(matrices)
    assert made.shape == matrices.shape
    u, sigma, v = torch.linalg.svd(matrices, full_matrices=False)
    parts = u.mT @ made @ v.mT  # U Vᵀ seen in the directions of U and V: the unit matrix
    clear = sigma / sigma.norm(dim=1, keepdim=True) > 0.01
    lengths = parts.diagonal(dim1=1, dim2=2)[clear]
    assert lengths.min() > 0.5
    assert lengths.max() < 1.3
    off = parts - torch.diag_embed(parts.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 0.15  # of bfloat16


def test_a_matrix_of_zeros_stays_one():
    assert torch.equal(orthogonal(torch.zeros(2, 16, 20)), torch.zeros(2, 16, 20))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon of its own")
@given(st.lists(shapes, min_size=1, max_size=4), st.floats(0, 0.99), st.floats(0, 0.5))
def test_matrices_move_as_torch_moves_them(sizes, momentum, decay):
    ours, theirs = ([nn.Parameter(torch.ones(size)) for size in sizes] for _ in range(2))
    settings = {"lr": 0.02, "momentum": momentum, "weight_decay": decay}
    one = Muon(ours, **settings)
    other = torch.optim.Muon(theirs, **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        one.step()
        other.step()
    for a, b in zip(ours, theirs, strict=True):  # bfloat16 rounds a batch of products otherwise
        torch.testing.assert_close(a, b, rtol=0, atol=3 * 0.02 * 0.2 * 0.1)


def test_a_convolution_moves_as_its_matrix_in_any_layout():
    start, grad = torch.randn(2, 20, 17, 3, 3)
    plain, last, flat = (nn.Parameter(start.clone()) for _ in range(3))
    last.data = last.data.to(memory_format=torch.channels_last)
    flat.data = flat.data.flatten(1)
    for weight in (plain, last, flat):
        optimizer = Muon([weight], lr=0.1, weight_decay=0.1)
        for k in (1, 2):
            weight.grad = (k * grad).view(weight.shape)
            optimizer.step()
    assert torch.equal(plain, last)
    assert torch.equal(plain.flatten(1), flat)


def test_a_step_is_as_long_as_one_of_adam():
    weight = nn.Parameter(torch.zeros(64, 32, 3, 3))
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=1e-3).step()
    root_mean_square = weight.detach().square().mean().sqrt().item()
    assert 0.7 * 0.2e-3 < root_mean_square < 1.2 * 0.2e-3  # 0.2 η: what Adam's steps come to


def test_what_is_a_matrix():
    made = {
        "linear": nn.Linear(16, 20).weight,
        "convolution": nn.Conv2d(2, 16, 3).weight,
        "bias": nn.Linear(16, 20).bias,
        "depthwise": nn.Conv2d(32, 32, 3, groups=32).weight,
        "three bands": nn.Conv2d(32, 3, 3).weight,
        "kernels": nn.Parameter(torch.zeros(16, 31, 31)),
    }
    assert [name for name, weight in made.items() if is_matrix(weight)] == ["linear", "convolution"]
