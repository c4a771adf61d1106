"""How often each mode of a posterior is drawn, beside how often it is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from imgturbo.report.posterior import _modes_lines
from imgturbo.scoring.draws import Drawn
from imgturbo.scoring.posterior import _modes
from imgturbo.scoring.truth import Asked, ground_truth
from imgturbo.simulators import Linear, Mixture


@pytest.fixture(scope="module")
def simulator():
    return Mixture(labels="some")


@pytest.fixture(scope="module")
def truth(simulator):
    return ground_truth(simulator, Asked("exact", targets=300, keep=200))


def drawn(simulator, truth, seed=5):
    """The closed posterior, drawn anew."""
    draws = simulator.exact_draws(np.random.default_rng(seed), truth.observed, 400)
    return Drawn(truth.parameters, truth.observed, draws.astype(np.float32), draws[:, :1], None)


def test_of_the_closed_posterior_every_mode_has_its_share(simulator, truth):
    found = _modes(drawn(simulator, truth), truth, simulator)
    weights = simulator.posterior(truth.observed).mean(0)
    np.testing.assert_allclose(list(found["share"].values()), weights, atol=0.005)
    assert found["largest_error"] < 0.05
    several = np.isin(truth.observed.argmax(1), [0, 1]).mean()  # labels of four and of two modes
    assert found["by_target"]["several"] == pytest.approx(several)
    assert found["by_target"]["lost"] == 0
    assert found["by_target"]["distance"] < 0.06


def test_a_mode_that_is_never_drawn_is_lost(simulator, truth):
    right = drawn(simulator, truth)
    draws = right.draws.copy()
    draws[simulator.mode(draws.reshape(-1, 2)).reshape(draws.shape[:2]) == 2] = np.nan
    found = _modes(replace(right, draws=draws), truth, simulator)
    assert found["share"]["mode2"] == 0
    assert found["largest_error"] == 1
    assert 0 < found["by_target"]["lost"] < 0.3
    console = Console(width=200, record=True)
    _modes_lines(console, found)
    said = console.export_text()
    assert "mode2 0.0%" in said
    assert "largest error 100.0%" in said


def test_without_draws_of_the_truth_the_targets_themselves_say_how_often(simulator, truth):
    found = _modes(drawn(simulator, truth), None, simulator)
    expected = np.bincount(simulator.mode(truth.parameters), minlength=8) / 300
    np.testing.assert_allclose(list(found["truth"].values()), expected)
    assert found["by_target"] is None


def test_problems_without_modes_and_posteriors_without_draws_have_none(simulator, truth):
    right = drawn(simulator, truth)
    assert _modes(right, truth, Linear()) is None
    nothing = replace(right, draws=np.full_like(right.draws, np.nan))
    assert _modes(nothing, truth, simulator) is None
