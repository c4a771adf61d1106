"""Damaged tables end in one line; a number is never read without its scale."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from imgturbo.errors import ImgturboError
from imgturbo.tables import open_table


def scaled(path, word="", value=""):
    """A FITS table of scaled whole numbers, a card of which may be something else."""
    column = fits.Column("n", "I", array=np.arange(4))
    table = fits.BinTableHDU.from_columns([column, fits.Column("m", "J", array=np.arange(4))])
    table.header.update({"TSCAL1": 0.5, "TZERO1": 3.0, "TNULL2": 2})
    table.writeto(path)
    if word:
        content = path.read_bytes()
        at = content.index(f"{word:<8}=".encode())
        card = f"{word:<8}= {value:>20}".ljust(80).encode()
        path.write_bytes(content[:at] + card + content[at + 80 :])
    return path


def read(path):
    with open_table(path) as table:
        names = list(table.columns)
        return np.concatenate([block.numbers for block in table.blocks(names)])


def test_scales_are_applied(tmp_path):
    found = read(scaled(tmp_path / "a.fits"))
    np.testing.assert_array_equal(found[:, 0], [3, 3.5, 4, 4.5])
    np.testing.assert_array_equal(found[:, 1], [0, 1, np.nan, 3])


@pytest.mark.parametrize("word", ["TSCAL1", "TZERO1", "TNULL2"])
@pytest.mark.parametrize("value", ["'abc'", "NaN", "(1", "1 2"])
def test_a_scale_that_is_no_number_is_not_left_out(tmp_path, word, value):
    with pytest.raises(ImgturboError, match=rf"a\.fits: HDU 1.*{word}"):
        read(scaled(tmp_path / "a.fits", word, value))


@pytest.mark.parametrize("word", ["TSCAL1", "TZERO1"])
def test_a_scale_without_end_is_refused(tmp_path, word):
    with pytest.raises(ImgturboError, match=rf"a\.fits: HDU 1.*{word}"):
        read(scaled(tmp_path / "a.fits", word, "1E400"))


def test_a_declared_whole_number_of_thousands_of_digits_is_no_traceback(tmp_path):
    path = tmp_path / "a.ecsv"
    head = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: int64}\nid\n"
    path.write_text(f"{head}{'9' * 5000}\n1\n")
    with open_table(path) as table:
        (block,) = table.blocks(kept=["id"])
    assert str(block.kept["id"][0]) == "9" * 5000


def test_a_column_without_a_name_is_one_line(tmp_path):
    path = scaled(tmp_path / "a.fits")
    content = path.read_bytes()
    at = content.index(b"TTYPE2  =")
    path.write_bytes(content[:at] + b" " * 80 + content[at + 80 :])
    with pytest.raises(ImgturboError, match="column 2 has no name; give it one"):
        read(path)


@pytest.mark.parametrize(
    "header", ["# %ECSV 1.0\n# ---\n", "# %ECSV 1.0\n# ---\n# datatype: [1]\n"]
)
def test_an_ecsv_header_that_lists_no_columns(tmp_path, header):
    path = tmp_path / "a.ecsv"
    path.write_text(header + "x\n1\n")
    with pytest.raises(ImgturboError, match="its ECSV header"):
        read(path)


def test_an_hdf5_header_that_lists_no_columns(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    Table({"x": [1.0, 2.0]}).write(path, path="t", serialize_meta=True)
    with h5py.File(path, "a") as file:
        del file["t.__table_column_meta__"]
        file["t.__table_column_meta__"] = np.array([b"", b"~"])
    with pytest.raises(ImgturboError, match=r"a\.h5: .*lists no columns"):
        read(path)


def test_an_hdf5_table_whose_rows_are_wider_than_its_bytes(tmp_path):
    """A flipped bit made them so, and rows would be read from wherever memory holds something."""
    pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    Table({"x": np.arange(40.0), "y": np.arange(40, dtype="i4")}).write(path, path="t")
    content = path.read_bytes()
    wide = content.replace(b"\x0c\x00\x00\x00", b"\x0e\x00\x00\x00", 1)
    assert wide != content
    path.write_bytes(wide)
    with pytest.raises(ImgturboError, match=r"a\.h5"):
        read(path)


@pytest.mark.parametrize("digits", [310, 5000])
def test_a_whole_number_that_no_float_holds_is_passed_on_as_text(tmp_path, digits):
    path = tmp_path / "a.csv"
    path.write_text(f"id\n{'9' * digits}\n1\n")
    with open_table(path) as table:
        (block,) = table.blocks(kept=["id"])
    assert [str(cell) for cell in block.kept["id"]] == ["9" * digits, "1"]


def texts(path, cells):
    fits.BinTableHDU.from_columns([fits.Column("t", "3A", array=["ab"] * 4)]).writeto(path)
    content = path.read_bytes()
    path.write_bytes(content[:5760] + b"".join(cells).ljust(2880, b"\0"))
    return path


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_texts_do_not_depend_on_the_rows_that_are_read_with_them(tmp_path, rows):
    path = texts(tmp_path / "a.fits", [b"a\x1c ", b"\xc3\xa9\x1f", b"b\0c", b"   "])
    with open_table(path) as table:
        found = [cell for block in table.blocks(kept=["t"], rows=rows) for cell in block.kept["t"]]
    assert found == ["a\x1c", "é\x1f", "b", ""]


@pytest.mark.parametrize("card", ["TFORM1  = '2A      '", "NAXIS1  =                    2"])
def test_columns_that_do_not_make_their_rows(tmp_path, card):
    path = texts(tmp_path / "a.fits", [b"abc"] * 4)
    content = path.read_bytes()
    at = content.index(card[:8].encode(), 2880)
    path.write_bytes(content[:at] + card.ljust(80).encode() + content[at + 80 :])
    with pytest.raises(ImgturboError, match=r"HDU 1.*columns are \d bytes wide, its rows \d"):
        open_table(path)


def test_a_card_that_comes_twice(tmp_path):
    path = texts(tmp_path / "a.fits", [b"abc"] * 4)
    content = path.read_bytes()
    at = content.index(b"PCOUNT  =", 2880)
    twice = b"TUNIT1  = 'm'".ljust(80) + b"TUNIT1  = 'km'".ljust(80)
    path.write_bytes(content[:at] + twice + content[at:5600] + content[5760:])
    with pytest.raises(ImgturboError, match="TUNIT1 comes twice, as km and m"):
        open_table(path)


def test_a_column_of_no_width_is_empty(tmp_path):
    path = scaled(tmp_path / "a.fits", "TFORM1", "'0A      '")
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"NAXIS1  =                    6", b"NAXIS1  =                    4")
    )
    with open_table(path) as table:
        (block,) = table.blocks(kept=["n"])
    assert block.kept["n"].tolist() == [""] * 4
