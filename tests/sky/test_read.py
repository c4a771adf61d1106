"""Files as they come: a window of the whole is the whole cut to a window, in every format."""

from __future__ import annotations

import gzip
import shutil
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, open_sky, read_sky, write_sky


def gz(path):
    out = path.with_name(path.name + ".gz")
    with path.open("rb") as raw, gzip.open(out, "wb") as packed:
        shutil.copyfileobj(raw, packed)
    return out


def scaled_file(tmp_path, sky, kind=np.int16):
    """Integers with BSCALE, BZERO and a BLANK where the sky was not measured."""
    raw = np.where(np.isfinite(sky), np.nan_to_num(sky) * 1000, -9999).astype(kind)
    hdu = fits.PrimaryHDU(raw)
    hdu.header["BLANK"] = -9999
    path = tmp_path / "scaled_f606w.fits"
    hdu.writeto(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.001, 0.5
    return path


@pytest.fixture
def files(tmp_path, sky, hst_drz, make_wcs):
    """One file of every format, each with its sky of NaN and numbers."""
    cube = np.stack([sky, sky + 1])
    fits.writeto(tmp_path / "cube.fits", cube)
    packed = fits.CompImageHDU(sky, compression_type="GZIP_2", quantize_level=0, name="SCI")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "packed_f090w.fits.fz")
    whole = np.where(np.isfinite(sky), np.nan_to_num(sky) * 100, -32768).astype(np.int16)
    rice = fits.CompImageHDU(whole, compression_type="RICE_1", name="SCI")
    rice.header["BLANK"] = -32768
    fits.HDUList([fits.PrimaryHDU(), rice]).writeto(tmp_path / "rice_f090w.fits.fz")
    fits.writeto(tmp_path / "double.fits", sky.astype(np.float64))
    drz = hst_drz()
    image = SkyImage.from_array(cube, wcs=make_wcs(sky.shape), bands=("F1", "F2"))
    write_sky(tmp_path / "ours.fits", image)
    return {
        "drz": drz,
        "gzip": gz(drz),
        "cube": tmp_path / "cube.fits",
        "gzip2": tmp_path / "packed_f090w.fits.fz",
        "rice": tmp_path / "rice_f090w.fits.fz",
        "scaled": scaled_file(tmp_path, sky),
        "double": tmp_path / "double.fits",
        "ours": tmp_path / "ours.fits",
    }


@given(st.data())
def test_a_window_is_a_part_of_the_whole(files, data):
    path = files[data.draw(st.sampled_from(sorted(files)))]
    with open_sky(path) as reader:
        whole = reader.read()
        _, height, width = reader.shape
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        rows = slice(top, top + data.draw(st.integers(1, height)))
        cols = slice(left, left + data.draw(st.integers(1, width)))
        part = reader.read(rows, cols)
    np.testing.assert_array_equal(part.data, whole.data[:, rows, cols])
    np.testing.assert_array_equal(part.valid, whole.valid[rows, cols])
    assert part.data.dtype == np.float32
    assert part.data.dtype.isnative
    if whole.wcs is not None:
        there = part.wcs.world_to_pixel(whole.wcs.pixel_to_world(left + 3.0, top + 1.0))
        np.testing.assert_allclose(there, (3.0, 1.0), atol=1e-6)


@pytest.mark.parametrize("kind", ["drz", "gzip", "cube", "gzip2", "double", "ours"])
def test_the_sky_comes_back_as_it_was(files, sky, kind):
    image = read_sky(files[kind])
    np.testing.assert_array_equal(image.data[0], sky)
    assert np.array_equal(image.valid, np.isfinite(sky))


@pytest.mark.parametrize(("kind", "step", "zero"), [("scaled", 0.001, 0.5), ("rice", 1.0, 0.0)])
def test_integers_are_scaled_and_blanks_are_not_measured(files, sky, kind, step, zero):
    image = read_sky(files[kind])
    assert np.array_equal(np.isnan(image.data[0]), np.isnan(sky))
    factor = 1000 if kind == "scaled" else 100
    expected = np.trunc(sky.astype(np.float32) * np.float32(factor)) * step + zero
    np.testing.assert_allclose(image.data[0], expected, rtol=1e-6, atol=step)


