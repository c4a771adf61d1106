"""Damaged FITS files end in one line, at once, and nothing of them is read as good."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.errors import ImgturboError
from imgturbo.sky import open_sky, read_sky
from imgturbo.sky.packed import open_unpacked

BLOCK, CARD = 2880, 80
SKY = np.random.default_rng(0).normal(0, 1, (32, 40)).astype(np.float32)
WHOLE = (100 * SKY).astype(np.int16)


def saved(*hdus) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


def plain(**cards) -> bytes:
    hdu = fits.PrimaryHDU(SKY)
    hdu.header.update({"BUNIT": "MJy/sr", "FILTER": "F150W"} | cards)
    return saved(hdu)


def packed(kind: str, data=WHOLE, **options) -> bytes:
    hdu = fits.CompImageHDU(data, compression_type=kind, name="SCI", **options)
    return saved(fits.PrimaryHDU(), hdu)


def put(content: bytes, word: str, value: str, hdu: int = 0, again: bool = False) -> bytes:
    """A card in place of the one of its name, or behind it."""
    starts = [k for k in range(0, len(content), BLOCK) if content[k:].startswith((b"SIM", b"XTEN"))]
    start = starts[hdu]
    cards = [content[k : k + CARD] for k in range(start, len(content), CARD)]
    end = next(k for k, card in enumerate(cards) if card.rstrip() == b"END")
    size = -(-(end + 1) // 36) * 36
    head = cards[:end]
    at = next((k for k, c in enumerate(head) if c[:8].rstrip() == word.encode()), end)
    head[at + again : at + (not again or at == end)] = (
        [f"{word:<8}= {value:>20}".encode("latin-1").ljust(CARD)] if not again else []
    )
    if again:
        head.insert(at + 1, f"{word:<8}= {value:>20}".encode("latin-1").ljust(CARD))
    text = b"".join([*head, b"END".ljust(CARD)])
    text += b" " * (-len(text) % BLOCK)
    return content[:start] + text + content[start + size * CARD :]


def refused(path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ImgturboError, match=match) as caught:
        read_sky(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("word", "value", "match"),
    [
        ("NAXIS", "2147483647", "NAXIS = 2147483647 is not between"),
        ("NAXIS", "1000000", "NAXIS = 1000000 is not between"),
        ("NAXIS", "3", "it has no NAXIS3"),
        ("NAXIS1", "4294967296", "is truncated"),
        ("NAXIS1", "-40", "NAXIS1 = -40"),
        ("NAXIS1", "40.0", "NAXIS1 = '40.0' cannot be"),
        ("BITPIX", "31", "BITPIX = 31 is none of"),
        ("SIMPLE", "T T", "SIMPLE = 'T T' cannot be"),
        ("GCOUNT", "'a'", "GCOUNT = \"'a'\" cannot be"),
        ("GCOUNT", "0", "GCOUNT = 0 is not between"),
        ("GROUPS", "X", "GROUPS = 'X' cannot be"),
        ("BSCALE", "NaN", "BSCALE = 'NaN' cannot be"),
        ("BSCALE", "'x'", "BSCALE = 'x' is no number"),
        ("BZERO", "T", "BZERO = True is no number"),
        ("EXTVER", "1A", "EXTVER has no value"),
        ("EXTVER", "1.5", "EXTVER = 1.5 is no whole number"),
    ],
)
def test_cards_that_say_where_bytes_lie_are_held_against_the_file(tmp_path, word, value, match):
    refused(tmp_path / "a.fits", put(plain(), word, value), match)


def test_cards_that_come_twice_must_agree(tmp_path):
    path = tmp_path / "a.fits"
    refused(path, put(plain(), "NAXIS", "65536", again=True), "NAXIS comes twice, as 2 and 65536")
    path.write_bytes(put(plain(), "NAXIS", "2", again=True))
    np.testing.assert_array_equal(read_sky(path).data[0], SKY)


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(put(plain(), "OBJECT", "'\xe9toile'"))
    with pytest.warns(UserWarning, match=r"a\.fits: OBJECT: bytes that are no ASCII text"):
        assert read_sky(path).header["OBJECT"] == "?toile"


def test_what_ends_too_early_or_goes_on_is_damaged(tmp_path):
    path, content = tmp_path / "a.fits", plain()
    refused(path, content[: BLOCK + 4 * SKY.size - 1], "HDU 0 is truncated")
    refused(path, content[: BLOCK + 4 * SKY.size + 1], "HDU 0 is truncated")  # cut in the padding
    refused(path, content[: BLOCK - 1], "truncated within a header")
    path.write_bytes(content[: BLOCK + 4 * SKY.size])  # some writers leave it out
    np.testing.assert_array_equal(read_sky(path).data[0], SKY)
    refused(path, content + b"x" * 10, "what follows HDU 0 is no HDU")
    refused(path, content + b"XTENSION= 'IMAGE   '".ljust(99), "truncated within a header")
    refused(path, content.replace(b"NAXIS1", b"NAX\xff\xff1"), "card 4 has a keyword that is no")
    path.write_bytes(content + bytes(3 * BLOCK))  # some writers leave empty blocks
    np.testing.assert_array_equal(read_sky(path).data[0], SKY)


@pytest.mark.parametrize(("word", "value", "match"), [
    ("XTENSION", "'XXX'", "is no kind of extension"),
    ("PCOUNT", "7", "PCOUNT = 7 is not between 0 and 0"),
    ("EXTNAME", "NaN", "EXTNAME has no value"),
])  # fmt: skip
def test_an_extension_that_cannot_be_is_not_passed_over(tmp_path, word, value, match):
    content = saved(
        fits.PrimaryHDU(), fits.ImageHDU(SKY, name="SCI"), fits.ImageHDU(SKY, name="WHT")
    )
    refused(tmp_path / "a.fits", put(content, word, value, hdu=2), match)


# ---------------------------------------------------------------------------------- tiles


@pytest.mark.parametrize(
    ("kind", "word", "value", "match"),
    [
        ("RICE_1", "ZTILE1", "0", "ZTILE1 = 0 is not between"),
        ("RICE_1", "ZNAXIS2", "1000000", "it has 32 tiles"),
        ("RICE_1", "ZVAL2", "-8", "ZVAL2 = -8"),
        ("RICE_1", "ZCMPTYPE", "'LZW'", "ZCMPTYPE = 'LZW'"),
        ("RICE_1", "TFORM1", "'1PE(9)'", "tile|TFORM1"),
        ("GZIP_1", "ZBITPIX", "12", "ZBITPIX = 12"),
        ("HCOMPRESS_1", "ZTILE1", "31", "it has 2 tiles"),
        ("HCOMPRESS_1", "ZTILE2", "17", "does not hold what its header says"),
        ("PLIO_1", "THEAP", "99", "THEAP = 99"),
    ],
)
def test_claims_of_tiles_are_held_against_their_bytes(tmp_path, kind, word, value, match):
    options = {"tile_shape": (16, 40)} if kind == "HCOMPRESS_1" else {}
    content = packed(kind, np.abs(WHOLE), **options)
    refused(tmp_path / "a.fits", put(content, word, value, hdu=1), match)


def test_tiles_that_would_take_the_interpreter_along_are_refused(tmp_path):
    """HCOMPRESS writes as many pixels as the packed bytes say."""
    content = packed("HCOMPRESS_1", WHOLE, tile_shape=(16, 40))
    at = content.index(b"\xdd\x99")
    for place in (2, 6):
        bad = bytearray(content)
        bad[at + place : at + place + 4] = struct.pack(">i", 4000)
        refused(tmp_path / "a.fits", bytes(bad), "does not hold what its header says")


def test_a_tile_is_unpacked_once_however_it_is_read(tmp_path, monkeypatch):
    from astropy.io.fits.hdu.compressed.section import CompImageSection

    tall = np.arange(300 * 70, dtype=np.float32).reshape(300, 70)
    path = tmp_path / "a.fits.fz"
    path.write_bytes(packed("GZIP_1", tall, tile_shape=(300, 70), quantize_level=0))
    calls, real = [], CompImageSection.__getitem__
    monkeypatch.setattr(
        CompImageSection, "__getitem__", lambda self, at: calls.append(at) or real(self, at)
    )
    monkeypatch.setattr("imgturbo.sky.hdus._STRIP", 8 * 70 * 7)
    with open_sky(path) as reader:
        np.testing.assert_array_equal(reader.read().data[0], tall)
        part = reader.read(slice(91, 203), slice(3, 50))
    np.testing.assert_array_equal(part.data[0], tall[91:203, 3:50])
    assert len(calls) == 1


# --------------------------------------------------------------------------------- packed


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.fits", content)
    return buffer.getvalue()


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zip": zipped}


@pytest.mark.parametrize("suffix", PACKERS)
def test_no_more_is_unpacked_than_the_headers_promise(tmp_path, suffix, monkeypatch):
    pack, path = PACKERS[suffix], tmp_path / f"a.fits.{suffix}"
    written = []
    real = open_unpacked.__globals__["_copy"]
    monkeypatch.setitem(
        open_unpacked.__globals__, "_copy",
        lambda extent, *rest: written.append(extent.size) or real(extent, *rest),
    )  # fmt: skip
    refused(path, pack(bytes(8_000_000)), "is not a FITS file")
    refused(path, pack(plain() + bytes(8_000_000)), "goes on after its last HDU")
    refused(path, pack(plain()[:-BLOCK]), "HDU 0 is truncated")
    assert written == [4 * SKY.size] * 2


def test_what_the_temporary_folder_cannot_hold_is_not_unpacked(tmp_path):
    claim = put(plain(), "NAXIS2", str(10**12))
    refused(tmp_path / "a.fits.gz", gzip.compress(claim), r"takes 1\d* MB more in .*; set TMPDIR")


# ------------------------------------------------------------------------- valid maps are whole


@pytest.mark.parametrize("projection", ["AIT", "MOL", "HPX", "TSC", "CAR"])
def test_maps_of_the_whole_sky_keep_their_pixels(tmp_path, projection):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crpix, wcs.wcs.cdelt = [90.5, 45.5], [-2, 2]
    for name, shift in (("a", 0.0), ("b", 0.0), ("c", 1e-4)):
        header = wcs.to_header()
        header["BUNIT"], header["CRPIX1"] = "MJy/sr", 90.5 + shift
        fits.writeto(tmp_path / f"{name}.fits", np.ones((90, 180), np.float32), header)
    with open_sky([tmp_path / f"{name}.fits" for name in "abc"]) as reader:
        assert reader.read().valid.all()
        assert reader.on(reader.wcs.deepcopy(), (90, 180)).read().valid.all()


def test_a_cube_is_seen_all_around(tmp_path):
    """The way back from the sky leads one turn aside of two of its faces."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TSC", "DEC--TSC"], [-2, 2]
    wcs.wcs.crpix, wcs.wcs.crval = [22.5, 67.5], [0, 0]
    y, x = np.mgrid[:135, :180]
    face = wcs.wcs_pix2world(x, y, 0)[0]
    header = wcs.to_header()
    header["BUNIT"] = "MJy/sr"
    fits.writeto(tmp_path / "a.fits", x.astype(np.float32), header)
    grid = WCS(naxis=2)
    grid.wcs.ctype, grid.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-2, 2]
    grid.wcs.crpix, grid.wcs.crval = [90.5, 10.5], [0, 0]
    with open_sky(tmp_path / "a.fits") as reader:
        assert np.isfinite(face).sum() > 0.4 * face.size
        assert reader.on(grid, (20, 180)).read().valid.all()
