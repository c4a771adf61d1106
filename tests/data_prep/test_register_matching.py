"""Matching, step by step: nearest pairs, votes, triangles that look alike, what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from register_scenes import similarity, stars

from data_prep.register import matching as module
from data_prep.register.matching import coarse_map, mutual_nearest, refine, vote_shift

SHAPE = (400, 500)


def distances(first, second):
    return np.hypot(*(first[:, None] - second).transpose(2, 0, 1))


@given(seed=st.integers(0, 999), counts=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_pairs_are_each_others_nearest_within_the_radius(seed, counts):
    rng = np.random.default_rng(seed)
    first, second = (rng.uniform(0, 10, (count, 2)) for count in counts)
    here, there = mutual_nearest(first, second, 2.0)
    expected = []
    if min(counts):
        apart = distances(first, second)
        for i, j in np.ndindex(*counts):
            if apart[i, j] == apart[i].min() == apart[:, j].min() and apart[i, j] < 2.0:
                expected.append((i, j))
    assert list(zip(here.tolist(), there.tolist(), strict=True)) == expected


def test_the_radius_itself_is_too_far():
    here, _ = mutual_nearest(np.zeros((1, 2)), np.array([[2.0, 0.0]]), 2.0)
    assert len(here) == 0


# ------------------------------------------------------------------------------------ votes


def grid(step=40.0, count=5):
    y, x = np.mgrid[:count, :count] * step
    return np.stack([x.ravel(), y.ravel()], axis=1)


def test_the_offset_with_most_votes_wins_and_is_their_mean():
    rng = np.random.default_rng(0)
    points = grid()
    offsets = np.array([5.0, -3.0]) + rng.uniform(-0.5, 0.5, (25, 2))
    offsets[:8] = [-2.0, 1.0]  # shorter, with fewer votes
    found = vote_shift(points, points + offsets, 15.0, 1.5)
    assert np.allclose(found, offsets[8:].mean(0))
    assert np.allclose(vote_shift(points, points + offsets, 5.0, 1.5), [-2, 1])  # within reach


def test_of_equally_good_offsets_the_shortest_is_taken():
    points = grid()[:10]
    observed = np.concatenate([points + np.array(o) for o in ([6, 0], [0, 4], [-5, 0])])
    assert np.allclose(vote_shift(points, observed, 15.0, 1.5), [0, 4])
    assert np.array_equal(vote_shift(points, points + 100, 15.0, 1.5), [0, 0])
    assert np.array_equal(vote_shift(points, points[:0], 15.0, 1.5), [0, 0])
    assert np.array_equal(vote_shift(points[:0], points, 15.0, 1.5), [0, 0])


def test_offsets_are_of_all_pairs_within_reach():
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0, 50, (30, 2)), rng.uniform(0, 50, (40, 2))
    found = module._offsets(first, second, 9.0)
    here, there = np.nonzero(distances(first, second) <= 9.0)
    expected = second[there] - first[here]
    assert sorted(found.tolist()) == sorted(expected.tolist())


def test_of_too_many_offsets_those_of_the_brightest_count():
    """Two thirds of the sources at a time, until there are few enough, or fewer than fifty."""
    places = np.random.default_rng(2).uniform(0, 1, (90, 2))
    for limit, left in [(8100, 90), (8099, 60), (3600, 60), (3599, 40), (10, 40)]:
        found = module._offsets(places, places, 9.0, limit)
        assert len(found) == left**2
        expected = (places[:left] - places[:left, None]).reshape(-1, 2)
        assert np.allclose(found, expected[np.lexsort(expected.T)][np.argsort(np.lexsort(found.T))])
    # The longer of two lists is cut first.
    found = module._offsets(places[:10], places, 9.0, 600)
    assert len(found) == 600


# ----------------------------------------------------------------------------------- refining


@pytest.mark.parametrize(
    ("count", "degree", "used"),
    [(12, 2, 2), (11, 2, 1), (6, 1, 1), (5, 1, 0), (3, 1, 0), (2, 1, None), (12, 0, 0)],
)
def test_a_map_of_a_degree_is_fitted_to_twice_its_parameters(count, degree, used):
    """A shift to three pairs; to fewer none."""
    points = stars(3, count, SHAPE, margin=10)[0]

    def truth(p):
        u, v = ((p - 200) / 200).T
        return p + np.stack([2 + u + 0.5 * u * v, -1 + v + 0.7 * u**2], axis=1)

    start = similarity(1.0, 0.0, (1.5, -0.5), (0, 0))
    found, here, there = refine(points, truth(points), start, [8.0, 4.0], degree)
    assert np.array_equal(here, there)
    at = np.array([[10.0, 20.0], [300.0, 350.0], [155.0, 185.0]])
    if used is None:
        assert found is start
    else:
        assert found.degree == used
    if used == 2:
        assert np.allclose(found(at), truth(at))


def test_the_radii_shrink_and_the_last_one_decides_the_pairs():
    points = grid()
    observed = points + np.array([7.0, 0.0])
    observed[3] += [0.0, 2.5]
    found, here, there = refine(points, observed, lambda p: p, [9.0, 4.0, 2.0], 0)
    assert np.allclose(found(np.zeros((1, 2))), [[7, 0]], atol=0.01)
    assert here.tolist() == there.tolist() == [i for i in range(25) if i != 3]
    assert len(refine(points, observed, lambda p: p, [9.0, 4.0], 0)[1]) == 25
    # Without a first radius that reaches, nothing is found.
    assert len(refine(points, observed, lambda p: p, [4.0, 2.0], 0)[1]) == 0


# --------------------------------------------------------------------------------- triangles


def test_triangles_of_a_turned_and_scaled_sky_look_alike_and_mirrored_ones_do_not():
    points = stars(4, 25, SHAPE, margin=0)[0]
    corners, shape = module._triangles(points)
    assert len(shape) > 100
    moved = similarity(2.5, 77.0, (30, -20), (10, 10))(points)
    there, same = module._triangles(moved)
    assert np.allclose(same, shape, atol=1e-9)
    z = similarity(2.5, 77.0, (30, -20), (10, 10))(
        np.stack([corners.real.ravel(), corners.imag.ravel()], axis=1)
    )
    assert np.allclose((z[:, 0] + 1j * z[:, 1]).reshape(-1, 3), there)
    _, mirrored = module._triangles(points * [1, -1])
    assert np.allclose(mirrored, shape * [1, 1, -1])


def test_corners_are_opposite_to_ever_shorter_sides_and_can_be_told_apart():
    points = stars(5, 40, SHAPE, margin=0)[0]
    corners, shape = module._triangles(points)
    sides = np.abs(corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]])
    assert np.allclose(shape[:, :2], sides[:, 1:] / sides[:, :1])
    assert set(shape[:, 2]) == {-1.0, 1.0}
    first, second = (corners[:, [k]] - corners[:, [0]] for k in (1, 2))
    area = (first.conj() * second).imag.ravel() / sides[:, 0] ** 2
    assert np.array_equal(np.sign(area), shape[:, 2])
    # Every triangle of a source and two of its seven nearest, but for those that are not distinct.
    near = np.argsort(distances(points, points), axis=1)[:, :8]
    two = [(i, j) for i in range(1, 8) for j in range(1, i)]
    every = {tuple(sorted((row[0], row[i], row[j]))) for row in near for i, j in two}
    expected = 0
    for triangle in every:
        z = points[list(triangle)] @ [1, 1j]
        a, b, c = sorted(np.abs(z[[1, 2, 0]] - z[[2, 0, 1]]), reverse=True)
        half = (a + b + c) / 2
        twice = 2 * np.sqrt(half * (half - a) * (half - b) * (half - c)) / a**2  # Heron's
        expected += b < 0.97 * a and c < 0.97 * b and c > 0.1 * a and twice > 0.05
    assert len(shape) == expected


def test_three_sources_make_no_triangles():
    points = np.array([[0.0, 0.0], [10.0, 0.0], [3.0, 5.0], [40.0, 9.0]])
    corners, shape = module._triangles(points[:3])
    assert (corners.shape, shape.shape) == ((0, 3), (0, 3))
    assert len(module._triangles(points)[1]) > 0


@pytest.mark.parametrize("scale", [0.13, 0.7, 1.0, 7.9])
def test_triangles_tell_the_similarity(scale):
    """Likeliest first, whatever else is in the images."""
    rng = np.random.default_rng(6)
    points = stars(7, 40, SHAPE, margin=0)[0]
    truth = similarity(scale, 130.0, (50.0, 80.0), (250, 200))
    target = np.concatenate([truth(points[:30]), truth(rng.uniform(0, 400, (8, 2)))])
    size = scale * float(np.hypot(*SHAPE))
    found = module._by_triangles(points, target, complex(250, 200), size)
    m, t = found[0]
    assert 1 < len(found) <= 12
    assert m == pytest.approx(scale * np.exp(1j * np.radians(130)), rel=0.01)
    assert m * complex(250, 200) + t == pytest.approx(complex(300, 280), abs=0.01 * size)


@pytest.mark.parametrize("scale", [0.12, 8.1])
def test_scales_beyond_eight_are_not_looked_for(scale):
    points = stars(7, 30, SHAPE, margin=0)[0]
    target = similarity(scale, 0.0, (0.0, 0.0), (0, 0))(points)
    found = module._by_triangles(points, target, 250 + 200j, scale * 640)
    assert not any(abs(m - scale) < 0.1 * scale for m, _ in found)


def test_where_no_triangles_are_alike_there_is_no_hypothesis():
    points = stars(7, 20, SHAPE, margin=0)[0]
    assert module._by_triangles(points, points[:3], 0j, 640.0) == []
    assert module._by_triangles(points[:3], points, 0j, 640.0) == []
    right = np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 40.0], [300.0, 0.0]])
    assert module._by_triangles(right, right * [1, -1], 0j, 640.0) == []


def test_the_same_frame_is_a_hypothesis_at_equal_pixels_and_at_equal_frames():
    points = stars(8, 50, SHAPE, margin=0)[0]
    truth = similarity(1.5, 0.0, (9.0, -6.0), (0, 0))
    found = module._same_frame(points, truth(points), (400, 500), (600, 750))
    assert [m for m, _ in found] == [1, 1.5]
    assert found[1][1] == pytest.approx(9 - 6j)
    equal = module._same_frame(points, points + np.array([3.0, 4.0]), SHAPE, SHAPE)
    assert len(equal) == 1
    assert equal[0][1] == pytest.approx(3 + 4j)
    # As far as a twentieth of the frame's diagonal, 32 pixels.
    for away, seen in [(31.0, True), (33.0, False)]:
        moved = points + np.array([away, 0.0])
        ((_, shift),) = module._same_frame(points, moved, SHAPE, SHAPE)
        assert (abs(shift - away) < 0.1) == seen
    # By the 400 brightest.
    many = np.random.default_rng(9).uniform(0, 500, (430, 2))
    moved = np.concatenate([many[:400] + np.array([2.0, 1.0]), 900 + many[400:]])
    ((_, shift),) = module._same_frame(many, moved, SHAPE, SHAPE)
    ((_, same),) = module._same_frame(many[:400], moved[:400], SHAPE, SHAPE)
    assert shift == same


# ------------------------------------------------------------------------------- what is believed


@pytest.mark.parametrize("matched", [5, 6, 9, 10, 60])
def test_matches_beyond_chance_are_counted_in_standard_deviations(matched):
    """Of those inside the target's box, n A⁻¹ π r² fall near another by accident."""
    rng = np.random.default_rng(10)
    target = np.concatenate([[[0.0, 0.0], [200.0, 100.0]], rng.uniform(0, 100, (48, 2))])
    for inside, least in [(100, 6), (190, 9.5)]:
        mapped = np.concatenate([np.full((inside, 2), 50.0), np.full((30, 2), 500.0)])
        mapped[-2:] = [[0.0, 50.0], [200.0, 50.0]]  # upon the rim is outside
        chance = inside * 50 * np.pi * 3.0**2 / (200 * 100)
        expected = (matched - chance) / np.sqrt(chance + 1) if matched >= least else 0.0
        assert module._beyond_chance(mapped, target, matched, 3.0) == pytest.approx(expected)


