"""JSON that is whole, valid, or not there."""

from __future__ import annotations

import json
import os

import pytest

from imgturbo.errors import ImgturboError
from imgturbo.files import write_json


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a" / "b" / "s.json"
    content = {"prediction": {"psnr": 1.5, "lpips": None}, "bands": ["F150W"]}
    write_json(path, content)
    assert json.loads(path.read_text()) == content
    assert [file.name for file in path.parent.iterdir()] == ["s.json"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_without_a_word_in_json_are_refused(tmp_path, number):
    path = tmp_path / "s.json"
    path.write_text("former")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"psnr": number})
    assert path.read_text() == "former"


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "s.json"
    path.write_text("former")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ImgturboError, match=r"s\.json.*No space left"):
        write_json(path, {})
    assert path.read_text() == "former"
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]
