"""The conditional flow of events: its density is that of its draws, and both maps learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from imgturbo.config import Config, MomentaFlowConfig
from imgturbo.data.batch import Batch
from imgturbo.engines import build_network, build_trainable, settle
from imgturbo.errors import ImgturboError
from imgturbo.events import momenta
from imgturbo.flows.both_ways import BothWays
from imgturbo.flows.momenta import MomentaFlow, _apart, _coordinates
from imgturbo.flows.origins import WAYS, Origins, matched
from imgturbo.nets import PositionalNoise
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.training.selection import Selection

OBJECTS = [0, "transverse", "massive", "massive", "massive", "massive"]
NAMES = tuple(f"p{n}" for n in range(24))
PARTONS = [0, 0, 4.8, 4.8, 0.33, 0.33]


def events(seed, n):
    """Objects with masses, GeV, (n, 24)."""
    generator = np.random.default_rng(seed)
    p = generator.normal(0, 60, (n, 6, 3))
    p[:, 1, 2] = 0
    mass = generator.uniform(5, 20, (n, 6))
    mass[:, :2] = 0
    energy = np.sqrt((p**2).sum(2) + mass**2)
    return np.concatenate([p, energy[..., None]], 2).reshape(n, 24)


def stretch(seed):
    generator = np.random.default_rng(seed)
    return Stretch(generator.normal(0, 5, 24), generator.uniform(30, 90, 24), np.full(24, 1.2))


def made(shell=OBJECTS, arrange="pt", mirrored=False):
    """A flow in double precision, with weights that do something."""
    torch.manual_seed(2)
    config = MomentaFlowConfig(
        shell=shell, arrange=arrange, mirrored=mirrored, width=8, couplings=4
    )
    net = build_network(config, 24, 24)
    assert isinstance(net, MomentaFlow)
    net.know(*(Side(NAMES, "GeV", stretch(k), kind="table") for k in (1, 2)))
    for parameter in net.flow.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05)
    return net.double().eval()


def z_of(seed, n):
    return torch.as_tensor(stretch(1)(events(seed, n).T).T.copy())


def noise_of(n, seed=0):
    return PositionalNoise(seed, [(row, 0) for row in range(n)])


@pytest.mark.parametrize(
    ("shell", "arrange", "numbers", "mirrored"),
    [
        (OBJECTS, "pt", 21, False),
        (PARTONS, "masses", 18, True),
        (OBJECTS, "none", 21, True),
    ],
)
def test_a_draw_has_the_density_of_its_noise(shell, arrange, numbers, mirrored):
    """log p = log p(a) + log N(ε) − log|det ∂c/∂ε|, the determinant of the draws themselves.

    Where a draw is matched as it was drawn: a jet from elsewhere may fall on a quark.
    """
    net, z = made(shell, arrange, mirrored), z_of(0, 12)
    net.ordered = False  # draws as they come
    right = 0
    for row in range(12):
        given = z[row : row + 1]
        epsilon = 0.6 * torch.randn(numbers, dtype=torch.float64)  # no η that is cut
        way = torch.randn(1, 1, dtype=torch.float64)

        def noise_of_row(e, way=way):
            return lambda layer, *_: way if layer else e[None]

        def coordinates(e, given=given, noise=noise_of_row):
            return net.reduce(net(given, noise(e)))[0]

        _, h = net._known(net._lain(given)[0])
        a = net.origins.draw(h, noise_of_row(epsilon))
        drawn = net(given, noise_of_row(epsilon))
        places = [
            _coordinates(units.inverse(u).unflatten(1, (-1, 4)))[:, 2:, 1:3]
            for units, u in ((net.before, given), (net.after, drawn))
        ]
        if not torch.equal(matched(*places), a):
            continue
        right += 1
        jacobian = torch.autograd.functional.jacobian(coordinates, epsilon)
        normal = -0.5 * (epsilon.square() + math.log(2 * math.pi)).sum()
        expected = normal - torch.linalg.slogdet(jacobian).logabsdet + net.origins.log_prob(a, h)
        torch.testing.assert_close(net.log_prob(drawn, given), expected, rtol=1e-4, atol=2e-3)
    assert right >= 2


def test_there_are_209_ways_and_each_is_drawn_as_often_as_it_is_likely():
    assert len(WAYS) == len(set(WAYS)) == 209
    torch.manual_seed(0)
    origins, h = Origins(5).double(), torch.randn(1, 5).double()
    torch.nn.init.normal_(origins.logits.weight, 0, 1)
    n = 20_000
    drawn = origins.draw(h.expand(n, 5), noise_of(n))
    frequency = (drawn[:, None] == torch.tensor(WAYS)).all(2).double().mean(0)
    log_p = torch.stack([origins.log_prob(torch.tensor([way]), h)[0] for way in WAYS])
    torch.testing.assert_close(log_p.exp().sum(), torch.ones(()).double())
    error = (frequency - log_p.exp()) / (log_p.exp() / n).sqrt()
    assert error.abs().max() < 5
    likeliest = torch.tensor(WAYS)[log_p.argmax()]
    assert torch.equal(origins.draw(h, None)[0], likeliest)


def test_matching_is_mutual_near_and_around_the_circle():
    given = torch.tensor([[[0.0, 3.1], [1.0, 0.0], [1.3, 0.0], [-3.0, 1.0]]])
    wanted = torch.tensor([[[1.1, 0.0], [0.0, -3.1], [1.2, 0.1], [-3.0, 1.5]]])
    # The first two of the given at η 1 want the same one; the last is 0.5 away.
    assert matched(given, wanted).tolist() == [[1, 0, 2, 4]]
    assert matched(wanted, given).tolist() == [[1, 0, 2, 4]]
    swapped = matched(given, wanted[:, [1, 0, 3, 2]])
    assert swapped.tolist() == [[0, 1, 4, 2]]


def test_it_is_the_same_however_an_event_lies():
    net, x = made(), events(0, 6)
    cos, sin = math.cos(0.7), math.sin(0.7)
    p = momenta(x).copy()
    p[..., 0], p[..., 1] = cos * p[..., 0] - sin * p[..., 1], sin * p[..., 0] + cos * p[..., 1]
    one = torch.as_tensor(stretch(1)(x.T).T.copy())
    other = torch.as_tensor(stretch(1)(p.reshape(6, 24).T).T.copy())
    drawn, lain = (net(z, noise_of(6)) for z in (one, other))
    torch.testing.assert_close(
        net.log_prob(drawn, one), net.log_prob(lain, other), rtol=1e-5, atol=1e-4
    )
    energies = [stretch(2).inverse(d.detach().numpy().T).T[:, 3::4] for d in (drawn, lain)]
    np.testing.assert_allclose(*energies, rtol=1e-5)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(("shell", "arrange"), [(OBJECTS, "pt"), (PARTONS, "masses")])
def test_a_mirrored_event_has_mirrored_draws(shell, arrange, axis):
    """y → −y and z → −z; and not where ``mirrored`` is off."""
    x = momenta(events(0, 6))
    other = x.copy()
    other[..., axis] *= -1
    rows = [torch.as_tensor(stretch(1)(p.reshape(6, 24).T).T.copy()) for p in (x, other)]
    for mirrored in (True, False):
        net = made(shell, arrange, mirrored)
        drawn = [net(u, noise_of(6)) for u in rows]
        mine, theirs = (momenta(stretch(2).inverse(d.detach().numpy().T).T) for d in drawn)
        theirs[..., axis] *= -1
        assert np.allclose(mine, theirs, rtol=1e-4, atol=1e-3) == mirrored
        densities = [net.log_prob(d, u) for d, u in zip(drawn, rows, strict=True)]
        assert torch.allclose(*densities, rtol=1e-5, atol=1e-4) == mirrored


@pytest.mark.parametrize(("shell", "arrange"), [(OBJECTS, "pt"), (PARTONS, "masses")])
def test_draws_are_on_their_shells(shell, arrange):
    net, z = made(shell, arrange), z_of(1, 40)
    p = momenta(stretch(2).inverse(net(z, noise_of(40)).detach().numpy().T).T)
    m2 = p[..., 3] ** 2 - (p[..., :3] ** 2).sum(-1)
    for number, mass in enumerate(shell):
        if not isinstance(mass, str):
            # The constants of a stretch are float32, which is seen where a particle is soft.
            rounding = 1e-5 * p[:, number, 3] ** 2 + 1e-3
            assert (np.abs(m2[:, number] - mass**2) < rounding).all()
        elif mass == "massive":
            assert (m2[:, number] > -1e-5 * p[:, number, 3] ** 2 - 1e-3).all()
            assert np.std(m2[:, number]) > 0
        else:
            np.testing.assert_allclose(p[:, number, 2], 0, atol=1e-4)


@pytest.mark.parametrize("couplings", [2, 3, 6])
@pytest.mark.parametrize("shell", [OBJECTS, PARTONS])
def test_every_number_is_moved(shell, couplings):
    """One that no coupling moves would be drawn from N(0, 1), whatever it is distributed as."""
    torch.manual_seed(0)
    net = MomentaFlow(MomentaFlowConfig(shell=shell, width=8, couplings=couplings), 24, 24)
    for parameter in net.flow.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    t = torch.linspace(-2, 2, net.numbers)[None]
    latent, _ = net.flow(t, torch.randn(1, 8))
    apart = (latent[0][:, None] - t[0]).abs()
    assert apart.min() > 0


def test_it_can_be_made_of_shapes_alone():
    """As a bundle does before it believes its weights."""
    with torch.device("meta"):
        shapes = {
            k: v.shape for k, v in MomentaFlow(MomentaFlowConfig(), 24, 24).state_dict().items()
        }
    full = MomentaFlow(MomentaFlowConfig(), 24, 24).state_dict()
    assert shapes == {name: tensor.shape for name, tensor in full.items()}


def test_detected_jets_are_in_the_order_of_pt():
    net = made()
    p = momenta(stretch(2).inverse(net(z_of(1, 40), noise_of(40)).detach().numpy().T).T)
    assert (np.diff(np.hypot(p[:, 2:, 0], p[:, 2:, 1]), axis=1) < 1e-3).all()


def test_draws_of_several_sources_are_those_of_each():
    net, z = made(), z_of(2, 5)
    sources = [None, noise_of(5, 1), noise_of(5, 2)]
    for drawn, source in zip(net.draws(z, sources), sources, strict=True):
        torch.testing.assert_close(drawn, net(z, source))


def test_other_rows_and_images_are_refused():
    with pytest.raises(ImgturboError, match=r"\(B, 24\)"):
        made()(torch.zeros(2, 23).double())
    with pytest.raises(ImgturboError, match="20"):
        build_network(MomentaFlowConfig(), 24, 20)


# ------------------------------------------------------------------------------------ both ways


def side(letter, seed):
    names = tuple(f"{letter}{n}" for n in range(24))
    return Side(names, "GeV", stretch(seed), kind="table")


def config(**decoder):
    small = {"kind": "momenta_flow", "width": 8, "couplings": 2}
    return settle(
        Config.model_validate(
            {
                "model": {
                    "decoder": small | {"shell": OBJECTS, "arrange": "pt"} | decoder,
                    "encoder": small | {"shell": PARTONS, "arrange": "masses"},
                }
            }
        )
    )


def batch(n=8, paired=None):
    known = torch.ones(n, 1, dtype=torch.bool)
    return Batch(
        z_of(0, n).float(),
        torch.as_tensor(stretch(2)(events(1, n).T).T, dtype=torch.float32),
        known,
        known,
        torch.ones(n, dtype=torch.bool) if paired is None else torch.as_tensor(paired),
        torch.arange(n),
        torch.arange(n),
    )


def test_the_loss_is_the_mean_of_both_likelihoods_over_pairs():
    both = build_trainable(config(), side("z", 1), side("x", 2))
    assert isinstance(both, BothWays)
    paired = [True, False] * 4
    data = batch(paired=paired)
    losses = both(data)
    x, z = data.x[::2], data.z[::2]
    forward = -both.decoder.log_prob(x, z).mean() / 21
    backward = -both.encoder.log_prob(z, x).mean() / 18
    torch.testing.assert_close(losses.generator, forward + backward)
    torch.testing.assert_close(losses.terms["L/x_tilde"], forward.detach())
    scores = both.scores(both.maps(), data, 0)
    total, count = scores["forward/bits"]
    assert count == 4
    torch.testing.assert_close((total / count).float(), forward.detach() / math.log(2))
    total, count = scores["both/bits"]
    mean = (forward + backward).detach() / 2 / math.log(2)
    torch.testing.assert_close((total / count).float(), mean)
    # Neither map is left out when the best weights are told.
    assert Selection.named("bits", both).score == "both/bits"
    assert Selection.named("forward/bits", both).score == "forward/bits"


def test_what_is_not_there_counts_nothing():
    both = build_trainable(config(), side("z", 1), side("x", 2))
    losses = both(batch(paired=[False] * 8))
    assert losses.generator == 0
    losses.generator.backward()


def test_both_learn():
    torch.manual_seed(0)
    both, data = build_trainable(config(), side("z", 1), side("x", 2)), batch(64)
    optimizer = torch.optim.Adam(both.generator_parameters(), 5e-3)
    before = both(data).generator.item()
    for _ in range(30):
        optimizer.zero_grad()
        both(data).generator.backward()
        optimizer.step()
    assert both(data).generator.item() < before - 0.1


def test_an_encoder_of_another_kind_is_refused():
    tree = config().model_dump()
    tree["model"]["encoder"] = {"kind": "mlp"}
    with pytest.raises(ImgturboError, match=r"encoder\.kind"):
        build_trainable(Config.model_validate(tree), side("z", 1), side("x", 2))


def test_distances_on_the_sky_of_the_collision():
    """ΔR² = Δη² + Δφ², Δφ the short way round."""
    eta, phi = np.array([0.5, -1.0, 2.0]), np.array([3.0, -3.0, 0.2])
    p = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta), np.cosh(eta) * 1.01], 1) * 50
    short = (phi[:, None] - phi + np.pi) % (2 * np.pi) - np.pi
    expected = np.hypot(eta[:, None] - eta, short)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(_apart(torch.as_tensor(p)[None])[0], expected, rtol=1e-4)
