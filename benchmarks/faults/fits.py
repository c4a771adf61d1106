"""Damaged FITS files: flipped bytes, edited cards, garbage, cuts, odd packing.

    python -m benchmarks.faults.fits [--count 20000] [--seed 0] [--workers 2]

Whole files of every layout that archives have are damaged one to five times, and read: as a whole,
by a window, and by ``inspect``. Besides what every campaign counts, silent are a window that is not
the whole's, coordinates made of cards that nobody can read, and other pixels in a file that was
only cut short (unless it was cut at the end of an HDU: then it is a whole file, and nothing in it
says that there was more).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from benchmarks.faults.campaign import Trial, main
from benchmarks.faults.wholes import Wholes, emptied, read_wholes
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, open_sky, read_sky

BLOCK, CARD = 2880, 80
PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
ALONE = ("float.fits", "double.fits", "long.fits", "unsigned.fits", "bytes.fits", "scaled.fits")
"""Files of one image, whose every card of coordinates counts."""
Mutation = Callable[[bytes, random.Random], tuple[bytes, str]]


# ------------------------------------------------------------------------------ whole files


def _described(header: fits.Header, unit: str = "MJy/sr", sip: bool = False) -> fits.Header:
    kind = "-SIP" if sip else ""
    header.update(
        {
            "BUNIT": unit, "FILTER": "F150W", "TELESCOP": "JWST", "PIXAR_SR": 4e-14,
            "CTYPE1": f"RA---TAN{kind}", "CTYPE2": f"DEC--TAN{kind}", "CRVAL1": 150.1,
            "CRVAL2": 2.2, "CRPIX1": 20.0, "CRPIX2": 16.0, "CD1_1": -1.1e-5, "CD1_2": 1e-7,
            "CD2_1": 1e-7, "CD2_2": 1.1e-5, "RADESYS": "ICRS",
        }
    )  # fmt: skip
    if sip:
        header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6, "B_0_2": 1e-6})
    return header


def _saved(*hdus: fits.hdu.base.ExtensionHDU) -> bytes:
    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    buffer = io.BytesIO()
    fits.HDUList([*first, *hdus]).writeto(buffer, output_verify="silentfix")
    return buffer.getvalue()


def whole_files() -> dict[str, bytes]:
    """Small files of every layout, by name."""
    rng = np.random.default_rng(1)
    sky = rng.normal(0.1, 1.0, (32, 40)).astype(np.float32)
    whole = (sky * 100).astype(np.int16)
    flags = (np.abs(sky) > 2).astype(np.int16)
    found = {}

    def one(name: str, data: NDArray[np.generic], unit: str = "MJy/sr", **cards: object) -> None:
        hdu = fits.PrimaryHDU(data)
        _described(hdu.header, unit).update(cards)
        found[name] = _saved(hdu)

    one("float.fits", sky)
    one("double.fits", sky.astype(np.float64), "10 nJy")
    one("long.fits", whole.astype(np.int64) * 10**9)
    one("unsigned.fits", whole.astype(np.uint16))
    one("bytes.fits", np.clip(whole, 0, 255).astype(np.uint8))
    one("scaled.fits", whole, BSCALE=0.01, BZERO=3.0)
    one("blank.fits", np.where(sky > 2, -32768, whole).astype(np.int16), "DN/s", BLANK=-32768)
    one("cube.fits", np.stack([sky, sky + 1, 2 * sky]), BAND1="R", BAND2="G", BAND3="B")
    one("radio.fits", sky[None, None], "Jy/beam")
    several = []
    for version, band in enumerate(("F606W", "F814W"), start=1):
        for name, data in (("SCI", sky), ("ERR", np.abs(sky)), ("WHT", np.abs(sky) + 1),
                           ("DQ", flags)):  # fmt: skip
            several.append(fits.ImageHDU(data, name=name, ver=version))
            _described(several[-1].header, "electron/s", sip=version == 2)["FILTER"] = band
    found["hst.fits"] = _saved(*several)
    for kind, data, options in (
        ("RICE_1", whole, {}),
        ("GZIP_1", sky, {"quantize_level": 0}),
        ("GZIP_2", sky, {"quantize_level": 0}),
        ("RICE_1", sky, {"quantize_level": 16}),
        ("HCOMPRESS_1", whole, {"tile_shape": (16, 40)}),
        ("PLIO_1", np.abs(whole), {}),
    ):
        hdu = fits.CompImageHDU(data, compression_type=kind, name="SCI", **options)
        _described(hdu.header)
        found[f"{kind.lower()}_{data.dtype}.fits.fz"] = _saved(hdu)
    science = fits.CompImageHDU(sky, name="SCI", compression_type="GZIP_2", quantize_level=0)
    _described(science.header)
    found["packed.fits.fz"] = _saved(
        science,
        fits.CompImageHDU(np.abs(sky), compression_type="RICE_1", name="WHT"),
        fits.CompImageHDU(flags.astype(np.int32), compression_type="GZIP_1", name="DQ"),
    )
    science = fits.ImageHDU(sky, name="SCI")
    _described(science.header, sip=True)
    found["tables.fits"] = _saved(
        fits.BinTableHDU(Table({"a": np.arange(5), "b": ["x"] * 5}), name="CAT"),
        science,
        fits.TableHDU.from_columns([fits.Column(name="c", format="I5", array=np.arange(4))]),
    )
    for suffix, pack in PACKERS.items():
        found[f"float.fits{suffix}"] = pack(found["float.fits"])
    return found


# ---------------------------------------------------------------------------------- damage


def _split(text: str) -> list[str]:
    return text.split()


KEYWORDS = _split("""
SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 NAXIS999 EXTEND PCOUNT GCOUNT GROUPS XTENSION EXTNAME
EXTVER INHERIT BSCALE BZERO BLANK BUNIT CTYPE1 CTYPE2 CTYPE3 CRPIX1 CRPIX2 CRVAL1 CRVAL2 CD1_1
CD1_2 CD2_1 CD2_2 PC1_1 CDELT1 CDELT2 CROTA2 CUNIT1 CUNIT2 WCSAXES RADESYS EQUINOX LONPOLE
LATPOLE PV1_1 PV2_1 PV2_20 A_ORDER B_ORDER AP_ORDER A_2_0 A_9_9 FILTER FILTER1 PUPIL TELESCOP
PHOTFLAM PHOTPLAM PHOTFNU PHOTMJSR EXPTIME PIXAR_SR PIXAR_A2 ABZP BMAJ BAND1 DATE-OBS MJD-OBS
MP_BAD ZIMAGE ZBITPIX ZNAXIS ZNAXIS1 ZNAXIS2 ZNAXIS3 ZTILE1 ZTILE2 ZCMPTYPE ZNAME1 ZVAL1 ZNAME2
ZVAL2 ZQUANTIZ ZDITHER0 ZBLANK ZSCALE ZZERO ZMASKCMP TFIELDS TTYPE1 TFORM1 TTYPE2 TFORM2 TTYPE3
TFORM3 THEAP TNULL1 TSCAL1 TZERO1 TDIM1 ZSIMPLE ZTENSION ZPCOUNT ZGCOUNT CPDIS1 DP1 D2IMDIS1
VELREF SPECSYS CHECKSUM DATASUM CONTINUE LONGSTRN END
""")
NUMBERS = _split("""
0 1 -1 2 3 7 8 -8 16 -16 24 32 -32 64 -64 128 999 1000 65536 1000000 -1000000 2147483647
2147483648 4294967296 9223372036854775807 9223372036854775808 1000000000000000000000000000000
NaN Inf -Inf 1E400 1E-400 0.0 -0.0 1E38 1E39 -1E308 1.5 1D5 1,5 1E-15 90.0 -90.0 91.0 360.0 1E10
""")
WORDS = _split("""
SCI DQ WHT ERR RA---TAN DEC--TAN RA---XXX GLON-CAR FREQ RA---TAN-SIP RA---TPV RA---ZPN RA---HPX
DEC--AIT STOKES ELON-TAN HPLN-TAN é a''b IMAGE BINTABLE TABLE A3DTABLE XXX MJy/sr Jy/beam
1e400_nJy 0_nJy -1_nJy ../../etc %s%n FK4 GALACTIC NOFRAME deg furlong 1PB(9) 1QJ 1PE(0) RICE_1
GZIP_1 GZIP_2 PLIO_1 HCOMPRESS_1 NOCOMPRESS LZW NO_DITHER SUBTRACTIVE_DITHER_1
""")
ODD = ["T", "F", "X", "(1,2)", "(NaN,1)", "T T", "&", "", "/", "= 3", "1 2 3", "0x10", "\0\0", "ÿ"]


def headers(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of each header, by what blocks begin with."""
    found, place = [], 0
    while place + BLOCK <= len(data):
        start = place
        place += BLOCK
        if data[start:].startswith((b"SIMPLE", b"XTENSION")):
            while b"END     " not in data[place - BLOCK : place] and place < len(data):
                place += BLOCK
            found.append((start, place))
    return found


