"""Bands are called what the header says, whole; and always in ASCII."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from imgturbo.errors import ImgturboError
from imgturbo.sky import open_sky, read_sky
from imgturbo.sky.bands import ascii_name, band_name, is_filter, named_band


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("HSC-R", "HSC-R"),
        ("HSC-R2", "HSC-R2"),
        ("Johnson B", "JOHNSON_B"),
        ("Johnson V", "JOHNSON_V"),
        ("Sloan g'", "SLOAN_G'"),
        ("Empty/B", "B"),
        ("H-alpha", "H-ALPHA"),
        ("F606W;CLEAR2L", "F606W"),
        ("CLEAR;F150W", "F150W"),
        ("W-S-I+", "W-S-I+"),
        ("N", "N"),
        ("g DECam SDSS c0001 4720.0 1520.0", "G_DECAM_SDSS_C0001_4720.0_1520.0"),
    ],
)
def test_what_a_header_says_is_a_name(given, name):
    assert named_band({"FILTER": given}, Path("x.fits")) == (name, True)
    assert band_name({"FILTER": name}, None) == name


@pytest.mark.parametrize("given", ["CLEAR", "N/A", "", "none", None])
def test_clear_glass_is_no_name(given):
    assert named_band({"FILTER": given}, Path("x.fits")) == ("X", False)


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FILTER": "F606W F814W"}, "F606W_F814W"),  # a sum is neither
        ({"FILTER": "F814W", "FILTER1": "F606W"}, "F814W"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W"),
        ({"FILTER": "F150W2", "PUPIL": "F162M"}, "F162M"),
        ({"FILTNAME": "r"}, "R"),
        ({"BANDNAME": "r"}, "R"),
        ({"HIERARCH ESO INS FILT1 NAME": "Ks"}, "KS"),
    ],
)
def test_each_card_of_a_filter_names(cards, name):
    assert named_band(fits.Header(cards), Path("x.fits")) == (name, True)


def test_folders_name_files():
    assert named_band({}, Path("F115W/data.fits")) == ("F115W", False)
    assert named_band({}, Path("x/étoile.fits.bz2")) == ("ETOILE", False)
    assert ascii_name("α") != ascii_name("β")
    assert ascii_name("αβ é").isascii()


def test_filters_are_told_from_other_words():
    assert all(map(is_filter, ["i", "Z", "Ks", "F606W", "g'", "W1"]))
    assert not any(map(is_filter, ["hst", "red", "data", "mosaic", "source"]))


@pytest.mark.parametrize(
    ("cards", "names"),
    [
        ({"BAND0": "g", "BAND1": "r", "BAND2": "z"}, ("G", "R", "Z")),
        ({"BAND1": "g", "BAND2": "r", "BAND3": "z"}, ("G", "R", "Z")),
        ({"BANDS": "grz"}, ("G", "R", "Z")),
        ({"BANDS": "g,r,z", "BAND0": "g", "BAND1": "r", "BAND2": "z"}, ("G", "R", "Z")),
        ({"FILTER1": "g", "FILTER2": "r", "FILTER3": "z"}, ("G", "R", "Z")),
        ({"FILTER0": "g", "FILTER1": "r", "FILTER2": "z"}, ("G", "R", "Z")),
        ({"FILTER": "F115W,F150W,F200W"}, ("F115W", "F150W", "F200W")),
        ({"FILTERS": "g r z"}, ("G", "R", "Z")),
        ({"FILTER": "F606W", "FILTER1": "F606W", "FILTER2": "CLEAR"}, ("BAND1", "BAND2", "BAND3")),
        ({"FILTER": "one two words"}, ("BAND1", "BAND2", "BAND3")),
        ({}, ("BAND1", "BAND2", "BAND3")),
    ],
)
def test_planes_of_a_cube(tmp_path, cards, names):
    cube = np.arange(1, 4, dtype=np.float32)[:, None, None] * np.ones((3, 5, 6), np.float32)
    fits.writeto(tmp_path / "c.fits", cube, fits.Header(cards))
    assert read_sky(tmp_path / "c.fits").bands == names
    assert np.all(read_sky(tmp_path / "c.fits", bands=[names[1]]).data == 2)


@pytest.mark.parametrize(
    "cards",
    [
        {"BAND0": "g", "BAND1": "r"},
        {"BANDS": "gr"},
        {"BANDS": "grz", "BAND1": "r", "BAND2": "g"},
        {"FILTERS": "g,r,z", "FILTER1": "g", "FILTER2": "z", "FILTER3": "r"},
    ],
)
def test_planes_that_are_named_in_part_are_refused(tmp_path, cards):
    fits.writeto(tmp_path / "c.fits", np.ones((3, 5, 6), np.float32), fits.Header(cards))
    with pytest.raises(ImgturboError, match="a cube of 3 planes"):
        read_sky(tmp_path / "c.fits")


def test_names_that_are_given_count(tmp_path):
    paths = []
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "data.fits")
        fits.writeto(paths[-1], np.full((5, 6), value, np.float32))
    assert read_sky(paths).bands == ("DATA", "DATA_2")
    with open_sky(paths, ["B"], names=["A", "B"]) as reader:
        assert np.all(reader.read().data == 2)
        assert reader.named == (True,)
    with pytest.raises(ImgturboError, match="1 band names for 2 bands"):
        open_sky(paths, names=["A"])


def test_cards_that_are_no_fits_are_named_and_passed_over(tmp_path):
    path = tmp_path / "x_F606W.fits"
    fits.writeto(path, np.ones((5, 6), np.float32), fits.Header({"EXPTIME": 1.0, "FILTER": "B"}))
    content = path.read_bytes()
    for old, new in ((b"EXPTIME =                  1.0", b"EXPTIME =                100,5"),):
        content = content.replace(old, new)
    content = content.replace(b"FILTER  = 'B       '", b"FILTER  = NaN       ")
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"x_F606W\.fits: EXPTIME, FILTER: no value"):
        image = read_sky(path)
    assert image.bands == ("F606W",)
    assert "EXPTIME" not in image.header