def test_a_blank_of_zero_counts_too(tmp_path):
    hdu = fits.PrimaryHDU(np.array([[0, 1], [2, 0]], np.int16))
    hdu.header["BLANK"] = 0
    hdu.writeto(tmp_path / "blank.fits")
    assert read_sky(tmp_path / "blank.fits").valid.tolist() == [[False, True], [True, False]]


def test_unsigned_integers(tmp_path):
    values = np.array([[0, 40000, 65535]], np.uint16)
    fits.writeto(tmp_path / "unsigned.fits", values)
    np.testing.assert_array_equal(read_sky(tmp_path / "unsigned.fits").data[0], values)


def test_a_drizzled_hubble_image(hst_drz, sky):
    image = read_sky(hst_drz())
    assert image.bands == ("F814W",)
    assert image.unit == "electron/s"
    assert image.zeropoints[0] == pytest.approx(25.937, abs=2e-3)
    assert image.pixel_scale == pytest.approx(0.05)
    assert image.header["TELESCOP"] == "HST"  # handed down from the primary header
    assert not image.valid[:4].any()  # zeros of weight zero


def test_a_webb_mosaic_keeps_flagged_but_usable_pixels(tmp_path, make_wcs):
    data = np.ones((7, 11), np.float32)
    data[0] = np.nan
    flags = np.zeros((7, 11), np.uint32)
    flags[3, 3], flags[4, 4] = 4, 5  # a remark; DO_NOT_USE and the remark
    header = make_wcs(data.shape, scale=0.03).to_header()
    header["BUNIT"], header["PIXAR_SR"] = "MJy/sr", 2.1e-14
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"], primary.header["FILTER"] = "JWST", "F277W"
    primary.header["PUPIL"] = "CLEAR"
    hdus = [primary, fits.ImageHDU(data, header, name="SCI")]
    for name in ("ERR", "CON", "WHT", "VAR_POISSON"):
        hdus.append(fits.ImageHDU(np.ones((7, 11), np.float32), name=name))
    hdus.append(fits.ImageHDU(flags, name="DQ"))
    path = tmp_path / "jw_i2d.fits"
    fits.HDUList(hdus).writeto(path)
    image = read_sky(path)
    assert image.bands == ("F277W",)
    assert image.zeropoints[0] == pytest.approx(-6.10 - 2.5 * np.log10(2.1e-14))
    assert image.valid[3, 3]
    assert not image.valid[4, 4]
    assert image.valid.sum() == 66 - 1
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["TELESCOP"] = "HST"
    assert not read_sky(path).valid[3, 3]


def test_science_is_found_by_name_wherever_it_stands(tmp_path, sky):
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.zeros((3, 3)), name="PSF"),
        fits.ImageHDU(sky, name="SCI"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "a_f606w.fits")
    assert read_sky(tmp_path / "a_f606w.fits").shape == (1, *sky.shape)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 3)), name="ERR")]
    fits.HDUList([*hdus, fits.ImageHDU(sky, name="M_BKGSUB")]).writeto(tmp_path / "b_f606w.fits")
    assert read_sky(tmp_path / "b_f606w.fits").shape == (1, *sky.shape)


def test_a_separate_weight_map_masks_its_image(tmp_path, sky):
    fits.writeto(tmp_path / "abell-f150w_drc_sci.fits", np.nan_to_num(sky))
    fits.writeto(tmp_path / "abell-f150w_drc_wht.fits", np.isfinite(sky).astype(np.float32))
    gz(tmp_path / "abell-f150w_drc_sci.fits")
    for name in ("abell-f150w_drc_sci.fits", "abell-f150w_drc_sci.fits.gz"):
        image = read_sky(tmp_path / name)
        assert image.bands == ("F150W",)
        assert np.array_equal(image.valid, np.isfinite(sky))


def test_files_are_stacked_and_bands_are_chosen_by_name(hst_drz, sky):
    paths = [hst_drz("a.fits", FILTER="F606W"), hst_drz("b.fits", FILTER="F814W")]
    image = read_sky(paths, bands=["f814w", "F606W"])
    assert image.bands == ("F814W", "F606W")
    np.testing.assert_array_equal(image.data[0], sky)
    assert read_sky([*paths, paths[0]]).bands == ("F606W", "F814W", "F606W_2")
    with pytest.raises(ImgturboError, match=r"no band F115W; there are F606W, F814W"):
        read_sky(paths, bands=["F115W"])


