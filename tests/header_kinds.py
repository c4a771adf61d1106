"""Headers of many kinds, each with one that astropy reads as it stands and means the same."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

HEIGHT, WIDTH = 50, 60
PIXEL = 0.2  # arcsec
TURN = np.radians(20.0)


def header(
    projection: str = "TAN",
    names: tuple[str, str] = ("RA--", "DEC-"),
    sky: tuple[float, float] = (150.1, 2.2),
    pixel: float = PIXEL,
    **cards: object,
) -> fits.Header:
    """An image turned by 20°, its reference pixel in the middle."""
    h = fits.Header({"NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT})
    for axis, (name, value, middle) in enumerate(
        zip(names, sky, (WIDTH / 2 + 0.5, HEIGHT / 2 + 0.5), strict=True), start=1
    ):
        h[f"CTYPE{axis}"], h[f"CUNIT{axis}"] = f"{name}-{projection}", "deg"
        h[f"CRVAL{axis}"], h[f"CRPIX{axis}"] = value, middle
    matrix = np.array([[-np.cos(TURN), np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
    for i, j in np.ndindex(2, 2):
        h[f"CD{i + 1}_{j + 1}"] = matrix[i, j] * pixel / 3600
    h.update(cards)
    return h


def with_steps(**cards: object) -> fits.Header:
    """CDELT in place of the CD matrix."""
    h = header(**{"CDELT1": -PIXEL / 3600, "CDELT2": PIXEL / 3600}, **cards)
    for i, j in np.ndindex(2, 2):
        del h[f"CD{i + 1}_{j + 1}"]
    return h


def in_steps(h: fits.Header) -> fits.Header:
    """The same header with CDELT and PC in place of CD."""
    h = h.copy()
    for i, step in ((1, -PIXEL / 3600), (2, PIXEL / 3600)):
        h[f"CDELT{i}"] = step
        for j in (1, 2):
            h[f"PC{i}_{j}"] = h.pop(f"CD{i}_{j}") / step
    return h


def latitude_first(h: fits.Header) -> fits.Header:
    h = h.copy()
    for a, b in (
        ("CTYPE1", "CTYPE2"),
        ("CRVAL1", "CRVAL2"),
        ("CD1_1", "CD2_1"),
        ("CD1_2", "CD2_2"),
    ):
        h[a], h[b] = h[b], h[a]
    return h


def cube(h: fits.Header, depth: int = 3, **spectrum: object) -> fits.Header:
    """Planes behind the image: ``ctype`` and the like are the third axis's."""
    h = h.copy()
    h["NAXIS"], h["NAXIS3"] = 3, depth
    h["CD3_3"], h["CRPIX3"], h["CRVAL3"] = 1e-9, 1.0, 1e-6
    h.update({f"{word.upper()}3": value for word, value in spectrum.items()})
    return h


def spectrum_first(h: fits.Header, depth: int = 3) -> fits.Header:
    """The image along axes 2 and 3."""
    moved = fits.Header({"NAXIS": 3, "NAXIS1": depth, "NAXIS2": WIDTH, "NAXIS3": HEIGHT})
    moved["CTYPE1"], moved["CRVAL1"], moved["CRPIX1"], moved["CD1_1"] = "VELO-LSR", 0.0, 1.0, 1e3
    for axis in (1, 2):
        for word in ("CTYPE", "CUNIT", "CRVAL", "CRPIX"):
            moved[f"{word}{axis + 1}"] = h[f"{word}{axis}"]
        for other in (1, 2):
            moved[f"CD{axis + 1}_{other + 1}"] = h[f"CD{axis}_{other}"]
    return moved


def radio() -> fits.Header:
    h = header("SIN")
    h["NAXIS"], h["NAXIS3"], h["NAXIS4"] = 4, 1, 1
    h["CTYPE3"], h["CUNIT3"], h["CRVAL3"], h["CRPIX3"], h["CD3_3"] = "FREQ", "HZ", 1.4e9, 1.0, 1e6
    h["CTYPE4"], h["CRVAL4"], h["CRPIX4"], h["CD4_4"] = "STOKES", 1.0, 1.0, 1.0
    return h


def tnx() -> fits.Header:
    h = header("TNX", WAT0_001="system=image")
    numbers = (
        '"3. 4. 4. 2. -0.0043 0.0047 -0.0041 0.004 1.0E-5 2.0E-5 -1E-5 3E-6 1e-3 2e-3 0. 0. 0. 0. "'
    )
    for axis, word in ((1, "axtype=ra lngcor"), (2, "axtype=dec latcor")):
        text = f"wtype=tnx {word} = {numbers}"
        for first in range(0, len(text), 68):
            h[f"WAT{axis}_{first // 68 + 1:03d}"] = text[first : first + 68]
    return h


