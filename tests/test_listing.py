"""What a folder says of its own files: content is read whole, and nothing that has no end."""

from __future__ import annotations

import os
import re

import pytest

from imgturbo.errors import ImgturboError
from imgturbo.listing import Entry, read_file


def test_content_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"{}")
    assert read_file(tmp_path, "a.json", "make it again") == b"{}"


def test_a_description_that_the_memory_cannot_hold_is_refused_unread(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        os.truncate(file.fileno(), 1 << 42)  # 4 TiB, none of which lies on the disk
    with pytest.raises(ImgturboError, match=r"a\.json: what it describes needs 44 TB of memory"):
        read_file(tmp_path, "a.json", "make it again")


@pytest.mark.parametrize("kind", ["missing", "a folder", "a pipe", "a device"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    name = tmp_path / "a.json"
    if kind == "a folder":
        name.mkdir()
    elif kind == "a pipe":
        os.mkfifo(name)
    elif kind == "a device":
        name.symlink_to("/dev/zero")
    why = "is missing" if kind == "missing" else "is no file"
    line = re.escape(f"{tmp_path}: a.json {why}; make it again")
    with pytest.raises(ImgturboError, match=line):
        read_file(tmp_path, "a.json", "make it again")


def test_an_entry_tells_of_length_and_content(tmp_path):
    (tmp_path / "a").write_bytes(b"four")
    entry = Entry.of(tmp_path / "a")
    entry.check(tmp_path, "a", "make it again", content=True)
    (tmp_path / "a").write_bytes(b"FOUR")
    entry.check(tmp_path, "a", "make it again", content=False)
    with pytest.raises(ImgturboError, match=r"make it again"):
        entry.check(tmp_path, "a", "make it again", content=True)
    (tmp_path / "a").write_bytes(b"fourth")
    with pytest.raises(ImgturboError, match=r"make it again"):
        entry.check(tmp_path, "a", "make it again", content=False)
