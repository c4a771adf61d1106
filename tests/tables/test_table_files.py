"""What is written is read: names, units, types and every bit, and astropy reads the same."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.tables.files import is_table, open_table
from imgturbo.tables.reader import Column, numbers_in
from imgturbo.tables.text_file import _number
from imgturbo.tables.writer import write_table

SUFFIXES = ["csv", "tsv", "ecsv", "fits", "h5"]
COLUMNS = [
    Column("E", "GeV", np.dtype("f8")),
    Column("speed", "furlong / fortnight", np.dtype("f4")),
    Column("id", "", np.dtype("i8")),
    Column("name", "", np.dtype("S7"), "who it is"),
    Column("good", "", np.dtype("?")),
    Column("seed", "", np.dtype("u4")),
]


def skip_without_h5py(suffix: str) -> None:
    if suffix == "h5":
        pytest.importorskip("h5py")


def some(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    bits = random.integers(0, 1 << 64, n, dtype=np.uint64, endpoint=False)
    energies = bits.view(np.float64)  # any number that there is
    return {
        "E": np.where(np.isfinite(energies), energies, 0.1),
        "speed": random.normal(size=n).astype("f4"),
        "id": random.integers(-(1 << 62), 1 << 62, n),
        "name": np.array([["a", 'b "c"', "d, e"][k % 3] for k in range(n)], dtype=object),
        "good": random.random(n) > 0.5,
        "seed": random.integers(0, 1 << 32, n, dtype=np.uint32),
    }


def write(path, blocks) -> None:
    with write_table(path, COLUMNS, {"MODEL": "0123", "HISTORY": ["one", "two"]}) as table:
        for block in blocks:
            table.write(block)


def joined(blocks) -> dict[str, np.ndarray]:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_bit_comes_back(tmp_path, suffix):
    skip_without_h5py(suffix)
    path = tmp_path / f"t.{suffix}"
    blocks = [some(5), some(0), some(3, 1)]
    write(path, blocks)
    whole = joined(blocks)
    names = [column.name for column in COLUMNS]
    with open_table(path) as table:
        assert list(table.columns) == names
        assert table.length == 8
        read = list(table.blocks(["E", "speed"], names, rows=3))
        kinds = {name: dtype.kind for name, dtype in table.types(names).items()}
    assert [block.first for block in read] == [0, 3, 6]
    numbers = np.concatenate([block.numbers for block in read])
    assert (numbers[:, 0] == whole["E"]).all()
    assert (numbers[:, 1].astype("f4") == whole["speed"]).all()
    kept = {name: np.concatenate([block.kept[name] for block in read]) for name in names}
    for name in ("E", "id", "name", "seed"):
        assert (kept[name] == whole[name]).all() or name == "id", name
    for name in ("id", "good"):
        assert (kept[name].astype(str) == whole[name].astype(str)).all()
    assert kinds["id"] == "i" or suffix in ("csv", "tsv")  # 19 digits are letters there
    assert is_table(path)
    if suffix not in ("csv", "tsv"):
        assert [table.columns[c.name].unit for c in COLUMNS] == [c.unit for c in COLUMNS]


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")  # of furlongs
@pytest.mark.parametrize("suffix", ["ecsv", "fits", "h5"])
def test_astropy_reads_the_same(tmp_path, suffix):
    skip_without_h5py(suffix)
    path = tmp_path / f"t.{suffix}"
    write(path, [some(4)])
    table = Table.read(path)
    assert table.colnames == [column.name for column in COLUMNS]
    assert (table["E"] == some(4)["E"]).all()
    assert str(table["E"].unit) == "GeV"
    assert table.meta["MODEL"] == "0123"
    assert [line for line in table.meta["HISTORY"] if line] == ["one", "two"]


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "h5"])
def test_what_astropy_writes_is_read(tmp_path, suffix):
    skip_without_h5py(suffix)
    path = tmp_path / f"t.{suffix}"
    table = Table({"x": [1.5, -2.25, 1e-300], "n": [1, 2, 3], "s": ["a b", "c", "d"]})
    table["x"].unit = "km/s"
    table.write(path, **({"path": "t", "serialize_meta": True} if suffix == "h5" else {}))
    with open_table(path) as read:
        (block,) = read.blocks(["x", "n"], ["s"])
        assert read.columns["x"].unit.replace(" ", "") == ("" if suffix == "csv" else "km/s") or (
            read.columns["x"].unit == "km s-1"
        )
        assert numbers_in(read) == ["x", "n"]
    assert block.numbers.tolist() == [[1.5, 1], [-2.25, 2], [1e-300, 3]]
    assert block.kept["s"].tolist() == ["a b", "c", "d"]


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits"])
def test_what_is_masked_or_empty_is_no_number(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    column = MaskedColumn([1, 2, 3], mask=[False, True, False])
    Table({"n": column, "x": [1.0, np.nan, 2.0]}).write(path)
    with open_table(path) as table:
        (block,) = table.blocks(["n", "x"])
    assert np.isnan(block.numbers).tolist() == [[False, False], [True, True], [False, False]]
    assert block.numbers[2].tolist() == [3, 2]


@given(st.text(st.characters(exclude_categories=["Nd", "Nl", "No"]), max_size=9))
def test_words_are_no_numbers(word):
    try:
        found = _number(word)
    except ValueError:
        return
    assert not np.isfinite(found)


def test_other_delimiters_comments_and_nameless_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# said before\n\n;b\n0;1.5\n\n1;2.5\n")
    with open_table(path) as table:
        assert list(table.columns) == ["column 1", "b"]
        (block,) = table.blocks(["b"], ["column 1"], typed=False)
    assert block.numbers.tolist() == [[1.5], [2.5]]
    assert block.kept["column 1"].tolist() == ["0", "1"]


def test_a_byte_order_mark_is_no_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffa,b\r\n1,2\r\n".encode())
    with open_table(path) as table:
        assert list(table.columns) == ["a", "b"]
        assert next(table.blocks(["a", "b"])).numbers.tolist() == [[1, 2]]


def test_numbers_with_leading_zeros_are_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,n,x\n007,1,1.5\n010,-2,\n")
    with open_table(path) as table:
        kinds = {name: dtype.kind for name, dtype in table.types(list(table.columns)).items()}
    assert kinds == {"id": "S", "n": "i", "x": "f"}


def test_fits_tables_of_other_make(tmp_path):
    """Scaled and unsigned integers, nulls, truths, arrays in cells, and gzip."""
    path = tmp_path / "t.fits"
    columns = [
        fits.Column("u", "J", bzero=1 << 31, array=np.array([1, 4_000_000_000], np.uint32)),
        fits.Column("half", "I", array=np.array([1, 4], np.int16)),
        fits.Column("gap", "J", null=-99, array=np.array([7, -99])),
        fits.Column("yes", "L", array=np.array([True, False])),
        fits.Column("many", "3E", array=np.ones((2, 3), "f4")),
        fits.Column("word", "4A", array=np.array(["ab", "c"])),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["TSCAL2"], table.header["TZERO2"] = 0.5, 10.0
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    packed = tmp_path / "t.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for each in (path, packed):
        with open_table(each) as table:
            (block,) = table.blocks(["u", "half", "gap", "yes"], ["word", "u"])
            with pytest.raises(ImgturboError, match="column many holds arrays or objects, no num"):
                list(table.blocks(["many"]))
        np.testing.assert_array_equal(
            block.numbers, [[1, 10.5, 7, 1], [4_000_000_000, 12, np.nan, 0]]
        )
        assert block.kept["word"].tolist() == ["ab", "c"]
        assert block.kept["u"].tolist() == [1, 4_000_000_000]


def test_hdf5_of_other_make(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        file["FDL"] = np.arange(12.0).reshape(4, 3)
        file["deep/flag"] = np.arange(4)
        file["deep/flag"].attrs["unit"] = "s"
        file["name"] = ["a", "bcd", "e", "f"]
    with open_table(path) as table:
        assert table.length == 4
        assert set(table.columns) == {"FDL_1", "FDL_2", "FDL_3", "flag", "name"}
        assert table.columns["flag"].unit == "s"
        assert table.types(["name"]) == {"name": np.dtype("S3")}
        blocks = list(table.blocks(["FDL_3", "flag"], ["name"], rows=3))
    assert np.concatenate([b.numbers for b in blocks]).tolist() == [[2, 0], [5, 1], [8, 2], [11, 3]]
    assert [n for b in blocks for n in b.kept["name"]] == ["a", "bcd", "e", "f"]


def test_images_are_no_tables(tmp_path):
    path = tmp_path / "i.fits"
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(path)
    assert not is_table(path)
    with pytest.raises(ImgturboError, match=r"i\.fits: holds no table"):
        open_table(path)
    assert not is_table("picture.png")
    assert is_table("t.CSV")


def test_nothing_is_left_of_what_is_not_whole(tmp_path):
    for suffix in ("csv", "ecsv", "fits"):
        with pytest.raises(KeyError), write_table(tmp_path / f"t.{suffix}", COLUMNS) as table:  # noqa: PT012
            table.write(some(3))
            raise KeyError
    assert list(tmp_path.iterdir()) == []
