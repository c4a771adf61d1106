"""Law 4 for every row of the family: its losses are its paper's, in a few lines of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_divergences import unbiased_mmd2
from torch.distributions import Normal, kl_divergence
from turbo_standins import make_batch, make_objective, to_double

from imgturbo.config import Config, ObjectiveConfig
from imgturbo.engines import build_trainable, settle
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.turbo import distances
from imgturbo.turbo.presets import PRESETS, resolve
from imgturbo.turbo.terms import OUTPUTS

BOTTLENECK = ("vae", "beta_vae", "info_vae", "vae_gan", "bib_ae", "club")
CHECKED_ELSEWHERE = {"custom", "turbo", "pix2pix", "cyclegan", "one_cycle"}  # objective_papers


def epsilon(layer, shape, stride, like):
    """The same ε whenever it is asked for."""
    draw = torch.Generator().manual_seed(7)
    return torch.randn(tuple(shape), generator=draw, dtype=like.dtype)


class Setting:
    """A preset on stand-ins: networks, a whole paired batch in float64, and its losses."""

    def __init__(self, name, kind="dense", headed=(), **changes):
        terms = replace(PRESETS[name].terms, **changes)
        self.objective = make_objective(terms, kind, headed=headed, noise=epsilon).double()
        self.encoder, self.decoder = self.objective.encoder, self.objective.decoder
        batch = to_double(make_batch(kind, full=True, pairs=[True] * 4))
        self.z, self.x = batch.z, batch.x
        torch.manual_seed(11)
        self.losses = self.objective(batch)

    def D(self, name, u):
        return self.objective.critics[self.objective.terms.critic_of(name)](u)[0]

    def features(self, name, u):
        critic = self.objective.critics[self.objective.terms.critic_of(name)]
        return critic(u, features=True)[0]

    def posterior(self):
        mean, log_sigma = self.encoder.posterior(self.x)
        z_tilde = mean + log_sigma.exp() * epsilon(0, mean.shape, 1, mean)
        prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
        return z_tilde, kl_divergence(Normal(mean, log_sigma.exp()), prior).sum(1).mean()

    def is_generator(self, expected):
        torch.testing.assert_close(self.losses.generator, expected)

    def is_critic(self, expected):
        torch.testing.assert_close(self.losses.critic, torch.as_tensor(expected).double())


def fools(score):
    """−log σ(D(û)), the non-saturating loss of a generator."""
    return -F.logsigmoid(score).mean()


def game(real, fake):
    """Half of −log σ(D(u)) − log(1 − σ(D(û)))."""
    return (fools(real) - F.logsigmoid(-fake).mean()) / 2


def test_every_row_has_a_test_of_its_own():
    here = {name.removeprefix("test_the_paper_of_") for name in globals()}
    regressions = {"l1", "l2", "elastic_net"}
    assert set(PRESETS) <= here | CHECKED_ELSEWHERE | regressions


# ----------------------------------------------------------------------------- the side of TURBO


def test_the_paper_of_turbo_direct():
    s = Setting("turbo_direct")
    z_tilde = s.encoder(s.x)
    x_hat = s.decoder(z_tilde)
    direct = 10 * F.l1_loss(z_tilde, s.z) + ((s.D("z_tilde", z_tilde) - 1) ** 2).mean()
    s.is_generator(direct + F.l1_loss(x_hat, s.x) + ((s.D("x_hat", x_hat) - 1) ** 2).mean())
    assert (s.encoder.calls, s.decoder.calls) == (2, 2)  # one of them was this test's


def test_the_paper_of_turbo_reverse():
    """The former name is the same row."""
    assert PRESETS["turbo_reverse"].terms == PRESETS["one_cycle"].terms


def test_the_paper_of_turbo_same_critic():
    s = Setting("turbo_same_critic")
    assert set(s.objective.critics) == {"z", "x"}
    x_tilde, z_tilde = s.decoder(s.z), s.encoder(s.x)
    fakes = {"z": (z_tilde, s.encoder(x_tilde)), "x": (x_tilde, s.decoder(z_tilde))}
    expected = 0.0
    for space, made in fakes.items():
        critic, real = s.objective.critics[space], getattr(s, space)
        for fake in made:
            scores = critic(real)[0], critic(fake.detach())[0]
            expected = expected + ((scores[0] - 1) ** 2).mean() / 2 + (scores[1] ** 2).mean() / 2
    s.is_critic(expected)


@pytest.mark.parametrize("name", ["l1", "l2", "elastic_net"])
def test_regressions(name):
    s = Setting(name)
    x_tilde = s.decoder(s.z)
    l1, l2 = F.l1_loss(x_tilde, s.x), F.mse_loss(x_tilde, s.x)
    s.is_generator({"l1": l1, "l2": l2, "elastic_net": (l1 + l2) / 2}[name])
    assert s.encoder is None
    assert s.losses.critic == 0


def test_the_paper_of_pix2pix_lpips(monkeypatch):
    """100 ℓ1 + 10 LPIPS; that network's own value is tested beside it."""

    class Judge:
        def __call__(self, prediction, target, valid):
            return distances.Total((prediction - target).square().flatten(1).sum(1), valid.sum())

    def l1_entries(prediction, target, valid, kappa=0.0):
        return distances.Total((prediction - target).abs().flatten(1).sum(1), valid.sum())

    plain = distances._made
    monkeypatch.setattr(
        distances, "_made", lambda name, *rest: Judge() if name == "lpips" else plain(name, *rest)
    )
    s = Setting("pix2pix_lpips")
    x_tilde = s.decoder(s.z)
    score = s.objective.critics["x_tilde"](x_tilde, s.z)[0]
    content = 100 * F.l1_loss(x_tilde, s.x) + 10 * F.mse_loss(x_tilde, s.x)
    s.is_generator(content + fools(score))


