"""What a match is weighed by: which sources count, how dense others are, how free it was."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.register.chance import (
    Evidence,
    evidence,
    independent,
    local_density,
    log_false_alarms,
)
from data_prep.register.pairs import Pairs, held_out
from data_prep.register.polynomial import fit_weighted
from data_prep.register.sources import Sources


def test_what_a_search_finds_by_accident_less_than_once_in_a_hundred_thousand_is_enough():
    assert Evidence(-5.01, 9, 10, 0.5, 0.1).enough
    assert not Evidence(-5.0, 9, 10, 0.5, 0.1).enough


def test_evidence_says_its_numbers():
    said = (
        "9 of 10 sources agree to 0.5 pixels, where one map gives 0.1 by accident and the search "
    )
    assert str(Evidence(-2.0, 9, 10, 0.5, 0.1)) == said + "0.01 such maps"
    assert str(Evidence(3.99, 9, 10, 0.5, 0.1)) == said + "9.8e+03 such maps"
    assert str(Evidence(4.0, 9, 10, 0.5, 0.1)) == said + "thousands of such maps"


# ------------------------------------------------------------------------------- what is counted


def test_one_source_a_cell_counts_the_first():
    """Cells are a 24th of the longer side."""
    line = np.stack([np.arange(0.0, 241.0, 5), np.full(49, 7.0)], axis=1)
    assert independent(line).tolist() == list(range(0, 49, 2))
    assert independent(line[:, ::-1]).tolist() == list(range(0, 49, 2))
    order = np.random.default_rng(0).permutation(49)
    chosen = independent(line[order])
    cells = np.floor(line[order][:, 0] / 10)
    assert chosen.tolist() == sorted({int(np.flatnonzero(cells == cell)[0]) for cell in cells})
    square = np.array([[0.0, 0.0], [240.0, 30.0], [0.0, 30.0], [9.0, 39.0], [9.0, 9.0]])
    assert independent(square).tolist() == [0, 1, 2]


def test_the_smallest_frame_is_a_pixel():
    assert independent(np.array([[3.0, 4.0], [3.03, 4.0]])).tolist() == [0]
    assert independent(np.array([[3.0, 4.0], [3.05, 4.0]])).tolist() == [0, 1]
    assert len(independent(np.zeros((0, 2)))) == 0


def test_the_density_is_that_of_the_ring_where_it_is_more_than_that_of_all():
    """Between r and 5 r, of area 24 π r²; the partner itself is within r."""
    turn = np.linspace(0, 2 * np.pi, 50)[:-1]
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    at = np.array([[100.0, 100.0]])
    inner, outer = at + 1.9 * ring, at + 9.9 * ring
    beyond = at + 10.1 * ring
    target = np.concatenate([inner, outer, beyond])
    assert local_density(at, target, 1e9, 2.0) == pytest.approx(49 / (24 * np.pi * 4))
    two = np.concatenate([at, at + 1000])  # the mean over those that are asked
    assert local_density(two, target, 1e9, 2.0) == pytest.approx(49 / 2 / (24 * np.pi * 4))
    assert local_density(at, target, 100.0, 2.0) == 147 / 100
    assert local_density(at, target, 0.0, 2.0) == 147
    assert local_density(at[:0], target, 50.0, 2.0) == 147 / 50
    assert local_density(at, target[:0], 50.0, 2.0) == 0


def test_pairs_nearer_than_a_twentieth_of_a_pixel_are_no_further_evidence():
    exact = log_false_alarms(np.zeros(9), 20, 1e-3, [5.0])
    assert exact == log_false_alarms(np.full(9, 0.05), 20, 1e-3, [5.0])
    assert exact < log_false_alarms(np.full(9, 0.051), 20, 1e-3, [5.0])


def test_a_point_that_holds_a_map_has_one_partner_at_least_and_is_no_evidence():
    lengths = np.full(9, 0.5)
    one = log_false_alarms(lengths, 20, 1e-3, [1.0, 1.0])
    assert log_false_alarms(lengths, 20, 1e-3, [0.2, 1.0]) == one
    assert log_false_alarms(lengths, 20, 1e-3, [2.0, 1.0]) == pytest.approx(one + np.log10(2))
    assert log_false_alarms(lengths[:2], 20, 1e-3, [1.0, 1.0]) == np.inf
    assert log_false_alarms(lengths[:3], 20, 1e-3, [1.0, 1.0]) < np.inf
    # Never more agree than there are.
    few = log_false_alarms(lengths, 5, 1e-3, [1.0])
    assert few == log_false_alarms(lengths, 9, 1e-3, [1.0])


# --------------------------------------------------------------------------------------- a match


def match(scatter=0.2, count=40, size=200):
    """Every second source has a partner near where a shift puts it."""
    rng = np.random.default_rng(1)
    predicted = rng.uniform(5, size - 5, (count, 2))
    index = np.arange(0, count, 2)
    noise = np.full(len(index), 0.05)
    observed = predicted[index] + [3.0, -2.0] + rng.normal(0, scatter, (len(index), 2))
    pairs = Pairs(predicted[index], observed, noise, 0, index)
    positions = np.concatenate([observed, rng.uniform(0, size, (30, 2))])
    number = np.ones(len(positions))
    target = Sources(positions, number, number, number, np.ones((1, 1), bool))
    return pairs, predicted, target


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize(
    ("reach", "search", "radii"),
    [(2.0, 10.0, [10, 8, 8]), (2.0, 50.0, [50, 10, 10]), (2.0, None, None)],
)
def test_a_match_is_weighed_by_its_held_out_distances(degree, reach, search, radii):
    """A search moved one point by up to its length, bent it by a fifth or by four radii."""
    pairs, predicted, target = match()
    measured = np.ones((200, 200), bool)
    found = evidence(pairs, predicted, target, measured, degree, reach, search)
    polynomial, noise = fit_weighted(pairs.given, pairs.observed, degree, pairs.noise)
    mapped = polynomial(predicted)
    residual = held_out(pairs.given, pairs.observed, noise, degree, None)
    inside = ((mapped > -0.5) & (mapped < 199.5)).all(1)
    kept = np.flatnonzero(inside)[independent(mapped[inside])]
    lengths = np.hypot(*residual.T)[np.isin(pairs.indices, kept)]
    assert 10 < len(lengths) < len(kept) < 40
    assert (found.agreeing, found.count) == (len(lengths), len(kept))
    density = local_density(mapped[kept], target.positions, 40000.0, reach)
    if radii is None:
        partners = [50.0] * (1, 3)[degree]
    else:
        partners = [density * np.pi * r**2 for r in radii[: (1, 3)[degree]]]
    expected = log_false_alarms(lengths, len(kept), density, partners)
    assert found.log_alarms == pytest.approx(expected)
    assert found.radius == pytest.approx(np.median(lengths))
    chance = 1 - np.exp(-density * np.pi * found.radius**2)
    assert found.expected == pytest.approx(len(kept) * chance)


def test_only_sources_on_measured_pixels_count():
    """The pixel that a source falls into, its centre at whole numbers."""
    points = np.array(
        [[3.4, 9.0], [3.6, 20.0], [15.4, 2.6], [15.6, 15.0], [9.0, 12.4], [9.0, 12.6]]
    )
    points = np.concatenate([points, [[-0.4, 5.0], [-0.6, 25.0], [39.4, 8.0], [39.6, 18.0]]])
    points = np.concatenate([points, [[25.0, -0.4], [30.0, -0.6], [28.0, 29.4], [33.0, 29.6]]])
    measured = np.ones((30, 40), bool)
    measured[:, 4] = measured[:, 16] = measured[13] = False
    seen = [0, 2, 4, 6, 8, 10, 12]
    pairs = Pairs(points, points, np.ones(14), 0, np.arange(14))
    number = np.ones(14)
    target = Sources(points, number, number, number, measured)
    found = evidence(pairs, points, target, measured, 0, 3.0, 5.0)
    assert found.count == found.agreeing == len(seen)
    none = evidence(pairs, points, target, np.zeros((30, 40), bool), 0, 3.0, 5.0)
    assert (none.count, none.agreeing, none.radius, none.expected) == (0, 0, 0, 0)
    assert none.log_alarms == np.inf
    # Without any left to hold out, nothing is known of any.
    two = Pairs(points[:3], points[:3], np.ones(3), 0, np.arange(3))
    assert evidence(two, points, target, measured, 1, 3.0, 5.0).agreeing == 0
