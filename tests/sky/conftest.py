"""Small skies to write, read and move."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS


def tan_wcs(shape, scale=0.05, angle=20.0, ra=150.1, dec=2.2, sip=False):
    """Gnomonic coordinates centred on an image (H, W): pixels of ``scale`` arcsec, turned."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [shape[1] / 2 + 0.5, shape[0] / 2 + 0.5]
    turn = np.radians(angle)
    matrix = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = matrix * scale / 3600
    wcs.wcs.radesys = "ICRS"
    if sip:
        from astropy.wcs import Sip

        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        a, b = np.zeros((3, 3)), np.zeros((3, 3))
        a[2, 0], b[1, 1] = 2e-4, -3e-4
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


@pytest.fixture
def make_wcs():
    return tan_wcs


@pytest.fixture
def sky():
    """(H, W) float32 of odd, unequal sides with a NaN border and a hole."""
    data = np.random.default_rng(5).normal(1.0, 0.1, (53, 37)).astype(np.float32)
    data[:4] = np.nan
    data[:, -3:] = np.nan
    data[20, 11] = np.nan
    return data


@pytest.fixture
def hst_drz(tmp_path, sky):
    """A file as drizzling leaves it: SCI, WHT, CTX; zeros where the weight is zero."""

    def make(name="field_f814w_drz.fits", **cards):
        primary = fits.PrimaryHDU()
        primary.header["TELESCOP"] = "HST"
        primary.header["FILTER1"], primary.header["FILTER2"] = "CLEAR1L", "F814W"
        header = tan_wcs(sky.shape).to_header()
        header["BUNIT"] = "ELECTRONS/S"
        header["PHOTFLAM"], header["PHOTPLAM"] = 7.07236e-20, 8059.86
        header.update(cards)
        weight = np.isfinite(sky).astype(np.float32)
        hdus = [
            primary,
            fits.ImageHDU(np.nan_to_num(sky), header, name="SCI", ver=1),
            fits.ImageHDU(weight, header, name="WHT", ver=1),
            fits.ImageHDU(np.ones(sky.shape, np.int32), name="CTX", ver=1),
        ]
        fits.HDUList(hdus).writeto(tmp_path / name)
        return tmp_path / name

    return make
