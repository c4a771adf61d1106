"""Cards that come twice, as words, or under another name: said, put right, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from header_kinds import HEIGHT, SIP, WIDTH, header

from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky
from imgturbo.sky.cards import number, settle
from imgturbo.sky.headers import quiet
from imgturbo.sky.wcs import celestial_wcs

X, Y = np.array([0.0, 30.0, 59.0]), np.array([0.0, 10.0, 49.0])
PLAIN = header()


def same_sky(h: fits.Header, equal: fits.Header) -> None:
    with quiet():
        here, there = celestial_wcs(h).pixel_to_world(X, Y), WCS(equal).pixel_to_world(X, Y)
    assert here.icrs.separation(there.icrs).arcsec.max() < 1e-6


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.2D-05", 1.2e-5), (" 150.1 ", 150.1), ("-3", -3.0), ("NaN", None), ("10:00:36", None)],
)
def test_numbers_in_words(text, value):
    assert number(text) == value


def test_numbers_that_are_words_count():
    """wcslib takes them for zero, half a sky away."""
    as_words = header(CRVAL1="150.1", CD1_1=f"{PLAIN['CD1_1']:.17E}".replace("E", "D"))
    same_sky(as_words, PLAIN)
    bent = header("TAN-SIP", **{word: str(value) for word, value in SIP.items()})
    same_sky(bent, header("TAN-SIP", **SIP))


@pytest.mark.parametrize(
    ("cards", "missing", "words"),
    [
        ({"CRVAL1": "10:00:24"}, [], "CRVAL1 = '10:00:24' is no number"),
        ({"CD1_2": 0.0, "CD2_2": 0.0}, [], "singular"),
        ({}, ["CD1_1", "CD1_2", "CD2_1", "CD2_2"], "how large a pixel is"),
        ({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "A_2_0": 1e-4}, [],
         "A_ORDER and B_ORDER one is missing"),
    ],
)  # fmt: skip
def test_half_a_set_of_coordinates_is_refused(cards, missing, words):
    h = header(**cards)
    for word in missing:
        del h[word]
    with pytest.raises(ImgturboError, match=words):
        celestial_wcs(h, "a.fits")


def test_a_card_without_its_equals_sign_is_refused_in_a_line():
    """astropy reads its value, and will not have it corrected."""
    h = PLAIN.copy()
    place = h.index("CRVAL2")
    del h["CRVAL2"]
    with quiet():
        h.insert(place, fits.Card.fromstring("CRVAL2                     2.2".ljust(80)))
    with quiet(), pytest.raises(ImgturboError, match=r"a\.fits: CTYPE1 = .* cannot be made out"):
        celestial_wcs(h, "a.fits")


def test_old_and_quoted_and_alternate_names():
    old = PLAIN.copy()
    for i, j in np.ndindex(2, 2):
        old.rename_keyword(f"CD{i + 1}_{j + 1}", f"CD00{i + 1}00{j + 1}")
    same_sky(old, PLAIN)
    same_sky(header(CTYPE1="'RA---TAN'", CTYPE2="'DEC--TAN'"), PLAIN)
    same_sky(header(EQUINOX="J2000.0"), header(EQUINOX=2000.0))
    same_sky(header("TAN-SIP", **SIP, CTYPE2="DEC--TAN"), header("TAN-SIP", **SIP))
    other = fits.Header()
    for word, value in header("TPV", RADESYS="FK5", PV1_1=1.01, PV2_1=1.02).items():
        other[word if word.startswith("NAXIS") else f"{word}B"] = value
    same_sky(other, header("TPV", RADESYS="FK5", PV1_1=1.01, PV2_1=1.02))
    # Where there are coordinates of the first name, the others are others.
    same_sky(header(CTYPE1A="GLON-TAN", CTYPE2A="GLAT-TAN", CRVAL1A=3.0), PLAIN)


def test_cards_that_come_twice(tmp_path):
    h = header(BUNIT="nJy")
    for word, value in (("CRVAL1", 150.1), ("BUNIT", "nJy"), ("OBSERVER", "B"), ("OBSERVER", "C")):
        h.append((word, value), end=True)
    settle(h, "a.fits")  # the same twice, or nothing that is read: no word
    assert h.count("CRVAL1") == h.count("BUNIT") == 1
    assert h.count("OBSERVER") == 2

    hdu = fits.PrimaryHDU(np.ones((HEIGHT, WIDTH), np.float32))
    hdu.header.update(header(BUNIT="nJy"))
    hdu.header.append(("CRVAL1", 151.0), end=True)
    hdu.header.append(("BUNIT", "MJy/sr"), end=True)
    hdu.writeto(tmp_path / "a.fits")
    with pytest.warns(UserWarning, match=r"a\.fits: cards that come more than once") as told:
        image = read_sky(tmp_path / "a.fits")
    assert len(told) == 1
    assert "BUNIT = 'nJy', 'MJy/sr' ('nJy' is taken)" in str(told[0].message)
    assert "CRVAL1 = 150.1, 151.0 (151.0 is taken)" in str(told[0].message)
    assert image.unit == "nJy"
    with quiet():
        there = WCS(hdu.header).wcs.crval  # as wcslib has it
    np.testing.assert_allclose(image.wcs.wcs.crval, there)


def test_fluxes_in_words_count(tmp_path):
    found = []
    for name, flam in (("number", 7.8e-20), ("word", "7.8D-20")):
        cards = {"BUNIT": "ELECTRONS/S", "PHOTFLAM": flam, "PHOTPLAM": 5921.0}
        data = np.ones((HEIGHT, WIDTH), np.float32)
        fits.writeto(tmp_path / f"{name}.fits", data, header(**cards))
        found.append(read_sky(tmp_path / f"{name}.fits").zeropoints)
    assert found[0] == found[1] != (None,)
