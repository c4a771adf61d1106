"""Units by dimension: the spellings of archives against Astropy's own, and what pixels do."""

from __future__ import annotations

import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.sky.units import parse_unit


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("MJy/sr", "MJy/sr"),
        ("MJy / sr", "MJy/sr"),
        ("MJy sr-1", "MJy/sr"),
        ("MJy.sr**-1", "MJy/sr"),
        ("10.0*nanoJansky", "10 nJy"),
        ("10 nJy", "10 nJy"),
        ("10**-8 Jy", "10 nJy"),
        ("nJy", "nJy"),
        ("NJY", "nJy"),
        ("uJy", "uJy"),
        ("µJy", "uJy"),
        ("microJansky", "uJy"),
        ("mJy", "mJy"),
        ("Jy", "Jy"),
        ("JANSKY", "Jy"),
        ("uJy/arcsec^2", "uJy/arcsec2"),
        ("ELECTRONS/S", "electron/s"),
        ("electron / s", "electron/s"),
        ("electrons s-1", "electron/s"),
        ("e-/s", "electron/s"),
        ("COUNTS/S", "count/s"),
        ("DN/s", "DN/s"),
        ("ADU", "DN"),
        ("ELECTRONS", "electron"),
        ("display", "display"),
        ("nanomaggies", "nanomaggy"),
        ("'MJy/sr'", "MJy/sr"),
        ("", ""),
        (None, ""),
        ("furlong", "furlong"),
    ],
)
def test_spellings_of_units(written, unit):
    assert parse_unit(written).name == unit
    assert parse_unit(unit).name == unit  # what is written is read back


_FLAM = u.erg / u.s / u.cm**2 / u.AA
_SB = u.MJy / u.sr


@pytest.mark.parametrize(
    ("written", "kind", "same"),
    [
        ("MJy/sr", "brightness", _SB),
        ("MJY/SR", "brightness", _SB),
        ("MJy sr^{-1}", "brightness", _SB),
        ("MJy\\,sr$^{-1}$", "brightness", _SB),
        ("[MJy/sr]", "brightness", _SB),
        ("MJy/steradian", "brightness", _SB),
        ("MJy/deg2", "brightness", u.MJy / u.deg**2),
        ("uJy/(arcsec^2)", "brightness", u.uJy / u.arcsec**2),
        ("uJy / sq arcsec", "brightness", u.uJy / u.arcsec**2),
        ("nW m-2 sr-1", "brightness", u.nW / u.m**2 / u.sr),
        ("nW/m^2/sr", "brightness", u.nW / u.m**2 / u.sr),
        ("W / (m2 sr)", "brightness", u.W / u.m**2 / u.sr),
        ("W/m^2/um/sr", "brightness", u.W / u.m**2 / u.um / u.sr),
        ("erg s-1 cm-2 arcsec-2", "brightness", u.erg / u.s / u.cm**2 / u.arcsec**2),
        ("erg/s/cm2/A/arcsec2", "brightness", _FLAM / u.arcsec**2),
        ("Jy/beam", "brightness", u.Jy / u.beam),
        ("JY/BEAM", "brightness", u.Jy / u.beam),
        ("mJy beam-1", "brightness", u.mJy / u.beam),
        ("Jy/beam.km/s", "brightness", u.Jy / u.beam * u.km / u.s),
        ("K", "brightness", u.K),
        ("mK", "brightness", u.mK),
        ("K (Tb)", "brightness", u.K),
        ("K km s-1", "brightness", u.K * u.km / u.s),
        ("R", "brightness", u.R),
        ("mag/arcsec^2", "brightness", u.mag / u.arcsec**2),
        ("DN/s/arcsec2", "brightness", u.DN / u.s / u.arcsec**2),
        ("nanomaggies/arcsec2", "brightness", 3.631e-6 * u.Jy / u.arcsec**2),
        ("Lsun/pc2", "brightness", u.L_sun / u.pc**2),
        ("10**6 solLum kpc-2", "brightness", 1e6 * u.L_sun / u.kpc**2),
        ("Msun/pc2", "brightness", u.M_sun / u.pc**2),
        ("mJy/pixel", "flux", u.mJy),
        ("Jy/pix", "flux", u.Jy),
        ("nanomaggy", "flux", 3.631e-6 * u.Jy),
        ("nMgy", "flux", 3.631e-6 * u.Jy),
        ("1e-17 erg/s/cm2/Ang", "flux", 1e-17 * _FLAM),
        ("10**(-20)*erg/s/cm**2/Angstrom", "flux", 1e-20 * _FLAM),
        ("10-20 erg/s/cm2/A", "flux", 1e-20 * _FLAM),
        ("10^-17 erg/(s cm2 A)", "flux", 1e-17 * _FLAM),
        ("ERG/CM2/S/A", "flux", _FLAM),
        ("W m-2 Hz-1", "flux", u.W / u.m**2 / u.Hz),
        ("W/m2", "flux", u.W / u.m**2),
        ("ph/s/cm2", "flux", u.ph / u.s / u.cm**2),
        ("Msun/pix", "flux", u.M_sun),
        ("electrons/sec/pixel", "rate", u.electron / u.s),
        ("counts per second", "rate", u.ct / u.s),
        ("cps", "rate", u.ct / u.s),
        ("e- s-1", "rate", u.electron / u.s),
        ("ADU/S", "rate", u.DN / u.s),
        ("ct s^-1", "rate", u.ct / u.s),
        ("photons", "count", u.ph),
        ("e-", "count", u.electron),
    ],
)
def test_dimensions_are_astropys(written, kind, same):
    found = parse_unit(written)
    assert found.kind == kind
    assert found.intensive == (kind == "brightness")
    assert found.value_in(u.Unit(same)) == pytest.approx(1, rel=1e-9)
    again = parse_unit(found.name)
    assert (again.name, again.kind) == (found.name, kind)


