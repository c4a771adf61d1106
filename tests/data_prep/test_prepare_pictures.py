"""Colour pictures become tiles too, though they know no sky."""

from __future__ import annotations

import numpy as np
import pytest
from prepare_fields import settings

from data_prep.prepare import prepare
from imgturbo.config import FieldConfig
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky
from imgturbo.sky.stretch import Stretch


@pytest.mark.parametrize("method", ["none", "sources"])
def test_pictures_without_a_wcs(tmp_path, pictures, method):
    config = settings(tmp_path, pictures, register={"method": method})
    report = prepare(config, keep_aligned=tmp_path / "aligned")
    store = TileStore.open(config.out)
    assert store.source.unit == "display"
    assert store.source.pixel_scale is None
    assert store.source.stretch == Stretch.linear(3)
    split = store.split("train")
    np.testing.assert_array_equal(split.sky, split.position[:, ::-1] + 7.5)
    original = read_sky(pictures.source)
    moved = read_sky([tmp_path / "aligned" / "smacs_source.fits"])
    both = moved.valid & original.valid
    assert both.mean() > 0.9
    # Without registration the source keeps its pixels; with it, it moves by next to nothing.
    away = np.abs(moved.data - original.data)[:, both]
    assert away.max() < 1e-5 if method == "none" else np.median(away) < 0.01
    (field,) = report.fields
    if method == "none":
        assert field.matched is None
        assert np.isnan(split.residual).all()
    else:
        assert field.matched >= 8
        assert field.residual_after < 0.5
        assert np.isfinite(split.residual).all()


def test_a_fields_own_registration_wins(tmp_path, pictures):
    own = {**pictures.model_dump(exclude={"register_"}), "register": {"method": "none"}}
    report = prepare(settings(tmp_path, own, register={"method": "sources"}))
    assert report.fields[0].matched is None
    again = prepare(settings(tmp_path, pictures, register={"method": "sources"}))
    assert again.fields[0].matched >= 8


def test_a_picture_in_two_fields_is_refused(tmp_path, pictures):
    again = FieldConfig(name="again", target=pictures.target)
    with pytest.raises(ImgturboError, match=r"webb\.png: in fields smacs and again"):
        prepare(settings(tmp_path, pictures, again))
    with pytest.raises(ImgturboError, match=r"webb\.png: has no WCS, so 'prepare\.pixel_scale'"):
        prepare(settings(tmp_path, pictures, pixel_scale=0.1))


def test_pictures_and_fits_do_not_mix(tmp_path, pair, pictures):
    alone = FieldConfig(name="alone", source=pictures.source)
    target = FieldConfig(name="target", target=pair.target)
    with pytest.raises(ImgturboError, match=r"hubble\.png: has no WCS, unlike the first field"):
        prepare(settings(tmp_path, target, alone))
