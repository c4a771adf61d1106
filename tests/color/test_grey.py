"""Laws of reading grey: lightness from 0 to 100, colour refused, fluxes made a picture."""

from __future__ import annotations

import numpy as np
import pytest
from color_standins import colour_picture, grey_picture, save, sky, smooth

from imgturbo.color.grey import read_colour, read_grey
from imgturbo.errors import ImgturboError
from imgturbo.sky.lab import rgb_to_lab


def test_a_grey_picture_is_its_lightness(tmp_path):
    grey = read_grey(grey_picture(tmp_path / "a.png"))
    expected = rgb_to_lab(np.repeat(np.rint(255 * smooth(40, 57))[None] / 255, 3, axis=0))[0]
    assert grey.name == "a"
    assert grey.lightness == pytest.approx(expected, abs=1e-3)
    assert grey.valid.all()
    assert not grey.is_sky


def test_three_equal_channels_are_grey(tmp_path):
    path = save(tmp_path / "rgb.png", np.repeat(smooth(9, 11)[..., None], 3, axis=-1))
    assert read_grey(path).lightness.shape == (9, 11)


def test_a_colour_picture_needs_to_be_asked_for(tmp_path):
    path = colour_picture(tmp_path / "colour.png")
    with pytest.raises(ImgturboError, match=r"colour\.png: is a colour picture; .*--grey"):
        read_grey(path)
    lab = read_colour(path)
    assert read_grey(path, grey=True).lightness == pytest.approx(lab[0], abs=1e-3)
    with pytest.raises(ImgturboError, match="colour picture"):
        read_colour(grey_picture(tmp_path / "grey.png"))


def test_transparent_pixels_are_not_valid(tmp_path):
    pixels = np.stack([smooth(9, 11), np.ones((9, 11))], axis=-1)
    pixels[2:4, 3:5, 1] = 0
    grey = read_grey(save(tmp_path / "la.png", pixels))
    assert (~grey.valid).sum() == 4
    assert np.isfinite(grey.lightness).all()


def test_fluxes_become_a_picture_with_its_top_row_first(tmp_path):
    grey = read_grey(sky(tmp_path / "sky.fits"))
    assert grey.is_sky
    assert grey.lightness.shape == (44, 61)
    assert 0 <= grey.lightness.min() <= grey.lightness.max() <= 100
    # The star of rows 10 to 13, counted from the bottom, and the corner that was not measured.
    assert grey.lightness[-14:-10, 20:24].min() > 90
    assert (~grey.valid).sum() == 35
    assert not grey.valid[-5:, :7].any()
    assert np.median(grey.lightness) < 50


def test_one_band_is_chosen(tmp_path):
    path = sky(tmp_path / "two.fits", bands=("F606W", "F814W"))
    with pytest.raises(ImgturboError, match=r"two\.fits: .*F606W, F814W.*--bands F606W"):
        read_grey(path)
    assert read_grey(path, bands="F814W").sky.bands == ("F814W",)
    with pytest.raises(ImgturboError, match="F150W"):
        read_grey(path, bands="F150W")
