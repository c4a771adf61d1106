"""A map of pixels becomes a WCS that follows it to a thousandth of a pixel."""

import numpy as np
import pytest
from astropy.wcs import WCS
from reproject import reproject_interp
from sky_grids import tangent

from data_prep.register import coordinates as module
from data_prep.register.coordinates import fit_wcs, frame_points, nominal_wcs, pixels_to_pixels

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


# ---------------------------------------------------------------------------------- its pieces


def bent(degree, amount=30.0):
    """A map that is a polynomial of exactly this degree."""

    def mapping(p):
        u, v = (p - [153, 105]).T / 153
        return affine(p) + amount * np.stack([u**degree, u * v ** (degree - 1)], axis=1)

    return mapping


def test_a_picture_without_coordinates_has_pixels_of_one_arcsec_north_up():
    wcs = nominal_wcs((7, 12))
    middle = wcs.pixel_to_world(5.5, 3.0)
    for (x, y), (east, north) in [((6.5, 3.0), (-1, 0)), ((5.5, 4.0), (0, 1))]:
        step = wcs.pixel_to_world(x, y)
        assert (step.ra - middle.ra).arcsec == pytest.approx(east, abs=1e-6)
        assert (step.dec - middle.dec).arcsec == pytest.approx(north, abs=1e-6)
    assert wcs.wcs.name == "NOMINAL"
    assert wcs.wcs.radesys == "ICRS"


def test_a_frame_is_spanned_from_rim_to_rim():
    expected = [[x, y] for y in (-0.5, 1.0, 2.5) for x in (-0.5, 2.0, 4.5)]
    assert frame_points((3, 5), 3).tolist() == expected


def test_where_there_is_no_pixel_there_is_nan_and_no_warning():
    far = tangent(SHAPE, 0.05, ra=330.0, dec=-2.0)
    assert np.isnan(pixels_to_pixels(tangent(SHAPE, 0.05), far, points())).all()


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_the_order_rises_until_the_map_is_followed(degree):
    """About the middle of the image; an affine map keeps the target's own reference."""
    target = nominal_wcs((199, 301))
    wcs = fit_wcs(bent(degree), SHAPE, target)
    assert wcs.sip.a_order == degree
    assert wcs.cpdis1 is None
    assert np.allclose(wcs.wcs.crpix, [154, 106])
    there = pixels_to_pixels(wcs, target, points())
    assert np.abs(there - bent(degree)(points())).max() < 1e-3
    assert np.array_equal(fit_wcs(affine, SHAPE, target).wcs.crval, [180, 0])


def test_what_no_order_follows_goes_into_tables():
    target = nominal_wcs((199, 301))
    wcs = fit_wcs(bent(7), SHAPE, target)
    assert wcs.cpdis1 is not None
    there = pixels_to_pixels(wcs, target, points())
    assert np.abs(there - bent(7)(points())).max() < 0.05
    # Followed to eight pixels beyond the rim as well.
    wide = frame_points((SHAPE[0] + 15, SHAPE[1] + 15), 30) - 7.5
    there = pixels_to_pixels(wcs, target, wide)
    assert np.abs(there - bent(7)(wide)).max() < 0.2


@pytest.mark.parametrize(
    ("shape", "nodes"), [((40, 61), (11, 16)), ((5, 9), (3, 3)), ((8, 2100), (3, 513))]
)
def test_tables_have_a_node_every_four_pixels(shape, nodes):
    """At least three a side, at most 513; from eight pixels before the first to eight beyond."""
    target = nominal_wcs(shape)

    def wave(p):
        return p + 0.2 * np.sin(p[:, ::-1] / 9)

    wcs = fit_wcs(wave, shape, target, tables=True)
    assert wcs.cpdis1.data.shape == wcs.cpdis2.data.shape == nodes
    x, y = (np.linspace(-8, side + 8, n) for side, n in zip(shape[::-1], nodes[::-1], strict=True))
    places = np.stack([m.ravel() for m in np.meshgrid(x, y)], axis=1)
    inner = ((places > -8) & (places < np.array(shape[::-1]) + 8)).all(1)
    there = pixels_to_pixels(wcs, target, places[inner])
    assert np.abs(there - wave(places[inner])).max() < 2e-4


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_error_of_a_fit_is_its_largest_distance_in_source_pixels(order):
    target = nominal_wcs((199, 301))
    truth = bent(4, 5.0)
    grid = frame_points(SHAPE, 25)
    sky = np.stack(target.pixel_to_world_values(*truth(grid).T), axis=1)
    middle = target.pixel_to_world_values(*truth(np.array([[153.0, 105.0]])).T)
    crval = np.array(middle).ravel()
    wcs, error = module._tangent(grid, sky, crval, target, SHAPE, order)
    plane = wcs.wcs_world2pix(sky, 0)
    seen = wcs.wcs_world2pix(wcs.all_pix2world(grid, 0), 0)
    assert error == pytest.approx(np.hypot(*(plane - seen).T).max(), rel=0.05)
    assert error > 0.1
    # On the far side of the sky there is no tangent plane.
    assert module._tangent(grid, sky, np.array([0.0, 0.0]), target, SHAPE, order)[1] == np.inf


def test_the_fitted_wcs_is_in_the_targets_frame():
    target = WCS(naxis=2)
    target.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    target.wcs.crval, target.wcs.crpix = [150.0, 2.0], [50.0, 60.0]
    target.wcs.cdelt = [-2e-5, 2e-5]
    target.wcs.radesys, target.wcs.equinox, target.wcs.name = "FK5", 1975.0, "SKY"
    target.wcs.set()
    for mapping, kind in [(affine, "TAN"), (curved, "TAN-SIP")]:
        wcs = fit_wcs(mapping, SHAPE, target)
        assert list(wcs.wcs.ctype) == [f"RA---{kind}", f"DEC--{kind}"]
        assert (wcs.wcs.radesys, wcs.wcs.equinox, wcs.wcs.name) == ("FK5", 1975.0, "SKY")
        assert list(wcs.wcs.cunit) == ["deg", "deg"]
        assert wcs.array_shape == SHAPE
        assert np.abs(pixels_to_pixels(wcs, target, points()) - mapping(points())).max() < 1e-3
    plain = nominal_wcs((9, 9))
    assert np.isnan(fit_wcs(affine, SHAPE, plain).wcs.equinox) == np.isnan(plain.wcs.equinox)


def test_a_wide_target_is_left_where_it_is_and_the_fit_goes_to_the_source():
    """Its reference is out of sight of the source's sky, more than a quarter of a turn away."""
    target = WCS(naxis=2)
    target.wcs.ctype = ["RA---CAR", "DEC--CAR"]
    target.wcs.crval, target.wcs.crpix, target.wcs.cdelt = [0.0, 0.0], [1800.0, 900.0], [-0.1, 0.1]
    target.wcs.set()

    def far(p):
        return 0.01 * p + [600.0, 950.0]

    wcs = fit_wcs(far, SHAPE, target)
    assert np.abs(wcs.wcs.crval[0] - 120) < 1
    there = pixels_to_pixels(wcs, target, points())
    assert np.abs(there - far(points())).max() < 1e-5
