"""What FITS cannot hold is written as the nearest thing that it can, said, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from imgturbo.errors import ImgturboError
from imgturbo.tables.files import open_table
from imgturbo.tables.reader import Column
from imgturbo.tables.writer import write_table


def write(path, column, values, meta=None):
    with write_table(path, [column], meta or {}) as table:
        table.write({column.name: values})
    return path


@pytest.mark.parametrize("kind", "bhilBHILefd?")
def test_every_type_of_numbers_comes_back(tmp_path, kind):
    dtype = np.dtype(kind)
    ends = (0, 1) if kind in "?efd" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = np.array([*ends, 1], dtype)
    path = write(tmp_path / "t.fits", Column("n", "", dtype), values)
    with open_table(path) as table:
        (block,) = table.blocks([], ["n"])
        assert table.types(["n"])["n"].kind == dtype.kind
    assert block.kept["n"].tolist() == values.tolist()
    assert Table.read(path)["n"].tolist() == values.tolist()


@pytest.mark.parametrize("name", ["größe", "a" * 69, "it's " + "a" * 63, "a\tb"])
def test_names_that_no_header_holds(tmp_path, name):
    with pytest.raises(ImgturboError, match=r"t.fits: column .*write .ecsv or .h5"):
        write(tmp_path / "t.fits", Column(name, "", np.dtype("f8")), np.ones(1))
    assert not list(tmp_path.iterdir())
    write(tmp_path / "t.ecsv", Column(name.replace("\t", ""), "", np.dtype("f8")), np.ones(1))


def test_words_of_other_letters(tmp_path):
    meta = {"HISTORY": ["input größe.csv", "line\nbreak"]}
    path = write(tmp_path / "t.fits", Column("n", "µm", np.dtype("f8")), np.ones(1), meta)
    read = Table.read(path)
    assert str(read["n"].unit) == "um"
    assert [line for line in read.meta["HISTORY"] if line] == ["input gr??e.csv", "line?break"]
    with pytest.warns(UserWarning, match="column s: letters that FITS has not"):
        write(tmp_path / "s.fits", Column("s", "", np.dtype("S4")), np.array(["ä", "b"], object))
    assert Table.read(tmp_path / "s.fits")["s"].tolist() == ["?", "b"]
