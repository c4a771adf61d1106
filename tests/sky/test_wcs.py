"""What a header means is what its WCS says, and coordinates survive being written."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area

from imgturbo.sky.frames import same_grid
from imgturbo.sky.headers import quiet
from imgturbo.sky.wcs import celestial_wcs, pixel_area, wcs_cards

SHAPE = (211, 173)


def away(a, b):
    """Largest distance in pixels between two WCS over an image."""
    y, x = np.mgrid[0 : SHAPE[0] : 30, 0 : SHAPE[1] : 30].astype(float)
    apart = a.pixel_to_world(x, y).separation(b.pixel_to_world(x, y)).deg
    return float(apart.max() / np.sqrt(proj_plane_pixel_area(a)))


def test_left_over_sip_terms_count_for_nothing(make_wcs):
    plain = make_wcs(SHAPE)
    header = plain.to_header()
    header["A_ORDER"], header["B_ORDER"] = 2, 2
    header["A_2_0"], header["B_0_2"], header["AP_ORDER"], header["AP_1_0"] = 1e-3, 1e-3, 1, 1e-3
    with pytest.warns(UserWarning, match="SIP coefficients, but CTYPE does not end in -SIP"):
        wcs = celestial_wcs(header)
    assert wcs is not None
    assert wcs.sip is None
    assert away(plain, wcs) < 1e-6


def test_lookup_tables_and_pv_terms_of_other_files_count_for_nothing(make_wcs):
    plain = make_wcs(SHAPE)
    header = plain.to_header()
    header["CPDIS1"], header["CPERR1"], header["D2IMDIS1"] = "LOOKUP", 0.1, "LOOKUP"
    header["DP1.EXTVER"] = 1
    header["PV1_1"], header["PV2_1"], header["PV2_2"] = 1.01, 1.02, 0.4
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    wcs = celestial_wcs(header)
    assert wcs is not None
    assert not wcs.has_distortion
    assert away(plain, wcs) < 1e-6


def test_a_promised_polynomial_that_is_missing_is_no_polynomial(make_wcs):
    header = make_wcs(SHAPE).to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    wcs = celestial_wcs(header)
    assert wcs is not None
    assert list(wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"]


def test_true_sip_terms_are_kept_and_written(make_wcs):
    distorted = make_wcs(SHAPE, sip=True)
    header = fits.Header.fromstring(wcs_cards(distorted).tostring())
    wcs = celestial_wcs(header)
    assert wcs is not None
    assert wcs.sip is not None
    assert away(distorted, wcs) < 1e-6
    assert away(make_wcs(SHAPE), wcs) > 0.5


@pytest.mark.parametrize("scale", [0.031, 0.2])
def test_cards_bring_coordinates_back(make_wcs, scale):
    wcs = make_wcs(SHAPE, scale=scale, angle=131.7, ra=0.0003, dec=-72.3)
    again = celestial_wcs(fits.Header.fromstring(wcs_cards(wcs).tostring()))
    assert again is not None
    assert away(wcs, again) < 1e-6
    assert pixel_area(again) == pytest.approx((scale / 206264.806) ** 2, rel=1e-6)


def test_a_cube_has_the_coordinates_of_its_planes(make_wcs):
    header = make_wcs(SHAPE).to_header()
    header["NAXIS"] = 3
    header["WCSAXES"] = 3
    header["CTYPE3"], header["CRVAL3"], header["CDELT3"], header["CRPIX3"] = "WAVE", 1.0, 1.0, 1.0
    wcs = celestial_wcs(header)
    assert wcs is not None
    assert wcs.naxis == 2
    assert away(make_wcs(SHAPE), wcs) < 1e-6


@pytest.mark.parametrize(
    "cards",
    [{}, {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, {"CTYPE1": "RA---TAN"}],
    ids=["none", "linear", "half"],
)
def test_no_sky_no_wcs(cards):
    assert celestial_wcs(fits.Header(cards)) is None


def test_grids_agree_to_a_hundredth_of_a_pixel(make_wcs):
    wcs = make_wcs(SHAPE)
    near, far = wcs.deepcopy(), wcs.deepcopy()
    near.wcs.crpix += 0.005
    far.wcs.crpix += 0.02
    assert same_grid(wcs, near, SHAPE)
    assert not same_grid(wcs, far, SHAPE)


OBSERVATION = {
    "DATE-OBS": "2022-06-29T01:02:03",
    "DATE-BEG": "2022-06-29T01:02:03",
    "DATE-AVG": "2022-06-29T01:12:03",
    "DATE-END": "2022-06-29T01:22:03",
    "MJD-OBS": 59759.04,
    "MJD-BEG": 59759.04,
    "MJD-AVG": 59759.05,
    "MJD-END": 59759.06,
    "TIMESYS": "UTC",
    "XPOSURE": 1200.0,
    "TELAPSE": 1210.0,
    "OBSGEO-X": 1.0e9,
    "OBSGEO-Y": 1.0e9,
    "OBSGEO-Z": 1.0e8,
    "VELOSYS": -1.5,
    "SPECSYS": "BARYCENT",
    "JEPOCH": 2022.5,
}


@pytest.mark.parametrize("read", [WCS, celestial_wcs])
def test_cards_say_where_pixels_lie_and_nothing_of_the_observation(make_wcs, read):
    header = make_wcs(SHAPE).to_header()
    header.update(OBSERVATION)
    with quiet():
        cards = wcs_cards(read(header))
    assert not set(cards) & set(OBSERVATION)
    assert {"CTYPE1", "CRPIX1", "CRVAL2", "CDELT1", "PC1_2", "RADESYS"} <= set(cards)
    assert away(make_wcs(SHAPE), celestial_wcs(fits.Header.fromstring(cards.tostring()))) < 1e-6
