"""Pictures: every depth and channel count is read; what they cannot hold is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkySpec, SkyWriter, open_sky, read_sky, write_sky

RGB8 = np.random.default_rng(0).integers(0, 256, (13, 7, 3), np.uint8)
RGB16 = np.random.default_rng(1).integers(0, 65536, (13, 7, 3), np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_8_bit_colour(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB8).save(path)
    image = read_sky(path)
    assert image.bands == ("R", "G", "B")
    assert image.unit == "display"
    assert image.wcs is None
    assert image.zeropoints == (None, None, None)
    np.testing.assert_allclose(image.data, np.moveaxis(RGB8, -1, 0) / 255, rtol=1e-6)
    assert image.valid.all()


def test_16_bit_colour_is_not_cut_to_8(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), RGB16[..., ::-1])
    tifffile.imwrite(tmp_path / "a.tif", RGB16, photometric="rgb")
    for name in ("a.png", "a.tif"):
        data = read_sky(tmp_path / name).data
        np.testing.assert_array_equal(np.rint(data * 65535), np.moveaxis(RGB16, -1, 0))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey(tmp_path, kind, suffix):
    grey = RGB16[..., 0].astype(kind)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, grey, byteorder=">")
    else:
        cv2.imwrite(str(path), grey)
    image = read_sky(path)
    assert image.bands == ("L",)
    np.testing.assert_allclose(image.data[0], grey / np.iinfo(kind).max, rtol=1e-6)


def test_transparent_pixels_were_not_measured(tmp_path):
    alpha = np.full((13, 7), 255, np.uint8)
    alpha[2:5] = 0
    alpha[6] = 128
    Image.fromarray(np.dstack([RGB8, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([RGB8[..., 0], alpha])).save(tmp_path / "la.png")
    deep = np.dstack([RGB16[..., ::-1], alpha.astype(np.uint16) * 257])
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    for name, channels in (("rgba.png", 3), ("la.png", 1), ("deep.png", 3)):
        image = read_sky(tmp_path / name)
        assert image.shape == (channels, 13, 7)
        np.testing.assert_array_equal(image.valid, alpha > 0)
        assert np.isnan(image.data[:, 2:5]).all()


def test_jpeg_palette_and_bilevel(tmp_path):
    smooth = Image.fromarray(np.tile(np.arange(48, dtype=np.uint8) * 5, (40, 1)))
    smooth.convert("RGB").save(tmp_path / "a.jpg", quality=95)
    image = read_sky(tmp_path / "a.jpg")
    assert image.shape == (3, 40, 48)
    np.testing.assert_allclose(image.data[0, 20], np.arange(48) * 5 / 255, atol=0.03)
    Image.fromarray(RGB8).convert("P").save(tmp_path / "p.png")
    assert read_sky(tmp_path / "p.png").bands == ("R", "G", "B")
    smooth.convert("1").save(tmp_path / "b.png")
    assert set(np.unique(read_sky(tmp_path / "b.png").data)) <= {0.0, 1.0}


@pytest.mark.parametrize("shape", [(13, 7), (13, 7, 3), (5, 13, 7)])
def test_a_float_tiff_is_read_as_it_is(tmp_path, shape):
    values = np.random.default_rng(2).normal(0, 1e4, shape).astype(np.float32)
    values.flat[10] = np.nan
    options = {"photometric": "rgb"} if shape[-1] == 3 else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    image = read_sky(tmp_path / "a.tif")
    expected = values[None] if values.ndim == 2 else values
    expected = np.moveaxis(expected, -1, 0) if shape[-1] == 3 else expected
    np.testing.assert_array_equal(image.data, expected)
    assert image.unit == ""


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_window_is_a_part_of_the_whole(tmp_path, name):
    Image.fromarray(RGB8).save(tmp_path / name)
    with open_sky(tmp_path / name, bands=["B", "R"]) as reader:
        whole, part = reader.read(), reader.read(slice(3, 9), slice(2, 50))
    np.testing.assert_array_equal(whole.data[0], RGB8[..., 2] / np.float32(255))
    np.testing.assert_array_equal(part.data, whole.data[:, 3:9, 2:])


@pytest.mark.parametrize(("name", "depth"), [("a.png", 255), ("a.tif", 65535)])
@pytest.mark.parametrize("channels", [1, 3])
def test_written_is_read(tmp_path, name, depth, channels):
    data = np.random.default_rng(3).uniform(-0.2, 1.2, (channels, 13, 7)).astype(np.float32)
    data[:, 4, 2:5] = np.nan
    image = SkyImage.from_array(data, unit="display")
    back = read_sky(write_sky(tmp_path / name, image))
    np.testing.assert_array_equal(back.valid, image.valid)
    np.testing.assert_allclose(back.data, np.clip(data, 0, 1), atol=0.51 / depth)


def test_jpeg_is_close(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (3, 48, 1))
    back = read_sky(write_sky(tmp_path / "a.jpeg", SkyImage.from_array(ramp, unit="display")))
    np.testing.assert_allclose(back.data, ramp, atol=0.03)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_a_tiff_keeps_fluxes(tmp_path, channels):
    data = np.random.default_rng(4).normal(0, 1e3, (channels, 13, 7)).astype(np.float32)
    data[0, 2, 2] = np.nan
    image = SkyImage.from_array(data, unit="nJy")
    np.testing.assert_array_equal(read_sky(write_sky(tmp_path / "a.tiff", image)).data, data)


def test_windows_make_the_whole(tmp_path):
    data = np.moveaxis(RGB8, -1, 0).astype(np.float32) / 255
    with SkyWriter(tmp_path / "a.png", SkySpec((3, 13, 7), "RGB", unit="display")) as writer:
        for top in (0, 5, 10):
            rows = slice(top, min(top + 5, 13))
            writer.write(data[:, rows], rows, slice(None))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), RGB8)
    with pytest.raises(ImgturboError, match="cannot be resumed"):
        SkyWriter.resume(tmp_path / "b.png", SkySpec((3, 13, 7), "RGB", unit="display"))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_unreadable_pictures(tmp_path, name, keep):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ImgturboError, match="cannot be read as a picture") as caught:
        read_sky(tmp_path / name)
    assert name in str(caught.value)
    (tmp_path / name).write_text("not a picture at all")
    with pytest.raises(ImgturboError, match="cannot be read as a picture"):
        read_sky(tmp_path / name)


def test_what_a_picture_cannot_hold_is_refused_before_the_work(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ImgturboError, match="1 or 3 bands, not 2"):
        SkyWriter(path, SkySpec((2, 4, 4), "AB", unit="display"))
    with pytest.raises(ImgturboError, match="not MJy/sr"):
        SkyWriter(path, SkySpec((1, 4, 4), "A", unit="MJy/sr"))
    with pytest.raises(ImgturboError, match="cannot hold STD"):
        SkyWriter(path, SkySpec((1, 4, 4), "A", unit="display", extensions=("SCI", "STD")))
    assert list(tmp_path.iterdir()) == []


def test_pictures_and_skies_do_not_mix(tmp_path):
    Image.fromarray(RGB8).save(tmp_path / "a.png")
    write_sky(tmp_path / "b.fits", SkyImage.from_array(np.ones((13, 7)), unit="nJy"))
    with pytest.raises(ImgturboError, match="display"):
        read_sky([tmp_path / "a.png", tmp_path / "b.fits"])


def test_real_pictures(real_data):
    for path in sorted((real_data / "pictures/carina").iterdir()):
        with open_sky(path) as reader:
            assert reader.bands == ("R", "G", "B")
            part = reader.read(slice(300, 340), slice(500, 560))
        assert part.shape == (3, 40, 60)