def test_another_grid_is_resampled_and_windows_agree(tmp_path, make_wcs):
    rng = np.random.default_rng(0)
    first = SkyImage.from_array(
        rng.normal(size=(61, 47)), wcs=make_wcs((61, 47)), unit="DN/s/arcsec2", bands=["F606W"]
    )
    other_shape = (131, 101)
    data = rng.normal(size=other_shape)
    data[50:60, 40:43] = np.nan
    for scale in (0.027, 0.052):  # averaged and interpolated
        wcs = make_wcs(other_shape, scale=scale, angle=33.0)
        other = SkyImage.from_array(
            data, wcs=wcs, unit="DN/s/arcsec2", bands=["F814W"], zeropoints=[30.0]
        )
        write_sky(tmp_path / "a.fits", first, overwrite=True)
        write_sky(tmp_path / "b.fits", other, overwrite=True)
        with open_sky([tmp_path / "a.fits", tmp_path / "b.fits"]) as reader:
            whole = reader.read()
            assert whole.shape == (2, 61, 47)
            assert reader.zeropoints[1] == pytest.approx(30 - 5 * np.log10(0.05 / scale), abs=1e-6)
            assert np.isfinite(whole.data[1]).mean() > 0.5
            for rows, cols in [(slice(5, 23), slice(11, 40)), (slice(30, 31), slice(0, 47))]:
                part = reader.read(rows, cols)
                np.testing.assert_allclose(part.data, whole.data[:, rows, cols], atol=1e-5)


@pytest.mark.parametrize("scale", [0.04, 0.075, 0.1, 0.025, 0.06])
@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_what_is_measured_does_not_depend_on_the_window(tmp_path, make_wcs, scale, angle):
    """At scales such as 5/4 many new pixels are measured by exactly a half: all windows agree."""
    rng = np.random.default_rng(3)
    data = rng.normal(10, 1, (140, 131)).astype(np.float32)
    data[rng.random(data.shape) < 0.02] = np.nan
    data[40:61, 30:75] = data[100:103] = np.nan
    path = tmp_path / "holes.fits"
    header = make_wcs(data.shape, scale=0.05, angle=angle).to_header()
    fits.PrimaryHDU(data, header).writeto(path)
    with open_sky([path], unit="MJy/sr") as reader:
        moved = reader.at_scale(scale)
        _, height, width = moved.shape
        whole = moved.read(slice(0, height), slice(0, width)).data
        assert 0.02 < np.isnan(whole).mean() < 0.5
        for side in (37, 64):
            parts = np.empty_like(whole)
            for y in range(0, height, side):
                for x in range(0, width, side):
                    rows, cols = slice(y, min(y + side, height)), slice(x, min(x + side, width))
                    parts[:, rows, cols] = moved.read(rows, cols).data
            np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-4)  # NaN in like places


def test_memory_is_a_windows_not_the_mosaics(tmp_path):
    fits.writeto(tmp_path / "tall.fits", np.ones((6000, 1024), np.float32))
    tracemalloc.start()
    with open_sky(tmp_path / "tall.fits") as reader:
        for top in range(0, 6000, 500):
            reader.read(slice(top, top + 64), slice(100, 164))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * 6000 * 1024 * 4  # opening looks at a million pixels


# ------------------------------------------------------------------------------ bad input


def bad(path, match, **options):
    with pytest.raises(ImgturboError, match=match) as caught:
        read_sky(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_such_file(tmp_path):
    assert "nowhere.fits" in bad(tmp_path / "nowhere.fits", "no such file")
    bad(tmp_path / "nowhere.png", "no such file")
    bad(tmp_path, "is a folder")
    bad([], "no image was given")


@pytest.mark.parametrize("content", [b"", b"hello world\n" * 500, b"\x89PNG\r\n\x1a\n" * 99])
def test_not_fits(tmp_path, content):
    (tmp_path / "text.fits").write_bytes(content)
    bad(tmp_path / "text.fits", "not a FITS file")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("kind", ["drz", "gzip", "gzip2", "cube", "ours"])
def test_a_truncated_file_is_noticed(files, kind, keep):
    path = files[kind]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    bad(path, "truncated|damaged")


def test_a_file_cut_within_a_header_is_noticed(hst_drz):
    path = hst_drz()
    with fits.open(path) as hdus:
        start = hdus["WHT"].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[: start + 700])
    bad(path, "truncated")


def test_missing_padding_is_no_loss(tmp_path, sky):
    path = tmp_path / "unpadded.fits"
    fits.writeto(path, sky)
    path.write_bytes(path.read_bytes()[: 2880 + 4 * sky.size])
    np.testing.assert_array_equal(read_sky(path).data[0], sky)


