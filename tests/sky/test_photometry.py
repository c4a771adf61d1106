"""Units and zero points against arithmetic done by hand and numbers published by observatories."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.sky.bands import band_name
from imgturbo.sky.photometry import ARCSEC2, FluxScale, check_display, check_resizable
from imgturbo.sky.units import parse_unit


@pytest.mark.parametrize(
    ("header", "unit", "area", "expected"),
    [
        ({}, "10 nJy", None, 28.9),
        ({}, "nJy", None, 31.4),
        ({}, "uJy", None, 23.9),
        ({}, "mJy", None, 16.4),
        ({}, "mJy/pixel", None, 16.4),
        ({}, "Jy", None, 8.9),
        ({}, "nanomaggies", None, 22.5),
        ({"PIXAR_SR": 9.4e-15}, "MJy/sr", 9.35e-15, -6.10 - 2.5 * math.log10(9.4e-15)),
        ({"PIXAR_A2": 0.0004}, "MJy/sr", None, -6.10 - 2.5 * math.log10(0.0004 / 4.25452e10)),
        ({}, "MJy/sr", 1e-14, -6.10 + 35.0),
        ({}, "MJy/sr", None, None),
        ({}, "uJy/arcsec2", 1 / 4.25451703e10, 23.9),
        # One jansky a beam of 2 × 1 arcsec, pixels of 0.5 arcsec: π/(4 ln 2) · 8 pixels a beam.
        (
            {"BMAJ": 2 / 3600, "BMIN": 1 / 3600},
            "Jy/beam",
            0.25 * ARCSEC2,
            8.9 + 2.5 * math.log10(math.pi / (4 * math.log(2)) * 8),
        ),
        ({}, "Jy/beam", 1e-12, None),
        ({}, "K", 1e-12, None),
        # ACS/WFC F814W before 2006: 25.937 (ACS zero points calculator)
        ({"PHOTFLAM": 7.0723600e-20, "PHOTPLAM": 8.05986e3}, "electron/s", None, 25.937),
        (
            {"PHOTFLAM": 7.07236e-20, "PHOTPLAM": 8059.86, "EXPTIME": 100.0},
            "electron",
            None,
            30.937,
        ),
        ({"PHOTPLAM": 8059.86}, "7.07236e-20 erg/s/cm2/A", None, 25.937),
        ({}, "erg/s/cm2/A", None, None),
        ({"PHOTFNU": 1e-7}, "electron/s", None, 26.4),
        ({"PHOTFLAM": 0.0, "PHOTPLAM": 8059.86}, "electron/s", None, None),
        ({"PHOTFLAM": "", "PHOTPLAM": 8059.86}, "electron/s", None, None),
        ({"PHOTFLAM": 7e-20, "PHOTPLAM": 8059.86}, "", None, None),
        # Of 1 DN/s in a pixel: PHOTMJSR megajanskys a steradian on its area.
        ({"PHOTMJSR": 2.0, "PIXAR_SR": 1e-14}, "DN/s", None, 28.9 - 2.5 * math.log10(2.0)),
        ({"PHOTMJSR": 2.0}, "DN/s", 1e-14, 28.9 - 2.5 * math.log10(2.0)),
        ({"MAGZERO": 24.6}, "", 1e-14, 24.6),
        ({"MAGZERO": 30.0}, "count", None, 30.0),
        ({"MAGZPT": 24.6}, "DN", None, 24.6),
        ({"MAGZPT": 24.6, "PHOTSYS": "VEGA"}, "DN", None, None),
        ({"MAGZPT": 24.6, "INSTRUME": "VIRCAM"}, "DN", None, None),
        ({"FLUXMAG0": 63095734448.0194}, "", None, 27.0),
        ({}, "electron/s", None, None),
        ({}, "display", None, None),
    ],
)
def test_zero_points(header, unit, area, expected):
    found = FluxScale.of_header({"BUNIT": unit, **header}, area).zeropoint
    assert found == (None if expected is None else pytest.approx(expected, abs=2e-3))


@pytest.mark.parametrize(
    ("header", "unit", "area", "expected", "says"),
    [
        ({"ABZP": 27.5, "PHOTFNU": 1e-7}, "electron/s", None, 27.5, "ABZP .* 27.500, but PHOTFNU"),
        ({"ABZP": 28.9}, "nJy", None, 28.9, "ABZP .* 28.900, but the unit nJy 31.400"),
        ({"MAGZERO": 28.9}, "nJy", None, 31.4, "the unit nJy .* but MAGZERO 28.900"),
        # The header of a coarser grid was copied to a finer one: the coordinates are right.
        ({"PIXAR_SR": 4e-14}, "MJy/sr", 1e-14, 28.9, "PIXAR_SR .* but by the WCS"),
    ],
)
def test_cards_that_contradict_each_other_are_said(header, unit, area, expected, says):
    with pytest.warns(UserWarning, match=f"^a.fits: {says}.* is believed, correct"):
        scale = FluxScale.of_header({"BUNIT": unit, **header}, area, what="a.fits")
    assert scale.zeropoint == pytest.approx(expected, abs=2e-3)


def test_cards_that_agree_are_silent():
    cards = {"BUNIT": "MJy/sr", "PIXAR_SR": 1.01e-14, "ABZP": 28.899}
    assert FluxScale.of_header(cards, 1e-14).pixel_area == 1.01e-14


def test_without_a_unit_a_zero_point_still_means_fluxes_per_pixel():
    scale = FluxScale.of_header({"MAGZERO": 24.6}, 1e-14)
    assert scale.unit.name == ""
    assert scale.unit.known
    assert scale.on(4e-14).zeropoint == 24.6
    assert FluxScale.of_header({"MAGZERO": 24.6}, None, "DN/s").unit.name == "DN/s"
    with pytest.warns(UserWarning, match="MAGZERO gives an AB zero point.* not as MJy/sr"):
        assert FluxScale.of_header({"MAGZERO": 24.6}, 1e-14, "MJy/sr").unit.name == ""


areas = st.floats(1e-16, 1e-10)
magnitudes = st.floats(15, 35)


@given(magnitudes, magnitudes, areas, areas, st.booleans(), st.booleans())
def test_sky_brightness_survives_every_change_of_scale(zero, other, here, there, dense, even):
    """f·10^(−0.4 ZP)/Ω is what a change of unit and pixels keeps, and back is back."""
    one = FluxScale(parse_unit("DN/s/arcsec2" if dense else "DN/s"), zero, here)
    two = FluxScale(parse_unit("electron/s/arcsec2" if even else "electron/s"), other, there)
    factor = one.factor_to(two)
    assert factor * 10 ** (-0.4 * other) / there == pytest.approx(10 ** (-0.4 * zero) / here)
    assert factor * two.factor_to(one) == pytest.approx(1)
    moved = one.on(there)
    assert one.factor_to(moved) == pytest.approx(1 if dense else there / here)
    assert one.factor_to(moved) * moved.factor_to(two) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("one", "two", "factor"),
    [
        ("MJy/sr", "uJy/arcsec2", 23.504430),
        ("nW m-2 sr-1", "erg/s/cm2/sr", 1e-6),
        ("mJy", "nJy", 1e6),
        ("furlong", "furlong", 1),
        ("Jy/beam", "Jy/beam", 1),
        ("DN/s", "electron/s", None),
        ("K", "MJy/sr", None),
        ("display", "MJy/sr", None),
        ("furlong", "nJy", None),
    ],
)
def test_units_of_one_dimension_need_no_zero_point(one, two, factor):
    found = FluxScale(parse_unit(one)).factor_to(FluxScale(parse_unit(two)))
    assert found == (None if factor is None else pytest.approx(factor, rel=1e-6))


@pytest.mark.parametrize(
    "unit",
    ["MJy/sr", "10 nJy", "electron/s", "electron", "DN/s", "display", "Lab", "Jy/beam", "K",
     "nanomaggy", "nanomaggy/arcsec2", "furlong", "", "erg/s/cm2/A", "mag/arcsec2"],
)  # fmt: skip
def test_what_is_written_is_read_back(unit):
    scale = FluxScale(parse_unit(unit), 25.0, 1e-14)
    cards = {keyword: value for keyword, value, _ in scale.cards()}
    cards.pop("ABZP")
    assert FluxScale.of_header(cards, 1e-14).unit.name == scale.unit.name
    bunit = cards.get("BUNIT", "")
    if scale.unit.name not in ("furlong", "nanomaggy", "nanomaggy/arcsec2"):
        units.Unit(bunit, format="fits", parse_strict="raise")
    # Another program that changes BUNIT is believed.
    assert FluxScale.of_header({**cards, "BUNIT": "mJy"}, None).unit.name == "mJy"


@pytest.mark.parametrize("unit", ["furlong", "mag", "km/s", ""])
def test_an_unknown_unit_is_asked_for(unit):
    with pytest.raises(ImgturboError, match=r"^a\.fits: .*set BUNIT"):
        check_resizable(parse_unit(unit), "a.fits")


def test_values_of_a_picture_are_from_0_to_1():
    levels = np.arange(256.0, dtype=np.float32)
    check_display(levels / 255, "a.fits")
    check_display(np.where(levels == 3, np.nan, 1), "a.fits")
    with pytest.raises(ImgturboError, match=r"^a\.fits: states no unit and holds values up to 255"):
        check_display(levels, "a.fits")


@pytest.mark.parametrize(
    ("header", "path", "band"),
    [
        ({"FILTER": "F606W"}, "x.fits", "F606W"),
        ({"FILTER": " f606w "}, "x.fits", "F606W"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "x.fits", "F814W"),
        ({"FILTER1": "F435W", "FILTER2": "CLEAR2L"}, "x.fits", "F435W"),
        ({"FILTER": "F444W-CLEAR"}, "x.fits", "F444W"),
        ({"FILTER": "F150W2", "PUPIL": "F162M"}, "x.fits", "F162M"),
        ({"FILTER": "F444W", "PUPIL": "CLEAR"}, "x.fits", "F444W"),
        ({"FILTER": "F444W", "PUPIL": "GRISMR"}, "x.fits", "F444W"),
        ({"FILTER": "r"}, "x.fits", "R"),
        ({"FILTER": "N/A"}, "sky_f814w_drz.fits", "F814W"),
        ({}, "2114_F115Wsci.fits", "F115W"),
        ({}, "ceers-f150w_sci.fits.gz", "F150W"),
        ({}, "Pointings12_F150W_Module_A.fits", "F150W"),
        ({}, "abf150w.fits.gz", "ABF150W"),
        ({}, "my.field.fits.fz", "MY.FIELD"),
    ],
)
def test_names_of_bands(header, path, band):
    assert band_name(header, Path(path)) == band


@pytest.mark.parametrize("value", [1e300, 1e-300, 5e-324, -1.0, 0.0])
@pytest.mark.parametrize(
    "card", ["PHOTFLAM", "PHOTFNU", "PHOTMJSR", "PIXAR_SR", "BMAJ", "EXPTIME", "FLUXMAG0", "ABZP"]
)
def test_numbers_of_no_sky_are_missing(card, value):
    """Their logarithms and powers would be none."""
    header = {"BUNIT": "electron/s", "PHOTPLAM": 5921.0, "BMIN": 1e-3, card: value}
    scale = FluxScale.of_header(header, 1e-14)
    scale.factor_to(FluxScale.of("nJy"))
    if value == 1e300 or card != "ABZP":  # a magnitude may be nearly 0
        assert scale.zeropoint is None
