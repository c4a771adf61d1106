"""A card that nobody can read is never taken for a default that moves or changes the pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky

SKY = np.random.default_rng(0).normal(0, 1, (16, 20)).astype(np.float32)
CARDS = {
    "BUNIT": "MJy/sr", "FILTER": "F150W", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 9.0, "CRPIX2": 8.0, "CD1_1": -1.1e-5, "CD1_2": 1e-7,
    "CD2_1": 1e-7, "CD2_2": 1.1e-5, "RADESYS": "FK5", "EQUINOX": 2000.0, "LONPOLE": 180.0,
    "CUNIT1": "deg",
}  # fmt: skip


def written(path, lost, *hdus, **cards):
    """A file in which some cards have a value that is no FITS."""
    images = hdus or (fits.PrimaryHDU(SKY),)
    for image in images:
        if image.data is not None and image.name != "DQ":
            image.header.update(CARDS | cards)
    buffer = io.BytesIO()
    fits.HDUList(list(images)).writeto(buffer)
    content = buffer.getvalue()
    for word in lost:
        at = content.index(f"{word:<8}=".encode())
        card = f"{word:<8}= (1, NaN".ljust(80).encode()
        content = content[:at] + card + content[at + 80 :]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "word", ["CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD2_2", "CTYPE1", "CTYPE2", "CUNIT1",
             "RADESYS", "EQUINOX", "LONPOLE"]
)  # fmt: skip
def test_coordinates_are_not_made_of_what_is_left(tmp_path, word):
    with pytest.raises(ImgturboError, match=f"{word} has no value that FITS knows"):
        read_sky(written(tmp_path / "a.fits", [word]))


@pytest.mark.parametrize("word", ["CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2"])
def test_half_a_place_is_none(tmp_path, word):
    path = written(tmp_path / "a.fits", [])
    content, at = path.read_bytes(), path.read_bytes().index(f"{word:<8}=".encode())
    path.write_bytes(content[:at] + b" " * 80 + content[at + 80 :])
    with pytest.raises(ImgturboError, match=f"{word}.* one is missing|one is missing"):
        read_sky(path)


@pytest.mark.parametrize("word", ["BUNIT", "MAGSYS", "BSCALE"])
def test_values_are_not_taken_to_be_in_another_unit(tmp_path, word):
    path = written(tmp_path / "a.fits", [word], MAGSYS="VEGA", BSCALE=2.0, PHOTZP=25.0)
    with pytest.raises(ImgturboError, match=word):
        read_sky(path)


def test_a_zero_point_that_would_say_what_values_without_a_unit_are(tmp_path):
    path = written(tmp_path / "a.fits", ["PHOTZP"], BUNIT="", PHOTZP=25.0)
    with pytest.raises(ImgturboError, match="PHOTZP has no value"):
        read_sky(path)
    with pytest.raises(ImgturboError, match="INSTRUME has no value"):
        read_sky(written(path, ["INSTRUME"], PHOTZP=25.0, INSTRUME="VIRCAM"))


@pytest.mark.parametrize("word", ["DATE-OBS", "OBJECT", "PHOTFLAM", "PIXAR_SR", "CRVAL3", "A_2_0"])
@pytest.mark.filterwarnings("ignore:.*SIP coefficients")
def test_what_moves_nothing_counts_as_missing_with_a_word(tmp_path, word):
    cards = {"DATE-OBS": "2024-01-01", "OBJECT": "M1", "PHOTFLAM": 1.0, "PIXAR_SR": 3.6858e-14}
    path = written(tmp_path / "a.fits", [word], **cards, CRVAL3=1.0, A_2_0=1e-5)
    with pytest.warns(UserWarning, match=f"{word}.*taken as missing"):
        image = read_sky(path)
    assert image.wcs is not None
    np.testing.assert_array_equal(image.wcs.wcs.crpix, [9, 8])


def test_a_lost_equinox_matters_to_frames_that_have_one(tmp_path):
    with pytest.warns(UserWarning, match="EQUINOX"):
        read_sky(written(tmp_path / "a.fits", ["EQUINOX"], RADESYS="ICRS"))


def test_an_image_without_coordinates_has_none_to_lose(tmp_path):
    path = written(tmp_path / "a.fits", ["CRPIX1"], CTYPE1="", CTYPE2="")
    with pytest.warns(UserWarning, match="CRPIX1"):
        assert read_sky(path).wcs is None


@pytest.mark.parametrize("word", ["TELESCOP", "MP_BAD"])
def test_flags_whose_meaning_is_lost_mask_nothing_unasked(tmp_path, word):
    flags = fits.ImageHDU(np.ones(SKY.shape, np.int16), name="DQ")
    flags.header[word] = "JWST" if word == "TELESCOP" else 3
    hdus = fits.PrimaryHDU(), fits.ImageHDU(SKY, name="SCI"), flags
    with pytest.raises(ImgturboError, match=rf"DQ\).*{word} has no value"):
        read_sky(written(tmp_path / "a.fits", [word], *hdus))