def test_where_every_place_is_near_a_source_all_matches_are_chance():
    target = np.array([[0.0, 0.0], [0.3, 0.2], [0.1, 0.5]])
    mapped = np.full((20, 2), 0.2)
    expected = (12 - 20) / np.sqrt(21)
    assert module._beyond_chance(mapped, target, 12, 3.0) == pytest.approx(expected)
    line = np.array([[0.0, 0.0], [50.0, 0.0]])  # of no area: a square pixel at least
    mapped = np.full((20, 2), [20.0, 0.0])
    assert module._beyond_chance(mapped, line, 12, 0.1) == pytest.approx(12)


@pytest.mark.parametrize(
    ("matrix", "plausible"),
    [
        (np.diag([1.0, 1.14]), True),
        (np.diag([1.0, 1.16]), False),
        (np.diag([7.9, 7.9]), True),
        (np.diag([8.1, 8.1]), False),
        (np.diag([0.126, 0.126]), True),
        (np.diag([0.124, 0.124]), False),
        (np.diag([-1.0, 1.0]), False),
        (np.array([[0.0, -1.0], [1.0, 0.0]]), True),
        (np.array([[1.0, 0.2], [0.0, 1.0]]), False),
        (np.array([[1.0, 0.1], [0.0, 1.0]]), True),
    ],
)
def test_telescopes_do_not_mirror_shear_or_squeeze(matrix, plausible):
    points = stars(8, 20, SHAPE, margin=0)[0]
    assert module._plausible(lambda p: p @ matrix.T + [40.0, -9.0], points) is plausible


