"""Pairs: how far the search goes, which are surest, which degree they bear, what is held out."""

from __future__ import annotations

import numpy as np
import pytest
from register_scenes import similarity

from data_prep.register import pairs as module
from data_prep.register.coordinates import frame_points
from data_prep.register.local import fit_local
from data_prep.register.neighbours import believable
from data_prep.register.pairs import Pairs, best_degree, compose, find_pairs, held_out, shares
from data_prep.register.polynomial import fit_polynomial, fit_weighted, folds
from data_prep.register.sources import Sources

PENTAGON = np.array([[0.0, 0.0], [100.0, 10.0], [10.0, 100.0], [90.0, 110.0], [200.0, 60.0]])


def found_at(positions, noise=0.0):
    number = np.full(len(positions), float(noise))
    return Sources(np.asarray(positions, float), number, number, number, np.ones((1, 1), bool))


def search(points, offsets, degree=0, reach=3.0, noise=0.5):
    number = np.full(len(points), noise)
    return find_pairs(points, number, found_at(points + offsets), lambda p: p, degree, reach)


def made(count, noise=None, seed=0, scatter=0.0, truth=lambda p: p):
    rng = np.random.default_rng(seed)
    given = rng.uniform(0, 300, (count, 2))
    noise = np.full(count, 0.1) if noise is None else noise
    observed = truth(given) + scatter * rng.normal(0, 1, (count, 2))
    return Pairs(given, observed, noise, 3, np.arange(count) + 7)


# ------------------------------------------------------------------------------------ the search


@pytest.mark.parametrize(("known", "expected"), [(4, 5), (3, 3)])
def test_four_pairs_show_the_way_to_the_next(known, expected):
    """One more lies beyond the radius by the coordinates, and within it along the others."""
    points = PENTAGON[-known - 1 :]
    offsets = np.tile([2.5, 0.0], (known + 1, 1))
    offsets[-1] = [3.4, 0.0]
    found = search(points, offsets)
    assert len(found) == expected
    assert found.indices.tolist() == list(range(expected))
    assert np.allclose(found.observed - found.given, offsets[:expected])


@pytest.mark.parametrize(
    ("degree", "count", "expected"), [(0, 1, 0), (0, 2, 2), (1, 2, 0), (1, 3, 3), (2, 5, 0)]
)
def test_a_map_needs_as_many_pairs_as_parameters_and_a_shift_two(degree, count, expected):
    found = search(PENTAGON[:count], np.full((count, 2), 0.5), degree)
    assert (len(found), found.rejected) == (expected, 0)


def test_the_search_follows_a_distortion_beyond_the_radius():
    """Offsets grow by a pixel every 50: four rounds go from two of them to eight."""
    step = np.repeat(np.arange(30.0), 2)
    points = np.stack([50 * step, np.tile([0.0, 50.0], 30)], axis=1)
    found = search(points, np.stack([step, 0 * step], axis=1))
    assert sorted(found.indices) == list(range(18))
    assert found.rejected == 0


def test_what_neighbours_contradict_is_rejected_and_the_noise_is_of_both():
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 400, (80, 2))
    points[:3] = [[50, 60], [340, 70], [210, 330]]  # far apart: each has true neighbours
    offsets = np.zeros((80, 2))
    offsets[:3] = [2.0, -2.0]
    target = found_at(points + offsets, 0.04)
    found = find_pairs(points, np.full(80, 0.03), target, lambda p: p, 0, 3.0)
    assert found.rejected == 3
    assert found.indices.tolist() == list(range(3, 80))
    assert np.allclose(found.noise, 0.05)


def test_a_mistake_is_a_quarter_of_the_radius():
    """It does not turn its neighbours: what they tell is within what they scatter by."""
    width = []

    def agreeing(points, offsets, noise, mistake):
        width.append(mistake)
        return np.ones(len(points), bool)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "agreeing", agreeing)
        search(PENTAGON, np.full((5, 2), 0.5), reach=6.0)
    assert set(width) == {1.5}


def test_the_surest_are_two_hundred_or_half_by_their_noise():
    for count, kept in [(150, 150), (300, 200), (500, 250)]:
        noise = np.random.default_rng(2).permutation(np.arange(1.0, count + 1))
        every = made(count, noise)
        best = every.surest()
        assert np.array_equal(best.noise, np.arange(1.0, kept + 1))
        rows = best.indices - 7
        assert np.array_equal(best.given, every.given[rows])
        assert np.array_equal(best.observed, every.observed[rows])
        assert np.array_equal(noise[rows], best.noise)
        assert best.rejected == 3


