"""HCOMPRESS and PLIO are unpacked in another process, which may crash and takes nobody along."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from astropy.io import fits

from imgturbo.errors import ImgturboError
from imgturbo.remote import Ranges
from imgturbo.sky import apart, open_sky, read_sky
from imgturbo.sky.blocks import extents
from imgturbo.sky.hdus import _apart
from imgturbo.sky.tiles import tile_table

pytestmark = pytest.mark.skipif(not apart.APART, reason="this system sends no files")
PIXELS = np.random.default_rng(0).integers(0, 300, (48, 40)).astype(np.int16)


def packed(path, kind, pixels=PIXELS, tile=(16, 40)):
    hdu = fits.CompImageHDU(pixels, compression_type=kind, name="SCI", tile_shape=tile)
    hdu.header["BUNIT"] = "MJy/sr"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def helpers():
    this = os.path.abspath(apart.__file__)
    found = psutil.Process().children()
    return [child for child in found if child.is_running() and this in child.cmdline()]


@pytest.mark.parametrize("kind", ["HCOMPRESS_1", "PLIO_1"])
def test_pixels_are_those_that_were_packed(tmp_path, kind):
    path = packed(tmp_path / "a.fits.fz", kind)
    np.testing.assert_array_equal(read_sky(path).data[0], PIXELS)
    with open_sky(path) as sky:
        window = sky.read(slice(13, 35), slice(7, 31)).data[0]
    np.testing.assert_array_equal(window, PIXELS[13:35, 7:31])


def test_one_helper_serves_all_files_and_threads(tmp_path):
    paths = [packed(tmp_path / f"{n}.fits.fz", "HCOMPRESS_1", PIXELS + n) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: read_sky(path).data[0], paths))
    for n, pixels in enumerate(found):
        np.testing.assert_array_equal(pixels, PIXELS + n)
    assert len(helpers()) == 1


def test_a_helper_that_dies_is_the_file_s_fault_and_the_next_one_is_read(tmp_path, monkeypatch):
    path = packed(tmp_path / "a.fits.fz", "HCOMPRESS_1")
    read_sky(path)
    (one,) = helpers()
    one.kill()
    with pytest.raises(ImgturboError, match=r"a\.fits\.fz: HDU 1 \(SCI\).*its decoder crashed"):
        read_sky(path)
    np.testing.assert_array_equal(read_sky(path).data[0], PIXELS)


def test_bytes_that_lead_the_decoder_past_their_end(tmp_path):
    """9 kB that say that they hold 62 planes of a large tile."""
    size = 2048
    path = packed(
        tmp_path / "a.fits.fz", "HCOMPRESS_1", np.full((size, size), 7, np.int16), (size, size)
    )
    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[1]
        heap = table.fileinfo()["datLoc"] + table.header["NAXIS1"] * table.header["NAXIS2"]
    content = bytearray(path.read_bytes())
    content[heap + 22 : heap + 25] = bytes([62, 62, 62])
    content[heap + 25] = 0
    path.write_bytes(bytes(content))
    with pytest.raises(ImgturboError, match="pixels"):
        read_sky(path)


def test_the_helper_loads_no_more_than_it_needs(tmp_path):
    """It starts for a single file, so it must not load this package's heavy parts."""
    read_sky(packed(tmp_path / "a.fits.fz", "PLIO_1"))
    (one,) = helpers()
    assert not any("torch" in os.path.basename(part.path) for part in one.memory_maps())


def test_of_a_file_at_an_address_it_gets_what_a_window_needs(tmp_path):
    content = packed(tmp_path / "a.fits.fz", "HCOMPRESS_1").read_bytes()
    fetched = []

    def fetch(spans):
        fetched.extend(spans)
        return [content[first:last] for first, last in spans]

    far = Ranges(fetch, len(content))
    first, second = extents(far, len(content), "a.fits.fz")
    table = tile_table(far, second, at_hand=False)
    index = (slice(20, 30), slice(3, 11))
    far.want(table.spans(table.numbers(index)))
    found = _apart(far, first.end, second, table)(index)
    np.testing.assert_array_equal(found, PIXELS[20:30, 3:11])
