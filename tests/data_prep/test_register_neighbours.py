"""What neighbours say of an offset: who is asked, how they are weighed, what is believed."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.register.neighbours import (
    agreeing,
    believable,
    nearby_offset,
    tempered,
    typical_excess,
)

MEDIAN = 2 * np.log(2)
ORIGIN = np.zeros((1, 2))


def spiral(count):
    """Points around the origin, each further from it than the last, from the distance 1 on."""
    turn = 2.4 * np.arange(count)
    return (1 + 0.1 * np.arange(count))[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def told(points, offsets, noise=None, width=1.0, at=ORIGIN):
    noise = np.zeros(len(points)) if noise is None else noise
    return nearby_offset(at, points, offsets, noise, width)[0]


@pytest.mark.parametrize(
    ("count", "asked"), [(100, 12), (48, 12), (44, 11), (20, 5), (16, 4), (8, 4), (3, 3)]
)
def test_the_nearest_are_asked_a_dozen_or_a_quarter_of_all(count, asked):
    points = spiral(count)
    offsets = np.random.default_rng(0).normal(0, 1, (count, 2))
    first = told(points, offsets)
    beyond = offsets.copy()
    beyond[asked:] += 7
    assert np.array_equal(told(points, beyond), first)
    within = offsets.copy()
    within[asked - 1] += 1.3
    assert not np.array_equal(told(points, within), first)


def test_each_is_told_by_the_others_only():
    points = spiral(60)
    offsets = np.random.default_rng(1).normal(0, 1, (60, 2))
    noise = np.full(60, 0.1)
    every = nearby_offset(points, points, offsets, noise, 1.0, True)
    for index in (0, 7, 59):
        rest = np.delete(np.arange(60), index)
        # Fifteen are a quarter of either; of the rest twelve are asked.
        alone = nearby_offset(points[[index]], points[rest], offsets[rest], noise[rest], 1.0)
        assert np.allclose(every[index], alone[0])
    itself = nearby_offset(points, points, offsets, noise, 1.0)
    assert not np.allclose(itself, every)


def test_three_or_fewer_tell_by_their_median():
    points, offsets = spiral(4), np.array([[0.0, 1.0], [2.0, 9.0], [1.0, 4.0], [50.0, 50.0]])
    found = nearby_offset(points, points, offsets, np.zeros(4), 1.0, True)
    for index in range(4):
        assert np.allclose(found[index], np.median(np.delete(offsets, index, 0), axis=0))
    pair = nearby_offset(points[:2], points[:2], offsets[:2], np.zeros(2), 1.0, True)
    assert np.allclose(pair, offsets[1::-1])


@pytest.mark.parametrize(("count", "follows"), [(32, True), (28, False)])
def test_eight_neighbours_tell_a_plane_and_fewer_a_mean(count, follows):
    points = np.random.default_rng(2).uniform(0, 100, (count, 2))
    slopes = np.array([[0.010, 0.002], [-0.003, 0.008]])
    at = np.array([[98.0, 50.0]])  # at the rim: the mean is that of one side
    near = np.argsort(np.hypot(*(points - at).T))[: count // 4]
    plane, mean = at[0] @ slopes, (points[near] @ slopes).mean(0)
    expected, other = (plane, mean) if follows else (mean, plane)
    found = told(points, points @ slopes, at=at)
    assert np.hypot(*(found - expected)) < 0.1 * np.hypot(*(other - expected))


def test_neighbours_count_by_their_noise():
    """By 1/(1 + (s/c)²)."""
    points = spiral(24)[:20]
    offsets = np.zeros((20, 2))
    offsets[1] = offsets[3] = [0.01, -0.02]  # so little that the distance hardly counts
    noise = np.full(20, 0.3)
    noise[[1, 3]] = 1.5
    for width in (0.5, 2.0):
        weight = 1 / (1 + (noise[:5] / width) ** 2)
        expected = weight @ offsets[:5] / weight.sum()
        assert np.allclose(told(points, offsets, noise, width), expected, rtol=0.02)


def test_neighbours_count_by_their_distance_from_the_rest():
    """By Cauchy's 1/(1 + (d/c)²): what is told solves the equation of its own weights."""
    points, width = spiral(20), 0.7
    offsets = np.zeros((20, 2))
    offsets[:5] = [[0.0, 0.1], [0.2, 0.0], [-0.1, 0.0], [0.1, -0.2], [1.5, 2.0]]
    noise = np.linspace(0.1, 0.8, 20)
    found = told(points, offsets, noise, width)
    square = ((offsets[:5] - found) ** 2).sum(1)
    weight = 1 / (1 + square / width**2) / (1 + (noise[:5] / width) ** 2)
    assert np.allclose(weight @ (offsets[:5] - found), 0, atol=0.01)
    assert np.hypot(*found) < 0.35  # the mean of five would be 0.5 away


def test_pairs_at_one_place_are_no_division_by_nought():
    found = nearby_offset(np.zeros((9, 2)), np.zeros((9, 2)), np.ones((9, 2)), np.ones(9), 1.0)
    assert np.allclose(found, 1, atol=1e-3)


# ------------------------------------------------------------------------------- what is believed