def test_noise_is_believed_about_the_map():
    """A rotation is no disagreement, and only the noise is another."""
    every = made(60, np.full(60, 0.5), scatter=0.1, truth=similarity(1.02, 3.0, (5, 2), (0, 0)))
    polynomial, _ = fit_weighted(every.given, every.observed, 1, every.noise)
    offsets = every.observed - polynomial(every.given)
    found = every.believed(1)
    assert np.allclose(found.noise, believable(every.given, offsets, every.noise))
    assert found.noise[0] == pytest.approx(0.1, rel=0.3)
    assert found.given is every.given
    assert found.rejected == 3


# ------------------------------------------------------------------------------------ the degree


def bent(power, amount):
    """x stretched by 1 + amount · u^power, u from −1 to 1 over 300 pixels."""

    def truth(points):
        u = (points[:, 0] - 149.5) / 150
        bend = 150 * amount * u ** (power + 1) / (power + 1)
        return points + np.stack([bend, 0 * u], axis=1)

    return truth


FRAME = frame_points((300, 300), 25)


@pytest.mark.parametrize(("count", "degree"), [(12, 2), (11, 1)])
def test_a_degree_needs_two_pairs_a_parameter(count, degree):
    assert best_degree(made(count, truth=bent(1, 0.1)), 3, FRAME) in (degree, degree + degree // 2)
    assert best_degree(made(count, truth=bent(1, 0.1)), 2, FRAME) == degree


@pytest.mark.parametrize(
    ("power", "amount", "tame"),
    [(1, 0.205, True), (1, 0.212, False), (4, 0.30, True), (4, 0.35, False)],
)
def test_a_polynomial_that_squeezes_or_blows_up_the_frame_is_not_taken(power, amount, tame):
    """Cells of 24 × 24 between 0.8 and 1.25 of the median: the outermost has 23/24 of u."""
    degree = best_degree(made(120, truth=bent(power, amount)), power + 1, FRAME)
    assert (degree == power + 1) == tame


def test_noise_is_no_reason_for_a_higher_degree():
    assert best_degree(made(120, scatter=0.3), 4, FRAME) == 1
    assert best_degree(made(120, scatter=0.05, truth=bent(1, 0.1)), 2, FRAME) == 2


def test_the_loss_weighs_by_the_noise_and_that_of_the_typical_pair():
    residual = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    for noise in (np.array([1.0, 2.0, 4.0]), np.array([0.001, 0.002, 0.0005])):
        weight = 1 / (noise**2 + np.median(noise) ** 2 + 1e-6)
        expected = (weight * [1, 4, 25]).sum() / weight.sum()
        assert module._loss(residual, noise) == pytest.approx(expected)
    assert module._loss(residual, np.zeros(3)) == pytest.approx(10)


# ------------------------------------------------------------------------------------- held out


@pytest.mark.parametrize("local", [False, True])
def test_a_held_out_residual_is_that_of_a_map_made_without_the_pair(local):
    every = made(40, np.random.default_rng(3).uniform(0.1, 1, 40), scatter=0.5)
    spline = fit_local(every.given, every.observed, 10.0, every.noise) if local else None
    found = held_out(every.given, every.observed, every.noise, 1, spline)
    for fold in folds(40):
        kept = np.setdiff1d(np.arange(40), fold)
        given, observed, noise = every.given[kept], every.observed[kept], every.noise[kept]
        polynomial = fit_polynomial(given, observed, 1, noise)
        there = polynomial(every.given[fold])
        if local:
            mapped = polynomial(given)
            there = there + fit_local(mapped, observed - mapped, 10.0, noise)(there)
        assert np.allclose(found[fold], every.observed[fold] - there)


@pytest.mark.parametrize(("count", "known"), [(4, True), (3, False)])
def test_where_too_few_are_left_nothing_is_known(count, known):
    residual = held_out(PENTAGON[:count], PENTAGON[:count] + 1, np.ones(count), 1, None)
    assert np.isfinite(residual).all() == known
    assert np.isnan(residual).all() != known


def test_a_local_shift_comes_after_the_polynomial():
    points = np.random.default_rng(4).uniform(0, 300, (50, 2))
    polynomial = fit_polynomial(points, points + 5, 0)
    local = fit_local(points, 0.01 * points, 1.0, np.ones(50))
    assert np.allclose(compose(polynomial, None)(points), points + 5)
    assert np.allclose(compose(polynomial, local)(points), points + 5 + local(points + 5))


def test_a_source_stands_for_the_sky_nearest_to_it_up_to_five_means():
    points = np.random.default_rng(5).uniform(0, 60, (40, 2))
    frame = frame_points((90, 300), 21)
    nearest = np.hypot(*(frame[:, None] - points).transpose(2, 0, 1)).argmin(1)
    count = np.array([(nearest == k).sum() for k in range(40)])
    assert count.max() > 5 * count.mean()
    assert (count == 0).any()
    assert np.array_equal(shares(points, frame), np.minimum(count, 5 * 441 / 40))
