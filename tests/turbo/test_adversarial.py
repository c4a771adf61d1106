"""Critics' losses: which cells count, and the two penalties."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from turbo_standins import KINDS, Critic

from imgturbo.config import CriticConfig
from imgturbo.nets import PatchGAN
from imgturbo.nets.receptive import patch_field
from imgturbo.turbo.adversarial import (
    MODES,
    _score_of_sample,
    cell_weights,
    frozen_scores,
    gradient_penalty,
    r1_penalty,
)


class Linear(nn.Module):
    """D(u) = w·u on tables: its gradient is w everywhere."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, dtype=torch.float64))

    def forward(self, u, condition=None):
        u = u if condition is None else torch.cat([u, condition], 1)
        return [u @ self.weight[:, None]]


def test_modes_are_their_formulas():
    s = torch.linspace(-3, 3, 13, dtype=torch.float64)
    ones = torch.ones_like(s)
    bce = nn.functional.binary_cross_entropy_with_logits
    for mode, real, fake, generator in (
        (
            "vanilla",
            bce(s, ones, reduction="none") / 2,
            bce(s, 0 * ones, reduction="none") / 2,
            bce(s, ones, reduction="none"),
        ),
        ("lsgan", (s - 1) ** 2 / 2, s**2 / 2, (s - 1) ** 2),
        ("hinge", (1 - s).clamp(min=0), (1 + s).clamp(min=0), -s),
        ("wgan-gp", -s, s, -s),
    ):
        torch.testing.assert_close(MODES[mode].real(s), real)
        torch.testing.assert_close(MODES[mode].fake(s), fake)
        torch.testing.assert_close(MODES[mode].generator(s), generator)
    assert [name for name, mode in MODES.items() if mode.penalised] == ["wgan-gp"]


def test_a_cell_counts_by_its_valid_share():
    valid = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    valid[0, :, :4, :4] = True
    valid[0, :, 4:, :2] = True
    weights = cell_weights(valid, torch.zeros(2, 1, 2, 2))
    assert torch.equal(weights[0, 0], torch.tensor([[1.0, 0.0], [0.5, 0.0]]))
    assert (weights[1] == 0).all()
    table = torch.tensor([[True], [False]])
    assert torch.equal(cell_weights(table, torch.zeros(2, 1)), torch.tensor([[1.0], [0.0]]))


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_scores_are_the_same_scores_and_move_nothing(kind):
    critic = Critic(kind, 3, scales=2, spectral=True)
    u = torch.randn(4, 3, *((9, 7) if kind == "conv" else ()), requires_grad=True)
    before = {name: buffer.clone() for name, buffer in critic.named_buffers()}
    scores = frozen_scores(critic, u, None)
    assert all(torch.equal(buffer, before[name]) for name, buffer in critic.named_buffers())
    for ours, plain in zip(scores, critic(u), strict=True):
        torch.testing.assert_close(ours, plain)
    sum(score.sum() for score in scores).backward()
    assert (u.grad != 0).any()
    assert all(parameter.grad is None for parameter in critic.parameters())
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_penalties_of_a_linear_critic_are_known():
    critic = Linear(5)
    real, fake = torch.randn(2, 7, 5, dtype=torch.float64)
    valid = torch.ones(7, 1, dtype=torch.bool)
    valid[3] = False
    norm = critic.weight.norm()
    penalty, weight = gradient_penalty(critic, real, fake, valid)
    assert weight.tolist() == [1, 1, 1, 0, 1, 1, 1]
    torch.testing.assert_close(penalty, (norm - 1) ** 2 * weight)
    (gradient,) = torch.autograd.grad(penalty.sum(), critic.weight)
    torch.testing.assert_close(gradient, 6 * 2 * (norm - 1) * critic.weight / norm)
    penalty, weight = r1_penalty(critic, real, valid)
    torch.testing.assert_close(penalty, norm**2 / 2 * weight)
    (gradient,) = torch.autograd.grad(penalty.sum(), critic.weight)
    torch.testing.assert_close(gradient, 6 * critic.weight)


def test_the_penalty_is_of_the_image_not_of_the_condition():
    critic = Linear(7)
    real, fake = torch.randn(2, 3, 5, dtype=torch.float64)
    condition = torch.randn(3, 2, dtype=torch.float64)
    valid = torch.ones(3, 1, dtype=torch.bool)
    penalty, _ = gradient_penalty(critic, real, fake, valid, (condition, condition))
    torch.testing.assert_close(penalty, (critic.weight[:5].norm() - 1).square().expand(3))


def test_gradient_penalty_is_taken_between_real_and_fake():
    """Gulrajani et al., algorithm 1, line by line, with the same draws."""
    critic = Critic("dense", 4).double()
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)
    torch.manual_seed(3)
    penalty, _ = gradient_penalty(critic, real, fake, torch.ones(6, 1, dtype=torch.bool))
    torch.manual_seed(3)
    epsilon = torch.rand(6, dtype=torch.float64)[:, None]
    mixed = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(mixed)[0].sum(), mixed)
    torch.testing.assert_close(penalty, (gradient.norm(dim=1) - 1) ** 2)


def patches(layers, scales, width=4):
    torch.manual_seed(layers)
    return PatchGAN(CriticConfig(width=width, layers=layers, scales=scales, norm="spectral"), 2)


