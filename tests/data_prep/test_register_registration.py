"""The record of a registration: its numbers by their formulas, its words, its JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from sky_grids import tangent

from data_prep.register.align import _Task
from data_prep.register.chance import Evidence
from data_prep.register.coordinates import nominal_wcs
from data_prep.register.correlate import Correlation
from data_prep.register.local import fit_local
from data_prep.register.neighbours import tempered
from data_prep.register.pairs import find_pairs
from data_prep.register.polynomial import Polynomial, excess, fit_polynomial
from data_prep.register.registration import Registration
from data_prep.register.sources import find_sources
from imgturbo.config import RegisterConfig
from imgturbo.sky import SkyImage

WCS = tangent((50, 60))


def record(count=5, formal=0.0, seed=0, model="affine", polynomial=None, local=None):
    """Few enough that no neighbour tempers a vector."""
    rng = np.random.default_rng(seed)
    vectors = [rng.normal(0, size, (count, 2)) for size in (5, 0.5, 0.8)]
    noise, share = rng.uniform(0.05, 0.3, count), rng.uniform(1, 5, count)
    positions = rng.uniform(0, 100, (count, 2))
    return Registration(
        *(WCS, WCS, "sources", model, (70, 80), 6, positions, *vectors, noise, share),
        *(formal, polynomial, local),
    )


def test_residuals_are_what_the_vectors_exceed_their_noise_by():
    """An rms length, of tempered vectors, each for its share of the frame."""
    for found in (record(), record(40)):
        for vectors, residual in [
            (found.before, found.residual_before),
            (found.after, found.residual_after),
        ]:
            cut = tempered(found.positions, vectors, found.noise)
            expected = np.sqrt(2) * excess(cut, found.noise, found.share)
            assert residual == pytest.approx(expected)
    assert record().matched == 5


def test_held_out_residuals_count_as_far_as_they_are_more_than_chance():
    """The formal error, and D² = shown² − formal² by 1 − (2.5 σ/D²)², σ by simulation."""
    rng = np.random.default_rng(5)
    plain = record(40, formal=0.2)
    plain = replace(plain, held_out=plain.held_out / 2.6)
    width = np.hypot(plain.noise, 0.2 / np.sqrt(2))
    weight = plain.share / width**2
    squares = (width[:, None, None] * rng.normal(size=(40, 2, 20_000))) ** 2
    sigma = np.average(squares.sum(1), axis=0, weights=weight).std()
    shown = np.sqrt(2) * excess(
        tempered(plain.positions, plain.held_out, plain.noise), plain.noise, plain.share
    )
    beyond = shown**2 - 0.2**2
    expected = np.sqrt(0.2**2 + beyond * (1 - (2.5 * sigma / beyond) ** 2))
    assert plain.residual_held_out == pytest.approx(expected, rel=1e-3)
    assert 0.2 < plain.residual_held_out < 0.99 * shown


def test_noise_alone_is_no_misalignment_and_a_shift_is_one():
    """Residuals of nothing but noise: the formal error in nearly all of 60; shifted: the shift."""
    stated, shifted = [], []
    for seed in range(60):
        found = record(60, formal=0.05, seed=seed)
        rng = np.random.default_rng([seed, 1])
        width = np.hypot(found.noise, 0.05 / np.sqrt(2))[:, None]
        noise = width * rng.normal(size=(60, 2))
        stated.append(replace(found, held_out=noise).residual_held_out)
        moved = noise + np.array([0.6, 0.8])
        shifted.append(replace(found, held_out=moved).residual_held_out)
    assert np.mean(np.isclose(stated, 0.05)) > 0.9
    assert np.median(shifted) == pytest.approx(1.0, abs=0.05)


def test_the_held_out_residual_is_never_below_the_formal_error():
    assert record(formal=9.0).residual_held_out == 9.0
    assert record(formal=9.0).residual_after < 1.5
    assert record(formal=np.nan).residual_held_out == record(formal=0.0).residual_held_out


def test_without_sources_a_shift_is_all_that_is_known():
    shift = Polynomial(0, np.array([[3.0, 4.0]]), np.zeros(2), 1.0)
    found = Registration.without_sources(
        WCS, WCS, "correlation", "shift", (2, 1), 0.25, polynomial=shift
    )
    assert found.matched == found.rejected == 0
    assert found.residual_before == 5.0
    assert np.isnan(found.residual_after)
    assert found.residual_held_out == 0.25
    assert np.array_equal(found.residual_at([1.0, 2.0], [[3.0]]), [[0.25, 0.25]])
    said = "too few sources (2 and 1), shifted by correlation: 5.00 px, ± 0.25"
    assert str(found) == said
    nothing = Registration.without_sources(WCS, WCS, "none", "none")
    assert np.isnan([nothing.residual_before, nothing.residual_held_out]).all()
    assert nothing.found == (0, 0)
    assert str(nothing) == "not registered"
    # With sources, the shift that was fitted is not the misalignment.
    assert record(polynomial=shift).residual_before == record().residual_before


@pytest.mark.parametrize("formal", [0.0, 0.7])
def test_the_local_residual_is_the_weighted_excess_of_the_nearest(formal):
    found = record(7, formal)
    x, y = np.array([[10.0, 90.0]]), np.array([[20.0], [80.0]])
    square, variance = (found.held_out**2).sum(1), 2 * found.noise**2
    weight = 1 / (variance + found.residual_held_out**2 + 1e-8)
    for neighbours in (1, 3, 7, 8):
        local = found.residual_at(x, y, neighbours)
        assert local.shape == (2, 2)
        for i, j in np.ndindex(2, 2):
            distance = np.hypot(*(found.positions - [x[0, j], y[i, 0]]).T)
            near = np.argsort(distance)[:neighbours]
            mean = (weight * (square - variance))[near].sum() / weight[near].sum()
            assert local[i, j] == pytest.approx(max(np.sqrt(max(mean, 0)), formal))


def test_eight_neighbours_tell_the_local_residual_by_default():
    found = record(30)
    assert np.array_equal(found.residual_at(50.0, 40.0), found.residual_at(50.0, 40.0, 8))
    assert found.residual_at(50.0, 40.0) != found.residual_at(50.0, 40.0, 9)
    assert found.residual_at(50.0, 40.0) != found.residual_at(50.0, 40.0, 7)
    # The vectors are tempered like those of the whole.
    cut = tempered(found.positions, found.held_out, found.noise)
    nearest = int(np.argmin(np.hypot(*(found.positions - [50.0, 40.0]).T)))
    expected = (cut[nearest] ** 2).sum() - 2 * found.noise[nearest] ** 2
    assert found.residual_at(50.0, 40.0, 1) == pytest.approx(np.sqrt(max(expected, 0)))


def test_where_nothing_is_uncertain_the_local_residual_is_nought():
    none = np.zeros((4, 2))
    exact = Registration(
        *(WCS, WCS, "sources", "shift", (4, 4), 0, np.eye(4, 2), none, none, none),
        *(np.zeros(4), np.ones(4), 0.0),
    )
    assert exact.residual_at(0.3, 0.2) == 0
    # A hundredth of a pixel squared is what one length counts by where no noise is known.
    one = np.array([[0.01, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    found = Registration(
        *(WCS, WCS, "sources", "shift", (4, 4), 0, np.eye(4, 2), none, none, one),
        *(np.zeros(4), np.ones(4), 0.0),
    )
    assert found.residual_at(0.3, 0.2, 4) == pytest.approx(0.005)


def test_the_record_is_json_with_medians_and_rms():
    shift = Polynomial(0, np.array([[3.0, 4.0]]), np.zeros(2), 1.0)
    local = fit_local(np.eye(4, 2), np.eye(4, 2), 1.0, np.ones(4))
    found = record(polynomial=shift, local=local)
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (said["found"], said["matched"], said["rejected"]) == ([70, 80], 5, 6)
    for name in ("before", "after", "held_out"):
        lengths = np.hypot(*getattr(found, name).T)
        assert said[f"median_{name}"] == pytest.approx(np.median(lengths), abs=1e-6)
        expected = getattr(found, f"residual_{name}")
        assert said[f"residual_{name}"] == round(expected, 6)
    assert said["noise"] == pytest.approx(np.sqrt(np.mean(found.noise**2)), abs=1e-6)
    assert (said["nominal"], said["polynomial"]["degree"]) == (False, 0)
    assert said["local"]["smoothing"] == 1.0
    nothing = Registration.without_sources(WCS, WCS, "none", "none").to_dict()
    assert {nothing[name] for name in nothing if name.startswith(("res", "med", "noi"))} == {None}
    assert nothing["polynomial"] is None
    assert nothing["local"] is None


def test_a_record_says_what_it_rests_on():
    found = record(model="polynomial 2")
    expected = (
        "5 matched sources (6 rejected), polynomial 2: "
        f"{found.residual_before:.2f} → {found.residual_after:.2f} px rms "
        f"(held out {found.residual_held_out:.2f})"
    )
    assert str(found) == expected
    local = record(local=fit_local(np.eye(4, 2), np.eye(4, 2), 1.0, np.ones(4)))
    assert ", affine + local: " in str(local)
    assert not found.nominal
    assert Registration.without_sources(WCS, nominal_wcs((5, 5)), "none", "none").nominal


def test_what_registration_hands_on_is_never_changed_by_a_reader():
    points = np.random.default_rng(1).uniform(0, 50, (9, 2))
    empty = find_sources(np.zeros((50, 60), np.float32), np.ones((50, 60), bool))
    correlation = Correlation(np.zeros(2), np.ones(2), 0.1, 0.1, 1.0)
    proof = Evidence(0.0, 1, 2, 3.0, 4.0)
    assert (correlation.enough, proof.enough) == (False, False)
    picture = SkyImage.from_array(np.zeros((50, 60), np.float32))
    config = RegisterConfig()
    task = _Task(picture, picture, config, False, WCS, lambda p: p, [], [empty, empty])
    assert task.size == (50, 60)
    pairs = find_pairs(points, np.ones(9), empty, lambda p: p, 0, 3.0)
    maps = fit_polynomial(points, points, 0), fit_local(points, points, 1.0, np.ones(9))
    for value in (record(), empty, pairs, *maps, correlation, proof, task):
        name = next(iter(value.__dataclass_fields__))
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, getattr(value, name))