SIP = {
    "A_ORDER": 3, "B_ORDER": 3, "A_2_0": 2e-4, "B_1_1": -3e-4, "A_0_3": 2e-6, "AP_ORDER": 2,
    "BP_ORDER": 2, "AP_2_0": -2e-4, "BP_1_1": 3e-4,
}  # fmt: skip
SCAMP = {
    "PV1_0": 1e-5, "PV1_1": 1.01, "PV1_2": 0.002, "PV1_4": 2.0, "PV2_0": -1e-5, "PV2_1": 1.02,
    "PV2_2": -0.003, "PV2_5": 3.0, "PV2_7": 20.0,
}  # fmt: skip
PARAMETERS: dict[str, dict[str, float]] = {
    "AZP": {"PV2_1": 2.0, "PV2_2": 30.0}, "SZP": {"PV2_1": 2.0, "PV2_2": 180.0, "PV2_3": 60.0},
    "TAN": {}, "STG": {}, "SIN": {"PV2_1": 0.2, "PV2_2": 0.3}, "ARC": {}, "ZEA": {},
    "AIR": {"PV2_1": 45.0}, "ZPN": {"PV2_1": 1.0, "PV2_3": 42.0},
    "CYP": {"PV2_1": 1.0, "PV2_2": 0.7},
    "CEA": {"PV2_1": 0.8}, "CAR": {}, "MER": {}, "SFL": {}, "PAR": {}, "MOL": {}, "AIT": {},
    "COP": {"PV2_1": 45.0, "PV2_2": 25.0}, "COE": {"PV2_1": 45.0, "PV2_2": 25.0},
    "COD": {"PV2_1": 45.0, "PV2_2": 25.0}, "COO": {"PV2_1": 45.0, "PV2_2": 25.0},
    "BON": {"PV2_1": 45.0}, "PCO": {}, "TSC": {}, "QSC": {}, "HPX": {"PV2_1": 4.0, "PV2_2": 3.0},
    "XPH": {}, "NCP": {}, "GLS": {}, "TPV": SCAMP,
}  # fmt: skip
NORTH = {"NCP": 70.0, "XPH": 80.0, "COP": 45.0, "COE": 45.0, "COD": 45.0, "COO": 45.0}

Kind = tuple[fits.Header, fits.Header]


def kinds() -> dict[str, Kind]:
    """By name: a header as found in files, and its equal that astropy reads without help."""
    plain = header()
    as_it_is = {
        name: header(name, sky=(150.1, NORTH.get(name, 2.2)), **terms)
        for name, terms in PARAMETERS.items()
    }
    as_it_is |= {
        "TNX": tnx(),
        "SIP": header("TAN-SIP", **SIP),
        "SIP DEC first": latitude_first(header("TAN-SIP", **SIP)),
        "SCAMP as TAN": header(**SCAMP),
        "SCAMP beside SIP": header("TAN-SIP", **SIP, **SCAMP),
        "SCAMP as TAN, by steps": in_steps(header(**SCAMP)),
        "TPV by steps": in_steps(header("TPV", **SCAMP)),
        "TNX by steps": in_steps(tnx()),
        "DEC first": latitude_first(plain),
        "PC beside its CD": header(CDELT1=-1e-4, CDELT2=2e-4, PC1_1=0.9, PC1_2=-0.4, PC2_2=0.9),
        "parity": header(CD1_1=-plain["CD1_1"], CD2_1=-plain["CD2_1"]),
        "LONPOLE": header("ZEA", LONPOLE=150.0),
        "LATPOLE": header("CEA", LONPOLE=30.0, LATPOLE=50.0, PV2_1=1.0),
        "pole in PV": header(PV1_3=150.0),
        "reference in PV": header(PV1_0=0.0, PV1_1=0.5, PV1_2=89.9),
        "reference in PV, DEC first": latitude_first(header(PV2_1=0.5, PV2_2=89.9)),
        "galactic": header("CAR", ("GLON", "GLAT")),
        "galactic with RADESYS": header("TAN", ("GLON", "GLAT"), RADESYS="FK5"),
        "FK4": header(RADESYS="FK4", EQUINOX=1950.0),
        "FK5 of 1975": header(RADESYS="FK5", EQUINOX=1975.0),
        "RADECSYS": header(RADECSYS="FK5", EQUINOX=2000.0),
        "CROTA2": with_steps(CROTA2=20.0),
        "PC": with_steps(PC1_1=0.9, PC1_2=-0.4, PC2_1=0.4, PC2_2=0.9),
        "PC of old": with_steps(PC001001=0.9, PC001002=-0.4, PC002001=0.4, PC002002=0.9),
        "CAR far from its equator": header("CAR", sky=(150.1, 0.0), CRPIX2=-60 * 3600 / PIXEL),
        "arcsec": header(
            sky=(150.1 * 3600, 2.2 * 3600), pixel=PIXEL * 3600, CUNIT1="arcsec", CUNIT2="arcsec"
        ),
        "trailing spaces": header(CTYPE1="RA---TAN   ", CUNIT1="deg    ", RADESYS="ICRS   "),
    }
    found = {name: (h, h) for name, h in as_it_is.items()}
    for word in ("Degrees", "degree", "DEG", "degs", "'deg'", "degr"):
        found[f"CUNIT {word}"] = header(CUNIT1=word, CUNIT2=word), plain
    found |= {
        "CD beside an idle PC": (header(PC1_1=1.0, PC2_2=1.0), plain),
        "lower case": (header(CTYPE1="ra---tan", CTYPE2="dec--tan"), plain),
        "dashes": (header(CTYPE1="RA--TAN", CTYPE2="DEC-TAN"), plain),
        "frame in words": (
            header(RADESYS="FK5/J2000", EQUINOX=2000.0),
            header(RADESYS="FK5", EQUINOX=2000.0),
        ),
        "cube": (cube(plain, ctype="WAVE", cunit="m"), plain),
        "cube of bad unit": (cube(plain, ctype="WAVE", cunit="Angstroms"), plain),
        "cube -LOG": (cube(plain, ctype="WAVE-LOG", cunit="m"), plain),
        "cube -TAB": (cube(plain, ctype="WAVE-TAB", cunit="um", crval=1.0), plain),
        "cube with SIP": (cube(as_it_is["SIP"], ctype="WAVE", cunit="m"), as_it_is["SIP"]),
        "cube without CD3_3": (cube(plain, ctype="FREQ"), plain),
        "spectrum first": (spectrum_first(plain), plain),
        "spectrum first, SCAMP": (spectrum_first(as_it_is["ZEA"]), as_it_is["ZEA"]),
        "radio": (radio(), header("SIN")),
    }
    del found["cube without CD3_3"][0]["CD3_3"]
    return found