def _value(rng: random.Random) -> str:
    kind = rng.random()
    word = rng.choice(WORDS).replace("_nJy", " nJy")
    return rng.choice(NUMBERS) if kind < 0.5 else f"'{word}'" if kind < 0.85 else rng.choice(ODD)


def _made(keyword: str, value: str) -> bytes:
    return f"{keyword:<8}= {value:>20}".encode("latin-1")[:CARD].ljust(CARD)


def card(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Edit, add, drop, double or swap a card."""
    found = headers(data)
    if not found:
        return data, "no header"
    start, end = rng.choice(found)
    cards = [data[k : k + CARD] for k in range(start, end, CARD)]
    used = [k for k, c in enumerate(cards) if c[8:10] == b"= "] or [0]
    known = [k for k in used if cards[k][:8].decode("latin-1").strip() in KEYWORDS]
    at = rng.choice(known if known and rng.random() < 0.8 else used)
    keyword = cards[at][:8].decode("latin-1").strip()
    what = rng.choice(["edit"] * 4 + ["add", "add", "drop", "double", "swap"])
    new = _made(rng.choice(KEYWORDS) if what == "add" else keyword, _value(rng))
    if what == "edit":
        cards[at] = new
    elif what == "drop":
        new = cards.pop(at)
        cards.append(b" " * CARD)
    elif what == "swap":
        other = rng.choice(used)
        cards[at], cards[other] = cards[other], cards[at]
    else:
        cards.insert(at + 1, cards[at] if what == "double" and rng.random() < 0.3 else new)
        while len(cards) % (BLOCK // CARD) and not cards[-1].strip():
            cards.pop()
    text = b"".join(cards)
    said = new.rstrip().decode("latin-1").encode("unicode_escape").decode()
    text += b" " * (-len(text) % BLOCK)
    return data[:start] + text + data[end:], f"{what} at byte {start}: {said}"


def flip(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Bytes here and there, in a header or anywhere."""
    found = headers(data)
    span = rng.choice(found) if found and rng.random() < 0.6 else (0, len(data))
    out, places = bytearray(data), []
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16, 64, 512]) if data else 0):
        places.append(min(rng.randrange(*span), len(data) - 1))
        out[places[-1]] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])
    return bytes(out), f"bytes {places[:6]} … flipped"


