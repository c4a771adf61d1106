"""Zero points that headers state, against arithmetic done by hand."""

from __future__ import annotations

import math

import pytest

from imgturbo.sky.photometry import ARCSEC2, FluxScale

HST = {"PHOTFLAM": 7.07236e-20, "PHOTPLAM": 8059.86}  # 25.937 of one electron in a second
AREA = 0.0016 * ARCSEC2


@pytest.mark.parametrize(
    ("unit", "cards", "of_one"),
    [
        ("electron/s", {}, 1.0),
        ("kct/s", {}, 1e3),
        ("10 electron/s", {}, 10.0),
        ("10**-3 DN/s", {}, 1e-3),
        ("electron/min", {}, 1 / 60),
        ("electrons/hr", {}, 1 / 3600),
        ("count/ms", {}, 1e3),
        ("electron", {"EXPTIME": 500.0}, 1 / 500),
        ("kct", {"EXPTIME": 500.0}, 2.0),
        ("DN", {"XPOSURE": 50.0}, 0.02),
        ("DN", {"EFFEXPTM": 50.0}, 0.02),
        ("DN", {"EXPTIME": 0.0, "TEXPTIME": 50.0}, 0.02),
        ("electron/s/arcsec2", {}, 0.0016),
        ("electron/arcsec2", {"EXPTIME": 500.0}, 0.0016 / 500),
    ],
)
def test_multiples_of_what_is_counted_have_their_own_zero_point(unit, cards, of_one):
    for calibration, of_rate in (
        (HST, 25.937),
        ({"PHOTFNU": 1e-7}, 26.4),
        ({"PHOTMJSR": 2.0}, 8.9 - 2.5 * math.log10(2e6 * AREA)),
    ):
        found = FluxScale.of_header({"BUNIT": unit, **cards, **calibration}, AREA).zeropoint
        assert found == pytest.approx(of_rate - 2.5 * math.log10(of_one), abs=2e-3)


@pytest.mark.parametrize(
    ("unit", "area"), [("electron", AREA), ("electron/s/arcsec2", None), ("cm-2 ct s-1", AREA)]
)
def test_what_a_detector_counted_is_asked_for(unit, area):
    assert FluxScale.of_header({"BUNIT": unit, **HST}, area).zeropoint is None


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"ABMAG": 26.1}, 26.1),
        ({"ZP_AB": "26.1"}, 26.1),
        ({"MAGZP": 26.1}, None),  # of WISE and 2MASS it is Vega's
        ({"MAGZP": 26.1, "MAGSYS": "Vega"}, None),
        ({"MAGZP": 26.1, "MAGSYS": "AB"}, 26.1),
        ({"ZP": 26.1, "PHOTSYS": "ABmag"}, 26.1),
        ({"ABMAG": 26.1, "MAGSYS": "VEGA"}, None),
    ],
)
def test_zero_points_under_other_names(cards, expected):
    assert FluxScale.of_header({"BUNIT": "DN", **cards}, AREA).zeropoint == expected
