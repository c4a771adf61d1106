"""The image pool: what it remembers, and that its state is all there is to it."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.turbo.pool import ImagePool


def numbered(start, n):
    data = torch.arange(start, start + n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 2, 3, 5)
    return data, torch.ones(n, 1, 3, 5, dtype=torch.bool), 10 * data


def test_size_zero_returns_its_input_without_gradient():
    data = torch.randn(3, 2, requires_grad=True)
    (out,) = ImagePool(0).exchange([data], torch.ones(3, dtype=torch.bool))
    assert torch.equal(out, data)
    assert not out.requires_grad


@given(size=st.integers(1, 9), n=st.integers(1, 5), seed=st.integers(0, 99))
def test_what_comes_out_went_in_and_members_stay_together(size, n, seed):
    torch.manual_seed(seed)
    pool = ImagePool(size)
    all_kept = torch.ones(n, dtype=torch.bool)
    for step in range(12):
        sample = numbered(step * n, n)
        before = [member.clone() for member in sample]
        data, valid, condition = pool.exchange(sample, all_kept)
        assert all(torch.equal(a, b) for a, b in zip(sample, before, strict=True))
        assert torch.equal(condition, 10 * data)
        assert valid.all()
        numbers = data[:, 0, 0, 0]
        assert (numbers < (step + 1) * n).all()
        if (step + 1) * n <= size:
            assert torch.equal(data, sample[0])
    assert pool.count == min(size, 12 * n)


def test_a_full_pool_returns_old_ones_about_half_of_the_time():
    torch.manual_seed(0)
    pool = ImagePool(20)
    everyone = torch.ones(10, dtype=torch.bool)
    pool.exchange(numbered(0, 10), everyone)
    pool.exchange(numbered(10, 10), everyone)
    old = 0
    for step in range(2, 102):
        data, *_ = pool.exchange(numbered(10 * step, 10), everyone)
        old += int((data[:, 0, 0, 0] < 10 * step).sum())
    assert 400 < old < 600


def test_samples_without_a_valid_pixel_pass_by():
    pool = ImagePool(4)
    keep = torch.tensor([True, False, True])
    pool.exchange(numbered(0, 3), keep)
    assert pool.count == 2
    assert torch.equal(pool.slots[0][:2, 0, 0, 0], torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_resume_is_exact_through_a_file(tmp_path, steps):
    everyone = torch.ones(3, dtype=torch.bool)

    def run(pool, first, last):
        outs = []
        for step in range(first, last):
            torch.manual_seed(step)
            outs.append(pool.exchange(numbered(3 * step, 3), everyone)[0])
        return outs

    whole = ImagePool(8)
    run(whole, 0, steps)
    safetensors.torch.save_file(whole.state_dict(), tmp_path / "pool.safetensors")
    resumed = ImagePool(8)
    state = safetensors.torch.load_file(tmp_path / "pool.safetensors")
    resumed.load_state_dict(state, torch.device("cpu"))
    for a, b in zip(run(whole, steps, steps + 9), run(resumed, steps, steps + 9), strict=True):
        assert torch.equal(a, b)