def test_the_paper_of_srgan():
    """Ledig et al. 2017, eq. 3, 4 and 6."""
    s = Setting("srgan")
    x_tilde = s.decoder(s.z)
    s.is_generator(F.mse_loss(x_tilde, s.x) + 1e-3 * fools(s.D("x_tilde", x_tilde)))
    s.is_critic(game(s.D("x_tilde", s.x), s.D("x_tilde", x_tilde.detach())))
    assert s.encoder is None


def test_the_paper_of_aae():
    """Makhzani et al. 2015, section 2."""
    s = Setting("aae")
    z_tilde = s.encoder(s.x)
    s.is_generator(F.mse_loss(s.decoder(z_tilde), s.x) + fools(s.D("z_tilde", z_tilde)))
    s.is_critic(game(s.D("z_tilde", s.z), s.D("z_tilde", z_tilde.detach())))


def test_the_paper_of_gan():
    """Goodfellow et al. 2014, eq. 1 and the remark below it."""
    s = Setting("gan")
    x_tilde = s.decoder(s.z)
    s.is_generator(fools(s.D("x_tilde", x_tilde)))
    s.is_critic(game(s.D("x_tilde", s.x), s.D("x_tilde", x_tilde.detach())))
    assert s.encoder is None


def test_the_paper_of_wgan_gp():
    """Gulrajani et al. 2017, eq. 3, algorithm 1."""
    s = Setting("wgan_gp")
    x_tilde = s.decoder(s.z)
    torch.manual_seed(11)
    share = torch.rand(4, 1, dtype=torch.float64)
    u = (share * s.x + (1 - share) * x_tilde).detach().requires_grad_()
    (slope,) = torch.autograd.grad(s.D("x_tilde", u).sum(), u)
    s.is_generator(-s.D("x_tilde", x_tilde).mean())
    distance = s.D("x_tilde", x_tilde).mean() - s.D("x_tilde", s.x).mean()
    s.is_critic(distance.detach() + 10 * (slope.norm(dim=1) - 1).square().mean())
    config = Config.model_validate({"objective": {"preset": "wgan_gp"}})
    assert settle(config).train.critic_steps == 5


