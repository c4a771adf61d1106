"""Each step of the correlation by itself: what is enough, what counts, what the formulas give."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from test_register_correlate import brute

from data_prep.register import correlate as module
from data_prep.register.correlate import Correlation, correlate, masked_correlation
from data_prep.register.sources import WINDOW, bands_passed

EVERYWHERE = np.ones((41, 53), bool)


def found(peak=0.8, rival=0.1, luck=1e-4, error=(0.1, 0.1)):
    return Correlation(np.array([3.0, 4.0]), np.array(error), peak, rival, luck)


@pytest.mark.parametrize(
    ("correlation", "enough"),
    [
        (found(), True),
        # It must look alike, and its place be known to a pixel.
        (found(peak=0.51), True),
        (found(peak=0.5), False),
        (found(error=(0.6, 0.79)), True),
        (found(error=(0.6, 0.8)), False),
        (found(error=(0.0, np.inf)), False),
        # At its place it stands out by 1.12, or is the same.
        (found(peak=0.57, rival=0.5), True),
        (found(peak=0.56, rival=0.5), False),
        (found(peak=0.93, rival=0.9), True),
        (found(peak=0.92, rival=0.9), False),
        # Elsewhere by 1.5, and it must not be that many pixels away.
        (found(peak=0.76, rival=0.5, luck=1e-3), True),
        (found(peak=0.75, rival=0.5, luck=1e-3), False),
        (found(luck=0.0199), True),
        (found(luck=0.02), False),
        # Nothing else, or the opposite, is no rival.
        (found(rival=0.0, luck=0.01), True),
        (found(rival=-0.5, luck=0.01), True),
    ],
)
def test_what_is_enough(correlation, enough):
    assert correlation.enough is enough


def test_a_correlation_says_its_numbers():
    said = "correlation 0.80 at a shift of 5.0 pixels, 0.10 elsewhere or mirrored"
    assert str(found()) == said


# --------------------------------------------------------------------------------- the formula


@pytest.mark.parametrize("seed", range(3))
def test_every_shift_has_pearsons_correlation_or_none(seed):
    rng = np.random.default_rng(seed)
    height, width = shape = (7, 10)
    fixed, moving = rng.normal(3, 1, (2, *shape))
    masks = rng.random((2, *shape)) < 0.7
    rho, overlap = masked_correlation(fixed, masks[0], moving, masks[1])
    for dy in range(1 - height, height):
        for dx in range(1 - width, width):
            here = np.s_[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
            there = np.s_[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
            count = (masks[0][here] & masks[1][there]).sum()
            at = height - 1 + dy, width - 1 + dx
            assert overlap[at] == max(count, 1)
            if count < 2:
                assert rho[at] == 0
            else:
                expected, _ = brute(fixed, masks[0], moving, masks[1], dy, dx)
                assert rho[at] == pytest.approx(expected, abs=1e-6)


def test_without_contrast_there_is_no_correlation():
    noise = np.random.default_rng(0).normal(0, 1, EVERYWHERE.shape)
    for flat in (np.zeros(EVERYWHERE.shape), np.full(EVERYWHERE.shape, 3.0)):
        assert not masked_correlation(flat, EVERYWHERE, flat, EVERYWHERE)[0].any()
        assert not masked_correlation(flat, EVERYWHERE, noise, EVERYWHERE)[0].any()
    # Never beyond one, whatever is rounded where two pixels overlap.
    for sign in (1, -1):
        rho, _ = masked_correlation(noise, EVERYWHERE, sign * noise, EVERYWHERE)
        assert (rho.min(), rho.max()) == (-1, 1)
    # However faint: what counts is the contrast of the images themselves.
    faint = 1e-20 * noise
    rho, _ = masked_correlation(faint, EVERYWHERE, faint, EVERYWHERE)
    assert rho[40, 52] == pytest.approx(1)


# ------------------------------------------------------------------------- images made comparable


def test_significance_is_in_units_of_the_noise_and_knows_no_sky_level():
    image = np.random.default_rng(1).normal(0, 1, (101, 103)).astype(np.float32)
    plane, inner = module._significance(image, np.ones((101, 103), bool))
    rim = np.ones((101, 103), bool)
    rim[3:-3, 3:-3] = False  # two windows wide
    assert np.array_equal(inner, ~rim)
    assert 1.4826 * np.median(np.abs(plane[inner])) == pytest.approx(1)
    assert not plane[rim].any()
    again, _ = module._significance(5 * image + 7, np.ones((101, 103), bool))
    assert np.allclose(again, plane, atol=1e-3)


def test_significance_keeps_off_holes():
    """What lies three steps or more from where the Gaussians feel the hole."""
    mask = np.ones((60, 60), bool)
    mask[28:33, 30] = False
    image = np.random.default_rng(2).normal(0, 1, mask.shape).astype(np.float32) * mask
    _, inner = module._significance(image, mask)
    _, passed = bands_passed(image, mask)
    cut = np.argwhere(~passed)
    assert len(cut)
    for y, x in np.ndindex(*mask.shape):
        steps = np.abs(cut - [y, x]).sum(1).min()
        at_rim = min(y, x, 59 - y, 59 - x) < int(2 * WINDOW)
        assert inner[y, x] == (steps > int(2 * WINDOW) and not at_rim)


def test_an_image_without_noise_or_without_pixels_has_no_significance():
    flat = np.full(EVERYWHERE.shape, 4.0, np.float32)
    plane, inner = module._significance(flat, EVERYWHERE)
    assert not plane.any()
    assert not inner.any()
    _, inner = module._significance(flat, ~EVERYWHERE)
    assert not inner.any()
    # So small that it is all rim.
    plane, inner = module._significance(flat[:5, :5], EVERYWHERE[:5, :5])
    assert not plane.any()
    assert not inner.any()


def test_a_shifted_source_is_moved_and_beside_it_there_is_nothing():
    image = np.random.default_rng(3).normal(5, 1, (41, 53)).astype(np.float32)
    plane, good = module._onto(image, EVERYWHERE, (37, 60), lambda p: p + np.array([3, -2]))
    expected = np.zeros((37, 60), bool)
    expected[2:, :50] = True
    assert np.array_equal(good, expected)
    assert np.allclose(plane[2:, :50], image[:35, 3:], atol=1e-4)
    assert not plane[~good].any()
    assert plane.dtype == np.float32


def test_pixels_beside_a_hole_count_only_where_it_is_not_felt():
    mask = EVERYWHERE.copy()
    mask[:, 30] = False
    for step, lost in [(0.0, [30]), (0.0005, [30]), (0.01, [29, 30]), (0.5, [29, 30])]:
        _, good = module._onto(
            mask.astype(np.float32), mask, mask.shape, lambda p, step=step: p + np.array([step, 0])
        )
        inner = good[5:-5, 5:-5]
        assert (np.flatnonzero(~inner.all(0)) + 5).tolist() == lost
        assert np.array_equal(inner.all(0), inner.any(0))


def test_places_without_coordinates_are_nowhere():
    def half(points):
        there = points.copy()
        there[points[:, 0] > 20, 0] = np.nan
        there[points[:, 0] < 10, 1] = np.nan
        return there

    image = np.full((1003, 1003), 3.0, np.float32)
    plane, good = module._onto(image, np.ones(image.shape, bool), (13, 41), half)
    expected = np.zeros((13, 41), bool)
    expected[:, 10:21] = True
    assert np.array_equal(good, expected)
    assert np.allclose(plane, 3.0 * expected, atol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("scale", "each", "sigma"),
    [(1.0, 1, 0.0), (1.1875, 16, 0.0), (1.25, 4, 0.375), (2.0, 1, 0.6), (0.5, 2, 0.0)],
)
def test_where_the_target_is_coarser_the_source_is_smoothed_first(scale, each, sigma, turned):
    """By 0.3 of a target pixel; seen at the target pixels that fall on a source pixel."""
    image = np.random.default_rng(4).normal(0, 1, (80, 80)).astype(np.float32)

    def to_source(points):
        return scale * (points[:, ::-1] if turned else points)

    plane, good = module._onto(image, np.ones((80, 80), bool), (33, 33), to_source)
    assert good.all()
    smooth = gaussian_filter(image.astype(float), sigma) if sigma else image
    index = np.arange(0, 33, each)
    at = (scale * index).astype(int)
    expected = smooth[np.ix_(at, at)]
    expected = expected.T if turned else expected
    assert np.allclose(plane[np.ix_(index, index)], expected, atol=1e-4)


# ----------------------------------------------------------------------------------- the maximum


@pytest.mark.parametrize("top", [(1, 1), (4, 6), (9, 1), (1, 10), (9, 10)])
@pytest.mark.parametrize("vertex", [(0.0, 0.0), (0.3, -0.4), (-0.9, 0.7)])
def test_the_vertex_of_a_paraboloid_is_exact(top, vertex):
    y, x = np.mgrid[:11, :12]
    dx, dy = x - top[1] - vertex[0], y - top[0] - vertex[1]
    rho = 0.9 - 0.03 * dx**2 - 0.02 * dy**2 + 0.01 * dx * dy
    offset, curvature = module._vertex(rho, top)
    assert np.allclose(offset, vertex)
    assert np.allclose(curvature, [-0.06, -0.04])


def test_a_vertex_is_never_more_than_a_pixel_away():
    y, x = np.mgrid[:11, :12]
    rho = -0.03 * (x - 9.0) ** 2 - 0.02 * (y - 1.0) ** 2
    offset, curvature = module._vertex(rho, (4, 6))
    assert np.allclose(offset, [1, -1])
    assert np.allclose(curvature, [-0.06, -0.04])


def test_what_is_no_maximum_inside_has_no_vertex():
    y, x = np.mgrid[:11, :12].astype(float)
    dx, dy = x - 6.2, y - 4.1
    hill = -(dx**2) - dy**2
    shapes = {"saddle": dx**2 - dy**2, "saddle too": dy**2 - dx**2, "pit": -hill, "flat": 0 * x}
    shapes["ridge"] = -(dx**2) - dy**2 + 2.5 * dx * dy
    for rho in shapes.values():
        for numbers in module._vertex(rho, (4, 6)):
            assert not numbers.any()
    for rim in [(0, 6), (10, 6), (4, 0), (4, 11), (0, 0)]:
        for numbers in module._vertex(hill, rim):
            assert not numbers.any()


class Staged:
    """Correlations that are made up: the images', those of three mirrored ones, the last."""

    def __init__(self, rho, last=None, mirrored=(), overlap=None):
        self.shape = (2 * EVERYWHERE.shape[0] - 1, 2 * EVERYWHERE.shape[1] - 1)
        last = rho if last is None else last
        mirrored = mirrored or [np.full(self.shape, -1.0)] * 3
        self.rhos = [rho, *mirrored, last]
        self.overlap = np.ones(self.shape) if overlap is None else overlap
        self.given = []

    def __call__(self, *planes):
        self.given.append(planes)
        return self.rhos[len(self.given) - 1], self.overlap


