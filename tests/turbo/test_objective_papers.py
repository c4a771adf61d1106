"""Law 4: with a preset's weights, both losses are those of the paper, written out independently."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from turbo_standins import KINDS, make_batch, make_objective, to_double

from imgturbo.config import ObjectiveConfig
from imgturbo.turbo.presets import PRESETS, resolve


def setting(terms, kind, **kwargs):
    """Networks, critics and a full, paired float64 batch; ``D(name, u)`` is one score map."""
    objective = make_objective(terms, kind, **kwargs).double()
    channels = {k: v for k, v in kwargs.items() if k in ("c", "c2")}
    batch = to_double(make_batch(kind, full=True, pairs=[True] * 4, **channels))
    torch.manual_seed(11)
    losses = objective(batch)

    def critic(name, u, condition=None):
        return objective.critics[objective.terms.critic_of(name)](u, condition)[0]

    return objective, batch.z, batch.x, critic, losses


def bce(score, label):
    return F.binary_cross_entropy_with_logits(score, torch.full_like(score, label))


def mse(score, label):
    return ((score - label) ** 2).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_pix2pix(kind):
    """Isola et al. 2017, eq. 1, 3, 4; λ = 100; D's objective halved (section 3.3)."""
    objective, z, x, D, losses = setting(PRESETS["pix2pix"].terms, kind)
    G = objective.decoder
    torch.testing.assert_close(
        losses.generator, bce(D("x_tilde", G(z), z), 1) + 100 * F.l1_loss(G(z), x)
    )
    fake = G(z).detach()
    torch.testing.assert_close(
        losses.critic, (bce(D("x_tilde", x, z), 1) + bce(D("x_tilde", fake, z), 0)) / 2
    )


@pytest.mark.parametrize("kind", KINDS)
def test_cyclegan(kind):
    """Zhu et al. 2017, eq. 1-3 with the least squares of section 4, λ = 10, identity 0.5 λ."""
    # The first step fills the pool, so it answers with the fakes it is given.
    objective, z, x, D, losses = setting(PRESETS["cyclegan"].terms, kind, c=2, c2=2)
    G, Fx = objective.decoder, objective.encoder
    gan = mse(D("x_tilde", G(z)), 1) + mse(D("z_tilde", Fx(x)), 1)
    cycle = F.l1_loss(Fx(G(z)), z) + F.l1_loss(G(Fx(x)), x)
    identity = F.l1_loss(G(x), x) + F.l1_loss(Fx(z), z)
    torch.testing.assert_close(losses.generator, gan + 10 * cycle + 5 * identity)
    critic = mse(D("x_tilde", x), 1) + mse(D("x_tilde", G(z).detach()), 0)
    critic = critic + mse(D("z_tilde", z), 1) + mse(D("z_tilde", Fx(x).detach()), 0)
    torch.testing.assert_close(losses.critic, critic / 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_turbo(kind, shared):
    """Quétant et al. 2021, eq. 4, 7 and 8; λ = 10 of the tildes, 1 of the hats, α = β = γ = 1."""
    terms = resolve(ObjectiveConfig(preset="turbo", shared_critics=shared))
    objective, z, x, D, losses = setting(terms, kind)
    encoder, decoder = objective.encoder, objective.decoder
    z_tilde = encoder(x)
    x_hat = decoder(z_tilde)
    x_tilde = decoder(z)
    z_hat = encoder(x_tilde)

    def L(u, v):
        return F.l1_loss(v, u)

    def adv(name, u):
        return mse(D(name, u), 1)

    direct = 10 * L(z, z_tilde) + adv("z_tilde", z_tilde) + L(x, x_hat) + adv("x_hat", x_hat)
    reverse = 10 * L(x, x_tilde) + adv("x_tilde", x_tilde) + L(z, z_hat) + adv("z_hat", z_hat)
    torch.testing.assert_close(losses.generator, direct + reverse)
    critic = 0
    for name, real, fake in (
        ("z_tilde", z, z_tilde),
        ("x_hat", x, x_hat),
        ("x_tilde", x, x_tilde),
        ("z_hat", z, z_hat),
    ):
        critic = critic + (mse(D(name, real), 1) + mse(D(name, fake.detach()), 0)) / 2
    torch.testing.assert_close(losses.critic, critic)


@pytest.mark.parametrize("kind", KINDS)
def test_one_cycle_is_the_reverse_path(kind):
    """Quétant et al. 2021, eq. 7; λ = 10 of x̃, 1 of ẑ, β = 1."""
    objective, z, x, D, losses = setting(PRESETS["one_cycle"].terms, kind)
    x_tilde = objective.decoder(z)
    z_hat = objective.encoder(x_tilde)
    reverse = 10 * F.l1_loss(x_tilde, x) + mse(D("x_tilde", x_tilde), 1)
    reverse = reverse + F.l1_loss(z_hat, z) + mse(D("z_hat", z_hat), 1)
    torch.testing.assert_close(losses.generator, reverse)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["lsgan", "hinge", "wgan-gp"])