def test_damaged_gzip(files):
    content = bytearray(files["gzip"].read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    files["gzip"].write_bytes(bytes(content))
    bad(files["gzip"], "unpacked|truncated|damaged")


def test_no_image(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "table.fits")
    bad(tmp_path / "table.fits", "no image")
    fits.HDUList([fits.PrimaryHDU(np.zeros(9))]).writeto(tmp_path / "line.fits")
    bad(tmp_path / "line.fits", "no image")
    err = fits.ImageHDU(np.zeros((4, 4)), name="ERR")
    fits.HDUList([fits.PrimaryHDU(), err]).writeto(tmp_path / "err.fits")
    bad(tmp_path / "err.fits", r"no image.*ERR")


def test_nothing_measured(tmp_path, hst_drz):
    fits.writeto(tmp_path / "nan_f606w.fits", np.full((5, 7), np.nan))
    assert "F606W" in bad(tmp_path / "nan_f606w.fits", "no measured pixel")
    path = hst_drz()
    with fits.open(path, mode="update") as hdus:
        hdus["WHT"].data[:] = 0
    bad(path, "F814W has no measured pixel")


def test_shapes_disagree_without_coordinates(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.ones((5, 7)))
    fits.writeto(tmp_path / "b.fits", np.ones((5, 8)))
    message = bad([tmp_path / "a.fits", tmp_path / "b.fits"], "without a WCS")
    assert "5 × 7" in message
    assert "5 × 8" in message


def test_extensions_on_different_grids(tmp_path):
    chips = [fits.ImageHDU(np.ones((5, n)), name="SCI", ver=n) for n in (7, 8)]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(tmp_path / "flt.fits")
    bad(tmp_path / "flt.fits", "different grids")


def test_no_common_sky(tmp_path, make_wcs):
    for name, ra in (("a", 10.0), ("b", 190.0)):
        image = SkyImage.from_array(np.ones((9, 9)), wcs=make_wcs((9, 9), ra=ra, dec=0.0))
        write_sky(tmp_path / f"{name}.fits", image)
    message = bad([tmp_path / "a.fits", tmp_path / "b.fits"], "no sky in common")
    assert "a.fits" in message
    assert "b.fits" in message


def test_units_disagree(hst_drz):
    paths = [hst_drz("a.fits"), hst_drz("b.fits", BUNIT="nJy")]
    bad(paths, "in electron/s but .*b.fits in nJy")


# -------------------------------------------------------------------------------- real files


def test_real_hubble_drizzle(real_data):
    paths = sorted((real_data / "fits/hst_snzwicky_drz").glob("*.fits"))
    with open_sky(paths) as reader:
        assert reader.bands == ("F475W", "F625W", "F814W")
        assert reader.unit == "electron/s"
        part = reader.read(slice(200, 300), slice(100, 300))
        image = reader.read()
    assert image.pixel_scale == pytest.approx(0.0396, abs=1e-3)
    np.testing.assert_allclose(image.zeropoints, (25.68, 25.50, 25.11), atol=0.01)
    assert 0.93 < image.valid.mean() < 0.95
    np.testing.assert_allclose(part.data, image.data[:, 200:300, 100:300], atol=1e-6)


def test_real_webb_cutouts_of_two_scales(real_data):
    folder = real_data / "fits/jwst_ceers_cutouts/2114"
    image = read_sky([folder / f"2114_{band}sci.fits" for band in ("F277W", "F115W", "F444W")])
    assert image.unit == "MJy/sr"
    assert image.bands == ("F277W", "F115W", "F444W")
    assert image.valid.mean() > 0.95
    with fits.open(folder / "2114_F115Wsci.fits") as hdus:
        before = hdus[0].data.sum() * 9.40177e-15
    after = np.nansum(image.data[1]) * 3.76071e-14
    assert after == pytest.approx(before, rel=0.02)  # the cutouts' edges differ


@pytest.mark.parametrize("kind", ["hst_abell2744_f105w", "hst_jwst_lensed_quasars"])
def test_every_real_file_opens(real_data, kind):
    for path in sorted((real_data / "fits" / kind).glob("*.fits*")):
        image = read_sky(path)
        assert image.bands[0].startswith("F") or "SPIRAL" in image.bands[0]
        assert image.valid.any()
