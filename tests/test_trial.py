"""HDF5 is read by others first, whose crash is one line here."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import h5py
import numpy as np
import psutil
import pytest

from imgturbo import trial
from imgturbo.errors import ImgturboError
from imgturbo.tables.hdf5_table import Hdf5Table

CRASHES = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
INVENTS = """
import os
class Dataset:
    ndim, shape, nbytes = 1, (4,), 32
    class id:
        get_storage_size = staticmethod(lambda: 32)
    def __getitem__(self, rows):
        import numpy
        return numpy.full(4, float(os.environ["MALLOC_PERTURB_"]))
class File:
    def __init__(self, *_): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def visititems(self, see): see("x", Dataset())
"""
WAITS = """
import os, pathlib, time
pathlib.Path(__file__).with_name(f"{os.getpid()}.reads").touch()
time.sleep(300)
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(5.0)
        file["empty"] = np.zeros((0, 3))
        file["word"] = np.array([b"a", b"bc"], object).astype(h5py.string_dtype())
    return path


@pytest.mark.parametrize(
    ("stand_in", "said"), [(CRASHES, "crashed, with signal 11"), (INVENTS, "others each time")]
)
def test_what_crashes_or_invents_is_refused_in_a_line(table, tmp_path, monkeypatch, stand_in, said):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "h5py.py").write_text(stand_in)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "lib"), *sys.path])
    with pytest.raises(ImgturboError, match=said) as refused:
        Hdf5Table(table)
    assert str(table) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_stays_is_tried_once(table, monkeypatch):
    trial.try_out(table)
    monkeypatch.setattr(subprocess, "Popen", None)
    trial.try_out(table)
    with table.open("ab") as file:
        file.write(b"more")
    with pytest.raises(TypeError):  # it would be tried again
        trial.try_out(table)


def test_what_the_reader_refuses_in_words_is_left_to_it(tmp_path):
    path = tmp_path / "cut.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\x00" * 40)
    trial.try_out(path)
    with pytest.raises(ImgturboError, match="cannot be opened"):
        Hdf5Table(path)


def test_what_was_never_written_is_not_read(tmp_path):
    path = tmp_path / "claims.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (1 << 40,), "f8", chunks=(1 << 16,))
    trial.try_out(path)  # 8 TB of zeros would take days


@pytest.mark.skipif(sys.platform != "linux", reason="a request to Linux")
def test_who_tries_a_file_ends_with_the_process_that_asked(table, tmp_path):
    (tmp_path / "h5py.py").write_text(WAITS)
    asks = "import sys; from imgturbo.trial import try_out; try_out(sys.argv[1])"
    places = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": places}
    with subprocess.Popen([sys.executable, "-c", asks, table], env=environment) as parent:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*.reads"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        children = psutil.Process(parent.pid).children()
        parent.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        for child in alive:
            child.kill()
    assert (len(children), alive) == (2, [])


@pytest.mark.skipif(sys.platform != "linux", reason="a request to Linux")
@pytest.mark.parametrize("alive", [True, False])
def test_who_tries_a_file_ends_if_nobody_asks_any_more(table, alive):
    asked_by = os.getpid() if alive else 0
    words = [sys.executable, "-P", trial.__file__, str(table), str(asked_by)]
    said = subprocess.run(words, capture_output=True, timeout=300)
    assert (said.returncode, bool(said.stdout), said.stderr) == (0, alive, b"")