def garbage(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A span becomes noise, zeros, ones or blanks; often where a table of tiles begins."""
    if not data:
        return data, "empty"
    found = headers(data)
    start = rng.randrange(len(data))
    if found and rng.random() < 0.5:
        start = min(rng.choice(found)[1] + rng.randrange(400), len(data) - 1)
    size = min(rng.choice([1, 2, 4, 8, 32, 80, 512, 2880, 6000]), len(data) - start)
    filled = rng.choice([rng.randbytes(size), bytes(size), b"\xff" * size, b" " * size,
                         b"\x7f" + b"\xff" * (size - 1)])  # fmt: skip
    return data[:start] + filled + data[start + size :], f"{size} bytes at {start} overwritten"


def cut(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """The end is missing."""
    size = rng.choice([rng.randrange(len(data) + 1), len(data) // BLOCK * BLOCK])
    if rng.random() < 0.3:
        size = rng.randrange(len(data) // BLOCK + 1) * BLOCK
    return data[:size], f"cut to {size}"


def more(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Something follows, or an HDU is missing or comes twice."""
    found = headers(data)
    what = rng.choice(["zeros", "noise", "half a header", "itself", "drop", "repeat"])
    if what in ("drop", "repeat") and len(found) > 1:
        k = rng.randrange(len(found))
        start, end = found[k][0], found[k + 1][0] if k + 1 < len(found) else len(data)
        if what == "drop":
            return data[:start] + data[end:], f"HDU {k} dropped"
        return data + data[start:end], f"HDU {k} repeated"
    tail = {"zeros": bytes(rng.randrange(1, 6000)), "noise": rng.randbytes(rng.randrange(1, 6000)),
            "half a header": b"XTENSION= 'IMAGE   '".ljust(2000)}.get(what, data)  # fmt: skip
    return data + tail, f"{what} appended"


MUTATIONS: list[Mutation] = [card] * 12 + [flip] * 4 + [garbage] * 3 + [cut] * 2 + [more] * 2


def damaged(data: bytes, rng: random.Random, packer: str) -> tuple[bytes, list[str], bool]:
    """The damaged bytes, what was done, and whether they are only cut short."""
    recipe, only_cut = [], True
    pack = PACKERS.get(packer)
    inside = pack is not None and rng.random() < 0.5
    if inside:
        data = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[packer].decompress(data)
    choices = MUTATIONS if inside or pack is None else [flip, garbage, cut, cut, more]
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 5])):
        mutation = rng.choice(choices)
        data, what = mutation(data, rng)
        data = data[:4_000_000]
        recipe.append(what)
        only_cut &= mutation is cut
    if inside and pack is not None:
        data = pack(data)
    return data, recipe, only_cut


