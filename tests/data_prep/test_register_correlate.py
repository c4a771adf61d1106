"""Where there are too few sources, the images themselves give the shift, or it is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.registration import phase_cross_correlation

from benchmarks.registration import picture, tangent
from data_prep.register import register
from data_prep.register.correlate import correlate, masked_correlation
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage


def galaxy(seed, size, shifts, colours=0.2):
    """A galaxy with knots and companions in noise, seen once for each shift."""
    rng = np.random.default_rng(seed)
    count = rng.integers(3, 7)
    points = size / 2 + np.concatenate([[[0.0, 0.0]], rng.normal(0, size / 8, (count, 2))])
    fluxes = np.concatenate([[rng.uniform(1000, 5000)], rng.uniform(60, 600, count)])
    widths = np.concatenate([[rng.uniform(3, 7)], rng.uniform(1.2, 3, count)])
    for shift in shifts:
        seen = fluxes * rng.lognormal(0, colours, len(fluxes))
        yield SkyImage.from_array(
            picture(points + shift, seen, widths, size, rng), wcs=tangent(size)
        )


def brute(fixed, fixed_mask, moving, moving_mask, dy, dx):
    """Pearson's correlation over the overlap at one shift, by hand."""
    height, width = fixed.shape
    here = np.s_[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
    there = np.s_[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
    both = fixed_mask[here] & moving_mask[there]
    return np.corrcoef(fixed[here][both], moving[there][both])[0, 1], both.sum()


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(9, 23), st.integers(9, 23)),
    seed=st.integers(0, 999),
    where=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_masked_correlation_is_pearsons_over_the_overlap(shape, seed, where):
    rng = np.random.default_rng(seed)
    fixed, moving = rng.normal(3, 1, (2, *shape))
    masks = rng.random((2, *shape)) < 0.8
    dy, dx = (int(w * n) for w, n in zip(where, shape, strict=True))
    rho, overlap = masked_correlation(fixed, masks[0], moving, masks[1])
    expected, count = brute(fixed, masks[0], moving, masks[1], dy, dx)
    assert rho.shape == (2 * shape[0] - 1, 2 * shape[1] - 1)
    assert overlap[shape[0] - 1 + dy, shape[1] - 1 + dx] == count
    assert rho[shape[0] - 1 + dy, shape[1] - 1 + dx] == pytest.approx(expected, abs=1e-6)


def test_its_maximum_is_scikit_images():
    first, second = (i.data[0].astype(float) for i in galaxy(3, 71, [(0, 0), (4.0, -3.0)]))
    rng = np.random.default_rng(0)
    masks = rng.random((2, 71, 71)) < 0.9
    rho, overlap = masked_correlation(first, masks[0], second, masks[1])
    rho = np.where(overlap > 0.4 * overlap.max(), rho, -1)
    place = np.array(np.unravel_index(rho.argmax(), rho.shape)) - 70
    theirs = phase_cross_correlation(
        first, second, reference_mask=masks[0], moving_mask=masks[1], overlap_ratio=0.4
    )[0]
    assert np.array_equal(place, theirs)


def test_cutouts_are_shifted_and_the_error_is_stated():
    """Rms of what is wrong, over what is stated: near one, never much above."""
    wrong, stated = [], []
    for seed in range(30):
        shift = np.random.default_rng(seed).uniform(-2, 2, 2)
        size = 90 + 2 * seed
        source, target = galaxy(seed, size, [(0, 0), shift])
        try:
            found = register(source, target, RegisterConfig())
        except ImgturboError:
            continue
        if found.method == "correlation":
            wrong.append(np.hypot(*(found.polynomial.coefficients[0] - shift)))
            stated.append(found.residual_held_out)
            assert found.residual_at([3.0], [4.0]) == pytest.approx(stated[-1])
            assert "correlation" in str(found)
    assert len(wrong) > 15
    ratio = np.sqrt(np.mean(np.square(stated)) / np.mean(np.square(wrong)))
    assert 0.8 < ratio < 1.6


def test_holes_do_no_harm_and_other_scales_are_met():
    shift = np.array([2.4, -1.3])
    source, target = galaxy(8, 121, [(0, 0), shift])
    data = source.data.copy()
    data[:, :20] = np.nan
    data[:, 70:80, 20:45] = np.nan
    found = register(SkyImage.from_array(data, wcs=source.wcs), target, RegisterConfig())
    assert found.method == "correlation"
    assert np.hypot(*(found.polynomial.coefficients[0] - shift)) < 4 * found.residual_held_out


@pytest.mark.parametrize("seed", range(6))
def test_other_galaxies_are_refused(seed):
    """Neither in the middle of both frames, nor anywhere else."""
    (source,), (target,) = galaxy(seed, 111, [(0, 0)]), galaxy(seed + 50, 111, [(6.0, 9.0)])
    with pytest.raises(ImgturboError, match="nor do the images themselves agree: correlation"):
        register(source, target, RegisterConfig())


def test_nothing_correlates_with_nothing():
    empty = (np.zeros((40, 50), np.float32), np.zeros((40, 50), bool))
    sky = (np.random.default_rng(0).normal(0, 1, (40, 50)).astype(np.float32), ~empty[1])
    assert correlate(empty, sky, lambda p: p, 20.0) is None
    assert correlate(sky, empty, lambda p: p, 20.0) is None
    other = (sky[0][::-1].copy(), sky[1])
    found = correlate(sky, other, lambda p: p, 20.0)
    assert found is None or not found.enough
