"""Sums of FITS files, held against astropy's."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, SkySpec, SkyWriter, read_sky, write_sky
from imgturbo.sky.checksum import add, blank, sealed, unsealed
from imgturbo.sky.fits_file import FitsFile


def verified(path):
    """Astropy warns where a sum is wrong, and warnings are errors; every HDU has its sums."""
    with fits.open(path, checksum=True) as hdus:
        for hdu in hdus:
            _ = hdu.data
            assert {"DATE", "CHECKSUM", "DATASUM"} <= set(hdu.header)
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
        return [hdu.header["DATE"] for hdu in hdus]


@given(seed=st.integers(0, 2**31), size=st.tuples(st.integers(1, 19), st.integers(1, 23)))
def test_every_hdu_is_sealed_as_astropy_would(tmp_path_factory, seed, size):
    random = np.random.default_rng(seed)
    data = random.normal(size=(2, *size))
    data[:, random.random(size) < 0.2] = np.nan
    image = SkyImage.from_array(data, unit="MJy/sr", bands=("A", "B"))
    flags = random.integers(0, 8, size).astype(np.uint8)
    path = write_sky(
        tmp_path_factory.mktemp("sums") / "a.fits",
        image,
        extras={"STD": data**2},
        flags=flags,
        history=[f"a line {seed}"],
    )
    assert len(set(verified(path))) == 1
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["FLAGS"].data, flags)
        assert hdus["FLAGS"].header["BITPIX"] == 8


@given(content=st.binary(max_size=400), start=st.integers(0, 2**32 - 1))
def test_sums_go_on_from_block_to_block(content, start):
    content += bytes(-len(content) % 4)
    half = len(content) // 8 * 4
    assert add(add(start, content[:half]), content[half:]) == add(start, content)
    hdu = fits.ImageHDU(np.zeros(1))
    words = np.frombuffer(content, np.uint8)
    assert hdu._compute_checksum(words, 0) == add(0, content)


def test_a_packed_file_is_sealed_too(tmp_path):
    image = SkyImage.from_array(np.random.default_rng(0).normal(size=(1, 31, 17)), unit="nJy")
    verified(write_sky(tmp_path / "a.fits.gz", image))


def test_a_kill_between_sealing_and_renaming_is_continued(tmp_path, monkeypatch):
    """The part file then has its date and sums already, and is still known as one's own."""
    image = SkyImage.from_array(np.ones((1, 9, 7)), unit="nJy")
    path, spec = tmp_path / "a.fits", SkySpec.of(image)
    writer = SkyWriter(path, spec, keep_part=True)
    writer.write(image.data, slice(None), slice(None))
    with monkeypatch.context() as patch:
        patch.setattr("imgturbo.sky.write.put_in_place", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            writer.close()
    SkyWriter.resume(path, spec).close()
    verified(path)


def test_a_header_is_known_without_its_seals():
    header = fits.PrimaryHDU().header
    header.extend(blank())
    text = header.tostring().encode()
    done = sealed(text, "2026-01-02T03:04:05", 12345)
    assert done != text
    assert unsealed(done) == text


# ------------------------------------------------------------------------- sums are looked at


def _sealed_by_astropy(path, packed=False):
    data = np.random.default_rng(5).normal(size=(37, 29)).astype(np.float32)
    kind = fits.CompImageHDU if packed else fits.ImageHDU
    image = kind(data, fits.Header({"BUNIT": "nJy"}), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path, checksum=True)
    return path


def _flip(path, place, bit=0):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("packed", [False, True])
def test_one_flipped_bit_of_the_data_is_no_data(tmp_path, packed):
    path = _sealed_by_astropy(tmp_path / "a.fits", packed)
    assert np.isfinite(read_sky(path).data).all()
    with fits.open(path, disable_image_compression=True) as hdus:
        _flip(path, hdus[1].fileinfo()["datLoc"] + hdus[1].size - 20)  # of a packed tile, if so
    with pytest.raises(ImgturboError, match=r"a\.fits: HDU 1 \(SCI\) is damaged: its DATASUM"):
        read_sky(path)


def test_a_flipped_bit_is_found_from_any_window_of_it(tmp_path):
    path = _sealed_by_astropy(tmp_path / "a.fits")
    with fits.open(path) as hdus:
        place = hdus[1].fileinfo()["datLoc"] + 4 * (30 * 29 + 3)
    _flip(path, place)
    with closing(FitsFile(path)) as file:  # its header may be looked at
        assert file.bands[0].shape == (37, 29)
        with pytest.raises(ImgturboError, match="DATASUM"):
            file.read(0, slice(0, 2), slice(0, 2))


def test_an_edited_header_is_said_and_read(tmp_path):
    path = _sealed_by_astropy(tmp_path / "a.fits")
    _flip(path, path.read_bytes().index(b"'nJy") + 2)  # nJy becomes nKy
    content = path.read_bytes().replace(b"'nKy", b"'mJy")
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"HDU 1 \(SCI\): CHECKSUM does not agree"):
        assert read_sky(path).unit == "mJy"


def test_files_without_sums_or_with_empty_ones_are_read(tmp_path):
    for name, cards in (("none", {}), ("empty", {"CHECKSUM": "", "DATASUM": ""})):
        path = tmp_path / f"{name}.fits"
        fits.PrimaryHDU(np.ones((5, 3)), fits.Header(cards)).writeto(path)
        assert read_sky(path).data.shape == (1, 5, 3)


def test_the_last_padding_may_lack_for_the_sums_too(tmp_path):
    path = _sealed_by_astropy(tmp_path / "a.fits")
    with fits.open(path) as hdus:
        end = hdus[1].fileinfo()["datLoc"] + 37 * 29 * 4
    path.write_bytes(path.read_bytes()[:end])
    assert read_sky(path).data.shape == (1, 37, 29)


def test_a_file_that_is_cut_where_an_extension_ends_is_doubted(tmp_path):
    path = tmp_path / "a.fits"
    ones = np.ones((5, 3), np.float32)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(ones, name="SCI"), fits.ImageHDU(0 * ones, name="DQ")]
    hdus[0].header["NEXTEND"] = 2
    fits.HDUList(hdus).writeto(path)
    assert read_sky(path).data.shape == (1, 5, 3)
    with fits.open(path) as whole:
        end = whole[1].fileinfo()["datLoc"] + whole[1].fileinfo()["datSpan"]
    path.write_bytes(path.read_bytes()[:end])
    with pytest.warns(UserWarning, match="NEXTEND promises 2 extensions and 1 are there"):
        read_sky(path)
