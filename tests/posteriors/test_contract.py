"""What holds for every network of posteriors: draws, centres, densities, bundles, bad input."""

from __future__ import annotations

import pytest
import torch
from posterior_networks import KINDS, ONE_COLUMN, WITH_DENSITY, config, network

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, PositionalNoise, Tempered
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

every_kind = pytest.mark.parametrize("name", KINDS)


@every_kind
@pytest.mark.parametrize("of", [2, 5])
def test_draws_have_a_row_for_each_row_and_none_is_the_centre(name, of):
    net = network(name, 3, of)
    u = torch.randn(7, 3)
    centre = net(u)
    assert centre.shape == (7, of)
    one, other, quiet = net.draws(u, [FreshNoise(), FreshNoise(), None])
    assert torch.equal(quiet, centre)
    assert (one - other).abs().max() > 1e-3
    assert net.draws(u, []) is not None
    assert net(u[:0]).shape == (0, of)
    if name != "mdn":  # whose draws without noise are a component's centre, not the mixture's
        torch.testing.assert_close(net(u, Tempered(FreshNoise(), 0.0)), centre)


@every_kind
def test_the_summary_is_made_once_for_all_draws(name):
    net = network(name)
    calls = []
    net.summary.register_forward_hook(lambda *_: calls.append(1))
    u, places = torch.randn(3, 3), [(0, 0), (0, 1), (5, 2)]
    noises = [PositionalNoise(seed, places) for seed in range(4)]
    together = list(net.draws(u, noises))
    assert len(calls) == 1
    for draw, noise in zip(together, noises, strict=True):
        torch.testing.assert_close(draw, net(u, noise), atol=1e-5, rtol=1e-5)


@every_kind
def test_many_draws_of_few_rows_are_those_of_single_draws(name):
    class Given:
        """Noise that is a part of a larger one."""

        def __init__(self, noise):
            self.noise = noise

        def __call__(self, layer, shape, stride, like):
            return self.noise.reshape(tuple(shape)).to(like)

    net = network(name)
    u, noise = torch.randn(2, 3), torch.randn(2, 9, net.numbers)
    found = net.posterior(u, 9, Given(noise))
    assert found.shape == (2, 9, 4)
    expected = torch.stack(list(net.draws(u, [Given(noise[:, k]) for k in range(9)])), dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@every_kind
def test_a_row_that_is_not_finite_has_no_posterior_and_harms_no_other(name):
    net = network(name)
    u = torch.randn(4, 3)
    bad = u.clone()
    bad[1, 2], bad[3, 0] = torch.nan, torch.inf
    for noise in (None, PositionalNoise(3, [(0, row) for row in range(4)])):
        found, expected = net(bad, noise), net(u, noise)
        assert found[[1, 3]].isnan().all()
        torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])
    assert net.posterior(bad, 5)[[1, 3]].isnan().all()
    assert net.posterior(bad, 5)[[0, 2]].isfinite().all()


@pytest.mark.parametrize("name", [name for name in KINDS if "inn" not in name and name != "labels"])
def test_far_observations_have_draws_that_are_numbers(name):
    """All that are far away are answered alike, as the farthest that can be told."""
    net = network(name)
    far = torch.tensor([[1e6, -1e6, 1e6], [1e30, -1e30, 1e18]])
    one, other = net.posterior(far, 50, PositionalNoise(0, [(0, 0), (0, 0)]))
    assert one.abs().max() < 1e4
    torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_densities_are_of_one_row_each_and_independent_of_the_batch(name):
    net = network(name).double()
    z, x = torch.randn(5, 3).double(), torch.randn(5, 4).double()
    together = net.log_prob(x, z)
    assert together.shape == (5,)
    torch.testing.assert_close(net.log_prob(x[2:3], z[2:3]), together[2:3])
    torch.testing.assert_close(net.log_density(x, net.conditions(z)), together)


@pytest.mark.parametrize("name", ONE_COLUMN)
def test_a_density_of_one_number_integrates_to_one_and_draws_follow_it(name):
    net = network(name, 2, 1, size=0.4, **({"steps": 24} if name == "flow_matching" else {}))
    net = net.double()
    z = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    grid = torch.linspace(-60, 60, 24001, dtype=torch.float64)[:, None]
    density = net.log_density(grid, [part.expand(len(grid), *part.shape[1:]).contiguous()
                                     for part in net.conditions(z)]).exp().detach()  # fmt: skip
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=2e-3)
    shares = torch.cumulative_trapezoid(density, grid[:, 0])
    torch.manual_seed(1)
    draws = net.posterior(z, 4000)[0, :, 0].sort().values
    ranks = shares[torch.searchsorted(grid[1:, 0], draws).clamp(max=len(shares) - 1)]
    uniform = (torch.arange(4000) + 0.5) / 4000
    assert (ranks - uniform).abs().max() < 0.03  # Kolmogorov–Smirnov: 0.026 at 1 %


@every_kind
def test_a_bundle_brings_the_same_network_back(name, tmp_path):
    net = network(name)
    sides = {
        "source": Side(("a", "b", "c"), "", Stretch.linear(3), kind="table"),
        "target": Side(("p", "q", "r", "s"), "", Stretch.linear(4), kind="table"),
    }
    save_bundle(
        tmp_path / "b", decoder=net, encoder=None, config=config(name), sides=sides, record={}
    )
    again = load_bundle(tmp_path / "b").decoder
    u, noise = torch.randn(3, 3), PositionalNoise(2, [(0, 0), (0, 1), (0, 2)])
    assert type(again) is type(net)
    assert torch.equal(again(u, noise), net(u, noise))


# Torch's own look at its inputs, which it hides unless warnings are errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "flow_matching", "zuko"])
def test_compiled_it_is_the_same_network(name):
    net, seen = network(name), []
    z, x, noise = (
        torch.randn(4, 3),
        torch.randn(4, 4),
        PositionalNoise(1, [(0, k) for k in range(4)]),
    )

    def answers():
        density = net.log_prob(x, z).detach() if net.has_density else torch.zeros(4)
        return net(z, noise).detach(), density

    expected = answers()

    def backend(graph, _):
        seen.append(graph)
        return graph.forward

    net.compile(backend=backend)
    torch.testing.assert_close(answers(), expected)
    assert seen


@every_kind
def test_bad_input_is_one_line(name):
    net = network(name)
    for u in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(2, 3, 4, 4)):
        with pytest.raises(ImgturboError, match=r"reads tables \(B, 3\)"):
            net(u)
    with pytest.raises(ImgturboError, match=r"data are images; set model\.decoder\.kind: cinn"):
        net.check(16, 16)
    net.check(None, None)
    with pytest.raises(ImgturboError, match="draw one or more"):
        net.posterior(torch.zeros(1, 3), 0)
    if name in WITH_DENSITY:
        with pytest.raises(ImgturboError, match="4 channels"):
            net.log_prob(torch.zeros(2, 3), torch.zeros(2, 3))