def test_plausibility_is_judged_where_the_sources_are():
    """A map that squeezes to one side, and is a shift about the sources."""
    points = np.random.default_rng(11).uniform(900, 1100, (30, 2))
    points += 1000 - points.mean(0)
    assert module._plausible(lambda p: p * np.where(p < 950, 0.1, 1.0), points)
    assert not module._plausible(lambda p: p * np.where(p < 1050, 0.1, 1.0), points)


# -------------------------------------------------------------------------------- the coarse map


def test_the_coarse_map_is_affine_however_the_image_is_bent():
    points = stars(12, 120, SHAPE, margin=0)[0]

    def truth(p):
        u, v = ((p - [250, 200]) / 250).T
        return p + np.stack([20 + 4 * u * v, 3 * u**2 - 15], axis=1)

    found = coarse_map(points, truth(points), SHAPE, SHAPE)
    at = np.array([[100.0, 50.0], [300.0, 320.0]])
    middle = found(at.mean(0)[None])
    assert np.allclose(found(at).mean(0), middle[0])
    assert np.hypot(*(found(points) - truth(points)).T).max() < 6


def test_of_four_sources_no_map_is_certain():
    points = stars(13, 30, SHAPE, margin=0)[0]
    for count in (0, 3, 4, 5):
        assert coarse_map(points[:count], points[:count], SHAPE, SHAPE) is None
        assert coarse_map(points, points[:count], SHAPE, SHAPE) is None
    found = coarse_map(points, points, SHAPE, SHAPE)
    assert np.allclose(found(points), points)