def both_penalties(critic, u, valid):
    """R1 and the squared slope behind WGAN-GP's, the means over samples."""
    r1, weight = r1_penalty(critic, u, valid)
    wgan, _ = gradient_penalty(critic, u, u, valid)  # real = fake: no matter where between
    assert weight.all()
    norm = 1 - wgan.detach().sqrt()  # of these critics below 1
    return float(r1.detach().mean()), float(norm.square().mean() / 2)


@pytest.mark.parametrize(("layers", "scales"), [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_a_penalty_is_of_a_patch_whatever_the_tile(layers, scales):
    """Tiles several patches wide, not square, prime: what differs is their border alone."""
    critic = patches(layers, scales)
    patch = patch_field(critic)[-1]
    found = []
    for height, width in ((3 * patch, 3 * patch), (3 * patch + 7, 4 * patch), (6 * patch, 127)):
        u = torch.randn(2, 2, max(height, 24), max(width, 24))
        whole = torch.ones(2, 1, *u.shape[2:], dtype=torch.bool)
        r1, squared = both_penalties(critic, u, whole)
        assert squared == pytest.approx(r1, rel=1e-3)
        found.append(r1)
    assert max(found) < 1.25 * min(found)


def test_a_penalty_of_a_score_a_pixel_is_exactly_the_pixel_s():
    """D_c(u) = w·u_c: ½‖∇D‖² = ½‖w‖² for 3 pixels and for 3000, holes or none."""

    class Pixel(nn.Module):
        def forward(self, u, condition=None):
            return [(u * weight[:, None, None]).sum(1, keepdim=True)] * 2

    weight = torch.randn(3, dtype=torch.float64)
    for size in ((1, 3), (4, 4), (7, 13), (60, 50)):
        u = torch.randn(2, 3, *size, dtype=torch.float64)
        valid = torch.rand(2, 1, *size) < 0.6
        valid[0], valid[1, 0, 0, 0] = True, True
        r1, count = r1_penalty(Pixel(), u, valid)
        assert count.tolist() == [1, 1]
        torch.testing.assert_close(r1, weight.square().sum().expand(2) / 2)
        wgan, _ = gradient_penalty(Pixel(), u, 3 * u, valid)
        torch.testing.assert_close(wgan, (weight.norm() - 1).square().expand(2))


def test_holes_do_not_weaken_a_penalty():
    critic = patches(1, 1)
    u = torch.randn(1, 2, 120, 120)
    whole = torch.ones(1, 1, 120, 120, dtype=torch.bool)
    half = whole.clone()
    half[..., 40:] = False
    assert both_penalties(critic, u, half)[0] == pytest.approx(
        both_penalties(critic, u, whole)[0], rel=0.2
    )


def test_masked_pixels_do_not_enter_a_penalty():
    critic = Critic("conv", 2, scales=2).double()
    real, fake = torch.randn(2, 3, 2, 9, 7, dtype=torch.float64)
    valid = torch.rand(3, 1, 9, 7) < 0.5
    valid[2] = False
    for penalise in (
        lambda r, f: gradient_penalty(critic, r, f, valid),
        lambda r, f: r1_penalty(critic, r, valid),
    ):
        torch.manual_seed(1)
        clean, _ = penalise(real, fake)
        torch.manual_seed(1)
        dirty, _ = penalise(*(torch.where(valid, u, 9.0) for u in (real, fake)))
        torch.testing.assert_close(dirty, clean)
        gradients = torch.autograd.grad(
            clean.sum(), [p for p in critic.parameters()], allow_unused=True
        )
        assert all(g is None or torch.isfinite(g).all() for g in gradients)


def test_a_penalty_of_a_table_of_one_score_and_of_two_scales():
    """D = ½ (w·u + 3 w·u): twice the score; a row with nothing valid does not count."""

    class Twice(Linear):
        def forward(self, u, condition=None):
            (score,) = super().forward(u, condition)
            return [score, 3 * score]

    critic = Twice(4)
    real = torch.randn(3, 4, dtype=torch.float64)
    valid = torch.tensor([[True], [False], [True]])
    penalty, weight = r1_penalty(critic, real, valid)
    torch.testing.assert_close(penalty, 2 * critic.weight.square().sum() * weight)
    assert weight.tolist() == [1, 0, 1]


def test_conditions_are_mixed_as_the_images_are():
    """At ε = 1 both are the real ones: D(u, c) = (w·u)(v·c) has there the slope w (v·c_real)."""
    weight = torch.randn(5, dtype=torch.float64)

    class Product(nn.Module):
        def forward(self, u, condition=None):
            return [(u * weight).sum(1, keepdim=True) * condition.sum(1, keepdim=True)]

    real, fake = torch.randn(2, 400, 5, dtype=torch.float64)
    of_real = torch.full((400, 1), 2.0, dtype=torch.float64)
    torch.manual_seed(5)
    penalty, _ = gradient_penalty(
        Product(), real, fake, torch.ones(400, 1, dtype=torch.bool), (of_real, 0 * of_real)
    )
    torch.manual_seed(5)
    epsilon = torch.rand(400, dtype=torch.float64)
    torch.testing.assert_close(penalty, (2 * epsilon * weight.norm() - 1).square())


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_samples_score_is_its_cells_sum_over_the_root_of_how_many_count(share):
    """A cell of which half was measured is half a cell, however few there are."""
    valid = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    valid[0, :, : round(4 * share)] = True  # nothing of the second sample
    scores = [torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 2, 2), -1.0)]
    found = _score_of_sample(scores, valid)
    expected = (3.0 * share**0.5 - (4 * share) ** 0.5) / 2
    torch.testing.assert_close(found, torch.tensor([expected, 0.0]))
