"""Laws of contact sheets: every picture is there, in order, and a sheet is whole or not there."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.errors import ImgturboError
from imgturbo.report.sheet import contact_sheet
from imgturbo.sky import read_sky


def plain(value, height=20, width=30):
    return np.full((3, height, width), value)


def test_every_picture_is_there_in_order(tmp_path):
    rows = [[plain(0.1), plain(0.2)], [plain(0.3), plain(0.4, 10, 10)]]
    contact_sheet(tmp_path / "s.png", rows)
    sheet = np.rint(255 * read_sky(tmp_path / "s.png").data[0]).astype(int)
    where = {v: np.argwhere(sheet == round(255 * v)) for v in (0.1, 0.2, 0.3, 0.4)}
    assert [len(where[v]) for v in (0.1, 0.2, 0.3, 0.4)] == [600, 600, 600, 100]
    assert where[0.1][0][0] == where[0.2][0][0] < where[0.3][0][0]
    assert where[0.1][0][1] == where[0.3][0][1] < where[0.2][0][1]


def test_words_make_room(tmp_path):
    contact_sheet(tmp_path / "plain.png", [[plain(0.5)]])
    contact_sheet(
        tmp_path / "words.png", [[plain(0.5)]], captions=[["here"]], labels=["row"], title="all"
    )
    bare, told = (read_sky(tmp_path / f"{name}.png").shape for name in ("plain", "words"))
    assert told[1] > bare[1] + 30
    assert told[2] > bare[2] + 10


def test_grey_nan_and_large_pictures(tmp_path):
    large = np.full((1, 400, 300), 0.5)
    large[:, :, :150] = np.nan
    contact_sheet(tmp_path / "s.png", [[large]], cell=100)
    sheet = read_sky(tmp_path / "s.png").data
    assert sheet.shape[1] < 120
    assert (np.abs(sheet[0] - 0.5) < 0.01).sum() > 3000


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImgturboError, match="cannot be written"):
        contact_sheet(tmp_path / "file" / "s.png", [[plain(0.5)]])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