def plane(**places):
    """ρ, 0 but at places in the order of ``y_x`` away from no shift, and at the true maximum."""
    rho = np.zeros((81, 105))
    for name, value in places.items():
        y, x = (int(n.replace("m", "-")) for n in name.removeprefix("at").split("_"))
        rho[40 + y, 52 + x] = value
    return rho


@pytest.fixture
def stage(monkeypatch):
    """Run ``correlate`` on made-up significances and correlations."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 3, (2, *EVERYWHERE.shape))

    def run(staged, search=20.0, masks=(EVERYWHERE, EVERYWHERE)):
        parts = iter(zip(images, masks, strict=True))
        monkeypatch.setattr(module, "_significance", lambda *_: next(parts))
        monkeypatch.setattr(module, "masked_correlation", staged)
        blank = (np.zeros(EVERYWHERE.shape, np.float32), EVERYWHERE)
        return correlate(blank, blank, lambda p: p, search)

    run.images = images
    return run


def test_what_rises_above_the_noise_decides_and_all_of_it_places(stage):
    staged = Staged(plane(at1_2=0.8))
    masks = (EVERYWHERE, np.random.default_rng(1).random(EVERYWHERE.shape) < 0.9)
    stage(staged, masks=masks)
    theirs, ours = stage.images
    bright = [np.arcsinh(np.maximum(image - 2, 0) / 3) for image in (theirs, ours)]
    ways = [np.s_[:, :], np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1]]
    expected = [(bright[0], masks[0], bright[1][way], masks[1][way]) for way in ways]
    expected.append((np.arcsinh(theirs / 3), masks[0], np.arcsinh(ours / 3), masks[1]))
    assert len(staged.given) == 5
    for planes, wanted in zip(staged.given, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))


def test_the_peak_is_within_the_search_and_the_rival_anywhere_beyond_five_pixels(stage):
    rho = plane(at12_16=0.7, at13_16=0.9, at17_16=0.85, at12_21=0.8, at15_20=0.6)
    rho[40 - 30, 52 - 40] = 0.31
    result = stage(Staged(rho), 20.0)  # (12, 16) is 20 away, (13, 16) is further
    assert result.peak == 0.7
    assert result.rival == 0.31  # at five pixels exactly, and nearer, the peak is its own
    rho[40 + 17, 52 + 17] = 0.45  # the root of 26 is beyond
    assert stage(Staged(rho), 20.0).rival == 0.45


def test_what_rests_on_less_than_two_fifths_of_the_overlap_does_not_count(stage):
    rho = plane(at1_2=0.7, at3_3=0.8, at30_30=0.3, atm30_30=0.5)
    overlap = np.full(rho.shape, 1000.0)
    overlap[40 + 3, 52 + 3] = overlap[40 - 30, 52 + 30] = 399
    overlap[40 + 1, 52 + 2] = overlap[40 + 30, 52 + 30] = 400
    result = stage(Staged(rho, overlap=overlap))
    assert (result.peak, result.rival) == (0.7, 0.3)


@pytest.mark.parametrize("which", range(3))
def test_a_mirror_image_is_a_rival_within_the_search(stage, which):
    mirrored = [np.full((81, 105), -1.0) for _ in range(3)]
    mirrored[which][40 + 12, 52 - 16] = 0.4
    mirrored[which][40 + 13, 52 - 16] = 0.6
    assert stage(Staged(plane(at1_2=0.8), mirrored=mirrored)).rival == 0.4


def test_the_last_maximum_lies_within_two_and_a_half_pixels_of_the_first(stage):
    first = plane(at1_2=0.8)
    for places, expected in [
        ({"at1_2": 0.5, "at3_3": 0.6, "at4_2": 0.9}, (3, 3)),
        ({"at1_2": 0.5, "at1_0": 0.6, "at1_5": 0.7, "atm2_2": 0.7}, (0, 1)),
    ]:
        result = stage(Staged(first, plane(**places)))
        assert np.allclose(result.shift, expected)


def test_its_error_is_the_tilt_elsewhere_over_the_curvature_there(stage):
    """The tilts by planes fitted to 3 × 3 shifts, scaled by the root of the overlap."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:81, :105]
    dx, dy = x - 54.3, y - 40.8
    last = 0.02 * gaussian_filter(rng.normal(0, 1, (81, 105)), (1, 3))
    near = np.hypot(dx, dy) < 4
    last[near] = (0.8 - 0.03 * dx**2 - 0.02 * dy**2)[near]
    overlap = rng.uniform(500, 1000, last.shape)
    result = stage(Staged(plane(at1_2=0.8), last, overlap=overlap))
    assert np.allclose(result.shift, [2.3, 0.8])
    far = [(r, c) for r, c in np.ndindex(81, 105) if np.hypot(r - 41, c - 54) > 5]
    padded = np.pad(last, 1, mode="symmetric")
    for axis, curvature in [(0, 0.06), (1, 0.04)]:
        tilts = []
        for r, c in far:
            patch = padded[r : r + 3, c : c + 3]
            slope = (patch[:, 2] - patch[:, 0] if axis == 0 else patch[2] - patch[0]).sum() / 6
            tilts.append(slope * np.sqrt(overlap[r, c] / overlap[41, 54]))
        sigma = 1.4826 * np.median(np.abs(tilts))
        assert result.error[axis] == pytest.approx(sigma / curvature, rel=1e-6)


