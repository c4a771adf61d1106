from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from imgturbo.training.ema import EMA, decay_at


class Counted(nn.Module):
    """A network with a float weight, a half-precision buffer and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("scale", torch.ones(2, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0))


@given(st.floats(0, 0.9999), st.integers(1, 30))
def test_the_average_is_the_weighted_sum_of_its_history(decay, steps):
    network = Counted()
    ema = EMA({"decoder": network}, decay)
    torch.manual_seed(0)
    history = torch.randn(steps, 3)
    expected = torch.zeros(3, dtype=torch.float64)
    for step, weights in enumerate(history):
        with torch.no_grad():
            network.weight.copy_(weights)
        network.count += 1
        ema.update(step)
        beta = decay_at(step, decay)
        expected = beta * expected + (1 - beta) * weights.double()
    average = ema.networks["decoder"]
    torch.testing.assert_close(average.weight.double(), expected, atol=1e-5, rtol=1e-5)
    assert average.count == steps


def test_without_decay_the_average_is_the_network():
    network = Counted()
    ema = EMA({"decoder": network}, 0.0)
    nn.init.normal_(network.weight)
    ema.update(1000)
    assert torch.equal(ema.networks["decoder"].weight, network.weight)


@given(st.floats(0, 0.9999), st.integers(0, 10**6))
def test_the_decay_grows_to_its_bound(decay, step):
    assert 0 <= decay_at(step, decay) <= decay_at(step + 1, decay) <= decay
    assert decay_at(10**9, decay) == decay


def test_the_warm_up_by_hand():
    """1/10, 2/11, 1/2 and 91/100 at steps 0, 1, 8 and 90; then the bound."""
    steps = {0: 1 / 10, 1: 2 / 11, 8: 1 / 2, 90: 91 / 100, 890: 0.99, 891: 0.99, 10**6: 0.99}
    for step, value in steps.items():
        assert decay_at(step, 0.99) == pytest.approx(value, rel=1e-12)
    network = Counted()
    ema = EMA({"decoder": network}, 0.99)
    for step in range(2):
        nn.init.constant_(network.weight, 1.0 + step)
        ema.update(step)
    # 0.9 of the first weights; then 2/11 of that and 9/11 of the second.
    expected = torch.full((3,), 2 / 11 * 0.9 + 9 / 11 * 2)
    torch.testing.assert_close(ema.networks["decoder"].weight, expected)


def test_a_restart_is_the_network_as_it_is():
    network = Counted()
    ema = EMA({"decoder": network}, 0.99)
    nn.init.constant_(network.weight, 3.0)
    network.count += 7
    ema.restart()
    average = ema.networks["decoder"]
    assert average.weight.tolist() == [3, 3, 3]
    assert average.count == 7
    assert not average.weight.requires_grad


def test_the_average_is_apart_from_the_network():
    network = Counted()
    ema = EMA({"decoder": network}, 0.9)
    average = ema.networks["decoder"]
    assert not average.training
    assert network.training
    assert not average.weight.requires_grad
    assert average.scale.dtype == torch.float32
    nn.init.ones_(network.weight)
    assert average.weight.sum() == 0
    ema.update(0)
    assert average.weight[0] == pytest.approx(1 - decay_at(0, 0.9))


def test_running_statistics_are_averaged_and_the_average_never_moves_them_itself():
    network = nn.BatchNorm2d(2)
    ema = EMA({"decoder": network}, 0.9)
    average = ema.networks["decoder"]
    expected = torch.zeros(2)
    for step in range(4):
        network(torch.randn(3, 2, 5, 5) + 1)
        average(torch.randn(3, 2, 5, 5) + 9)  # a validation
        ema.update(step)
        beta = decay_at(step, 0.9)
        expected = beta * expected + (1 - beta) * network.running_mean
    torch.testing.assert_close(average.running_mean, expected)
    assert average.num_batches_tracked == 4
