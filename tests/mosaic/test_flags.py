"""FLAGS: the same by windows, blended, resumed and in memory; counted; no mask when read back."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import distance_transform_edt
from small_skies import noise_sky, rotated_wcs

from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_file, translate_sky
from imgturbo.sky import SkyWriter, open_sky, read_sky
from imgturbo.sky.flags import Flag

H, W = 151, 127


@pytest.fixture
def files(make_fits):
    data = noise_sky(2, H, W)
    data[1, 60:80, 30:33] = np.nan
    data[:, 100, 100] = 5000.0
    data[:, 110, 110] = -9.0
    return [
        make_fits(f"{band}.fits", plane, band, wcs=rotated_wcs(H, W))
        for band, plane in zip(("F606W", "F814W"), data, strict=True)
    ]


def flags_of(path):
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus].count("FLAGS") == 1
        return hdus["FLAGS"].data.copy()


@pytest.mark.parametrize("settings", [{"window": 48}, {"window": 64, "overlap": 8}, {}])
def test_they_do_not_depend_on_windows(bundle, files, tmp_path, settings):
    whole = translate_sky(bundle, read_sky(files))
    np.testing.assert_array_equal(
        translate_sky(bundle, read_sky(files), **settings).flags, whole.flags
    )
    out = translate_file(bundle, files, tmp_path / "out.fits", **settings)
    np.testing.assert_array_equal(flags_of(out), whole.flags)
    assert whole.flags.shape == (H, W)
    assert whole.flags.dtype == np.uint8


def test_what_they_mean(bundle, files):
    sky = read_sky(files)
    found = translate_sky(bundle, sky)
    hole = ~sky.valid
    close = (found.flags & Flag.NEAR) != 0
    assert close[hole].all()
    distance = distance_transform_edt(~hole)
    assert distance[close].max() <= 64
    assert distance[close].max() < distance[~close].min()
    beyond = (found.flags & Flag.RANGE) != 0
    assert beyond[100, 100]
    assert beyond[110, 110]
    above = sky.valid & (sky.data > -0.3).all(0)
    bright = bundle.source.stretch(sky.data).max(0) > 1
    np.testing.assert_array_equal(beyond[above], bright[above])
    np.testing.assert_array_equal(np.isnan(found.mean.data).any(0), hole)


def test_an_interrupted_run_ends_with_the_same(bundle, files, tmp_path, monkeypatch):
    straight = translate_file(bundle, files, tmp_path / "a.fits", window=48)
    plain, count = SkyWriter.write, []

    def write(self, *arguments, **keywords):
        count.append(0)
        if len(count) == 7:
            raise ImgturboError("stop")
        plain(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(SkyWriter, "write", write)
        with pytest.raises(ImgturboError, match="stop"):
            translate_file(bundle, files, tmp_path / "b.fits", window=48)
    told = []
    out = translate_file(bundle, files, tmp_path / "b.fits", window=48, log=told.append)
    flags = flags_of(out)
    np.testing.assert_array_equal(flags, flags_of(straight))
    (line,) = told  # of all windows, whichever run made them
    assert line.startswith("b.fits: flagged: ")
    assert f"{np.count_nonzero(flags & 1)} pixels" in line
    assert f"{np.count_nonzero(flags & 4)} (" in line


def test_they_are_no_mask(bundle, files, tmp_path):
    out = translate_file(bundle, files, tmp_path / "out.fits")
    assert flags_of(out).any()
    made, sky = read_sky(out), read_sky(files)
    np.testing.assert_array_equal(made.valid, sky.valid)
    with open_sky(out) as reader:
        assert reader.masked_by == ()
        assert reader.unused == ("FLAGS",)
        assert reader.notes == ()
    facts = describe(out)
    assert "masked by" not in facts
    assert facts["not used"] == "FLAGS"


def test_a_picture_has_none_but_they_are_counted(make_bundle, tmp_path):
    from imgturbo.sky import SkyImage, Stretch, write_sky

    rgb, same = ("R", "G", "B"), Stretch.linear(3)
    pictures = make_bundle(
        rgb, rgb, True, source_unit="display", target_unit="display", source_stretch=same,
        target_stretch=same, source_zeropoint=None, target_zeropoint=None,
    )  # fmt: skip
    values = np.random.default_rng(0).uniform(0, 1, (3, 61, 53)).astype(np.float32)
    values[:, 20:22, 30] = np.nan
    source = write_sky(tmp_path / "in.fits", SkyImage.from_array(values, unit="display", bands=rgb))
    for suffix in ("png", "fits"):
        told = []
        translate_file(pictures, source, tmp_path / f"out.{suffix}", window=32, log=told.append)
        (line,) = told
        assert "near a pixel not measured (1)" in line
    whole = values.copy()
    whole[:, 20:22, 30] = 0.5
    write_sky(source, SkyImage.from_array(whole, unit="display", bands=rgb), overwrite=True)
    translate_file(pictures, source, tmp_path / "no.fits", window=32, log=told.append)
    assert len(told) == 1
    assert not flags_of(tmp_path / "no.fits").any()
