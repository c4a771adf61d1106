"""Law 3 over headers of many kinds: a star comes out of every path where astropy says that it is.

Files of thirty kinds of headers (of the sixty that tests/sky reads) are translated by windows at
another scale and on another file's grid, and prepared; the star's centroid in what is written, by
astropy's own reading of the header that is written, must be its place to 0.05 of an original pixel,
and its flux that which went in.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from header_kinds import HEIGHT, PIXEL, WIDTH, header, kinds

from data_prep.reproject import align
from imgturbo.config import RegisterConfig
from imgturbo.mosaic import translate_file, translate_sky
from imgturbo.sky import Stretch, open_sky, read_sky, write_sky
from imgturbo.sky.headers import quiet

KINDS = kinds()
CHOSEN = [
    "TPV", "TNX", "SIP", "SIP DEC first", "SCAMP as TAN", "SCAMP beside SIP", "ZPN", "AZP", "ZEA",
    "SIN", "CEA", "HPX", "AIT", "COE", "BON", "NCP", "GLS", "DEC first", "parity", "LONPOLE",
    "pole in PV", "galactic", "FK4", "RADECSYS", "CROTA2", "PC of old", "CAR far from its equator",
    "arcsec", "CUNIT Degrees", "cube", "cube -TAB", "spectrum first, SCAMP", "radio",
]  # fmt: skip
AT = (31.3, 24.8)  # x, y of the star
SIGMA = 2.0
FLUX = 50.0  # nJy in the sum of the pixels


def save(path, h: fits.Header) -> None:
    """The star in every plane, in fluxes per pixel."""
    shape = tuple(h[f"NAXIS{i}"] for i in range(h["NAXIS"], 0, -1))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    star = np.exp(-((x - AT[0]) ** 2 + (y - AT[1]) ** 2) / 2 / SIGMA**2)
    star *= FLUX / (2 * np.pi * SIGMA**2)
    if shape[-1] != WIDTH:
        star = star[:, :, None]  # the spectrum is the first axis
    with quiet():
        hdu = fits.PrimaryHDU(np.broadcast_to(star, shape).astype(np.float32))
        for card in h.cards:
            if not card.keyword.startswith("NAXIS"):
                hdu.header.append(card, end=True)
        hdu.header["BUNIT"] = "nJy"
        hdu.writeto(path, output_verify="ignore")


def check(path, star: SkyCoord, extension="SCI") -> None:
    with fits.open(path) as hdus, quiet():
        hdu = hdus[extension] if extension in hdus else hdus[0]
        data = np.nan_to_num(hdu.data).astype(float)
        wcs = WCS(hdu.header, hdus).celestial
    data = data.reshape(-1, *data.shape[-2:])
    y, x = np.mgrid[: data.shape[1], : data.shape[2]]
    for plane in data:
        total = plane.sum()
        with quiet():
            place = wcs.pixel_to_world((plane * x).sum() / total, (plane * y).sum() / total)
        assert place.icrs.separation(star).arcsec < 0.05 * PIXEL
        assert total == pytest.approx(FLUX, rel=0.004)


@pytest.fixture(scope="module")
def identities(make_bundle):
    """Fluxes as they are, on pixels of 0.14 arcsec; of one and of three bands."""
    found = {}
    for names in (("A",), ("A", "B", "C")):
        n = len(names)
        linear = Stretch(np.zeros(n), np.full(n, np.inf), np.ones(n))
        found[n] = make_bundle(
            names, names, True, source_unit="nJy", target_unit="nJy", pixel_scale=0.14,
            source_stretch=linear, target_stretch=linear, source_zeropoint=31.4,
            target_zeropoint=31.4,
        )  # fmt: skip
    return found


@pytest.mark.parametrize("kind", CHOSEN)
def test_every_path(identities, tmp_path, kind):
    given, equal = KINDS[kind]
    source, grid = tmp_path / "a.fits", tmp_path / "g.fits"
    save(source, given)
    with quiet():
        star = WCS(equal).pixel_to_world(*AT).icrs
    save(grid, header(sky=(star.ra.deg, star.dec.deg), pixel=0.17, CRPIX1=24.2, CRPIX2=29.7))
    with open_sky(source) as reader:
        bands = reader.shape[0]
    named = {"bands": ["A", "B", "C"][:bands], "window": 48}
    bundle = identities[bands]
    check(translate_file(bundle, source, tmp_path / "1.fits", **named), star)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*expect wrong sharpness")
        check(translate_file(bundle, source, tmp_path / "2.fits", grid=grid, **named), star)
    image = translate_sky(bundle, read_sky(source, names=named["bands"])).mean
    check(write_sky(tmp_path / "3.fits", image), star)
    with open_sky(source) as reader, open_sky(grid) as target:
        config = RegisterConfig(method="none")
        aligned = align(reader, target, config, 0.15)
        check(write_sky(tmp_path / "4.fits", aligned.source), star)
        lone = align(reader, None, config, 0.11)
        check(write_sky(tmp_path / "5.fits", lone.source), star)