def test_without_a_vertex_the_error_is_infinite(stage):
    y, x = np.mgrid[:81, :105]
    last = 0.5 + 0.001 * x + 0.001 * y
    assert np.isinf(stage(Staged(plane(at1_2=0.8), last)).error).all()


def test_luck_is_the_disc_about_its_place_over_the_frame(stage):
    """A pixel's disc at least; the frame is what the target measured."""
    masks = (np.indices(EVERYWHERE.shape)[1] < 30, EVERYWHERE)
    for rho, radius in [(plane(at3_4=0.8), 5.0), (plane(at0_0=0.8), 1.0), (plane(at0_1=0.8), 1.0)]:
        result = stage(Staged(rho), masks=masks)
        assert result.luck == pytest.approx(np.pi * radius**2 / (41 * 30))


def test_too_little_to_judge_by_is_nothing(stage):
    rho = plane(at1_2=0.8)
    few = [np.arange(EVERYWHERE.size).reshape(EVERYWHERE.shape) < n for n in (63, 64)]
    assert stage(Staged(rho), masks=(EVERYWHERE, few[0])) is None
    assert stage(Staged(rho), masks=(few[0], EVERYWHERE)) is None
    assert stage(Staged(rho), masks=(few[1], few[1])) is not None
    # Nor are a handful of shifts, nor none within the search.
    index = np.arange(rho.size).reshape(rho.shape)
    for count, nothing in [(63, True), (64, False)]:
        overlap = np.where(index < count, 1.0, 0.1)
        overlap[41, 54] = 1.0
        assert (stage(Staged(rho, overlap=overlap)) is None) == nothing
    overlap = np.where(index < 64, 1.0, 0.1)
    assert stage(Staged(rho, overlap=overlap)) is None