def test_the_paper_of_alae():
    """Pidhorskyi et al. 2020, eq. 8 with R₁ and eq. 9, with a critic of its own."""
    s = Setting("alae")
    x_tilde = s.decoder(s.z)
    z_hat = s.encoder(x_tilde)
    s.is_generator(F.mse_loss(z_hat, s.z) + fools(s.D("x_tilde", x_tilde)))
    u = s.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(s.D("x_tilde", u).sum(), u)
    r1 = 10 / 2 * slope.square().sum(1).mean()
    s.is_critic(game(s.D("x_tilde", s.x), s.D("x_tilde", x_tilde.detach())).detach() + r1)


def test_the_paper_of_flow():
    """Dinh et al. 2014, eq. 3: −log p(x), by autograd's Jacobian."""
    config = Config.model_validate(
        {"model": {"decoder": {"kind": "invertible", "blocks": 2, "width": 6}}}
    )
    names = ("a", "b", "c")
    sides = [Side(names, "", Stretch.linear(3), kind=kind) for kind in ("latent", "table")]
    torch.manual_seed(0)
    objective = build_trainable(config, *sides).double()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    batch = to_double(make_batch("dense", c=3, c2=3, full=True))
    objective(batch)  # ActNorm takes its first scales from a batch
    losses = objective(batch)
    f = objective.encoder
    nats = []
    for row in batch.x:
        jacobian = torch.func.jacrev(lambda u: f(u[None])[0])(row)
        density = Normal(0.0, 1.0).log_prob(f(row[None])[0]).sum()
        nats.append(-density - torch.linalg.slogdet(jacobian)[1])
    torch.testing.assert_close(losses.generator, torch.stack(nats).mean())
    assert losses.critic == 0


# --------------------------------------------------------------------- the side of the bottleneck


def nats(x_hat, x):
    """−log p(x | z) of unit variance, less its constant."""
    return 0.5 * (x - x_hat).square().sum(1).mean()


@pytest.mark.parametrize("way", ["as it stands", "with β = 7"])
def test_the_paper_of_vae(way):
    """Kingma & Welling 2013, eq. 10; Higgins et al. 2017, eq. 4."""
    beta = 1 if way == "as it stands" else 7
    marginal = {name: {} for name in OUTPUTS} | {"z_tilde": {"kl": beta}}
    s = Setting("vae", headed=("encoder",), marginal=marginal)
    z_tilde, kl = s.posterior()
    s.is_generator(nats(s.decoder(z_tilde), s.x) + beta * kl)
    assert s.losses.critic == 0


def test_the_paper_of_beta_vae():
    s = Setting("beta_vae", headed=("encoder",))
    z_tilde, kl = s.posterior()
    s.is_generator(nats(s.decoder(z_tilde), s.x) + 4 * kl)


def test_the_paper_of_info_vae():
    """Zhao et al. 2017, eq. 6, α = 0, λ = 10."""
    s = Setting("info_vae", headed=("encoder",))
    z_tilde, kl = s.posterior()
    mmd = unbiased_mmd2(z_tilde.detach().numpy(), s.z.numpy())
    alpha, lam = 0, 10
    s.is_generator(nats(s.decoder(z_tilde), s.x) + (1 - alpha) * kl + (alpha + lam - 1) * mmd)


