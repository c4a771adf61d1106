"""Sums of FITS files, held against astropy's."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.sky import SkyImage, SkySpec, SkyWriter, write_sky
from imgturbo.sky.checksum import add, blank, sealed, unsealed


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
