"""Whatever a damaged file makes a library raise is one line; mistakes of this program are not."""

import json
import struct

import pytest
import torch
from pydantic import BaseModel
from safetensors import SafetensorError

from imgturbo import door as module
from imgturbo.door import door, first_line, room_for, typed
from imgturbo.errors import ImgturboError


class PanicException(BaseException):
    """As Rust's libraries raise it: no Exception."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error"),
        ValueError("no\nsuch thing"),
        KeyError("SCI"),
        IndexError("list index out of range"),
        struct.error("unpack requires a buffer of 4 bytes"),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range(128)"),
        OverflowError("Python int too large to convert to C long"),
        AttributeError("'_CorruptedHDU' object has no attribute 'fileinfo'"),
        AssertionError(),
        SafetensorError("header too large"),
        ZeroDivisionError("division by zero"),
        torch.OutOfMemoryError("none left"),
        PanicException("index out of range"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_library_raises_is_one_line(error):
    with (
        pytest.raises(ImgturboError, match=r"^a\.fits: extension SCI is damaged.*; get") as caught,
        door("a.fits", "extension SCI"),
    ):
        raise error
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_an_error_for_users_and_a_signal_pass_as_they_are():
    with pytest.raises(ImgturboError, match=r"^b\.fits: has no SCI$"), door("a.fits"):
        raise ImgturboError("b.fits: has no SCI")
    with pytest.raises(KeyboardInterrupt), door("a.fits"):
        raise KeyboardInterrupt


def test_a_mistake_of_this_program_stays_a_traceback():
    with pytest.raises(TypeError), door("a.fits"):
        module._bytes("3")


def test_too_little_memory_and_too_deep_nesting_say_so():
    with pytest.raises(ImgturboError, match="more memory than there is"), door("a.fits", "SCI"):
        raise MemoryError
    with pytest.raises(ImgturboError, match="nested too deeply"), door("a.json"):
        json.loads("[" * 100_000)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("\n  first\nsecond"), "first"),
        (ValueError(), "ValueError"),
        (ValueError("a\x1b[31mb"), "a?[31mb"),
        (KeyError("SCI"), "there is no 'SCI'"),
    ],
)
def test_first_line(error, line):
    assert first_line(error) == line


def test_a_long_reason_is_cut():
    assert len(first_line(ValueError("x" * 10_000))) < 200


class Description(BaseModel):
    format: int
    bands: list[str]


def test_typed_reads_what_has_the_shape():
    assert typed(Description, '{"format": 1, "bands": ["F606W"]}', "a.json").bands == ["F606W"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "EOF"),
        ('{"format": 1, "bands": ["F606W"', "EOF"),
        ('{"format": 1, "bands": 3}', "bands: "),
        ('{"format": 1, "bands": ["F606W", null]}', r"bands\.1: "),
        ('{"format": 1e400, "bands": []}', "format: "),
        ("[" * 100_000, "recursion"),
        (b'{"format": 1, "bands": ["\xff"]}', "unicode|utf-8|UTF-8"),
    ],
)
def test_typed_says_what_is_wrong_and_where(text, reason):
    with pytest.raises(ImgturboError, match=reason) as caught:
        typed(Description, text, "bundle/bundle.json", "get the bundle again")
    assert str(caught.value).startswith("bundle/bundle.json: is damaged")
    assert str(caught.value).endswith("; get the bundle again")


def test_room_is_refused_before_it_is_taken():
    room_for(1 << 20, "a.fits", "an image")
    with pytest.raises(ImgturboError, match=r"^a\.fits: an image of .* needs 4 TB of memory, .*"):
        room_for(4 * 10**12, "a.fits", "an image of 10⁶ × 10⁶ pixels")


def test_what_a_file_says_cannot_move_the_cursor():
    assert str(ImgturboError("a.fits: OBJECT = '\x1b[31m\x00é'\n is odd")) == (
        "a.fits: OBJECT = '?[31m?é' is odd"
    )
