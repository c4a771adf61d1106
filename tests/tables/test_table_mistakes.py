"""Tables with something wrong: one line that names the file, the row and the column (law 7)."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.tables.files import open_table
from imgturbo.tables.writer import write_table


def read(path, names=("E",)) -> np.ndarray:
    with open_table(path) as table:
        return np.concatenate(
            [np.empty((0, len(names)))] + [b.numbers for b in table.blocks(names)]
        )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty; give a table"),
        ("\n\n", "is empty; give a table"),
        ("1,2\n3,4\n", "first line holds numbers, not the names"),
        ("E,E\n1,2\n", "2 columns are called E; rename"),
        ("e,b\n1,2\n", "has no column E; did you mean e?"),
        ("a,b\n1,2\n", "has no column E; it has a, b"),
        ("E,b\n1,2\n3\n", "row 2 has 1 cells, but there are 2 columns"),
        ("E,b\n1,2\n3,4,5\n", "row 2 has 3 cells, but there are 2 columns"),
        ("E,b\n1,2\nabc,4\n", "row 2, column E: 'abc' is no number"),
        ("E,b\n1,2\n1.5.2,4\n", "row 2, column E: '1.5.2' is no number"),
        ('E,b\n1,2\n"3,4\n', "near row 1: cannot be read as text|near row 1 cannot be read"),
        (b"E,b\n1,\xff\xfe\n", "cannot be read as text"),
        (b"E\0,b\n1,2\n", "cannot be read as text"),
        ("# %ECSV 1.0\n# ---\n# datatype: [\nE\n1\n", "its ECSV header"),
        ("# %ECSV 1.0\n# ---\n# meta: {a: 1}\nE\n1\n", "its ECSV header"),
        (
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: F, datatype: float64}\nE\n1\n",
            "header describes the columns F, and its line of names says E",
        ),
        (
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: E, datatype: string}\nE\nx\n",
            "column E holds text, no numbers",
        ),
        (
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: E, datatype: float99}\nE\nx\n",
            "the type of column E",
        ),
    ],
)
def test_text_that_is_no_table(tmp_path, content, said):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ImgturboError, match=said) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_names_of_files(tmp_path):
    with pytest.raises(ImgturboError, match="says no format of tables; they end"):
        open_table(tmp_path / "t.xlsx")
    with pytest.raises(ImgturboError, match="no such file"):
        open_table(tmp_path / "t.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ImgturboError, match="is a folder"):
        open_table(tmp_path / "d.csv")


def test_one_row_and_no_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("E\n")
    assert read(path).shape == (0, 1)
    path.write_text("E\n2.5")
    assert read(path).tolist() == [[2.5]]
    path.write_text("E\n-inf\n")
    assert read(path).tolist() == [[-np.inf]]


def test_one_bad_cell_of_many_is_named(tmp_path):
    path = tmp_path / "t.csv"
    lines = ["a,E"] + [f"{k},{k / 7}" for k in range(100_000)]
    lines[90_001] = "90000,1,5"
    path.write_text("\n".join(lines))
    with pytest.raises(ImgturboError, match="row 90001 has 3 cells"):
        read(path)
    lines[90_001] = "90000,1..5"
    path.write_text("\n".join(lines))
    with pytest.raises(ImgturboError, match=r"row 90001, column E: '1\.\.5' is no number"):
        read(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A FITS and an HDF5 table of 50 rows, as bytes."""
    folder = tmp_path_factory.mktemp("whole")
    table = Table({"E": np.arange(50.0), "n": np.arange(50), "s": ["abc"] * 50})
    table["E"].unit = "GeV"
    table.write(folder / "t.fits")
    found = {"fits": (folder / "t.fits").read_bytes()}
    try:
        import h5py  # noqa: F401
    except ImportError:
        return found
    table.write(folder / "t.h5", path="t", serialize_meta=True)
    return found | {"h5": (folder / "t.h5").read_bytes()}


@pytest.mark.parametrize("suffix", ["fits", "h5"])
@given(st.data())
def test_damage_is_one_line(tmp_path, whole, suffix, data):
    """Cut, or with bytes changed: read to the end, or refused."""
    if suffix not in whole:
        pytest.skip("h5py is not installed")
    content = bytearray(whole[suffix])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(content)
    said = ""
    try:
        with open_table(path) as table:
            for _ in table.blocks(["E", "n"], ["s"]):
                pass
    except ImgturboError as error:
        said = str(error)
    assert not said or said.startswith(str(path))


def test_hdf5_without_its_library_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    path = tmp_path / "t.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ImgturboError, match=r"t\.h5: HDF5 needs the package h5py; install"):
        open_table(path)
    with pytest.raises(ImgturboError, match="needs the package h5py"), write_table(path, []):
        pass
    assert path.read_bytes() == b"\x89HDF\r\n\x1a\n"


def test_hdf5_that_holds_no_one_table(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = np.zeros(3), np.zeros(4)
    with pytest.raises(ImgturboError, match=r"columns of unlike lengths \[3, 4\]"):
        open_table(path)
    with h5py.File(path, "w") as file:
        file["deep/a"], file["a"] = np.zeros(3), np.zeros(3)
    with pytest.raises(ImgturboError, match="several columns have one name"):
        open_table(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1 << 50,), "f8", chunks=(1 << 10,))  # a claim, and no bytes
    with pytest.raises(ImgturboError, match="of its 1125899906842624 rows none was ever written"):
        open_table(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(ImgturboError, match="holds no table"):
        open_table(path)