def test_the_typical_excess_is_the_root_of_the_median_surplus():
    square, noise = MEDIAN * np.array([9.0, 1.0, 4.0, 16.0]), np.zeros(4)
    assert typical_excess(square, noise) == pytest.approx(3)
    assert typical_excess(square[:3], noise[:3]) == pytest.approx(2)
    assert typical_excess(square[:3], np.array([0.0, 0.0, 1.0])) == pytest.approx(np.sqrt(3))
    assert typical_excess(square, np.full(4, 5.0)) == 0.0
    rng = np.random.default_rng(3)
    vectors = rng.normal(0, np.hypot(0.5, 1.2), (20001, 2))
    vectors[:400] += 50  # a minority of mistakes
    found = typical_excess((vectors**2).sum(1), np.full(20001, 0.5))
    assert found == pytest.approx(1.2, rel=0.04)


def one_off(distance, count=80):
    """Offsets that are nought but for the pair in the middle."""
    points, offsets = spiral(count), np.zeros((count, 2))
    offsets[0] = [0.6 * distance, 0.8 * distance]
    return points, offsets


@pytest.mark.parametrize(
    ("noise", "distance", "kept"),
    [(0.1, 0.39, True), (0.1, 0.41, False), (0.001, 0.099, True), (0.001, 0.101, False)],
)
def test_a_pair_is_wrong_beyond_four_standard_deviations_and_a_tenth_of_a_pixel(
    noise, distance, kept
):
    points, offsets = one_off(distance)
    keep = agreeing(points, offsets, np.full(80, noise), 0.5)
    assert keep[0] == kept
    assert keep[1:].all()
    assert agreeing(points[:3], 100 * offsets[:3], np.full(3, noise), 0.5).all()
    four = agreeing(points[:4], 100 * offsets[:4], np.full(4, noise), 0.5)
    assert four.tolist() == [False, True, True, True]


def test_what_all_pairs_scatter_by_is_no_mistake():
    rng = np.random.default_rng(4)
    points = rng.uniform(0, 500, (400, 2))
    offsets, noise = rng.normal(0, 0.3, (400, 2)), np.full(400, 0.02)
    apart = ((offsets - nearby_offset(points, points, offsets, noise, 0.75, True)) ** 2).sum(1)
    tau = typical_excess(apart, noise)
    assert tau == pytest.approx(0.32, rel=0.1)
    far = [0.98, 1.02] * np.array(4 * np.hypot(0.02, tau))
    for length, kept in zip(far, (True, False), strict=True):
        moved = offsets.copy()
        moved[5] += (length / np.sqrt(apart[5]) - 1) * (
            offsets - nearby_offset(points, points, offsets, noise, 0.75, True)
        )[5]
        assert agreeing(points, moved, noise, 0.75)[5] == kept


@pytest.mark.parametrize("noise", [0.1, 0.4])
def test_a_lone_blend_is_cut_to_two_standard_deviations(noise):
    """And all to their share of a Gaussian's rms that such a cut leaves."""
    kept = np.sqrt(1 - np.exp(-2))
    points, offsets = one_off(5.0)
    cut = tempered(points, offsets, np.full(80, noise))
    assert np.hypot(*cut[0]) == pytest.approx(2 * noise / kept, rel=1e-3)
    assert cut[0, 0] / cut[0, 1] == pytest.approx(0.75)
    points, offsets = one_off(noise)  # within them
    assert np.allclose(tempered(points, offsets, np.full(80, noise))[0], offsets[0] / kept)
    assert np.array_equal(tempered(points[:7], offsets[:7], np.full(7, noise)), offsets[:7])
    assert not np.array_equal(tempered(points[:8], offsets[:8], np.full(8, noise)), offsets[:8])


def test_scatter_beyond_the_noise_widens_the_cut():
    rng = np.random.default_rng(5)
    points, noise = rng.uniform(0, 500, (300, 2)), np.full(300, 0.05)
    offsets = rng.normal(0, 0.4, (300, 2))
    expected = nearby_offset(points, points, offsets, noise, 1.0, True)
    square = ((offsets - expected) ** 2).sum(1)
    most = 2 * np.hypot(0.05, typical_excess(square, noise))
    found = np.hypot(*(tempered(points, offsets, noise) - expected).T)
    assert found.max() == pytest.approx(most / np.sqrt(1 - np.exp(-2)))
    assert (np.sqrt(square) > most).mean() == pytest.approx(np.exp(-2), abs=0.05)


def test_noise_is_scaled_by_the_median_distance_from_the_neighbours():
    rng = np.random.default_rng(6)
    points, noise = rng.uniform(0, 500, (200, 2)), rng.uniform(0.5, 1.5, 200)
    offsets = rng.normal(0, 0.2, (200, 2))
    apart = offsets - nearby_offset(points, points, offsets, noise, 1.0, True)
    ratio = np.median((apart**2).sum(1) / (MEDIAN * noise**2))
    assert np.allclose(believable(points, offsets, noise), noise * np.sqrt(ratio))
    assert np.array_equal(believable(points, 20 * offsets, noise), noise)
    assert not believable(points[:8], 0 * offsets[:8], noise[:8]).any()
    assert np.array_equal(believable(points[:7], 0 * offsets[:7], noise[:7]), noise[:7])
    assert not believable(points, offsets, 0 * noise).any()
