"""Packed files are read as they are unpacked, and a packed name is packed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, read_sky, write_sky

SKY = np.random.default_rng(0).normal(0, 1, (30, 40)).astype(np.float32)


def content():
    buffer = io.BytesIO()
    fits.PrimaryHDU(SKY).writeto(buffer)
    return buffer.getvalue()


def zipped(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.fits", data)
    return buffer.getvalue()


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zip": zipped}


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_files_are_read(tmp_path, suffix):
    path = tmp_path / f"x.fits.{suffix}"
    packed = PACKERS[suffix](content())
    path.write_bytes(packed)
    image = read_sky(path)
    np.testing.assert_array_equal(image.data[0], SKY)
    assert image.bands == ("X",)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ImgturboError, match=r"truncated|unpacked"):
        read_sky(path)


@pytest.mark.parametrize(("magic", "program"), [(b"\x1f\x9d", r"\.Z"), (b"(\xb5/\xfd", "zstd")])
def test_what_cannot_be_unpacked_is_named(tmp_path, magic, program):
    path = tmp_path / "x.fits.packed"
    path.write_bytes(magic + bytes(100))
    with pytest.raises(ImgturboError, match=f"is packed by .*{program}.*; unpack it first"):
        read_sky(path)


@pytest.mark.parametrize(
    ("suffix", "unpack"),
    [("gz", gzip.decompress), ("bz2", bz2.decompress), ("xz", lzma.decompress)],
)
def test_a_packed_name_is_packed(tmp_path, suffix, unpack):
    image = SkyImage.from_array(SKY, unit="nJy", bands=["étoile"])
    path = write_sky(tmp_path / f"x.fits.{suffix}", image)
    assert unpack(path.read_bytes()).startswith(b"SIMPLE")
    read = read_sky(path)
    np.testing.assert_array_equal(read.data[0], SKY)
    assert read.bands == ("ETOILE",)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["x.webp", "x.fits.fz", "x.gz", "x"])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(ImgturboError, match=r"is no name for an image; end it with \.fits"):
        write_sky(tmp_path / name, SkyImage.from_array(SKY))
    assert list(tmp_path.iterdir()) == []
