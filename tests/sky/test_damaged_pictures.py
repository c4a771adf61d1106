"""Damaged pictures end in one line before anything is allocated, and lose no bands."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky
from imgturbo.sky.claims import attentive

GREY = np.random.default_rng(0).integers(0, 256, (24, 30), np.uint8)


def tiff(pixels, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def saved(kind: str, pixels=GREY) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """A tag of the first page with another value."""
    for kind in (3, 4):
        at = content.find(struct.pack("<HHI", tag, kind, 1))
        if at > 0:
            return content[: at + 8] + struct.pack("<I", value) + content[at + 12 :]
    raise AssertionError(tag)


def refused(path, content: bytes, match: str = "cannot be read as a picture") -> None:
    path.write_bytes(content)
    with pytest.raises(ImgturboError, match=match) as caught:
        read_sky(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("options", "pages"),
    [
        ({"ome": True, "metadata": {"axes": "CYX"}}, 2),
        ({"imagej": True}, 3),
        ({}, 3),
        ({"metadata": None}, 3),
        ({"metadata": None, "compression": "zlib"}, 3),
    ],
    ids=["OME", "ImageJ", "shaped", "plain", "deflate"],
)
def test_a_cut_tiff_is_whole_or_refused(tmp_path, options, pages):
    """Where the list of pages is broken off, those that are left are not the picture."""
    content = tiff(np.stack([GREY] * pages), photometric="minisblack", **options)
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    whole = read_sky(path).data
    for size in [*range(0, len(content), 61), *range(len(content) - 40, len(content))]:
        path.write_bytes(content[:size])
        try:
            found = read_sky(path).data
        except ImgturboError:
            continue
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("size", [(10**6, 10**6), (2**31 - 1, 1), (40_000, 40_000)])
def test_a_png_cannot_claim_more_than_it_can_hold(tmp_path, size):
    png = saved("PNG")
    head = struct.pack(">II", *size) + png[24:29]
    checked = head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    refused(tmp_path / "a.png", png[:16] + checked + png[33:], "pixels cannot lie in")


def test_a_jpeg_cannot_claim_more_than_it_can_hold(tmp_path):
    jpeg = saved("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    claim = jpeg[:at] + struct.pack(">HH", 65_000, 65_000) + jpeg[at + 4 :]
    refused(tmp_path / "a.jpg", claim, "65000 × 65000 pixels cannot lie in")


@pytest.mark.parametrize("tag", [273, 279])  # offsets, byte counts
@pytest.mark.parametrize(
    "options", [{"metadata": None}, {"compression": "zlib"}, {"rowsperstrip": 3}]
)
def test_places_of_pixels_that_are_text_are_one_line(tmp_path, tag, options):
    content = tiff(GREY, **options)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages.first.tags[tag].offset
    refused(tmp_path / "a.tif", content[: at + 2] + b"\x02\x00" + content[at + 4 :])


@pytest.mark.parametrize(("tag", "value"), [(256, 65_000), (257, 2**31), (258, 0), (259, 40)])
def test_tags_that_cannot_be_are_one_line(tmp_path, tag, value):
    refused(tmp_path / "a.tif", with_tag(tiff(GREY, metadata=None), tag, value))
    refused(tmp_path / "b.tif", with_tag(tiff(GREY, compression="zlib"), tag, value))


def test_what_the_memory_cannot_hold_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("imgturbo.door.memory_left", lambda: 1000)
    for name, content in (("a.png", saved("PNG")), ("a.tif", tiff(GREY))):
        refused(tmp_path / name, content, r"decoding .* needs .* of memory")


def test_a_picture_is_what_it_holds_and_not_what_it_is_called(tmp_path):
    pages = tiff(np.stack([GREY, GREY, GREY]), photometric="minisblack")
    (tmp_path / "a.png").write_bytes(pages)
    (tmp_path / "a.tif").write_bytes(saved("PNG"))
    assert read_sky(tmp_path / "a.png").shape == (3, 24, 30)
    assert read_sky(tmp_path / "a.tif").shape == (1, 24, 30)


def test_strips_of_a_picture_are_the_picture(tmp_path, monkeypatch):
    rgb = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
    Image.fromarray(rgb).save(tmp_path / "a.png")
    Image.fromarray(rgb).convert("P").save(tmp_path / "p.png")
    whole = [read_sky(tmp_path / name).data for name in ("a.png", "p.png")]
    monkeypatch.setattr("imgturbo.sky.decode._STRIP", 7 * 30)
    for name, right in zip(("a.png", "p.png"), whole, strict=True):
        np.testing.assert_array_equal(read_sky(tmp_path / name).data, right)


def test_complaints_are_of_this_thread_and_of_this_file(capsys):
    with attentive() as said, tifffile.TiffFile(io.BytesIO(tiff(GREY))) as file:
        assert file.series[0].shape == (24, 30)
    assert said == []
    cut = tiff(np.stack([GREY] * 2), metadata=None)[:-300]
    with attentive() as said, tifffile.TiffFile(io.BytesIO(cut)) as file:
        file.asarray()
    assert said == ["invalid page offset 1648"]
    assert capsys.readouterr().err == ""
