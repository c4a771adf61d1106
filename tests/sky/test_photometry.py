"""Units and zero points against arithmetic done by hand and numbers published by observatories."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from imgturbo.sky.bands import band_name
from imgturbo.sky.photometry import canonical_unit, is_surface_brightness, zeropoint


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("MJy/sr", "MJy/sr"),
        ("MJy / sr", "MJy/sr"),
        ("MJy sr-1", "MJy/sr"),
        ("MJy.sr**-1", "MJy/sr"),
        ("10.0*nanoJansky", "10 nJy"),
        ("10 nJy", "10 nJy"),
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
        ("ELECTRONS", "electron"),
        ("display", "display"),
        ("", ""),
        (None, ""),
        ("furlong", "furlong"),
    ],
)
def test_spellings_of_units(written, unit):
    assert canonical_unit(written) == unit
    assert canonical_unit(unit) == unit  # what is written is read back


@pytest.mark.parametrize("unit", ["MJy/sr", "uJy/arcsec2", "display"])
def test_surface_brightness(unit):
    assert is_surface_brightness(unit)


@pytest.mark.parametrize("unit", ["electron/s", "10 nJy", "Jy", "", "DN/s"])
def test_per_pixel(unit):
    assert not is_surface_brightness(unit)


@pytest.mark.parametrize(
    ("header", "unit", "area", "expected"),
    [
        ({}, "10 nJy", None, 28.9),
        ({}, "nJy", None, 31.4),
        ({}, "uJy", None, 23.9),
        ({}, "mJy", None, 16.4),
        ({}, "Jy", None, 8.9),
        ({"PIXAR_SR": 9.4e-15}, "MJy/sr", 1.0, -6.10 - 2.5 * math.log10(9.4e-15)),
        ({"PIXAR_A2": 0.0004}, "MJy/sr", None, -6.10 - 2.5 * math.log10(0.0004 / 4.25452e10)),
        ({}, "MJy/sr", 1e-14, -6.10 + 35.0),
        ({}, "MJy/sr", None, None),
        ({}, "uJy/arcsec2", 1 / 4.25451703e10, 23.9),
        # ACS/WFC F814W before 2006: 25.937 (ACS zero points calculator)
        ({"PHOTFLAM": 7.0723600e-20, "PHOTPLAM": 8.05986e3}, "electron/s", None, 25.937),
        (
            {"PHOTFLAM": 7.07236e-20, "PHOTPLAM": 8059.86, "EXPTIME": 100.0},
            "electron",
            None,
            30.937,
        ),
        ({"PHOTFNU": 1e-7}, "electron/s", None, 26.4),
        ({"PHOTFLAM": 0.0, "PHOTPLAM": 8059.86}, "electron/s", None, None),
        ({"PHOTFLAM": "", "PHOTPLAM": 8059.86}, "electron/s", None, None),
        ({"PHOTFLAM": 7e-20, "PHOTPLAM": 8059.86}, "", None, None),
        ({"ABZP": 27.5, "PHOTFNU": 1e-7}, "electron/s", None, 27.5),
        ({}, "electron/s", None, None),
        ({}, "display", None, None),
    ],
)
def test_zero_points(header, unit, area, expected):
    found = zeropoint(header, unit, area)
    assert found == (None if expected is None else pytest.approx(expected, abs=2e-3))


@pytest.mark.parametrize(
    ("header", "path", "band"),
    [
        ({"FILTER": "F606W"}, "x.fits", "F606W"),
        ({"FILTER": " f606w "}, "x.fits", "F606W"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "x.fits", "F814W"),
        ({"FILTER1": "F435W", "FILTER2": "CLEAR2L"}, "x.fits", "F435W"),
        ({"FILTER": "F444W-CLEAR"}, "x.fits", "F444W"),
        ({"FILTER": "F150W2", "PUPIL": "F162M"}, "x.fits", "F162M"),
        ({"FILTER": "F444W", "PUPIL": "CLEAR"}, "x.fits", "F444W"),
        ({"FILTER": "F444W", "PUPIL": "GRISMR"}, "x.fits", "F444W"),
        ({"FILTER": "r"}, "x.fits", "R"),
        ({"FILTER": "N/A"}, "sky_f814w_drz.fits", "F814W"),
        ({}, "2114_F115Wsci.fits", "F115W"),
        ({}, "ceers-f150w_sci.fits.gz", "F150W"),
        ({}, "Pointings12_F150W_Module_A.fits", "F150W"),
        ({}, "abf150w.fits.gz", "ABF150W"),
        ({}, "my.field.fits.fz", "MY.FIELD"),
    ],
)
def test_names_of_bands(header, path, band):
    assert band_name(header, Path(path)) == band
