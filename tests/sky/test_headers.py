"""Of a header the cards count that say where pixels lie, each once, and no others."""

from __future__ import annotations

import pytest
from astropy.io import fits
from header_kinds import header, spectrum_first

from imgturbo.errors import ImgturboError
from imgturbo.sky.headers import celestial_axes, celestial_cards, has_sip, of_place, settled

SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3, "B_0_2": 1e-3}
PLATE = {"CNPIX1": 100, "PPO1": 3.0, "AMDX1": 67.2, "PLTSCALE": 67.2}


def cards_of(given: fits.Header, plate: bool = True) -> fits.Header:
    there, axes = settled(given, "a.fits")
    assert axes is not None
    return celestial_cards(there, axes, plate)


@pytest.mark.parametrize(
    ("first", "second", "third", "axes"),
    [
        ("RA---TAN", "DEC--TAN", "", (1, 2)),
        ("DEC--TAN", "RA---TAN", "", (1, 2)),
        ("WAVE", "GLON-CAR", "GLAT-CAR", (2, 3)),
        ("RA---TAN", "VELO", "DEC--TAN", (1, 3)),
        (" 'ra---tan'", "dec--tan", "", (1, 2)),
        ("RA---TAN", "GLAT-TAN", "", None),
        ("LINEAR", "LINEAR", "", None),
        ("HPLN-TAN", "HPLT-TAN", "", (1, 2)),
        ("HPLN-TAN", "HGLT-TAN", "", None),
    ],
)
def test_two_axes_of_one_sky(first, second, third, axes):
    given = fits.Header({"CTYPE1": first, "CTYPE2": second, "CTYPE3": third})
    assert celestial_axes(given) == axes


def test_of_a_cube_the_cards_of_two_axes():
    given = spectrum_first(header())
    words = set(cards_of(given))
    assert {"CTYPE2", "CTYPE3", "CRVAL2", "CRVAL3"} <= words
    assert not {"CTYPE1", "CUNIT1"} & words


def test_a_polynomial_counts_where_ctype_says_so():
    for ending, counts in (("", False), ("-SIP", True)):
        given = header(f"TAN{ending}", **SIP)
        assert has_sip(given)
        assert has_sip(cards_of(given)) is counts
    promised = cards_of(header("TAN-SIP"))
    assert [promised["CTYPE1"], promised["CTYPE2"]] == ["RA---TAN", "DEC--TAN"]


def test_terms_of_a_tangent_plane_are_scamps_from_the_fifth_on():
    few = cards_of(header(PV1_1=1.01, PV2_1=1.02, PV2_2=0.4))
    assert few["CTYPE1"] == "RA---TAN"
    assert not any(word.startswith("PV") for word in few)
    many = cards_of(header(PV1_1=1.01, PV2_1=1.02, PV2_5=0.4))
    assert [many["CTYPE1"], many["CTYPE2"]] == ["RA---TPV", "DEC--TPV"]
    assert {"PV1_1", "PV2_1", "PV2_5"} <= set(many)
    pole = cards_of(header(PV1_3=180.0, PV1_4=30.0))
    assert {"PV1_3", "PV1_4"} <= set(pole)
    moved = cards_of(header(PV1_0=0, PV1_1=0.5, PV1_2=89.9))
    assert {"PV1_0", "PV1_1", "PV1_2"} <= set(moved)
    one_axis = cards_of(header(PV1_1=1.01, PV1_2=0.002))
    assert not any(word.startswith("PV") for word in one_axis)


def test_a_plates_terms_can_be_left_out():
    assert set(PLATE) <= set(cards_of(header(**PLATE)))
    assert not set(PLATE) & set(cards_of(header(**PLATE), plate=False))


def test_what_is_handed_in_stays_as_it_was():
    given = header(CUNIT1="Degrees", RADESYS="fk5", CD001001=1.0)
    before = given.tostring()
    clean = cards_of(given)
    assert (clean["CUNIT1"], clean["RADESYS"]) == ("deg", "FK5")
    assert given.tostring() == before


@pytest.mark.parametrize("word", ["CRVAL2", "CD1_2", "CD001002", "CTYPE1", "CUNIT2"])
def test_a_lost_card_of_the_sky_is_missed(word):
    with pytest.raises(ImgturboError, match=r"^a\.fits: C\w+ has no value that FITS knows"):
        settled(header(), "a.fits", [word])


@pytest.mark.parametrize("word", ["DATE-OBS", "WCSNAME", "CRVAL3", "CUNIT3", "A_2_0", "OBJECT"])
def test_a_lost_card_of_anything_else_is_not(word):
    assert settled(header(), "a.fits", [word])[1] == (1, 2)


def test_dates_are_no_places():
    assert all(of_place(word) for word in ("CTYPE1", "PC1_2", "A_ORDER", "RADESYS", "EQUINOX"))
    assert not any(of_place(word) for word in ("DATE-OBS", "MJD-OBS", "DATE-BEG", "TELESCOP"))
