"""File to file equals in memory; bands, units, masks and provenance arrive; bad input is named."""

from __future__ import annotations

import gzip
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from small_skies import noise_sky, rotated_wcs

from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_array, translate_file, translate_sky
from imgturbo.mosaic.holes import fill_small
from imgturbo.sky import SkyImage, Stretch, read_sky

H, W = 151, 127


@pytest.fixture
def files(make_fits):
    wcs = rotated_wcs(H, W)
    data = noise_sky(2, H, W)
    return [
        make_fits(f"hst_{band.lower()}.fits", plane, band, wcs=wcs)
        for band, plane in zip(("F606W", "F814W"), data, strict=True)
    ]


@pytest.mark.parametrize("window", [64, 90, None])
def test_a_file_equals_its_image(bundle, files, tmp_path, window):
    out = translate_file(bundle, files, tmp_path / "out.fits", window=window)
    whole = translate_sky(bundle, read_sky(files)).mean
    made = read_sky(out)
    stretch = bundle.target.stretch
    np.testing.assert_array_equal(np.isnan(made.data), np.isnan(whole.data))
    assert np.nanmax(np.abs(stretch(made.data) - stretch(whole.data))) < 1e-4
    assert made.bands == ("F150W", "F277W")
    assert made.unit == "MJy/sr"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_blended_windows_through_a_file_equal_those_in_memory(bundle, files, tmp_path):
    out = translate_file(bundle, files, tmp_path / "out.fits", window=48, overlap=8)
    whole = translate_sky(bundle, read_sky(files), window=48, overlap=8).mean
    np.testing.assert_allclose(read_sky(out).data, whole.data, rtol=1e-5, atol=1e-6)


def test_backward_leads_back_to_the_sources_bands(bundle, files, tmp_path):
    there = translate_file(bundle, files, tmp_path / "there.fits")
    with pytest.warns(UserWarning, match="its sky is not the training's"):  # a lively network's
        back = translate_file(bundle, there, tmp_path / "back.fits", "backward")
    assert read_sky(back).bands == ("F606W", "F814W")
    assert read_sky(back).unit == "electron/s"


def test_an_image_an_array_and_the_network_agree(bundle, files):
    image = read_sky(files)
    translated = translate_sky(bundle, image).mean
    array = translate_sky(bundle, image.data).mean
    np.testing.assert_array_equal(array, translated.data)
    source, target = (s.stretch for s in (bundle.source, bundle.target))
    values = source(image.data)
    fill_small(values, image.valid)
    expected = target.inverse(translate_array(bundle.decoder, values).mean.astype(float))
    np.testing.assert_allclose(array[:, image.valid], expected[:, image.valid], rtol=1e-5)
    assert translated.bands == ("F150W", "F277W")
    np.testing.assert_array_equal(translated.valid, image.valid)


def test_the_header_says_where_it_came_from(bundle, files, tmp_path):
    out = translate_file(bundle, files, tmp_path / "out.fits")
    with fits.open(out) as hdus:
        header = hdus[0].header
        history = "".join(str(line).ljust(72) for line in header["HISTORY"])
        assert header["MODEL"] == bundle.hash
        assert bundle.hash in history
        assert all(path.name in history for path in files)
        assert "--samples" not in history
        assert "TELESCOP = HST" in history
        assert [(hdu.name, hdu.ver) for hdu in hdus[1:]] == [("SCI", 1), ("SCI", 2), ("FLAGS", 1)]
        assert [hdu.header["BUNIT"] for hdu in hdus[1:3]] == ["MJy/sr"] * 2
        assert [hdu.header["ABZP"] for hdu in hdus[1:3]] == pytest.approx(
            bundle.target.zeropoints, abs=1e-3
        )
        assert Stretch.from_header(header, ("F150W", "F277W")) == bundle.target.stretch