@pytest.mark.parametrize(
    "written",
    ["furlong", "MJY/BEAM", "MJY", "mag", "s", "km/s", "cm-2", "1/s", "10", "SNR", "%", "//",
     "Jy/", "MJy/sr/pixel", "Jy)", "(Jy", "Jy sr", "Jy^", "W/m2 sr", "0 Jy", "Jy/beam/sr", "..",
     "1e999 Jy", "Jy^99999", "10^400 Jy", "(" * 3000],
)  # fmt: skip
def test_what_is_not_understood_is_unknown_and_kept(written):
    found = parse_unit(written)
    assert (found.name, found.kind, found.known) == (written, "unknown", False)


@pytest.mark.parametrize("unit", ["display", "DISPLAY", "Lab"])
def test_pictures_keep_their_values(unit):
    assert parse_unit(unit).intensive
    assert parse_unit(unit).fits() == ""


@pytest.mark.parametrize("written", ["", None, "unitless", "None", "UNKNOWN", " "])
def test_nothing_stated(written):
    assert parse_unit(written).kind == "none"


@pytest.mark.parametrize(
    "unit",
    ["MJy/sr", "10 nJy", "100 uJy/arcsec2", "count/s", "Jy/beam", "nW m-2 sr-1", "mJy/pixel",
     "erg/s/cm2/A", "photon/s", "mag/arcsec2", "K"],
)  # fmt: skip
def test_what_is_written_is_fits_and_the_same(unit):
    found = parse_unit(unit)
    assert u.Unit(found.fits(), format="fits", parse_strict="raise") is not None
    assert parse_unit(found.fits()).name == found.name


@given(st.text(max_size=24))
def test_any_text_is_read(text):
    found = parse_unit(text)
    assert found.known or found.name == text.strip() or found.kind == "none"
    assert parse_unit(found.name).kind == found.kind


@given(
    st.integers(-9, 9),
    st.sampled_from(["Jy", "nJy", "MJy"]),
    st.sampled_from(["", "/sr", "/arcsec2"]),
)
def test_every_multiple_keeps_its_value(power, flux, area):
    found = parse_unit(f"1e{power} {flux}{area}")
    base = parse_unit(f"{flux}{area}")
    assert found.value_in(base.physical) == pytest.approx(10.0**power)
    assert parse_unit(found.name).value_in(base.physical) == pytest.approx(10.0**power)


@pytest.mark.parametrize(
    "bunit", ["1e-320 Jy", "mJy 1E308 2", "}1E308}mJy", "0 nJy", "1e400 nJy", "1e80 Jy 1e80"]
)
def test_multiples_that_no_number_holds_are_no_unit(bunit):
    assert parse_unit(bunit).kind == "unknown"
