"""Bands by name, fluxes by zero point, pixels by scale; what does not fit is named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.mosaic.matching import band_order, check_scale, check_values, flux_factors
from imgturbo.side import Side
from imgturbo.sky.photometry import ARCSEC2, FluxScale
from imgturbo.sky.stretch import Stretch
from imgturbo.sky.units import parse_unit

magnitudes = st.floats(15, 35)


def side(unit="electron/s", zeropoints=(26.0, 25.0), scale=0.05):
    return Side(
        ("F606W", "F814W"),
        unit or "",
        Stretch.linear(2),
        pixel_scale=scale,
        zeropoints=tuple(zeropoints or ()),
    )


def scales(unit, zeropoints, pixel=0.05):
    area = pixel and pixel**2 * ARCSEC2
    return [FluxScale(parse_unit(unit), zero, area) for zero in zeropoints]


@given(st.permutations(["F606W", "F814W", "F160W", "F850LP"]))
def test_names_decide_in_any_order(given_bands):
    wanted = ["F606W", "F814W"]
    order = band_order(wanted, given_bands, "x.fits")
    assert [given_bands[k] for k in order] == wanted


@pytest.mark.parametrize(
    ("given_bands", "stems"),
    [
        (("BAND1", "BAND2"), ()),
        (("R", "G"), ()),
        (("RED", "BLUE"), ("red", "blue")),
        (("MOSAIC", "MOSAIC_2"), ("mosaic",)),
    ],
)
def test_what_has_no_name_is_taken_by_count(given_bands, stems):
    assert band_order(["F606W", "F814W"], given_bands, "x", stems) == [0, 1]
    with pytest.raises(ImgturboError, match="got 2 without a name"):
        band_order(["F606W"], given_bands, "x", stems)


@pytest.mark.parametrize(
    ("given_bands", "stems"),
    [
        (("F606W", "F850LP"), ()),
        (("F606W", "F850LP"), ("f606w", "f850lp")),  # a file called like its band
        (("F606W",), ()),
        (("RED", "F814W"), ("red", "x")),
    ],
)
def test_other_bands_are_refused(given_bands, stems):
    with pytest.raises(ImgturboError, match=r"x\.fits: bundle wants F606W, F814W; got "):
        band_order(["F606W", "F814W"], given_bands, "x.fits", stems)


@pytest.mark.parametrize(
    ("given_bands", "stems", "stated"),
    [
        (("I", "Z"), ("i", "z"), (False, False)),  # files that are called like filters
        (("I", "Z"), ("i", "z"), ()),
        (("R", "G"), ("a", "b"), (True, True)),  # by their FILTER
        (("A", "B"), ("a", "b"), (True, True)),
    ],
)
def test_a_header_or_a_filters_file_name_counts(given_bands, stems, stated):
    with pytest.raises(ImgturboError, match=f"got {', '.join(given_bands)}"):
        band_order(["F606W", "F814W"], given_bands, "x.fits", stems, stated)


def test_files_without_a_name_are_taken_with_a_word():
    wanted, stems, stated = ["F606W", "F814W"], ["red", "blue"], [False, False]
    with pytest.warns(UserWarning, match="taken to be F606W, F814W, in the order"):
        assert band_order(wanted, ["RED", "BLUE"], "x", stems, stated) == [0, 1]


def test_names_are_compared_in_ascii():
    assert band_order(["ÉTOILE"], ["ETOILE"], "x") == [0]


@given(magnitudes, magnitudes)
def test_a_magnitude_survives_the_conversion(a, b):
    factors = flux_factors(scales("10 nJy", [a, a]), side(zeropoints=(b, b)), "x")
    assert factors is not None
    flux = 3.7
    before, after = a - 2.5 * np.log10(flux), b - 2.5 * np.log10(flux * factors)
    np.testing.assert_allclose(after, before, atol=1e-9)


def test_like_units_of_other_zero_points_are_rescaled():
    factors = flux_factors(scales("electron/s", [26.0, 27.5]), side(), "x")
    np.testing.assert_allclose(factors, [1, 0.1])


@pytest.mark.parametrize(
    ("unit", "zeropoints", "model"),
    [
        ("electron/s", [26.0, 25.0], side()),
        ("electron/s", [None, 25.0], side()),
        ("MJy/sr", [20.0, 21.0], side("MJy/sr", (22.0, 22.0))),  # other pixels, same brightness
        ("display", [None, None], side("display", None)),
        ("", [None, None], side("", None)),
    ],
)
def test_like_numbers_are_left_alone(unit, zeropoints, model):
    assert flux_factors(scales(unit, zeropoints), model, "x") is None


@pytest.mark.parametrize("unit", ["display", "DN/s", "MJy/sr"])
def test_a_missing_zero_point_forbids_conversion(unit):
    with pytest.raises(ImgturboError, match=f"x: bundle wants electron/s; got {unit}"):
        flux_factors(scales(unit, [26.0, None]), side(), "x")


def test_no_unit_at_all_is_taken_on_trust_with_a_warning():
    with pytest.warns(UserWarning, match="x: no unit in the header; taken to be electron/s"):
        assert flux_factors(scales("", [None, None]), side(), "x") is None


@pytest.mark.parametrize("scale", [None, 0.05, 0.0509])
def test_pixels_of_the_right_size_need_no_warning(scale):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_scale(scale, side(), "x")
        check_scale(scale, side(scale=None), "x")


def test_pixels_of_another_size_are_warned_of():
    with pytest.warns(UserWarning, match="--grid"):
        check_scale(0.03, side(), "x")


@pytest.mark.parametrize("pixel", [0.05, 0.0502, 0.06, None])
def test_pixels_of_another_area_count(pixel):
    """A pixel of twice the area holds twice the electrons of the sky that the network knows."""
    ratio = 1 if pixel is None else (0.05 / pixel) ** 2
    known = flux_factors(scales("electron/s", [26.0, 27.5], pixel), side(), "x")
    np.testing.assert_allclose(known, [ratio, 0.1 * ratio])
    unknown = flux_factors(scales("electron/s", [None, None], pixel), side(), "x")
    assert unknown is None if ratio == 1 else unknown == pytest.approx(ratio)
    bright = side("MJy/sr", (28.0, None))
    assert flux_factors(scales("MJy/sr", [20.0, None], pixel), bright, "x") is None


def test_surface_brightness_collects_more_in_larger_pixels():
    model = side("MJy/sr", (28.0, None))
    assert model.on(0.05**2 * ARCSEC2).zeropoints == (28.0, None)
    larger = model.on(0.10**2 * ARCSEC2)
    assert larger.zeropoints[0] == pytest.approx(28.0 - 2.5 * np.log10(4))
    assert larger.stretch == model.stretch
    assert side().on(0.10**2 * ARCSEC2).zeropoints == (26.0, 25.0)
    assert model.on(None).zeropoints == (28.0, None)


def test_a_flux_per_pixel_grows_with_the_pixel():
    model, flux = side(), np.array([[3.0], [5.0]])
    larger = model.on(0.10**2 * ARCSEC2)
    assert larger.pixel_scale == pytest.approx(0.10)
    np.testing.assert_allclose(larger.stretch.inverse(model.stretch(flux)), 4 * flux)


def test_an_assumed_unit_is_held_against_the_values():
    noise = np.random.default_rng(1).normal(0, 1, (2, 40, 50)).astype(np.float32)
    soft = Stretch(np.zeros(2), np.full(2, 3.0), np.ones(2))
    model = Side(("F606W", "F814W"), "MJy/sr", soft)
    check_values(noise, model, "x")
    check_values(5 * noise, model, "x")
    check_values(np.zeros_like(noise), model, "x")
    for factor in (1e3, 1e-3):
        with pytest.warns(UserWarning, match="x: its noise is .* hardly MJy/sr"):
            check_values(factor * noise, model, "x")
    pictures = Side(("F606W", "F814W"), "display", Stretch.linear(2))
    check_values(np.clip(np.abs(noise), 0, 1), pictures, "x")
    with pytest.raises(ImgturboError, match="x: states no unit and holds values up to"):
        check_values(255 * np.abs(noise), pictures, "x")