def test_a_prediction_says_so_and_repeats_nothing_of_the_observation(bundle, make_fits, tmp_path):
    observed = {"DATE-BEG": "2022-06-29T01:02:03", "MJD-AVG": 59759.1, "XPOSURE": 1200.0}
    observed |= {"DATE-OBS": "2022-06-29", "EXPTIME": 1200.0, "OBSGEO-X": 1e9}
    wcs, files = rotated_wcs(H, W), []
    for band, plane in zip(("F606W", "F814W"), noise_sky(2, H, W), strict=True):
        files.append(make_fits(f"{band}.fits", plane, band, wcs=wcs))
        with fits.open(files[-1], mode="update") as hdus:
            hdus["SCI"].header.update(observed | {"OBJECT": "M51"})
    out = translate_file(bundle, files, tmp_path / "out.fits")
    with fits.open(out, checksum=True) as hdus:
        assert hdus[0].header["OBJECT"] == "M51"
        for hdu in hdus:
            assert not set(hdu.header) & set(observed)
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
        for n in (1, 2):
            header = hdus["SCI", n].header
            assert header["PREDICTD"] is True
            assert header["MODEL"] == bundle.hash
            assert "predicted from F606W.fits" in str(header["HISTORY"])
    assert "not observed" in describe(out)["predicted"]
    assert "predicted" not in describe(files[0])
    made = translate_sky(bundle, read_sky(files)).mean
    assert not set(made.header) & set(observed)
    assert made.header["OBJECT"] == "M51"
    assert made.header["PREDICTD"] is True
    assert "input EXPTIME = 1200.0" in str(made.header["HISTORY"])
    assert made.named == (True, True)


def test_an_ensemble_is_told_from_a_single_pass(bundle, files, tmp_path):
    out = translate_file(bundle, files, tmp_path / "out.fits", ensemble="flips", window=90)
    whole = translate_sky(bundle, read_sky(files), ensemble="flips").mean
    stretch = bundle.target.stretch
    made = read_sky(out)
    assert np.nanmax(np.abs(stretch(made.data) - stretch(whole.data))) < 1e-4
    with fits.open(out) as hdus:
        history = "".join(str(line).ljust(72) for line in hdus[0].header["HISTORY"])
        assert hdus[0].header["ENSEMBLE"] == "flips"
        assert "--ensemble flips" in history
    plain = translate_file(bundle, files, tmp_path / "plain.fits")
    with fits.open(plain) as hdus:
        assert "ENSEMBLE" not in hdus[0].header
    assert not np.array_equal(read_sky(plain).data, made.data, equal_nan=True)


