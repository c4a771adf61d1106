"""The network of events and its critic: what they know without having learnt it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imgturbo.config import CriticConfig, MomentaConfig
from imgturbo.errors import ImgturboError
from imgturbo.events import PARTONS, columns, momenta
from imgturbo.events.simple import reconstructed
from imgturbo.nets import PositionalNoise, build_critic, build_generator
from imgturbo.nets.momenta import MomentaNet, Units, turned
from imgturbo.nets.momenta_critic import MomentaCritic
from imgturbo.side import Side
from imgturbo.sky.bijection import NONE, Bijection
from imgturbo.sky.stretch import Stretch

PARTON_SHELL = [0, 0, 4.8, 4.8, 0.33, 0.33]
OBJECT_SHELL = [0, "transverse", "massive", "massive", "massive", "free"]


def events(seed, n):
    """x of massless objects, GeV, (n, 24); the second has no p_z, jets fall in p_T."""
    p = np.random.default_rng(seed).normal(0, 60, (n, 6, 3))
    p[:, 1, 2] = 0
    order = np.argsort(-np.hypot(p[:, 2:, 0], p[:, 2:, 1]), axis=1)
    p[:, 2:] = np.take_along_axis(p[:, 2:], order[..., None], 1)
    return np.concatenate([p, np.linalg.norm(p, axis=2, keepdims=True)], 2).reshape(n, 24)


def stretch(seed, kind="asinh"):
    generator = np.random.default_rng(seed)
    soft = np.full(24, np.inf) if kind == "linear" else generator.uniform(30, 90, 24)
    widest = 60 if kind == "linear" else 1.5
    return Stretch(generator.normal(0, 5, 24), soft, generator.uniform(0.8, widest, 24))


def side_of(stretch, units=()):
    return Side(columns(PARTONS), "GeV", stretch, kind="table", units=units)


def made(**settings):
    """A network between two sides, in double precision, with weights that do something."""
    torch.manual_seed(1)
    config = MomentaConfig(width=16, blocks=2, noise_channels=3, **settings)
    net = build_generator(config, 24, 24)
    net.know(side_of(stretch(1)), side_of(stretch(2)))
    with torch.no_grad():
        net.last.weight.normal_(0, 0.3)
    return net.double().eval()


def stretched(x, side=1):
    return torch.as_tensor(stretch(side)(x.T).T.copy())


def in_gev(y, side=2):
    return stretch(side).inverse(y.detach().numpy().T).T


def turn(x, angle):
    p = momenta(x).copy()
    cos, sin = np.cos(angle), np.sin(angle)
    p[..., 0], p[..., 1] = cos * p[..., 0] - sin * p[..., 1], sin * p[..., 0] + cos * p[..., 1]
    return p.reshape(x.shape)


@pytest.mark.parametrize("kind", ["linear", "asinh"])
def test_units_are_the_stretch_of_the_side(kind):
    side = stretch(3, kind)
    units = Units(24).double()
    units.set(side_of(side))
    x = events(0, 11)
    y = units(torch.as_tensor(x)).numpy()
    np.testing.assert_allclose(y, side(x.T).T, atol=1e-5)  # the constants are float32
    np.testing.assert_allclose(units.inverse(torch.as_tensor(y)).numpy(), x, atol=1e-6)


def test_a_logarithm_has_no_momenta():
    before = (Bijection("log"), *[NONE] * 23)
    stretch = Stretch(np.zeros(24), np.full(24, np.inf), np.ones(24), before)
    with pytest.raises(ImgturboError, match="not by log"):
        Units(24).set(side_of(stretch))


@pytest.mark.parametrize("kind", ["linear", "asinh"])
@given(exponent=st.lists(st.sampled_from([-9, -6, -3, 0, 3]), min_size=24, max_size=24))
def test_other_units_of_energy_are_gev(kind, exponent):
    """What a side in MeV calls y is of as many GeV as in a side in GeV."""
    units = {-9: "eV", -6: "keV", -3: "MeV / c", 0: "GeV", 3: "TeV"}
    own = stretch(3, kind)
    other = own.scaled(10.0 ** -np.array(exponent))  # of the same y, numbers in the other unit
    one, two = Units(24), Units(24)
    one.set(side_of(own))
    two.set(side_of(other, tuple(units[e] for e in exponent)))
    y = torch.as_tensor(own(events(0, 5).T).T.copy()).float()
    torch.testing.assert_close(two.inverse(y), one.inverse(y), rtol=1e-4, atol=1e-4)


def test_units_that_are_none_of_energy_are_refused():
    with pytest.raises(ImgturboError, match=r"in GeV, not in m; say so by 'units'"):
        Units(24).set(side_of(stretch(1), ("GeV",) * 23 + ("m",)))


@pytest.mark.parametrize("arrange", ["none", "pt", "masses"])
@pytest.mark.parametrize("noisy", [False, True])
def test_an_event_that_is_turned_is_turned_when_it_comes_out(arrange, noisy):
    net, x = made(arrange=arrange, shell=PARTON_SHELL), events(0, 9)
    noise = PositionalNoise(3, [(n, 0) for n in range(9)]) if noisy else None
    one = in_gev(net(stretched(x), noise))
    other = in_gev(net(stretched(turn(x, 1.1)), noise))
    np.testing.assert_allclose(other, turn(one, 1.1), rtol=1e-4, atol=1e-3)


def test_it_need_not_be():
    net, x = made(turned=False), events(0, 9)
    one, other = (in_gev(net(stretched(rows))) for rows in (x, turn(x, 1.1)))
    assert not np.allclose(other, turn(one, 1.1), rtol=1e-2, atol=1)


def test_particles_are_on_their_shells():
    net = made(shell=OBJECT_SHELL, arrange="pt")
    p = momenta(in_gev(net(stretched(events(0, 50)))))
    m2 = p[..., 3] ** 2 - (p[..., :3] ** 2).sum(-1)
    scale = p[..., 3] ** 2
    np.testing.assert_allclose(m2[:, :2] / scale[:, :2], 0, atol=1e-6)
    np.testing.assert_allclose(p[:, 1, 2], 0, atol=1e-4)
    pt = np.hypot(p[:, 2:, 0], p[:, 2:, 1])
    assert (np.diff(pt, axis=1) < 1e-3).all()  # which of them is the free one then is not known
    assert ((m2[:, 2:] > 0).sum(1) >= 3).all()
    assert (m2[:, 2:] < 0).any()  # free: a number like others
    partons = momenta(in_gev(made(shell=PARTON_SHELL)(stretched(events(0, 50)))))
    for number, mass in enumerate(PARTON_SHELL):
        shell = partons[:, number]
        expected = np.sqrt((shell[:, :3] ** 2).sum(1) + mass**2)
        np.testing.assert_allclose(shell[:, 3], expected, rtol=1e-5)


def untrained(**settings):
    """A network whose correction is nothing at all."""
    net = made(**settings)
    with torch.no_grad():
        net.last.weight.zero_()
        net.last.bias.zero_()
    return net


def test_it_starts_from_partons_in_the_order_of_their_pt():
    z = events(4, 30).reshape(-1, 6, 4)[:, [0, 1, 5, 3, 2, 4]]
    z[:, 1, 2] = 7.0  # a neutrino has a p_z, which is not seen
    z[:, 1, 3] = np.linalg.norm(z[:, 1, :3], axis=1)
    x = momenta(in_gev(untrained(arrange="pt")(stretched(z.reshape(-1, 24)))))
    pt = np.hypot(x[:, 2:, 0], x[:, 2:, 1])
    assert (np.diff(pt, axis=1) <= 1e-4).all()
    np.testing.assert_allclose(np.sort(x[:, 2:, 3], 1), np.sort(z[:, 2:, 3], 1), rtol=1e-4)
    np.testing.assert_allclose(x[:, 0], z[:, 0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(x[:, 1, :2], z[:, 1, :2], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(x[:, 1, 2], 0, atol=1e-3)
    np.testing.assert_allclose(x[:, 1, 3], np.hypot(z[:, 1, 0], z[:, 1, 1]), rtol=1e-4)


def test_it_starts_from_jets_as_the_masses_have_them():
    """The same assignment as by numpy, and as often one jet of the W first as the other."""
    x = events(5, 60)
    net = untrained(arrange="masses")
    noise = PositionalNoise(0, [(n, 0) for n in range(60)])
    found = momenta(in_gev(net(stretched(x), noise)))
    expected = momenta(reconstructed(x, np.random.default_rng(0)))
    np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=1e-3, atol=2e-2)
    np.testing.assert_allclose(found[:, 4:].sum(1), expected[:, 4:].sum(1), rtol=1e-3, atol=2e-2)
    swapped = ~np.isclose(found[:, 4, 3], momenta(in_gev(net(stretched(x))))[:, 4, 3], rtol=1e-3)
    assert 0.2 < swapped.mean() < 0.8


def test_without_noise_it_is_deterministic_and_rows_are_by_themselves():
    net, x = made(arrange="masses"), stretched(events(6, 8))
    whole = net(x)
    torch.testing.assert_close(net(x), whole)
    parts = torch.cat([net(x[:3]), net(x[3:])])
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)
    noise = PositionalNoise(1, [(n, 0) for n in range(8)])
    assert not torch.allclose(net(x, noise), whole)


def test_gradients_are_finite_at_odd_events():
    """At rest, along the beam, all alike: the angle and masses have no derivative there."""
    rows = np.zeros((4, 24))
    rows[1, 3::4] = 50
    rows[1, 2::4] = 50  # along the beam
    rows[2] = np.tile([30.0, 0, 0, 30], 6)
    rows[3] = 1e4
    for arrange in ("none", "pt", "masses"):
        net = made(arrange=arrange, shell=OBJECT_SHELL)
        u = stretched(rows).requires_grad_()
        net(u).square().sum().backward()
        assert u.grad.isfinite().all(), arrange
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_corrections_are_bounded():
    net, x = made(), stretched(events(7, 5))
    with torch.no_grad():
        net.last.weight.mul_(1e6)
    assert net(x).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "columns", "told"),
    [
        ({}, (24, 20), "leads from 24 columns to 24"),
        ({"shell": [0, 0]}, (24, 24), "2 particles leads from 8 columns"),
        ({"shell": [0] * 3, "arrange": "pt"}, (12, 12), "arrange: pt is for the six"),
    ],
)
def test_columns_that_do_not_fit_are_refused(settings, columns, told):
    with pytest.raises(ImgturboError, match=told):
        build_generator(MomentaConfig(**settings), *columns)


@pytest.mark.parametrize("shell", [[], [-1.0], ["heavy"], [float("nan")]])
def test_shells_that_there_are_not_are_refused(shell):
    with pytest.raises(ValidationError):
        MomentaConfig(shell=shell)


def test_images_and_other_widths_are_refused():
    net = made()
    with pytest.raises(ImgturboError, match="events"):
        net(torch.zeros(1, 24, 4, 4).double())
    with pytest.raises(ImgturboError, match=r"\(B, 24\)"):
        net(torch.zeros(3, 23).double())


# ------------------------------------------------------------------------------------ the critic


def critic(conditional=False):
    torch.manual_seed(0)
    config = CriticConfig(kind="momenta", norm="none", hidden=[12, 8])
    network = build_critic(config, 24, 24 if conditional else 0)
    assert isinstance(network, MomentaCritic)
    network.know(side_of(stretch(2)), side_of(stretch(1)))
    return network.double()


@pytest.mark.parametrize("conditional", [False, True])
def test_scores_do_not_depend_on_how_an_event_lies(conditional):
    network, x, z = critic(conditional), events(0, 7), events(1, 7)
    scores = []
    for angle in (0.0, 2.0):
        beside = stretched(turn(z, angle)) if conditional else None
        (score,) = network(stretched(turn(x, angle), 2), beside)
        assert score.shape == (7, 1)
        scores.append(score)
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)
    if conditional:  # but on how it lies beside its condition
        (other,) = network(stretched(turn(x, 2.0), 2), stretched(z))
        assert not torch.allclose(other, scores[0], atol=1e-3)


def test_its_features_are_masses():
    from imgturbo.nets.momenta_critic import seen

    network = critic()
    p = torch.as_tensor(momenta(events(0, 5)))
    pt, masses = seen(p, network.members.double())
    assert pt.shape == (5, 6)
    assert masses.shape == (5, 15 + 20)
    both = p[:, 0] + p[:, 1]
    expected = (both[:, 3] ** 2 - both[:, :3].square().sum(1)).clamp(min=0).sqrt()
    torch.testing.assert_close(100 * torch.sinh(masses[:, 0]), expected, rtol=1e-2, atol=1.0)


def test_penalties_on_its_slope_have_gradients():
    network = critic()
    u = stretched(events(2, 6), 2).requires_grad_()
    (slope,) = torch.autograd.grad(network(u)[0].sum(), u, create_graph=True)
    slope.square().sum().backward()
    for weight in (p for p in network.parameters() if p.ndim > 1):
        assert weight.grad.isfinite().all()


def test_the_last_features_can_be_had():
    (features,) = critic()(stretched(events(0, 3), 2), features=True)
    assert features.shape == (3, 8)


def test_numbers_that_are_no_momenta_are_refused():
    with pytest.raises(ImgturboError, match="no multiple of 4"):
        build_critic(CriticConfig(kind="momenta"), 23)


def test_turned_has_the_first_along_x():
    p = torch.as_tensor(momenta(events(0, 5)))
    q, angle = turned(p)
    torch.testing.assert_close(q[:, 0, 1], torch.zeros(5).double(), atol=1e-9, rtol=0)
    assert (q[:, 0, 0] > 0).all()
    assert angle.shape == (5,)
    assert isinstance(made(), MomentaNet)
