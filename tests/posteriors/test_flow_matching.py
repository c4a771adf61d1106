"""Flow matching: its loss, and a sampler and a density that are right where all is known."""

from __future__ import annotations

import pytest
import torch
from posterior_batches import rows
from posterior_networks import network, trainable
from torch import nn

MEAN, SPREAD = 0.7, 0.4


class Exact(nn.Module):
    """The velocity whose end is N(MEAN, SPREAD²): E[x − ε | x_t], of straight lines."""

    def forward(self, x, t, known):
        variance = (1 - t) ** 2 + (t * SPREAD) ** 2
        slope = (t * SPREAD**2 - (1 - t)) / variance
        return MEAN + slope * (x - t * MEAN)

    def from_condition(self, features):
        return features


def exact(steps, of=2):
    net = network("flow_matching", 3, of, steps=steps).double()
    net.velocity = Exact()
    return net


def test_the_midpoint_rule_is_of_second_order_at_least():
    z, epsilon = torch.zeros(1, 3).double(), torch.randn(50, 2).double()
    truth = MEAN + SPREAD * epsilon

    def error(steps):
        net = exact(steps)
        return float((net.push(epsilon, net.conditions(z)) - truth).abs().max())

    errors = [error(steps) for steps in (8, 16, 32)]
    assert errors[2] < 0.01
    assert errors[0] / errors[1] > 3.5
    assert errors[1] / errors[2] > 3.5


def test_the_density_is_that_of_the_draws():
    net = exact(64)
    x = MEAN + SPREAD * torch.randn(9, 2).double()
    expected = torch.distributions.Normal(MEAN, SPREAD).log_prob(x).sum(1)
    torch.testing.assert_close(net.log_prob(x, torch.zeros(9, 3).double()), expected,
                               atol=5e-3, rtol=0)  # fmt: skip


def test_the_density_is_had_in_inference_mode_and_leaves_no_gradient():
    net = network("flow_matching")
    z, x = torch.randn(4, 3), torch.randn(4, 4)
    with torch.inference_mode():
        quiet = net.log_prob(x, z)
    found = net.log_prob(x, z)
    torch.testing.assert_close(quiet.clone(), found)
    assert not found.requires_grad


def test_the_divergence_is_autograds():
    """d log p/dt = −∇·v: one step of the density against the Jacobian of the velocity."""
    net = network("flow_matching", 3, 3, steps=1).double()
    z, x = torch.randn(1, 3).double(), torch.randn(1, 3).double()
    (known,) = net.conditions(z)

    def v(u, t):
        return net.velocity(u[None], torch.tensor([[t]]).double(), known)[0]

    middle = x[0] - 0.5 * v(x[0], 1.0)
    jacobian = torch.autograd.functional.jacobian(lambda u: v(u, 0.5), middle)
    end = x[0] - v(middle, 0.5)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(end).sum()
    torch.testing.assert_close(net.log_prob(x, z)[0], (normal - jacobian.trace()).detach())


@pytest.mark.parametrize("power", [0.0, 1.5])
def test_the_loss_is_the_papers(power):
    objective = trainable("flow_matching", 3, 4, {"time_power": power})
    batch = rows(6, 3, 4)
    torch.manual_seed(5)
    found = objective(batch).generator
    torch.manual_seed(5)
    noise, t = torch.randn(6, 4), torch.rand(6, 1) ** (1 / (1 + power))
    counts = batch.paired & batch.z_valid[:, 0] & batch.x_valid[:, 0]
    net, total = objective.decoder, 0.0
    for b in range(6):
        if counts[b]:
            x_t = (1 - t[b]) * noise[b] + t[b] * batch.x[b]
            v = net.velocity(x_t[None], t[b : b + 1], net.conditions(batch.z[b : b + 1])[0])
            total = total + (v[0] - (batch.x[b] - noise[b])).square().mean()
    torch.testing.assert_close(found, total / counts.sum())


def test_times_are_drawn_by_their_power():
    times = []
    objective = trainable("flow_matching", 3, 4, {"time_power": 2.0})
    objective.decoder.velocity.register_forward_pre_hook(lambda _, given: times.append(given[1]))
    torch.manual_seed(0)
    for _ in range(40):
        objective(rows(100, 3, 4))
    assert float(torch.cat(times).mean()) == pytest.approx(3 / 4, abs=0.01)
