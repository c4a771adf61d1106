"""A map of pixels becomes a WCS that follows it to a thousandth of a pixel."""

import numpy as np
import pytest
from astropy.wcs import WCS
from reproject import reproject_interp
from sky_grids import tangent

from data_prep.register.coordinates import fit_wcs, nominal_wcs, pixels_to_pixels

SHAPE = (211, 307)


def points(shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, np.array([shape[1], shape[0]]) - 0.5, (500, 2))


def affine(p):
    return p @ np.array([[0.8, 0.11], [-0.1, 0.79]]) + [12.0, -7.5]


def curved(p):
    u, v = (p - 150).T / 150
    return affine(p) + np.stack([3 * u * v + u**3, 2 * v**2 - u**2 * v], axis=1)


def wavy(p):
    return affine(p) + np.stack([np.sin(p[:, 1] / 60), np.cos(p[:, 0] / 50)], axis=1)


def galactic():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLAT-CAR", "GLON-CAR"]
    wcs.wcs.crval = [0.0, 30.0]
    wcs.wcs.crpix = [40.0, 50.0]
    wcs.wcs.cdelt = [2e-5, -2e-5]
    return wcs


def far_away():
    """A cut-out of a large mosaic: the reference pixel lies far outside."""
    wcs = tangent(SHAPE, 0.05, 31.0)
    wcs.wcs.crpix = [-15000.0, 9000.0]
    return wcs


@pytest.mark.parametrize("target", [nominal_wcs((199, 301)), far_away(), galactic()])
@pytest.mark.parametrize(("mapping", "tables"), [(affine, False), (curved, False), (wavy, True)])
def test_the_fitted_wcs_follows_the_map_both_ways(target, mapping, tables):
    wcs = fit_wcs(mapping, SHAPE, target, tables)
    there = pixels_to_pixels(wcs, target, points())
    assert np.abs(there - mapping(points())).max() < (5e-3 if tables else 1e-3)
    assert (wcs.cpdis1 is not None) == tables
    back = pixels_to_pixels(target, wcs, there)
    assert np.abs(back - points()).max() < 1e-2


def test_an_affine_map_needs_no_distortion_and_survives_a_header():
    target = far_away()
    wcs = fit_wcs(affine, SHAPE, target)
    assert wcs.sip is None
    again = WCS(wcs.to_header(relax=True))
    assert np.allclose(pixels_to_pixels(again, target, points()), affine(points()), atol=1e-3)


@pytest.mark.parametrize("mapping", [curved, wavy])
def test_reproject_and_slices_understand_it(mapping):
    """A plane painted with its own coordinates lands where the map says, whole or cut out."""
    target = nominal_wcs((199, 301))
    wcs = fit_wcs(mapping, SHAPE, target, tables=mapping is wavy)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    where, _ = reproject_interp((np.stack([x, y]), wcs), target, shape_out=(199, 301))
    # Beyond the centres of the outermost pixels there is nothing to interpolate between.
    known = (where[0] > 0.5) & (where[0] < SHAPE[1] - 1.5)
    known &= (where[1] > 0.5) & (where[1] < SHAPE[0] - 1.5)
    assert known.mean() > 0.3
    rows, columns = np.nonzero(known)
    mapped = mapping(np.stack([where[0][known], where[1][known]], axis=1))
    assert np.abs(mapped - np.stack([columns, rows], axis=1)).max() < 0.02
    cut = wcs.slice((slice(31, 150), slice(47, 200)))
    inner = np.array([[10.0, 20.0], [100.0, 77.0]])
    assert np.allclose(
        pixels_to_pixels(cut, target, inner), mapping(inner + np.array([47, 31])), atol=5e-3
    )


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (1, 1)])
def test_the_middle_of_a_picture_without_coordinates_is_its_nominal_centre(shape):
    wcs = nominal_wcs(shape)
    height, width = shape
    sky = wcs.pixel_to_world((width - 1) / 2, (height - 1) / 2)
    assert (sky.ra.deg, sky.dec.deg) == pytest.approx((180, 0), abs=1e-9)
    assert wcs.array_shape == shape
