"""Pictures as viewers show them: compressions, colours, Orientation, transparency."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky
from imgturbo.sky.picture import working_shape

RGB = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
GREY = RGB[..., 0]
RGB16 = np.random.default_rng(1).integers(0, 65536, (16, 24, 3), np.uint16)
FLOATS = np.random.default_rng(2).normal(0, 1, (16, 24)).astype(np.float32)
ORIENTATIONS = range(1, 9)


def planes(pixels):
    """(H, W[, 3]) integers as display values (C, H, W)."""
    pixels = np.asarray(pixels)
    stacked = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return stacked / np.iinfo(pixels.dtype).max


def png(path, rows, size, kind, depth, *chunks):
    """A PNG of packed rows, without filters: what encoders in Python do not write."""

    def chunk(name, data):
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    head = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [("IHDR", head), *chunks, ("IDAT", data), ("IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(n.encode(), d) for n, d in parts))
    return path


def test_compressed_tiffs(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "rgb.tif", compression="tiff_lzw")
    Image.fromarray(GREY).save(tmp_path / "grey.tif", compression="tiff_lzw")
    cv2.imwrite(str(tmp_path / "rgb16.tif"), RGB16[..., ::-1])
    cv2.imwrite(str(tmp_path / "grey16.tif"), RGB16[..., 0])
    right = {"rgb": RGB, "grey": GREY, "rgb16": RGB16, "grey16": RGB16[..., 0]}
    for name, pixels in right.items():
        read = read_sky(tmp_path / f"{name}.tif")
        np.testing.assert_allclose(read.data, planes(pixels), atol=1e-6)
        assert read.bands == (("R", "G", "B") if pixels.ndim == 3 else ("L",))
    cv2.imwrite(str(tmp_path / "floats.tif"), FLOATS)
    np.testing.assert_array_equal(read_sky(tmp_path / "floats.tif").data[0], FLOATS)
    smooth = cv2.resize(RGB[:4, :4], (24, 16))
    Image.fromarray(smooth).save(tmp_path / "jpeg.tif", compression="jpeg", quality=95)
    np.testing.assert_allclose(read_sky(tmp_path / "jpeg.tif").data, planes(smooth), atol=0.1)


@pytest.mark.parametrize("mode", ["P", "CMYK", "1"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiffs_of_other_colours(tmp_path, mode, compression):
    image = Image.fromarray(RGB).convert(mode)
    image.save(tmp_path / "x.tif", compression=compression)
    shown = np.asarray(Image.open(tmp_path / "x.tif").convert("L" if mode == "1" else "RGB"))
    np.testing.assert_allclose(read_sky(tmp_path / "x.tif").data, planes(shown), atol=1e-6)


@pytest.mark.parametrize("pixels", [GREY, RGB16[..., 0]], ids=["8", "16"])
def test_white_may_be_0(tmp_path, pixels):
    inverted = np.iinfo(pixels.dtype).max - pixels
    tifffile.imwrite(tmp_path / "x.tif", inverted, photometric="miniswhite")
    np.testing.assert_allclose(read_sky(tmp_path / "x.tif").data, planes(pixels), atol=1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "lzw.tif", "plain.tif", "deep.png", "16.tif"])
def test_pictures_stand_upright(tmp_path, name, orientation):
    smooth = np.ascontiguousarray(cv2.resize(RGB[:3, :4], (24, 16)))  # JPEG keeps what is smooth
    pixels = RGB16 if name in ("16.tif", "deep.png") else smooth if name == "a.jpg" else RGB
    image = Image.fromarray(smooth if name == "a.jpg" else RGB)
    exif = image.getexif()
    exif[274] = orientation
    path = tmp_path / name
    tag = [(274, "H", 1, orientation, True)]
    if name == "16.tif":
        tifffile.imwrite(path, RGB16, photometric="rgb", extratags=tag)
    elif name == "plain.tif":
        tifffile.imwrite(path, RGB, photometric="rgb", extratags=tag)
    elif name == "deep.png":
        rows = [row.astype(">u2").tobytes() for row in RGB16]
        png(path, rows, (24, 16), 2, 16, ("eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    else:
        options = {
            "lzw.tif": {"compression": "tiff_lzw"},
            "a.jpg": {"quality": 95, "subsampling": 0},
        }
        image.save(path, exif=exif, **options.get(name, {}))
    turn = Image.fromarray(np.arange(16 * 24, dtype=np.int32).reshape(16, 24))
    turn.getexif()[274] = orientation
    index = np.asarray(ImageOps.exif_transpose(turn))
    right = pixels.reshape(-1, 3)[index]
    atol = 0.06 if name == "a.jpg" else 1e-6
    read = read_sky(path).data
    assert read.shape == planes(right).shape
    np.testing.assert_allclose(read, planes(right), atol=atol)


@pytest.mark.parametrize(("kind", "alpha"), [(0, False), (1, True), (2, True)])
def test_a_tiffs_channel_is_alpha_if_it_says_so(tmp_path, kind, alpha):
    extra = np.full(GREY.shape, 255, np.uint8)
    extra[:3] = 0
    rgb = np.where(extra[..., None] > 0, RGB, 0)
    for name, first, photometric in (("c", rgb, "rgb"), ("g", rgb[..., :1], "minisblack")):
        pixels = np.dstack([first, extra])
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            pixels,
            photometric=photometric,
            extrasamples=[kind],
            planarconfig="contig",
        )
        read = read_sky(tmp_path / f"{name}.tif")
        assert len(read.bands) == pixels.shape[2] - alpha
        np.testing.assert_array_equal(read.valid, extra > 0 if alpha else extra >= 0)
        np.testing.assert_allclose(
            read.data[:, read.valid], planes(pixels)[: len(read.bands), read.valid], atol=1e-6
        )


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("nodata", ["0", "7 "])
def test_gdal_names_the_value_of_no_data(tmp_path, kind, nodata):
    pixels = GREY.astype(kind)
    pixels[:4] = float(nodata)
    pixels[4:] += pixels[4:] == float(nodata)
    tifffile.imwrite(tmp_path / "x.tif", pixels, extratags=[(42113, "s", 0, nodata, True)])
    np.testing.assert_array_equal(read_sky(tmp_path / "x.tif").valid, pixels != float(nodata))


def test_png_names_a_transparent_colour(tmp_path):
    grey, colour = GREY.copy(), RGB.copy()
    Image.fromarray(grey).save(tmp_path / "grey.png", transparency=int(grey[3, 4]))
    Image.fromarray(colour).save(tmp_path / "rgb.png", transparency=tuple(map(int, colour[3, 4])))
    np.testing.assert_array_equal(read_sky(tmp_path / "grey.png").valid, grey != grey[3, 4])
    hidden = (colour == colour[3, 4]).all(-1)
    np.testing.assert_array_equal(read_sky(tmp_path / "rgb.png").valid, ~hidden)
    few = png(tmp_path / "few.png", [bytes([0b00011011])], (4, 1), 0, 2, ("tRNS", b"\0\1"))
    assert read_sky(few).valid.tolist() == [[True, False, True, True]]


@pytest.mark.parametrize("channels", [1, 3])
def test_deep_png_names_a_transparent_colour(tmp_path, channels):
    pixels = RGB16[..., :channels]
    clear = pixels[2, 5].astype(">u2").tobytes()
    rows = [row.astype(">u2").tobytes() for row in pixels]
    path = png(tmp_path / "x.png", rows, (24, 16), channels - 1, 16, ("tRNS", clear))
    read = read_sky(path)
    right = ~(pixels == pixels[2, 5]).all(-1)
    np.testing.assert_array_equal(read.valid, right)
    np.testing.assert_allclose(read.data[:, right], planes(pixels)[:, right], atol=1e-6)


def test_deep_grey_with_alpha(tmp_path):
    both = RGB16[..., :2].copy()
    both[:2, :, 1] = 0
    rows = [row.astype(">u2").tobytes() for row in both]
    read = read_sky(png(tmp_path / "x.png", rows, (24, 16), 4, 16))
    assert read.bands == ("L",)
    np.testing.assert_array_equal(read.valid, both[..., 1] > 0)
    right = planes(both[..., 0])[:, read.valid]
    np.testing.assert_allclose(read.data[:, read.valid], right, atol=1e-6)


def test_the_remedy_fits_the_cause(tmp_path, monkeypatch):
    def missing(series):
        raise ValueError("<COMPRESSION.LERC> requires the 'imagecodecs' package")

    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
    monkeypatch.setattr("tifffile.TiffPageSeries.asarray", missing)
    with pytest.raises(ImgturboError, match=r"LERC.*'pip install imagecodecs'"):
        read_sky(tmp_path / "x.tif")


def _touched(path):
    path.write_bytes(b"")
    return path


def test_memory_that_ends_is_one_line(tmp_path, monkeypatch):
    def full(path):
        raise MemoryError

    monkeypatch.setattr("imgturbo.sky.picture.decode", full)
    with pytest.raises(ImgturboError, match=r"x\.png: asks for more memory than there is"):
        read_sky(_touched(tmp_path / "x.png"))


def test_thin_pictures_are_not_enlarged():
    assert working_shape(60, 90, 320) == (320, 480)
    assert working_shape(3000, 90, 64) == (2133, 64)
    height, width = working_shape(1, 90, 320)
    assert height < 20
    assert width == 1280
    assert working_shape(1, 5000, 320) == (1, 5000)


@pytest.mark.parametrize("nodata", ["-9999", "300", "0.5", "1e40"])
def test_a_value_that_no_pixel_can_have_masks_none(tmp_path, nodata):
    pixels = np.arange(40, dtype=np.uint8).reshape(5, 8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, extratags=[(42113, "s", 0, nodata, True)])
    assert read_sky(tmp_path / "x.tif").valid.all()


def test_thumbnails_and_masks_are_not_the_image(tmp_path):
    """Thumbnails first (cameras), overviews after (GDAL), its mask beside."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
    seen = np.arange(40)[None] > np.arange(24)[:, None]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(pixels[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(pixels, photometric="rgb")
        file.write(seen, photometric="mask", subfiletype=4, compression="zlib")
        file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
        file.write(seen[::2, ::2], photometric="mask", subfiletype=5, compression="zlib")
    image = read_sky(tmp_path / "x.tif")
    np.testing.assert_array_equal(image.valid, seen)
    expected = np.moveaxis(pixels, -1, 0)[:, seen] / 255
    np.testing.assert_allclose(image.data[:, seen], expected, atol=1e-6)


def test_pages_that_are_not_read_are_said(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40), np.uint8)
    tifffile.imwrite(tmp_path / "alike.tif", np.stack([pixels, pixels]), photometric="minisblack")
    assert len(read_sky(tmp_path / "alike.tif").bands) == 2
    with tifffile.TiffWriter(tmp_path / "unlike.tif") as file:
        file.write(pixels)
        file.write(pixels[:9])
    page = Image.fromarray(pixels).quantize(8)
    page.save(tmp_path / "palette.tif", save_all=True, append_images=[page])
    for name in ("unlike", "palette"):
        with pytest.warns(UserWarning, match="1 further pages in it are not read"):
            assert read_sky(tmp_path / f"{name}.tif").data.shape[1:] == (24, 40)
