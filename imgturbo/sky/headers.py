"""Celestial coordinates out of real headers and back into clean ones.

A header says where pixel (x, y) lies on the sky by CTYPE, CRPIX, CRVAL and a matrix, and, if CTYPE
ends in ``-SIP``, by a polynomial on top. Pipelines leave terms behind that no longer apply: SIP
coefficients beside a plain ``RA---TAN`` (arcminutes of error, astropy issue 4761), lookup-table
distortions (CPDIS, D2IM) whose tables were left in another file, PV terms of a projection that has
none. They are removed here, before astropy sees them.

astropy's remarks on headers (repaired dates, missing observer positions) are not the user's
concern; :func:`quiet` is the one place where they are silenced.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_area

__all__ = ["celestial_wcs", "inherit", "pixel_area", "quiet", "same_grid", "wcs_cards"]

_SIP = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)")
_TABLES = re.compile(
    r"(CPDIS|CPERR|CQDIS|CQERR|D2IMDIS|D2IMERR|D2IMARR|D2IMEXT|DP|DQ|AXISCORR|TDD_|OCX|OCY)\d*"
)
_PV = re.compile(r"PV\d+_\d+")
_PLACE_OF_BYTES = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|EXTEND|NEXTEND|EXTNAME|EXTVER|INHERIT|BSCALE|BZERO|"
    r"BLANK|CHECKSUM|DATASUM|GROUPS|COMMENT|HISTORY|"
)
_MATCH = 0.01
"""Pixels by which the corners of two grids may differ and the grids still be one."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence astropy's remarks on headers; what matters in them is checked by our own code."""
    with warnings.catch_warnings():
        for category in (VerifyWarning, FITSFixedWarning, AstropyUserWarning):
            warnings.simplefilter("ignore", category)
        yield


def inherit(header: fits.Header, primary: fits.Header) -> fits.Header:
    """The header of an extension with the primary header's cards that it does not override.

    Cards that describe how bytes are stored, COMMENT and HISTORY are not handed down.
    """
    merged = header.copy()
    for card in primary.cards:
        if card.keyword not in merged and not _PLACE_OF_BYTES.fullmatch(card.keyword):
            merged.append(card, end=True)
    return merged


def celestial_wcs(header: fits.Header) -> WCS | None:
    """The 2-D celestial WCS of a header, without stale distortions; None where there is none.

    Only the header counts: lookup tables in other extensions are never used.
    """
    axes = [str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)]
    if not any(axes):
        return None
    sip = all(name.endswith("-SIP") for name in axes)
    sip = sip and "A_ORDER" in header and "B_ORDER" in header
    clean = fits.Header()
    for card in header.cards:
        word = card.keyword
        if _TABLES.match(word) or (_SIP.fullmatch(word) and not sip):
            continue
        if _PV.fullmatch(word) and all("TAN" in name for name in axes):
            continue
        if word and word not in ("COMMENT", "HISTORY", "CONTINUE"):
            clean.append(card, end=True)
    if not sip:
        for axis, name in enumerate(axes, start=1):
            clean[f"CTYPE{axis}"] = name.removesuffix("-SIP")
    try:
        with quiet():
            wcs = WCS(clean, naxis=2, relax=True)
            if not wcs.has_celestial or abs(np.linalg.det(wcs.pixel_scale_matrix)) == 0:
                return None
    except (ValueError, MemoryError, AttributeError, fits.VerifyError):
        return None  # wcslib refuses it: as good as none
    return wcs


def wcs_cards(wcs: WCS) -> fits.Header:
    """Header cards of a WCS, SIP included, with CRPIX, CRVAL and the matrix in full precision."""
    with quiet():
        header = wcs.to_header(relax=True)
        exact = {f"CRPIX{i + 1}": value for i, value in enumerate(wcs.wcs.crpix)}
        exact |= {f"CRVAL{i + 1}": value for i, value in enumerate(wcs.wcs.crval)}
        exact |= {f"CDELT{i + 1}": value for i, value in enumerate(wcs.wcs.get_cdelt())}
        matrix = wcs.wcs.get_pc()
        exact |= {f"PC{i + 1}_{j + 1}": matrix[i, j] for i in (0, 1) for j in (0, 1)}
        for keyword, value in exact.items():
            if keyword in header:
                header[keyword] = float(value)
    for keyword in ("DATE-OBS", "MJD-OBS", "MJDREF", "DATEREF"):
        header.remove(keyword, ignore_missing=True)  # the source's, not of a made image
    return header


def pixel_area(wcs: WCS | None) -> float | None:
    """Area of a pixel in steradians, at the reference point; None without a WCS."""
    if wcs is None:
        return None
    return float(proj_plane_pixel_area(wcs)) * float(np.radians(1.0)) ** 2


def same_grid(a: WCS, b: WCS, shape: tuple[int, int]) -> bool:
    """True where the corners of an image (H, W) agree to a hundredth of a pixel in both."""
    height, width = shape
    x, y = np.array([0.0, width - 1, 0, width - 1]), np.array([0.0, 0, height - 1, height - 1])
    with quiet():
        u, v = pixel_to_pixel(a, b, x, y)
    return bool(np.allclose(u, x, atol=_MATCH, rtol=0) and np.allclose(v, y, atol=_MATCH, rtol=0))
