"""A SkyImage cut, chosen from and built from arrays."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage


def test_arrays_become_native_float32_with_nan_where_not_finite():
    data = np.array([[[1.0, np.inf], [np.nan, 2.0]], [[1, 2], [3, 4]]], dtype=">f8")
    image = SkyImage.from_array(data)
    assert image.data.dtype == np.float32
    assert image.data.dtype.isnative
    assert image.bands == ("BAND1", "BAND2")
    assert image.zeropoints == (None, None)
    assert image.valid.tolist() == [[True, False], [False, True]]
    assert np.isnan(image.data[0, 0, 1])
    assert SkyImage.from_array(data[0]).shape == (1, 2, 2)
    assert image.pixel_scale is None


@pytest.mark.parametrize("sip", [False, True])
def test_a_window_keeps_its_place_on_the_sky(make_wcs, sip):
    wcs = make_wcs((61, 83), sip=sip)
    image = SkyImage.from_array(np.zeros((3, 61, 83)), wcs=wcs)
    part = image.window(slice(7, 20), slice(31, 99))
    assert part.shape == (3, 13, 52)
    x, y = 25.5 + np.array([-0.5, 0.5, 0, 0]), 6.0 + np.array([0, 0, -0.5, 0.5])
    left, right, below, above = part.wcs.pixel_to_world(x, y)
    local = np.sqrt(left.separation(right).arcsec * below.separation(above).arcsec)
    assert part.pixel_scale == pytest.approx(local, rel=1e-5)  # of the pixel in its middle
    assert part.pixel_scale == pytest.approx(0.05, rel=1e-3 if sip else 1e-6)
    there = part.wcs.world_to_pixel(wcs.pixel_to_world(40.0, 11.0))
    np.testing.assert_allclose(there, (9.0, 4.0), atol=1e-6)


def test_selection_recomputes_what_is_valid():
    data = np.zeros((2, 3, 5))
    data[1, 0] = np.nan
    image = SkyImage.from_array(data, bands=("F606W", "F814W"), zeropoints=(26.5, None))
    assert not image.valid[0].any()
    first = image.select(["F606W"])
    assert first.valid.all()
    assert first.zeropoints == (26.5,)
    with pytest.raises(ImgturboError, match=r"no band F115W; it has F606W, F814W"):
        image.select(["F115W"])


def test_shapes_must_fit():
    with pytest.raises(ImgturboError, match="valid"):
        SkyImage(np.zeros((1, 4, 4), np.float32), np.ones((3, 4), bool), None, "", ("A",))
    with pytest.raises(ImgturboError, match="band names"):
        SkyImage.from_array(np.zeros((2, 4, 4)), bands=("A",))