# ---------------------------------------------------------------------------- the campaign


def _placeless(path: Path, recipe: Sequence[str]) -> str:
    """A card without which nobody knows where the only image lies, if just that was made junk."""
    if len(recipe) != 1 or path.name not in ALONE or not recipe[0].startswith("edit"):
        return ""
    word, _, value = recipe[0].partition(": ")[2].partition("=")
    try:
        float(value.replace("D", "E"))
    except ValueError:
        return word.strip() if re.match(r"C(RPIX|RVAL|D\d_)[12]", word) else ""
    return ""


def build(folder: Path) -> Wholes:
    """Whole files and their pixels."""
    return read_wholes(whole_files(), folder)


def attempt(state: Wholes, rng: random.Random, folder: Path) -> Trial:
    """One damaged file, sometimes with a damaged weight beside it."""
    emptied(folder)
    name = rng.choice(sorted(state.files))
    data, recipe, only_cut = damaged(state.files[name], rng, Path(name).suffix)
    path = folder / name
    path.write_bytes(data)
    if name == "float.fits" and rng.random() < 0.5:
        weight, done, _ = damaged(state.files["float.fits"], rng, "")
        (folder / "float_wht.fits").write_bytes(weight)
        recipe, only_cut = [*recipe, *(f"weight: {what}" for what in done)], False
    forgotten = _placeless(path, recipe)
    at_an_end = len(data) in {start for start, _ in headers(state.files[name])}

    def call() -> SkyImage:
        try:
            image = read_sky(path)
        except ImgturboError:
            describe(path)
            raise
        with open_sky(path) as reader:
            _, height, width = reader.shape
            rows, cols = slice(height // 3, height // 3 + 5), slice(width // 4, width // 4 + 7)
            part = reader.read(rows, cols).data
        if not np.array_equal(part, image.data[:, rows, cols], equal_nan=True):
            raise AssertionError("a window and the whole differ")
        describe(path)
        return image

    def check(image: SkyImage) -> str | None:
        if image.data.dtype != np.float32 or np.isinf(image.data).any():
            return "values that are no float32, or endless"
        if forgotten and image.wcs is not None and image.wcs.wcs.ctype[0]:
            return f"coordinates without {forgotten}, which nobody can read"
        whole = state.truth[name][: len(image.data)]
        if only_cut and not at_an_end and not np.array_equal(image.data, whole, equal_nan=True):
            return "a file that was cut is read with other pixels"
        return None

    return Trial([name, *recipe], call, check)


if __name__ == "__main__":
    main(__spec__.name, __doc__, 20_000)
