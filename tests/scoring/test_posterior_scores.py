"""Posteriors of a bundle are judged: the right one passes, a spoilt one is found."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from posterior_standins import closed_bundle
from scipy.stats import multivariate_normal

from imgturbo.errors import ImgturboError
from imgturbo.report.posterior import FIGURES, posterior_table, truth_table
from imgturbo.scoring.draws import draw_posteriors, way_to_parameters
from imgturbo.scoring.posterior import posterior
from imgturbo.scoring.truth import Asked, ground_truth
from imgturbo.simulators import Arm, Linear

SMALL = {"targets": 400, "samples": 99}


@pytest.fixture(scope="module")
def truth():
    return ground_truth(Linear(), Asked("exact", targets=400, keep=100))


@pytest.fixture(scope="module")
def right(truth):
    return posterior(closed_bundle(), truth=truth, **SMALL)


def test_the_closed_posterior_passes_every_score(right):
    assert right["ranks"]["parameters_outside_simultaneous"] == 0
    assert right["tarp"]["p_value"] > 0.01
    closed = 1 - np.diag(Linear().posterior(np.zeros((1, 5)))[1]) / np.diag(Linear().covariance)
    for row, wanted in zip(right["posterior"].values(), closed, strict=True):
        assert row["calibration_error"] < 0.05
        assert row["calibration_error_100"] < 0.05
        assert row["contraction"] == pytest.approx(wanted, abs=0.03)
        assert row["r2"] == pytest.approx(wanted, abs=0.06)
    assert right["prediction"]["coverage"]["0.9"] == pytest.approx(0.9, abs=0.02)
    for kernel in right["mmd"]["kernels"].values():
        row = kernel["unbiased"]
        assert abs(row["mean"]) < 4 * row["standard_error"] + 1e-3


def test_a_narrow_posterior_is_found_by_each_of_them(right, truth):
    narrow = posterior(closed_bundle(width=0.5), truth=truth, **SMALL)
    assert narrow["ranks"]["parameters_outside_simultaneous"] == 3
    assert narrow["ranks"]["bins_outside_pointwise"] > 10
    assert narrow["tarp"]["p_value"] < 1e-3
    assert min(row["calibration_error"] for row in narrow["posterior"].values()) > 0.1
    assert narrow["likelihood"]["nats"] > right["likelihood"]["nats"] + 0.1
    for name, kernel in narrow["mmd"]["kernels"].items():
        before = right["mmd"]["kernels"][name]["unbiased"]["mean"]
        assert kernel["unbiased"]["mean"] > 10 * abs(before)
    # Re-simulation alone prefers it, which is why it is not alone.
    assert narrow["resimulation"]["squared"]["mean"] < right["resimulation"]["squared"]["mean"]


def test_the_likelihood_is_the_closed_one(right, truth):
    simulator = Linear()
    mean, covariance = simulator.posterior(truth.observed)
    left = truth.parameters - mean
    nats = -multivariate_normal(cov=covariance).logpdf(left)
    nats = nats - np.log(simulator.parameters.stretch.scale).sum()  # of stretched numbers
    assert right["likelihood"]["nats"] == pytest.approx(nats.mean(), abs=1e-3)


def test_resimulation_is_the_closed_one(right):
    """E‖y' − y*‖² = tr A Σ Aᵀ + σ² O + ‖A μ − y*‖², by hand."""
    simulator = Linear()
    _, covariance = simulator.posterior(np.zeros((1, 5)))
    _, y = simulator.draw(np.random.default_rng(0), 100_000)
    mean, _ = simulator.posterior(y)
    spread = np.trace(simulator.matrix @ covariance @ simulator.matrix.T) + 5 * simulator.noise**2
    expected = spread + ((mean @ simulator.matrix.T - y) ** 2).sum(1).mean()
    row = right["resimulation"]["squared"]
    assert row["mean"] == pytest.approx(expected, abs=4 * row["standard_error"])


def test_draws_do_not_depend_on_blocks_nor_on_direction(monkeypatch):
    _, observed = Linear().draw(np.random.default_rng(0), 7)
    way = way_to_parameters(closed_bundle(), Linear())
    whole = draw_posteriors(way, observed, 5)
    monkeypatch.setattr("imgturbo.scoring.draws._NUMBERS", 30)
    np.testing.assert_allclose(draw_posteriors(way, observed, 5), whole, rtol=1e-6)
    back = way_to_parameters(closed_bundle(given="parameters"), Linear())
    assert back.name == "backward"
    np.testing.assert_allclose(draw_posteriors(back, observed, 5), whole, rtol=1e-6)
    assert whole.shape == (7, 5, 3)


def test_everything_is_written_and_printed(truth, tmp_path, capsys, monkeypatch):
    few = {"targets": 20, "samples": 9, "truth": truth}
    result = posterior(closed_bundle(), out=tmp_path / "scores", **few)
    names = {file.name for file in (tmp_path / "scores").iterdir()}
    assert names == {"posterior.json", *FIGURES}
    assert json.loads((tmp_path / "scores" / "posterior.json").read_text()) == json.loads(
        json.dumps(result)
    )
    posterior_table(result)
    truth_table(truth)
    told = capsys.readouterr().out
    assert "TARP" in told
    assert "noise floor" in told
    monkeypatch.setattr("imgturbo.report.posterior.posterior_figures", lambda *_: None)
    posterior(closed_bundle(), out=tmp_path / "scores", **few)  # its own may be replaced
    (tmp_path / "scores" / "ranks.png").write_bytes(b"mine")
    with pytest.raises(ImgturboError, match=r"ranks\.png: exists"):
        posterior(closed_bundle(), out=tmp_path / "scores", **few)


def test_what_does_not_fit_is_one_line(truth):
    bundle = closed_bundle()
    for settings, words in (
        ({"problem": "arm"}, r"closed: does not lead from y1, y2 to x1, x2, x3, x4"),
        ({"problem": "lineal"}, r"--problem.*did you mean 'linear'"),
        ({"problem": "linear", "options": {"noise": 1.0}, "truth": truth}, r"ground truth is of"),
        ({"samples": 1}, "2 or more"),
        ({"targets": 10**9, "samples": 10**6}, "draws needs .* of memory.*ask for fewer --targets"),
    ):
        with pytest.raises(ImgturboError, match=words) as caught:
            posterior(bundle, **({"targets": 5, "samples": 5} | settings))
        assert "\n" not in str(caught.value)
    bundle.decoder.stochastic = False
    with pytest.raises(ImgturboError, match="deterministic"):
        posterior(bundle, targets=5, samples=5)
    bundle = closed_bundle()
    bundle.config.data.source = None
    with pytest.raises(ImgturboError, match="name one with --problem"):
        posterior(bundle, targets=5, samples=5)
    bundle = closed_bundle(width=float("inf"))
    with pytest.raises(ImgturboError, match="5 of 5 posteriors hold numbers that are not finite"):
        posterior(bundle, targets=5, samples=5)
    torch.manual_seed(0)


def test_a_problem_without_noise_has_no_second_observation():
    """Of the arm the same parameters always give the same hand."""
    from imgturbo.scoring.draws import Drawn
    from imgturbo.scoring.posterior import _predicted

    parameters, observed = Arm().draw(np.random.default_rng(0), 5)
    draws = np.repeat(parameters[:, None], 3, 1).astype(np.float32)
    seen = np.repeat(observed[:, None], 3, 1)
    assert _predicted(Drawn(parameters, observed, draws, seen, None), 0) is None
