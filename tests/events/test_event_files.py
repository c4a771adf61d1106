"""Files of events: what is written is read, and what is none is named in a line."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.errors import ImgturboError
from imgturbo.events import OBJECTS, PARTONS, Events, columns, read_events, write_events

h5py = pytest.importorskip("h5py", reason="files of events need h5py (the extra 'hep')")


@pytest.fixture
def events():
    generator = np.random.default_rng(0)
    return Events(*generator.normal(0, 50, (2, 7, 24)), {"seed": 3})


def test_what_is_written_is_read(tmp_path, events):
    path = tmp_path / "a" / "events.h5"
    write_events(path, events)
    again = read_events(path)
    np.testing.assert_array_equal(again.z, events.z)
    np.testing.assert_array_equal(again.x, events.x)
    assert again.settings == events.settings
    assert len(again) == 7
    assert [file.name for file in path.parent.iterdir()] == ["events.h5"]


def test_the_layout_is_that_of_otus(tmp_path, events):
    path = tmp_path / "events.h5"
    write_events(path, events)
    with h5py.File(path) as file:
        assert set(file) == {"FDL", "ROL"}
        np.testing.assert_array_equal(file["FDL"][:], events.z)
        assert tuple(file["FDL"].attrs["columns"]) == columns(PARTONS)
        assert tuple(file["ROL"].attrs["columns"]) == columns(OBJECTS)


@pytest.mark.parametrize("keys", [("FDL", "ROL"), ("z", "x")])
def test_bare_files_of_either_names_are_read(tmp_path, events, keys):
    path = tmp_path / "bare.hdf5"
    with h5py.File(path, "w") as file:
        for key, rows in zip(keys, (events.z, events.x), strict=True):
            file[key] = rows.astype("f4")
        file.attrs["settings"] = "of another program"
    again = read_events(path)
    assert again.z.dtype == np.float64
    np.testing.assert_allclose(again.x, events.x, rtol=1e-6)
    assert again.settings == {}


def _file(path, **datasets):
    with h5py.File(path, "w") as file:
        for key, rows in datasets.items():
            file[key] = rows


ROWS = np.zeros((3, 24))
HOLE = ROWS.copy()
HOLE[1, 5] = np.nan


@pytest.mark.parametrize(
    ("datasets", "told"),
    [
        ({}, "holds nothing, not FDL and ROL"),
        ({"a": ROWS}, "holds a, not FDL and ROL"),
        ({"FDL": ROWS, "ROL": ROWS[:2]}, "3 events under FDL and 2 under ROL"),
        ({"FDL": ROWS, "ROL": ROWS[:, :23]}, "ROL is no table of 24 numbers"),
        ({"FDL": ROWS[0], "ROL": ROWS}, "FDL is no table"),
        ({"FDL/deeper": ROWS, "ROL": ROWS}, "FDL is no table"),
        ({"FDL": np.full((3, 24), b"x"), "ROL": ROWS}, "FDL is no table"),
        ({"FDL": ROWS, "ROL": HOLE}, "ROL row 1, column 5 is no number"),
    ],
)
def test_other_files_are_named_in_a_line(tmp_path, datasets, told):
    path = tmp_path / "events.h5"
    _file(path, **datasets)
    with pytest.raises(ImgturboError, match=told) as raised:
        read_events(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", None])
def test_what_is_no_hdf5_is_named_in_a_line(tmp_path, content):
    path = tmp_path / "events.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImgturboError, match=r"events\.h5.*imgturbo simulate-events"):
        read_events(path)


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_a_file_that_was_cut_is_damaged(tmp_path, events, keep):
    path = tmp_path / "events.h5"
    write_events(path, events)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ImgturboError, match=r"events\.h5"):
        read_events(path)


def test_tables_that_are_no_pairs_are_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="shape"):
        write_events(tmp_path / "events.h5", Events(ROWS, ROWS[:2]))


def test_without_h5py_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImgturboError, match=r"pip install 'imgturbo\[hep\]'"):
        read_events(tmp_path / "events.h5")
