"""Registration finds what was put in, says how well, and refuses what it cannot know."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from register_scenes import render, similarity, sky, stars
from sky_grids import tangent

from data_prep.register import register
from data_prep.register.coordinates import pixels_to_pixels
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError

SHAPE = (307, 353)
MIDDLE = (176.0, 153.0)


def grid(shape=SHAPE, step=37):
    y, x = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)


def error(registration, truth, points):
    """Largest distance in target pixels between the registered WCS and the true map."""
    mapped = pixels_to_pixels(registration.source_wcs, registration.target_wcs, points)
    return float(np.hypot(*(mapped - truth(points)).T).max())


def pair(truth, seed=1, count=110, noise=0.5, wcs=(None, None), shape=SHAPE, target_shape=None):
    """A source and the target that sees its stars at ``truth`` of their source positions."""
    positions, fluxes = stars(seed, count, shape)
    source = render(positions, fluxes, shape, noise, seed)
    target = render(truth(positions), fluxes, target_shape or shape, noise, seed + 1)
    return sky(source, wcs[0], "source.fits"), sky(target, wcs[1], "target.fits")


@settings(max_examples=6, deadline=None)
@given(
    scale=st.floats(0.85, 1.2),
    degrees=st.floats(-180, 180),
    dx=st.floats(-40, 40),
    dy=st.floats(-40, 40),
    seed=st.integers(1, 1000),
)
def test_pictures_are_registered_from_sources_alone(scale, degrees, dx, dy, seed):
    truth = similarity(scale, degrees, (dx, dy), MIDDLE)
    source, target = pair(truth, seed)
    found = register(source, target, RegisterConfig())
    assert found.matched >= 15
    assert found.nominal
    inside = [p for p in grid() if (truth(p[None])[0] > 20).all()]
    inside = [p for p in inside if (truth(np.array([p]))[0] < np.array([330, 285])).all()]
    assert error(found, truth, np.array(inside)) < 0.1
    assert found.residual_after < 0.2


def test_affine_is_recovered_to_a_twentieth_of_a_pixel():
    matrix = np.array([[1.009, 0.008], [-0.006, 0.991]])
    source, target = pair(lambda p: p @ matrix.T + [4.3, -3.6])
    found = register(source, target, RegisterConfig())
    assert error(found, lambda p: p @ matrix.T + [4.3, -3.6], grid()) < 0.05
    assert found.residual_before > 3
    assert found.residual_after < 0.1
    assert found.residual_held_out < 0.1


def test_identity_stays_identity():
    positions, fluxes = stars(5, 80, SHAPE)
    image = render(positions, fluxes, SHAPE)
    found = register(sky(image), sky(image), RegisterConfig())
    assert error(found, lambda p: p, grid()) < 1e-3
    assert found.residual_before < 1e-3


def test_given_coordinates_are_corrected_by_what_they_lack():
    """Two grids, rotation and scale between them, and a pointing error of 0.2 arcsec."""
    ours, theirs = tangent(SHAPE, 0.05, 20.0), tangent((401, 457), 0.04, -7.0)
    offset = np.array([4.1, -2.7])

    def truth(points):
        return pixels_to_pixels(ours, theirs, points) + offset

    source, target = pair(truth, wcs=(ours, theirs), target_shape=(401, 457))
    for model in ("shift", "affine", "polynomial"):
        found = register(source, target, RegisterConfig(model=model, max_shift=0.5))
        assert error(found, truth, grid()) < 0.1
        assert np.isclose(found.residual_before, np.hypot(*offset), atol=0.1)
        assert found.target_wcs is theirs
        assert not found.nominal


def test_polynomial_distortion_is_recovered():
    def truth(p):
        u, v = (p - MIDDLE).T / 180
        return p + np.stack([2.0 * u * v + 1.0, 1.5 * u**2 - 1.0 * v**2], axis=1)

    source, target = pair(truth)
    affine = register(source, target, RegisterConfig())
    curved = register(source, target, RegisterConfig(model="polynomial", degree=2))
    assert curved.residual_held_out < 0.1 < affine.residual_held_out
    assert error(curved, truth, grid()) < 0.1


def test_a_polynomial_is_not_let_loose_where_there_is_no_source():
    """Stars in one corner only: degree 5 would fold elsewhere, and then has no inverse."""
    truth = similarity(1.01, 1.0, (3, -2), MIDDLE)
    positions, fluxes = stars(3, 70, (170, 190), margin=5)
    source = sky(render(positions, fluxes, SHAPE, noise=3.0))
    target = sky(render(truth(positions), fluxes, SHAPE, noise=3.0, seed=8))
    found = register(source, target, RegisterConfig(model="polynomial", degree=5))
    assert error(found, truth, grid()) < 5
    there = pixels_to_pixels(found.source_wcs, found.target_wcs, grid())
    back = pixels_to_pixels(found.target_wcs, found.source_wcs, there)
    assert np.allclose(back, grid(), atol=1e-3)


def test_local_shifts_are_recovered_and_never_invented():
    def truth(p):
        x, y = p.T
        wave = [0.9 * np.sin(x / 45) + 0.5, 0.9 * np.cos(y / 50) * np.sin(x / 60)]
        return p + np.stack(wave, axis=1)

    source, target = pair(truth, count=300)
    smooth = register(source, target, RegisterConfig())
    local = register(source, target, RegisterConfig(local=True))
    assert local.local is not None
    assert local.residual_held_out < 0.6 * smooth.residual_held_out
    inner = grid()[(grid() > 20).all(1) & (grid() < [330, 285]).all(1)]
    assert error(local, truth, inner) < 0.5 * error(smooth, truth, inner)

    straight = register(*pair(lambda p: p + 2.5, count=300), RegisterConfig(local=True))
    assert straight.local is None


def test_outliers_and_one_sided_sources_do_not_matter():
    """A third of the stars are in one image only, others are seen a pixel off."""
    truth = similarity(1.01, 1.0, (6, -4), MIDDLE)
    positions, fluxes = stars(7, 160, SHAPE)
    off = truth(positions)
    off[:20] += 1.2
    source = render(positions[:130], fluxes[:130], SHAPE)
    target = render(np.delete(off, np.s_[30:60], 0), np.delete(fluxes, np.s_[30:60]), SHAPE, seed=9)
    found = register(sky(source), sky(target), RegisterConfig())
    assert error(found, truth, grid()) < 0.1
    assert found.rejected > 0


def test_missing_pixels_and_partial_overlap_do_no_harm():
    """NaN borders, a NaN block, a band that misses a corner; half the field in common."""
    truth = similarity(1.0, 3.0, (150, 20), MIDDLE)
    source, target = pair(truth, count=160)
    bands = np.concatenate([source.data, 3 * source.data])
    bands[:, :25] = np.nan
    bands[:, 100:150, 60:120] = np.nan
    bands[1, 250:, 200:] = np.nan
    found = register(sky(bands), target, RegisterConfig())
    points = np.array([[60.0, 60.0], [150.0, 200.0], [100.0, 250.0]])
    assert error(found, truth, points) < 0.1
    assert np.isfinite(found.after).all()
    assert np.isfinite(found.positions).all()


def test_residual_is_local_and_the_record_is_json():
    source, target = pair(lambda p: p + 3)
    found = register(source, target, RegisterConfig())
    near = found.residual_at(np.array([[50.0, 60.0, 70.0]]), np.array([[90.0], [200.0]]))
    assert near.shape == (2, 3)
    assert ((near >= 0) & (near < 0.3)).all()
    assert found.residual_at(1e6, 1e6) < 0.3
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["matched"] == found.matched
    assert record["residual_after"] == pytest.approx(found.residual_after, abs=1e-5)


def test_method_none_keeps_the_coordinates_and_knows_no_residual():
    ours, theirs = tangent(SHAPE, 0.05), tangent(SHAPE, 0.05, 5.0)
    source, target = pair(lambda p: p, count=5, wcs=(ours, theirs))
    found = register(source, target, RegisterConfig(method="none"))
    assert found.source_wcs is ours
    assert np.isnan(found.residual_after)
    assert np.isnan(found.residual_at([1.0, 2.0], [3.0, 4.0])).all()
    json.dumps(found.to_dict(), allow_nan=False)
    pictures = register(sky(source.data), sky(target.data), RegisterConfig(method="none"))
    assert error(pictures, lambda p: p, grid()) < 1e-6


def test_a_shift_can_rest_on_four_sources():
    ours = tangent((110, 110), 0.05)
    positions = np.array([[30.0, 40.0], [70.0, 35.0], [55.0, 80.0], [82.0, 66.0]])
    fluxes = np.array([300.0, 200.0, 150.0, 90.0])
    source = sky(render(positions, fluxes, (110, 110)), ours)
    target = sky(render(positions + np.array([3.2, -5.4]), fluxes, (110, 110), seed=4), ours)
    config = RegisterConfig(model="shift", min_sources=3, max_shift=1.0)
    found = register(source, target, config)
    assert found.matched == 4
    assert np.allclose(found.before.mean(0), [3.2, -5.4], atol=0.1)
    assert np.isfinite(found.residual_held_out)


@pytest.mark.parametrize("wcs", [None, tangent(SHAPE, 0.05)])
def test_too_few_sources_are_refused_with_counts_and_remedy(wcs):
    (source, _), (_, target) = (pair(lambda p: p, seed, 4, wcs=(wcs, wcs)) for seed in (1, 2))
    with pytest.raises(ImgturboError) as caught:
        register(source, target, RegisterConfig(model="polynomial", degree=3))
    message = str(caught.value)
    for part in ("source.fits", "target.fits", "of 10 needed", "detected", "method=none"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("blank", [np.nan, 0.0, 7.0])
def test_blank_images_have_too_few_sources(blank):
    _, target = pair(lambda p: p)
    with pytest.raises(ImgturboError, match="0 detected"):
        register(sky(np.full(SHAPE, blank, np.float32)), target, RegisterConfig())


def test_unrelated_pictures_are_refused_not_forced():
    first, _ = pair(lambda p: p, seed=11)
    second, _ = pair(lambda p: p, seed=12)
    with pytest.raises(ImgturboError, match="matched"):
        register(first, second, RegisterConfig())


@pytest.mark.parametrize("away", [0.1, 120.0])
def test_no_common_sky_names_both_files(away):
    ours, theirs = tangent(SHAPE, 0.05), tangent(SHAPE, 0.05)
    theirs.wcs.crval = [150.1 + away, 2.2]
    source, target = pair(lambda p: p, wcs=(ours, theirs))
    for method in ("none", "sources"):
        with pytest.raises(ImgturboError, match=r"source\.fits and target\.fits: no common sky"):
            register(source, target, RegisterConfig(method=method))
