"""MMD² of draws: closed forms, the script's loops, and what bias is."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch

from imgturbo.metrics import discrepancy
from imgturbo.metrics.discrepancy import KERNELS, cauchy, mmd_squared, multiquadric


def by_hand(a, b, k, unbiased):
    total = {"aa": 0.0, "bb": 0.0, "ab": 0.0}
    for name, one, two in (("aa", a, a), ("bb", b, b), ("ab", a, b)):
        for i, p in enumerate(one):
            for j, q in enumerate(two):
                if unbiased and name != "ab" and i == j:
                    continue
                total[name] += k(sum((s - t) ** 2 for s, t in zip(p, q, strict=True)))
    n, m = len(a), len(b)
    less = 1 if unbiased else 0
    own, other = total["aa"] / (n * (n - less)), total["bb"] / (m * (m - less))
    return own + other - 2 * total["ab"] / (n * m)


def published(d2):
    return sum(0.2**a * ((0.2 + d2) / a) ** -a for a in (0.1, 0.5, 2))


def mixtures(d2):
    return sum(1 / (1 + d2 / h**2) for h in (0.05, 0.2, 0.9))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("name", "formula"), [("multiquadric", published), ("cauchy", mixtures)])
def test_it_is_the_double_loop(name, formula, unbiased):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 3)), rng.normal(0.4, 1, (5, 3))
    found = mmd_squared(torch.tensor(a), torch.tensor(b), KERNELS[name], unbiased)
    assert found == pytest.approx(by_hand(a, b, formula, unbiased), rel=1e-9)


def test_blocks_of_rows_add_up(monkeypatch):
    a, b = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(30, 2)
    whole = mmd_squared(a, b, cauchy)
    monkeypatch.setattr(discrepancy, "_ROWS", 7)
    assert mmd_squared(a, b, cauchy) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("kernel", [cauchy, multiquadric])
def test_of_one_distribution_only_the_biased_one_is_not_zero(kernel):
    generator = torch.Generator().manual_seed(1)
    n = 300
    pairs = [torch.randn(2, n, 2, generator=generator) for _ in range(60)]
    fair = [mmd_squared(a, b, kernel) for a, b in pairs]
    biased = [mmd_squared(a, b, kernel, unbiased=False) for a, b in pairs]
    assert abs(np.mean(fair)) < 3 * np.std(fair) / np.sqrt(60)
    assert min(fair) < 0 < min(biased)
    far = torch.randn(4000, 2, generator=generator)
    mean = float(kernel((far - far.roll(1, 0)).square().sum(1)).mean())
    itself = float(kernel(torch.zeros(())))
    assert np.mean(biased) == pytest.approx(2 * (itself - mean) / n, rel=0.1)


def test_it_grows_with_the_distance_of_two_gaussians():
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 500, 2, generator=generator)
    steps = [mmd_squared(a, b + shift, cauchy) for shift in (0.0, 0.3, 1.0, 3.0)]
    assert steps == sorted(steps)


def test_near_draws_keep_their_distance():
    """Far from the origin, in float32: differences are taken, not scalar products."""
    a = torch.tensor([[1000.0], [1000.5]])
    assert mmd_squared(a, a + 0.25, cauchy) == pytest.approx(
        mmd_squared(a - 1000, a - 999.75, cauchy), rel=1e-4
    )


def test_the_example_runs():
    assert doctest.testmod(discrepancy).failed == 0
