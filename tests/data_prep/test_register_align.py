"""What ``register`` decides: what counts as common sky, as evidence, as the better of two ways."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from register_scenes import render, similarity, sky, stars
from sky_grids import tangent

from data_prep.register import align as module
from data_prep.register import register
from data_prep.register.align import _Task, _Unmatched
from data_prep.register.correlate import LARGEST, Correlation
from data_prep.register.pairs import Pairs
from data_prep.register.registration import Registration
from data_prep.register.sources import WINDOW, Sources, measure
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError

SHAPE = (50, 70)
WCS = tangent(SHAPE)


def blank(shape=SHAPE, wcs=None, name="a.fits"):
    return sky(np.zeros(shape, np.float32), wcs, name)


def sources(count):
    number = np.ones(count)
    positions = np.random.default_rng(0).uniform(5, 45, (count, 2))
    return Sources(positions, number, number, number, np.ones(SHAPE, bool))


def task(config=None, both=True, found=(20, 30), target=SHAPE):
    config = RegisterConfig() if config is None else config
    wcs = tangent(target) if both else None
    images = [(np.zeros(shape, np.float32), np.ones(shape, bool)) for shape in (SHAPE, target)]
    return _Task(
        *(blank(wcs=WCS if both else None), blank(target, wcs, "b.fits"), config, both),
        *(tangent(target), lambda p: p, images, [sources(count) for count in found]),
    )


# ------------------------------------------------------------------------------------ the frame


@pytest.mark.parametrize(
    ("dx", "dy", "common"),
    [
        (-69.4, 0.0, True),  # the last centre of 70 lies within the first pixel
        (-69.6, 0.0, False),
        (0.0, -49.4, True),
        (0.0, -49.6, False),
        (69.4, 0.0, True),
        (69.6, 0.0, False),
        (0.0, 49.4, True),
        (0.0, 49.6, False),
        (-60.0, 40.0, True),
        (-80.0, 0.0, False),
    ],
)
def test_images_have_common_sky_if_a_pixel_of_one_is_within_the_other(dx, dy, common):
    def check(predict):
        if common:
            module._require_overlap(blank(), blank(), predict)
        else:
            with pytest.raises(ImgturboError, match=r"a\.fits and a\.fits: no common sky"):
                module._require_overlap(blank(), blank(), predict)

    check(lambda p: p + np.array([dx, dy]))
    if dx < -60:  # places without a pixel count for nothing
        check(lambda p: np.where(p[:, :1] < 68.9, np.nan, p) + np.array([dx, dy]))


def test_what_has_no_pixel_at_all_has_no_common_sky():
    with pytest.raises(ImgturboError, match="no common sky"):
        module._require_overlap(blank(), blank(), lambda p: p * np.nan)


def test_the_common_frame_is_what_falls_on_the_target():
    points = np.array([[1.0, 2.0], [69.4, 2.0], [69.6, 2.0], [-0.4, 3.0], [-0.6, 3.0]])
    points = np.concatenate([points, [[5.0, 49.4], [5.0, 49.6], [5.0, -0.4], [5.0, -0.6]]])
    points = np.concatenate([points, [[np.nan, 1.0]]])
    kept = module._common_frame(points, lambda p: p, SHAPE)
    assert np.array_equal(kept, points[[0, 1, 3, 5, 7]])
    # By the corrected places; and all that are known where none falls there.
    moved = module._common_frame(points - 100, lambda p: p + 100, SHAPE)
    assert np.array_equal(moved, points[[0, 1, 3, 5, 7]] - 100)
    assert np.array_equal(module._common_frame(points, lambda p: p + 500, SHAPE), points[:9])


def test_the_relative_scale_is_the_root_of_the_area_in_the_middle():
    for scale, degrees in [(0.4, 0.0), (1.0, 31.0), (2.5, -100.0)]:
        found = module._relative_scale(similarity(scale, degrees, (3, 4), (1, 2)), SHAPE)
        assert found == pytest.approx(scale)
    matrix = np.array([[2.0, 0.5], [0.0, 3.0]])
    assert module._relative_scale(lambda p: p @ matrix.T, SHAPE) == pytest.approx(np.sqrt(6))
    mirrored = matrix * [[-1.0], [1.0]]
    assert module._relative_scale(lambda p: p @ mirrored.T, SHAPE) == pytest.approx(np.sqrt(6))
    # In the middle, (34.5, 24.5), x grows by 2·34.5 + 1 a pixel and y by 2·24.5 + 1.
    expected = np.sqrt((2 * 34.5 + 1) * (2 * 24.5 + 1))
    assert module._relative_scale(lambda p: p**2, SHAPE) == pytest.approx(expected)
    assert module._relative_scale(lambda p: p * np.nan, SHAPE) == 1.0
    assert module._relative_scale(lambda p: 0 * p, SHAPE) == 1.0


def test_sources_are_measured_again_in_another_window():
    """One that differs by two per cent is the same."""
    places = np.array([[20.2, 20.7], [50.0, 30.4]])
    image = render(places, np.array([90.0, 50.0]), SHAPE, 0.3)
    number = np.ones(2)
    found = Sources(np.rint(places), number, number, number, np.ones(SHAPE, bool))
    for factor in (0.985, 1.0, 1.015):
        assert module._measured(image, found, factor * WINDOW) is found
    for factor in (0.975, 1.025, 2.0):
        again = module._measured(image, found, factor * WINDOW)
        expected = measure(image, found, factor * WINDOW)
        assert np.array_equal(again.positions, expected.positions)


# --------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("model", "least", "needed"),
    [("shift", 3, 3), ("affine", 3, 3), ("polynomial", 3, 10), ("polynomial", 12, 12)],
)
def test_as_many_sources_are_needed_as_the_config_or_the_map_asks(model, least, needed):
    asked = task(RegisterConfig(model=model, degree=3, min_sources=least))
    module._require(asked, needed, "matched")
    with pytest.raises(_Unmatched) as caught:
        module._require(asked, needed - 1, "matched")
    message = str(caught.value)
    assert message.startswith("a.fits and b.fits: too few sources to register, ")
    assert (
        f"{needed - 1} matched of {needed} needed (20 and 30 detected, model '{model}')" in message
    )


def test_a_task_knows_its_degree_its_size_and_how_far_it_searches():
    for model, degree in [("shift", 0), ("affine", 1), ("polynomial", 4)]:
        assert task(RegisterConfig(model=model, degree=4)).degree == degree
    assert task().size == SHAPE
    assert task(RegisterConfig(max_shift=2.0)).search == pytest.approx(2.0 / 0.05)
    assert task(both=False).search is None
    unnamed = replace(blank(), path=None)
    assert replace(task(), source=unnamed).names == "an image without a file and b.fits"


@pytest.mark.parametrize(("side", "asked"), [(LARGEST, True), (LARGEST + 1, False)])
def test_only_small_images_with_coordinates_are_correlated(side, asked, monkeypatch):
    given = []
    monkeypatch.setattr(module, "correlate", lambda *args: given.append(args) or "it")
    for shape in [(side, 30), (30, side)]:
        assert module._correlation(task(target=shape)) == ("it" if asked else None)
    assert module._correlation(task(both=False)) is None
    assert len(given) == 2 * asked
    for source, _, to_source, search in given:
        assert source[0].shape == SHAPE
        assert search == pytest.approx(3.0 / 0.05)
        assert np.allclose(to_source(np.array([[0.0, 0.0]])).shape, (1, 2))


def evident(monkeypatch, alarms, offset, config=None, both=True):
    """Ask for evidence that is made up; the degrees that were tried."""
    tried = []

    def weigh(*args):
        tried.append(args[4])
        log_alarms = alarms[len(tried) - 1]
        return SimpleNamespace(log_alarms=log_alarms, enough=log_alarms < -5)

    monkeypatch.setattr(module, "evidence", weigh)
    given = np.random.default_rng(1).uniform(0, 50, (11, 2))
    pairs = Pairs(given, given + np.array(offset), np.ones(11), 0, np.arange(11))
    module._require_evidence(task(config, both), pairs, given, sources(11), 3.0)
    return tried


def test_coordinates_may_be_certain_by_a_shift_and_without_any_a_map_must(monkeypatch):
    assert evident(monkeypatch, [-9, -1], (1.0, 0.0)) == [0, 1]
    assert evident(monkeypatch, [-1, -9], (1.0, 0.0)) == [0, 1]
    assert evident(monkeypatch, [-9], (1.0, 0.0), RegisterConfig(model="shift")) == [0]
    curved = RegisterConfig(model="polynomial", degree=3)
    assert evident(monkeypatch, [-1, -9], (1.0, 0.0), curved) == [0, 1]
    assert evident(monkeypatch, [-9], (1.0, 0.0), both=False) == [1]
    for both, said in [(True, r"max_shift \(3\.0 arcsec\)"), (False, "pictures that overlap")]:
        with pytest.raises(_Unmatched, match=said):
            evident(monkeypatch, [-4, -3], (1.0, 0.0), both=both)


def test_an_offset_may_exceed_the_search_by_the_radius_of_matching(monkeypatch):
    """A search of 10 pixels, and pairs within 3 of where it leads."""
    config = RegisterConfig(max_shift=0.5)
    for length in (6.9, 9.9, 12.9):
        evident(monkeypatch, [-9, -9], (0.6 * length, -0.8 * length), config)
    with pytest.raises(ImgturboError, match=r"1\.3 times further off than .*0\.5 arcsec") as caught:
        evident(monkeypatch, [-9, -9], (0.6 * 13.1, -0.8 * 13.1), config)
    assert not isinstance(caught.value, _Unmatched)
    evident(monkeypatch, [-9], (900.0, 0.0), both=False)


# ------------------------------------------------------------------------------- the two ways


def certain(enough=True, error=0.1):
    peak = 0.9 if enough else 0.1
    return Correlation(np.array([3.0, 4.0]), np.array([error, 0.0]), peak, 0.1, 1e-4)


def by_both(monkeypatch, matched, residual, correlation):
    """Register by sources that leave a residual, where the images have a correlation."""
    zero = np.zeros((matched, 2))
    first = Registration(
        *(WCS, WCS, "sources", "affine", (20, 30), 0, zero, zero, zero, zero),
        *(np.ones(matched), np.ones(matched), residual),
    )
    monkeypatch.setattr(module, "_by_sources", lambda _: first)
    monkeypatch.setattr(module, "_correlation", lambda _: correlation)
    image = sky(np.zeros(SHAPE, np.float32), WCS)
    return register(image, image, RegisterConfig()).method


@pytest.mark.parametrize(
    ("matched", "residual", "correlation", "method"),
    [
        (15, 0.51, certain(), "correlation"),
        (16, 0.51, certain(), "sources"),
        (15, 0.5, certain(), "sources"),
        (15, 0.51, certain(error=0.52), "sources"),
        (15, 0.51, certain(error=0.51), "sources"),
        (15, 0.51, certain(False), "sources"),
        (15, 0.51, None, "sources"),
    ],
)
def test_a_correlation_competes_with_few_sources_that_fit_poorly(
    monkeypatch, matched, residual, correlation, method
):
    assert by_both(monkeypatch, matched, residual, correlation) == method


def test_a_correlation_becomes_a_shift_with_its_error():
    found = module._shifted(
        task(), Correlation(np.array([3.0, -4.0]), np.array([0.3, 0.4]), 1, 0, 0)
    )
    assert (found.method, found.model, found.found) == ("correlation", "shift", (20, 30))
    assert found.residual_held_out == pytest.approx(0.5)
    assert found.residual_before == pytest.approx(5)
    there = found.target_wcs.world_to_pixel(found.source_wcs.pixel_to_world(20.0, 30.0))
    assert np.allclose(there, (23, 26), atol=1e-3)


# ---------------------------------------------------------------------------------- the start


def test_the_start_is_the_voted_shift_refined(monkeypatch):
    """Votes within a tenth of the search, radii halved from there to three pixels."""
    given = []

    def vote(*args):
        given.append(args)
        return np.array([2.0, 1.0])

    def refined(predicted, observed, start, radii, degree):
        given.append((predicted, observed, start, radii, degree))
        return start, None, None

    monkeypatch.setattr(module, "vote_shift", vote)
    monkeypatch.setattr(module, "refine", refined)
    for arcsec, tolerance, radii in [
        (0.5, 1.5, [3]),
        (2.0, 4.0, [4, 3]),
        (10.0, 20.0, [20, 10, 5, 3]),
    ]:
        for model, degree in [("shift", 0), ("affine", 1), ("polynomial", 1)]:
            given.clear()
            asked = task(RegisterConfig(max_shift=arcsec, model=model))
            known = asked.found[0].positions
            asked = replace(asked, predict=lambda p: np.where(p[:, :1] < 10, np.nan, p) + 7)
            found = module._start(asked)
            (predicted, observed, reach, within), refining = given
            assert np.array_equal(predicted, 7 + known[known[:, 0] >= 10])
            assert 0 < len(predicted) < len(known)
            assert observed is asked.found[1].positions
            assert reach == pytest.approx(arcsec / 0.05)
            assert within == pytest.approx(tolerance)
            assert np.allclose(refining[3], radii)
            assert refining[4] == degree
            assert np.array_equal(found(np.zeros((1, 2))), [[2, 1]])


def test_coordinates_are_trusted_to_the_end_of_the_search():
    """An offset of nine tenths of what may be searched is found, one of one and a half is not."""
    shape = (201, 223)
    wcs = tangent(shape)
    positions, fluxes = stars(21, 60, shape)
    images = [
        sky(render(positions + np.array(offset), fluxes, shape, 0.5, seed), wcs)
        for seed, offset in enumerate([(0, 0), (5.4, -7.2), (9.0, -12.0)])
    ]
    found = register(images[0], images[1], RegisterConfig(max_shift=0.5))
    assert found.residual_before == pytest.approx(9, abs=0.1)
    assert found.residual_held_out < 0.1
    with pytest.raises(ImgturboError):
        register(images[0], images[2], RegisterConfig(max_shift=0.5))


def test_the_target_of_larger_pixels_is_measured_in_its_own_window(monkeypatch):
    """Both in one window on the sky: the larger of the two pixels' 1.5; the radii likewise."""
    given, radii = [], []
    real, refined = module._measured, module.refine
    monkeypatch.setattr(
        module, "_measured", lambda image, s, w: given.append(w) or real(image, s, w)
    )

    def refine(predicted, observed, start, widths, degree):
        radii.append((widths, degree))
        return refined(predicted, observed, start, widths, degree)

    monkeypatch.setattr(module, "refine", refine)
    shape = (201, 223)
    positions, fluxes = stars(22, 50, shape)
    fine, coarse = tangent((402, 446), 0.025), tangent(shape, 0.05)
    to_fine = 2 * positions + 0.5
    first = sky(render(positions, fluxes, shape, 0.5, 1), coarse)
    second = sky(render(to_fine, fluxes, (402, 446), 0.5, 2, width=2.8), fine)
    for pair, windows, reach in [
        ((first, second), (1.5, 3.0), 6.0),
        ((second, first), (3.0, 1.5), 3.0),
    ]:
        given.clear()
        radii.clear()
        found = register(*pair, RegisterConfig(model="shift", max_shift=0.5))
        assert np.allclose(given, windows, rtol=1e-3)
        assert np.allclose(radii[-1][0], [2 * reach, reach, reach], rtol=1e-3)
        assert radii[-1][1] == 0
        assert found.residual_before < 0.05
        assert found.noise.max() < 0.3