def test_the_paper_of_vae_gan():
    """Larsen et al. 2015, eq. 4, 7, 8 and algorithm 1, γ = 1; and who is trained by what."""
    s = Setting("vae_gan", headed=("encoder",))
    z_tilde, kl = s.posterior()
    x_hat, x_tilde = s.decoder(z_tilde), s.decoder(s.z)
    alike = s.features("x_hat", s.x) - s.features("x_hat", x_hat)
    content = 0.5 * s.x.shape[1] * alike.square().mean()
    adversarial = fools(s.D("x_hat", x_hat)) + fools(s.D("x_hat", x_tilde))
    s.is_generator(content + kl + adversarial)
    real = s.D("x_hat", s.x)
    critic = [game(real, s.D("x_hat", fake.detach())) for fake in (x_hat, x_tilde)]
    s.is_critic(sum(critic))
    # The encoder minimises L_prior + L_llike, the decoder L_llike + L_GAN, the critic L_GAN.
    for network, loss in (
        (s.encoder, content + kl),
        (s.decoder, content + adversarial),
        (s.objective.critics["x"], sum(critic)),
    ):
        whole = s.losses.generator + s.losses.critic
        parameters = list(network.parameters())
        ours = torch.autograd.grad(whole, parameters, retain_graph=True)
        theirs = torch.autograd.grad(loss, parameters, retain_graph=True)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["bib_ae", "club"])
def test_bounded_bottlenecks(name):
    """Voloshynovskiy et al. 2019; Razeghi et al. 2022: the latter also judges x̃."""
    s = Setting(name, headed=("encoder",))
    z_tilde, kl = s.posterior()
    fakes = {"z_tilde": z_tilde, "x_hat": s.decoder(z_tilde)}
    if name == "club":
        fakes["x_tilde"] = s.decoder(s.z)
    adversarial = sum(fools(s.D(output, fake)) for output, fake in fakes.items())
    s.is_generator(nats(fakes["x_hat"], s.x) + kl + adversarial)
    reals = {"z_tilde": s.z, "x_hat": s.x, "x_tilde": s.x}
    s.is_critic(sum(game(s.D(o, reals[o]), s.D(o, fake.detach())) for o, fake in fakes.items()))


test_the_paper_of_bib_ae = test_the_paper_of_club = None  # by the test above


# ------------------------------------------------------------------ what costs, whom it trains


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"custom", "flow", "pix2pix_lpips"}))
def test_zero_terms_cost_no_pass_and_gradients_reach_whom_they_should(name):
    headed = ("encoder",) if name in BOTTLENECK else ()
    terms = PRESETS[name].terms
    if any(terms.identity.values()):
        terms = replace(terms, identity={"x": 0.0, "z": 0.0})
    objective = make_objective(terms, "dense", headed=headed, noise=epsilon)
    losses = objective(make_batch("dense", full=True, pairs=[True] * 4))
    on = {output for output in OUTPUTS if terms.needs(output)}
    again = {o for o in on if terms.detach and o.endswith("hat") and terms.divergences(o)}
    calls = {
        "encoder": bool(on & {"z_tilde", "x_hat"}) + ("z_hat" in on) + ("z_hat" in again),
        "decoder": bool(on & {"x_tilde", "z_hat"}) + ("x_hat" in on) + ("x_hat" in again),
    }
    for way, number in calls.items():
        network = getattr(objective, way)
        assert (network.calls if network else 0) == number
    (losses.generator + losses.critic).backward()
    for name, parameter in objective.named_parameters():
        # A bias of the last layer moves the scores of data and of fakes alike.
        last = terms.adversarial == "wgan-gp" and name.endswith("2.bias")
        assert last or (parameter.grad != 0).any(), name


def test_the_users_zero_takes_a_presets_network_away():
    section = {"preset": "club", "marginal": {"x_tilde": 0, "x_hat": {}, "z_tilde": {"kl": 2}}}
    terms = resolve(ObjectiveConfig(**section))
    assert terms.critics == {}
    assert terms.divergences("z_tilde") == {"kl": 2}


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "custom"])
def test_a_row_says_what_it_is(name):
    row = PRESETS[name]
    assert len(row.about) > 20
    assert "arXiv" in row.paper or "Sensors" in row.paper or "ICLR" in row.paper
    assert row.z
    assert row.x
    kinds = {kind for output in OUTPUTS for kind in row.terms.divergences(output)}
    assert ("N(0, 1)" in row.z) == ("kl" in kinds)