def hypotheses(monkeypatch, scores, fine=None):
    """Run the choice among maps whose scores are made up; which were tried, and which won."""
    tried = []
    names = iter(range(100))

    def some(*_):
        return [(complex(1), complex(next(names))) for _ in range(2)]

    def score(mapped, *_):
        return scores[int(mapped[0, 0])]

    def keep(points, _, start, radii, degree):
        tried.append((int(start(np.zeros((1, 2)))[0, 0]), radii, degree))
        return start, np.arange(9), np.arange(9)

    monkeypatch.setattr(module, "_same_frame", some)
    monkeypatch.setattr(module, "_by_triangles", some)
    monkeypatch.setattr(module, "_beyond_chance", score)
    monkeypatch.setattr(module, "_plausible", lambda m, p: int(m(0 * p)[0, 0]) != fine)
    monkeypatch.setattr(module, "refine", keep)
    found = coarse_map(np.zeros((9, 2)), np.zeros((9, 2)), (300, 400), (900, 1200))
    return tried, None if found is None else int(found(np.zeros((1, 2)))[0, 0])


@pytest.mark.parametrize(
    ("scores", "rounds", "won"),
    [
        ([15.1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1, 0),  # certain at once
        ([15.0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 5, 0),  # credible
        ([0, 7, 0, 16, 0, 0, 0, 0, 0, 0], 2, 3),
        ([0, 7, 0, 0, 0, 0, 0, 0, 0, 9], 5, 9),
        ([0, 0, 0, 0, 0, 6.1, 0, 0, 0, 0], 5, 5),
        ([0, 0, 0, 0, 0, 6.0, 0, 0, 0, 0], 5, None),
        ([8, 8, 8, 8, 8, 8, 8, 8, 8, 8], 5, 0),  # the first of equals
    ],
)
def test_the_best_of_the_hypotheses_wins_if_it_is_beyond_chance(monkeypatch, scores, rounds, won):
    """More sources are asked until one map is certain: the frame's, then of 60 to 1000."""
    tried, found = hypotheses(monkeypatch, scores)
    assert [name for name, *_ in tried] == list(range(2 * rounds))
    assert found == won
    # From 1.2 per cent of the diagonal, 1500 pixels, to four pixels, twice; affine maps.
    assert {degree for *_, degree in tried} == {1}
    assert np.allclose([radii for _, radii, _ in tried], [18.0, 9.0, 4.5, 4.0, 4.0])


def test_an_implausible_map_is_no_hypothesis(monkeypatch):
    tried, found = hypotheses(monkeypatch, [0, 7, 16, 8, 0, 0, 0, 0, 0, 0], fine=2)
    assert len(tried) == 10
    assert found == 3


def test_ever_more_of_the_brightest_sources_make_triangles(monkeypatch):
    given = []
    monkeypatch.setattr(module, "_same_frame", lambda *_: [])
    monkeypatch.setattr(module, "_by_triangles", lambda *args: given.append(args) or [])
    source, target = np.random.default_rng(14).uniform(0, 9, (2, 1200, 2))
    assert coarse_map(source, target[:700], (301, 403), (900, 1200)) is None
    counts = [(len(a), len(b)) for a, b, *_ in given]
    assert counts == [(60, 60), (150, 150), (300, 300), (1000, 700)]
    for a, b, middle, size in given:
        assert np.array_equal(a, source[: len(a)])
        assert np.array_equal(b, target[: len(b)])
        assert (middle, size) == (complex(201, 150), 1500.0)
