"""What is missing stays missing, and what is a name keeps its digits, whatever the format."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.tables.files import open_table
from imgturbo.tables.quantity import factor_between
from imgturbo.tables.translate import translate_table

INTEGERS = st.one_of(st.integers(-99, 99), st.integers(-(2**62), 2**62))
CELLS = st.lists(st.tuples(INTEGERS, st.booleans()), min_size=1, max_size=7)


def written(table: Table, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy: HDF5 has no masked columns; it writes masks
        options = {"path": "data", "serialize_meta": True} if path.suffix == ".h5" else {}
        table.write(path, overwrite=True, **options)
    return path


@pytest.mark.parametrize("suffix", ["h5", "fits", "ecsv"])
@settings(max_examples=30)
@given(cells=CELLS, rows=st.integers(1, 4))
def test_masked_numbers_are_missing_and_others_exact(tmp_path_factory, suffix, cells, rows):
    values, mask = (np.array(part) for part in zip(*cells, strict=True))
    table = Table({
        "n": MaskedColumn(values, mask=mask),
        "x": MaskedColumn(values / 3, mask=mask),
    })  # fmt: skip
    path = written(table, tmp_path_factory.getbasetemp() / f"masked.{suffix}")
    with open_table(path) as read:
        assert list(read.columns) == ["n", "x"]
        blocks = list(read.blocks(["n", "x"], ["n", "x"], rows))
        dtype = read.types(["n"])["n"]
    numbers = np.concatenate([block.numbers for block in blocks])
    wanted = np.where(mask, np.nan, [values.astype(float), values / 3]).T
    np.testing.assert_array_equal(numbers, wanted)
    kept, fractions = (np.concatenate([block.kept[name] for block in blocks]) for name in "nx")
    np.testing.assert_array_equal(fractions, wanted[:, 1])
    for cell, value, missing in zip(kept.tolist(), values.tolist(), mask, strict=True):
        if missing:
            assert cell == "" or np.isnan(cell)
        else:
            assert int(cell) == value
    assert dtype.kind == "S" or kept.dtype.kind == dtype.kind


def test_what_fits_calls_nothing_is_said_before_scaling(tmp_path):
    stored = np.array([(100, -32763), (-999, -32768), (300, 7)], [("s", ">i2"), ("u", ">i2")])
    made = fits.BinTableHDU(stored)
    made.header.update({"TSCAL1": 0.01, "TNULL1": -999, "TZERO2": 32768, "TNULL2": -32768})
    made.writeto(tmp_path / "t.fits")
    with open_table(tmp_path / "t.fits") as table:
        (block,) = table.blocks(["s", "u"], ["s", "u"])
    np.testing.assert_allclose(block.numbers, [[1, 5], [np.nan, np.nan], [3, 32775]])
    np.testing.assert_allclose(block.kept["s"], [1, np.nan, 3])
    np.testing.assert_allclose(block.kept["u"], [5, np.nan, 32775])


def test_truths_that_are_neither(tmp_path):
    column = fits.Column("b", "L", array=np.array([True, False, True]))
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "t.fits")
    content = bytearray((tmp_path / "t.fits").read_bytes())
    content[-2880 + 1] = 0
    (tmp_path / "t.fits").write_bytes(content)
    with open_table(tmp_path / "t.fits") as table:
        (block,) = table.blocks(["b"], ["b"])
    np.testing.assert_array_equal(block.numbers[:, 0], [1, np.nan, 1])
    assert block.kept["b"].tolist() == ["True", "", "True"]


def test_fits_tables_of_text(tmp_path):
    columns = [
        fits.Column("x", "D12.3", array=np.array([1.5, -2.5e30, 3.5]), unit="mag"),
        fits.Column("n", "I5", null="---", array=np.array([1, 2, 3])),
        fits.Column("name", "A4", array=np.array(["one", "two", "III"])),
    ]
    made = fits.TableHDU.from_columns(columns)
    made.writeto(tmp_path / "t.fits")
    content, width = bytearray((tmp_path / "t.fits").read_bytes()), made.header["NAXIS1"]
    second = len(content) - 2880 + width
    start = second + made.header["TBCOL2"] - 1
    content[start : start + 5] = b"  ---"
    (tmp_path / "t.fits").write_bytes(content)
    with open_table(tmp_path / "t.fits") as table:
        (block,) = table.blocks(["x", "n"], ["n", "name"])
    np.testing.assert_allclose(block.numbers, [[1.5, 1], [-2.5e30, np.nan], [3.5, 3]])
    assert block.kept["name"].tolist() == ["one", "two", "III"]


@settings(max_examples=30)
@given(numbers=st.lists(st.integers(0, 10**18 - 1), min_size=1, max_size=5), lacks=st.booleans())
def test_identifiers_keep_their_digits(tmp_path_factory, numbers, lacks):
    path = tmp_path_factory.getbasetemp() / "ids.csv"
    cells = [*map(str, numbers), *([""] if lacks else [])]
    path.write_text("id,x\n" + "".join(f"{cell},1\n" for cell in cells))
    with open_table(path) as table:
        (block,) = table.blocks(["x"], ["id"])
    kept = block.kept["id"].tolist()
    assert [int(cell) for cell in kept[: len(numbers)]] == numbers


def test_an_underscore_is_of_a_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,x\n1_2,1\n3_4,2\n")
    with open_table(path) as table:
        (block,) = table.blocks(["x"], ["id"])
        assert block.kept["id"].tolist() == ["1_2", "3_4"]
        with pytest.raises(ImgturboError, match=r"row 1, column id: '1_2' is no number"):
            list(table.blocks(["id"]))


def test_a_number_beyond_its_declared_type_is_read(tmp_path):
    path = tmp_path / "t.ecsv"
    path.write_text("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int8}\na\n300\n")
    with open_table(path) as table:
        (block,) = table.blocks([], ["a"])
    assert block.kept["a"].tolist() == [300]


@pytest.mark.parametrize("units", [("mag(AB)", "Jy"), ("Jy", "mag(AB)"), ("dex(cm)", "m")])
def test_magnitudes_are_no_multiples_of_fluxes(units):
    assert factor_between(*units) is None


def test_arrays_of_other_makes(make_table_bundle, rows):
    bundle, values = make_table_bundle(), rows(5)
    plain = bundle.translate(values).mean
    named = np.rec.fromarrays(values.T[::-1], names=["m", "pt", "E"])
    np.testing.assert_array_equal(bundle.translate(named).mean, plain)
    masked = np.ma.MaskedArray(values, np.arange(15).reshape(5, 3) == 4)
    found = translate_table(bundle, masked).mean
    assert np.isnan(found).all(1).tolist() == [False, True, False, False, False]
    with pytest.raises(ImgturboError, match=r"not as list; make one of it"):
        bundle.translate(values.tolist())