def test_an_interrupted_single_pass_is_not_continued_as_an_ensemble(bundle, files, tmp_path):
    def stop(what, fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate_file(bundle, files, tmp_path / "out.fits", window=64, progress=stop)
    out = translate_file(bundle, files, tmp_path / "out.fits", window=64, ensemble="d4")
    fresh = translate_file(bundle, files, tmp_path / "fresh.fits", window=64, ensemble="d4")
    np.testing.assert_array_equal(read_sky(out).data, read_sky(fresh).data)


def test_the_order_of_the_files_does_not_matter(bundle, files, tmp_path):
    one = translate_file(bundle, files, tmp_path / "one.fits")
    two = translate_file(bundle, files[::-1], tmp_path / "two.fits")
    np.testing.assert_array_equal(read_sky(one).data, read_sky(two).data)


def test_packed_files_give_the_same(bundle, files, tmp_path):
    plain = translate_file(bundle, files, tmp_path / "plain.fits")
    zipped = tmp_path / "hst_f606w.fits.gz"
    with files[0].open("rb") as source, gzip.open(zipped, "wb") as target:
        shutil.copyfileobj(source, target)
    packed = tmp_path / "hst_f814w.fits.fz"
    with fits.open(files[1]) as hdus:
        image = fits.CompImageHDU(
            hdus["SCI"].data,
            hdus["SCI"].header,
            name="SCI",
            compression_type="GZIP_2",
            quantize_level=0,
        )
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(packed)
    other = translate_file(bundle, [zipped, packed], tmp_path / "packed.fits")
    np.testing.assert_array_equal(read_sky(plain).data, read_sky(other).data)


def test_samples_make_a_mean_and_a_deviation(make_bundle, files, tmp_path):
    noisy = make_bundle(noise=2)
    out = translate_file(noisy, files, tmp_path / "out.fits", samples=3, window=64, seed=5)
    found = translate_sky(noisy, read_sky(files), samples=3, seed=5)
    stretch = noisy.target.stretch
    with fits.open(out) as hdus:
        made = np.stack([hdus["SCI", n].data for n in (1, 2)]).astype(np.float32)
        spread = np.stack([hdus["STD", n].data for n in (1, 2)]).astype(np.float32)
        history = "".join(str(line).ljust(72) for line in hdus[0].header["HISTORY"])
        assert hdus[0].header["NSAMPLES"] == 3
        assert "--samples 3 --seed 5 --temperature 1.0" in history
    assert np.nanmax(np.abs(stretch(made) - stretch(found.mean.data))) < 1e-4
    np.testing.assert_allclose(spread, found.std.data, rtol=1e-2, atol=1e-3)
    assert np.nanmean(found.std.data) > 0


def test_other_units_are_converted_by_their_zero_points(bundle, files, make_fits, tmp_path):
    """10 nJy (AB 28.9) is the same sky as electron/s of AB 26, in numbers 10^(0.4·2.9) larger."""
    wcs = rotated_wcs(H, W)
    data = noise_sky(2, H, W) * 10 ** (0.4 * 2.9)
    other = [
        make_fits(f"dja_{band}.fits", plane, band, unit="10 nJy", zeropoint=28.9, wcs=wcs)
        for band, plane in zip(("F606W", "F814W"), data.astype(np.float32), strict=True)
    ]
    one = read_sky(translate_file(bundle, files, tmp_path / "one.fits")).data
    two = read_sky(translate_file(bundle, other, tmp_path / "two.fits")).data
    stretch = bundle.target.stretch
    assert np.nanmax(np.abs(stretch(one) - stretch(two))) < 1e-4


def test_units_that_cannot_be_converted_are_refused(bundle, make_fits, tmp_path):
    plane = noise_sky(1, H, W)[0]
    unknown = [
        make_fits(f"{band}.fits", plane, band, unit="DN/s", zeropoint=None)
        for band in ("F606W", "F814W")
    ]
    with pytest.raises(ImgturboError, match="bundle wants electron/s; got DN/s"):
        translate_file(bundle, unknown, tmp_path / "out.fits")


def test_another_pixel_scale_is_brought_to_the_models(bundle, make_fits, tmp_path):
    data = noise_sky(2, H, W)
    wcs = rotated_wcs(H, W, scale=0.06)
    other = [
        make_fits(f"{band}.fits", plane, band, wcs=wcs)
        for band, plane in zip(("F606W", "F814W"), data, strict=True)
    ]
    # The input's sky and axes at the scale that the network knows, in files as in memory.
    made = read_sky(translate_file(bundle, other, tmp_path / "out.fits", window=32))
    assert made.pixel_scale == pytest.approx(0.05, rel=1e-6)
    assert made.shape[1:] == (round(np.ceil(H * 1.2)), round(np.ceil(W * 1.2)))
    inside = translate_sky(bundle, read_sky(other)).mean
    np.testing.assert_allclose(made.data, inside.data, rtol=1e-5, atol=1e-4)
    corner = made.wcs.pixel_to_world(0, 0).separation(wcs.pixel_to_world(-1 / 12, -1 / 12))
    assert corner.arcsec < 1e-3
    # A grid that is asked for is kept, with a warning.
    with pytest.warns(UserWarning, match=r"0\.06 arcsec, but the bundle was trained at 0\.05"):
        kept = translate_file(bundle, other, tmp_path / "kept.fits", grid=other[0])
    assert read_sky(kept).shape[1:] == (H, W)


def test_a_grid_gives_the_output_its_pixels(identity, files, make_fits, tmp_path):
    grid = make_fits("grid.fits", np.ones((80, 100), np.float32), wcs=rotated_wcs(80, 100, 0.05, 0))
    out = translate_file(identity, files, tmp_path / "out.fits", grid=grid, window=64)
    made, wanted = read_sky(out), read_sky(grid)
    assert made.shape == (2, 80, 100)
    assert made.wcs.wcs_pix2world([[10, 70]], 0) == pytest.approx(
        wanted.wcs.wcs_pix2world([[10, 70]], 0), abs=1e-9
    )
    assert np.isfinite(made.data).any()


def test_pictures_go_in_and_out(make_bundle, tmp_path):
    from imgturbo.sky import write_sky

    rgb = ("R", "G", "B")
    stretch = Stretch.linear(3)
    pictures = make_bundle(
        rgb, rgb, True, source_unit="display", target_unit="display",
        source_stretch=stretch, target_stretch=stretch, source_zeropoint=None,
        target_zeropoint=None,
    )  # fmt: skip
    values = np.random.default_rng(0).integers(0, 256, (3, 61, 53)).astype(np.float32) / 255
    image = SkyImage(values, np.ones((61, 53), bool), None, "display", rgb)
    source = write_sky(tmp_path / "in.png", image)
    for suffix in ("png", "fits"):
        out = translate_file(pictures, source, tmp_path / f"out.{suffix}", window=32)
        np.testing.assert_allclose(read_sky(out).data, values, atol=1e-6)


@pytest.fixture
def pictures(make_bundle):
    """A bundle of colour pictures that changes nothing."""
    rgb = ("R", "G", "B")
    same = Stretch.linear(3)
    return make_bundle(
        rgb, rgb, True, source_unit="display", target_unit="display", source_stretch=same,
        target_stretch=same, source_zeropoint=None, target_zeropoint=None,
    )  # fmt: skip


@pytest.mark.parametrize("order", [None, "BOTTOM-UP", "TOP-DOWN"])
def test_north_is_where_viewers_show_it(pictures, tmp_path, order):
    """FITS rows run upward, picture rows downward; ROWORDER = 'TOP-DOWN' is the exception."""
    values = np.random.default_rng(3).uniform(0, 1, (3, 61, 53)).astype(np.float32)
    cards = fits.Header({"BUNIT": "display"} | ({} if order is None else {"ROWORDER": order}))
    fits.writeto(tmp_path / "in.fits", values, cards)
    png = translate_file(pictures, tmp_path / "in.fits", tmp_path / "out.png", window=32)
    seen = values if order == "TOP-DOWN" else values[:, ::-1]
    np.testing.assert_allclose(read_sky(png).data, seen, atol=0.51 / 255)
    # Back into FITS the picture's rows stay, and the file says which way they run.
    back = translate_file(pictures, png, tmp_path / "back.fits", window=32)
    assert fits.getheader(back)["ROWORDER"] == "TOP-DOWN"
    again = translate_file(pictures, back, tmp_path / "again.png", window=32)
    np.testing.assert_array_equal(read_sky(again).data, read_sky(png).data)
    fits_out = translate_file(pictures, tmp_path / "in.fits", tmp_path / "out.fits", window=32)
    np.testing.assert_allclose(read_sky(fits_out).data, values, atol=1e-6)
    assert fits.getheader(fits_out).get("ROWORDER") == (order if order == "TOP-DOWN" else None)


# ------------------------------------------------------------------------------- bad input


def test_wrong_bands_are_named(bundle, make_fits, tmp_path):
    plane = noise_sky(1, H, W)[0]
    other = [make_fits(f"{band}.fits", plane, band) for band in ("F606W", "F850LP")]
    with pytest.raises(ImgturboError, match="bundle wants F606W, F814W; got F606W, F850LP"):
        translate_file(bundle, other, tmp_path / "out.fits")
    assert not (tmp_path / "out.fits").exists()


def test_too_few_bands_are_named(bundle, files, tmp_path):
    with pytest.raises(ImgturboError, match="bundle wants F606W, F814W; got F606W;"):
        translate_file(bundle, files[:1], tmp_path / "out.fits")


@pytest.mark.parametrize("way", ["file", "image", "array", "grid"])
def test_bands_that_were_never_measured_together_are_named(bundle, make_fits, tmp_path, way):
    data = noise_sky(2, H, W)
    data[0, :, : W // 2], data[1, :, W // 2 :] = np.nan, np.nan
    if way == "grid":  # together somewhere, but not on the grid that is asked for
        data = noise_sky(2, H, W)
        data[0, :90] = np.nan
    apart = [
        make_fits(f"{band}.fits", plane, band, wcs=rotated_wcs(H, W))
        for band, plane in zip(("F606W", "F814W"), data, strict=True)
    ]
    out, grid = tmp_path / "out.fits", None
    if way == "grid":
        grid = make_fits("grid.fits", np.ones((40, 90), np.float32), wcs=rotated_wcs(H, W))
    ways = {"image": lambda: read_sky(apart), "array": lambda: data}

    def run():
        if way in ways:
            return translate_sky(bundle, ways[way]())
        return translate_file(bundle, apart, out, grid=grid)

    with pytest.raises(ImgturboError, match=r"F606W"):
        run()
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_bands_may_be_named_by_the_caller(bundle, files, make_fits, tmp_path):
    data = noise_sky(2, H, W)
    lying = [
        make_fits(f"{k}.fits", plane, "CLEAR", wcs=rotated_wcs(H, W))
        for k, plane in enumerate(data[::-1])
    ]
    out = translate_file(bundle, lying, tmp_path / "out.fits", bands=["F814W", "F606W"])
    right = translate_file(bundle, files, tmp_path / "right.fits")
    np.testing.assert_array_equal(read_sky(out).data, read_sky(right).data)
    with pytest.raises(ImgturboError, match="1 band names for 2 bands"):
        translate_file(bundle, lying, tmp_path / "no.fits", bands=["F814W"])


def test_files_without_names_are_taken_by_count(bundle, files, make_fits, tmp_path):
    data = noise_sky(2, H, W)
    plain = [
        make_fits(f"{name}.fits", plane, None, wcs=rotated_wcs(H, W))
        for name, plane in zip(("blue", "red"), data, strict=True)
    ]
    with pytest.warns(UserWarning, match="FILTER"):
        out = translate_file(bundle, plain, tmp_path / "out.fits")
    right = translate_file(bundle, files, tmp_path / "right.fits")
    np.testing.assert_array_equal(read_sky(out).data, read_sky(right).data)


def test_outputs_that_cannot_be_are_refused_before_any_work(bundle, files, tmp_path):
    existing = tmp_path / "existing.fits"
    existing.write_text("precious")
    for out, message in (
        (existing, "exists already"),
        (tmp_path / "no" / "out.fits", "no such folder"),
        (tmp_path, "is a folder"),
        (files[0], "is one of the inputs"),
    ):
        with pytest.raises(ImgturboError, match=message):
            translate_file(bundle, files, out)
    assert existing.read_text() == "precious"
    translate_file(bundle, files, existing, overwrite=True)
    assert read_sky(existing).shape == (2, H, W)


def test_an_unwritable_folder_is_named(bundle, files, tmp_path, monkeypatch):
    import os

    folder = tmp_path / "locked"
    folder.mkdir()
    real = os.open

    def locked(path, *arguments, **keywords):
        if str(path).startswith(str(folder)) and arguments and arguments[0] & os.O_CREAT:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", locked)  # root may write anywhere, so chmod would not do
    with pytest.raises(ImgturboError, match="Permission denied"):
        translate_file(bundle, files, folder / "out.fits")
    assert list(folder.iterdir()) == []


def test_without_a_unit_a_warning_is_given(bundle, make_fits, tmp_path):
    data = noise_sky(2, H, W)
    plain = [
        make_fits(f"{band}.fits", plane, band, unit=None, zeropoint=None)
        for band, plane in zip(("F606W", "F814W"), data, strict=True)
    ]
    with pytest.warns(UserWarning, match="no unit in the header"):
        translate_file(bundle, plain, tmp_path / "out.fits")


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_values_to_255_without_a_unit_are_no_pictures(make_bundle, make_fits, tmp_path, kind):
    linear = Stretch.linear(1)
    pictures = make_bundle(
        ("L",), ("L",), True, source_unit="display", target_unit="display",
        source_stretch=linear, target_stretch=linear, source_zeropoint=None,
        target_zeropoint=None,
    )  # fmt: skip
    levels = np.arange(256).reshape(16, 16)
    bright = make_fits("a.fits", levels.astype(kind), "L", unit=None, zeropoint=None)
    shown = make_fits("b.fits", (levels / 255).astype(">f4"), "L", unit=None, zeropoint=None)
    with (
        pytest.warns(UserWarning, match="no unit in the header; taken to be display"),
        np.errstate(all="raise"),
    ):
        made = translate_file(pictures, shown, tmp_path / "out.fits")
    assert np.nanmax(read_sky(made).data) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ImgturboError, match="values up to 255, but pictures"):
        translate_file(pictures, bright, tmp_path / "white.fits")
    with pytest.raises(ImgturboError, match="the array: states no unit and holds values up to 255"):
        translate_sky(pictures, levels[None].astype(kind))
    assert not (tmp_path / "white.fits").exists()


def test_a_translation_is_silent(bundle, files, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translate_file(bundle, files, tmp_path / "out.fits")


def test_the_stretch_travels_in_memory_too(bundle, files):
    made = translate_sky(bundle, read_sky(files)).mean
    carried = Stretch.from_header(made.header, made.bands)
    assert carried == bundle.target.stretch