def test_gans_by_configuration(kind, mode):
    """LSGAN (Mao et al. 2017, eq. 9), hinge (Lim & Ye 2017), WGAN-GP (Gulrajani et al. 2017)."""
    terms = resolve(ObjectiveConfig(preset="custom", marginal={"x_tilde": 1}, adversarial=mode))
    objective, z, x, D, losses = setting(terms, kind)
    fake = objective.decoder(z)
    real_score, fake_score = D("x_tilde", x), D("x_tilde", fake)
    if mode == "lsgan":
        generator, critic = mse(fake_score, 1), (mse(real_score, 1) + mse(fake_score, 0)) / 2
    elif mode == "hinge":
        generator = -fake_score.mean()
        critic = F.relu(1 - real_score).mean() + F.relu(1 + fake_score).mean()
    else:
        torch.manual_seed(11)
        epsilon = torch.rand(4, dtype=torch.float64).view(-1, *[1] * (x.ndim - 1))
        u = (epsilon * x + (1 - epsilon) * fake).detach().requires_grad_()
        cells = D("x_tilde", u).flatten(1)  # one in the paper; of N patches their sum over √N
        (slope,) = torch.autograd.grad(cells.sum() / cells.shape[1] ** 0.5, u)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        generator = -fake_score.mean()
        critic = fake_score.mean() - real_score.mean() + 10 * penalty
    torch.testing.assert_close(losses.generator, generator)
    torch.testing.assert_close(losses.critic, critic)


def test_aae_on_a_sampled_latent():
    """Makhzani et al. 2015: D(z̃) against a prior, L(x̂) in ℓ2²; no sample is paired."""
    terms = resolve(
        ObjectiveConfig(
            preset="custom",
            paired={"x_hat": 1},
            marginal={"z_tilde": 1},
            distance={"x_hat": {"l2": 1}},
            adversarial="vanilla",
        )
    )
    objective = make_objective(terms, "dense").double()
    batch = to_double(make_batch("dense", full=True, pairs=[False] * 4))
    losses = objective(batch)
    z_tilde = objective.encoder(batch.x)
    score = objective.critics["z_tilde"](z_tilde)[0]
    expected = F.mse_loss(objective.decoder(z_tilde), batch.x) + bce(score, 1)
    torch.testing.assert_close(losses.generator, expected)


@pytest.mark.parametrize("preset", ["turbo", "pix2pix"])
def test_masks_leave_means_over_what_is_valid(preset):
    """The same losses, by boolean indexing, where masks and pair flags differ."""
    terms = replace(PRESETS[preset].terms, conditional=False)
    objective = make_objective(terms, "conv").double()
    batch = to_double(make_batch(pairs=[True, False, True, True]))
    terms_found = objective(batch).terms
    z, x = (torch.where(v, u, 0.0) for u, v in ((batch.z, batch.z_valid), (batch.x, batch.x_valid)))
    x_tilde = objective.decoder(z)
    valid = (batch.z_valid & batch.x_valid & batch.paired[:, None, None, None]).expand_as(x)
    torch.testing.assert_close(terms_found["L/x_tilde"], (x_tilde - x)[valid].abs().mean())
    if preset == "turbo":
        z_hat = objective.encoder(torch.where(batch.z_valid, x_tilde, 0.0))
        valid = batch.z_valid.expand_as(z)
        torch.testing.assert_close(terms_found["L/z_hat"], (z_hat - z)[valid].abs().mean())
