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
