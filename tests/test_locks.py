"""Of two processes at one output the second is told who is there; no lock outlives its process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from imgturbo import locks
from imgturbo.errors import ImgturboError
from imgturbo.locks import locked

HOLD = """
import sys
from imgturbo.locks import locked
with locked(sys.argv[1], "go away"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``out``."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def take(out, inside=False):
    with locked(out, "choose another place", inside):
        pass


def test_the_second_is_told_who_holds_it(tmp_path, holder):
    with pytest.raises(ImgturboError) as caught:
        take(tmp_path / "out")
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'out'}: another process (process {holder.pid} on ")
    assert "UTC) is at work on it; wait" in said
    take(tmp_path / "another")
    holder.communicate("")
    take(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_leaves_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".out.lock").exists()
    take(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_it_is_held_against_this_process_too_and_once_let_go_it_is_free(tmp_path):
    for inside, place in ((False, tmp_path / ".out.lock"), (True, tmp_path / "out" / ".lock")):
        with locked(tmp_path / "out", "", inside):
            assert place.exists()
            with pytest.raises(ImgturboError, match=f"process {os.getpid()} "):
                take(tmp_path / "out", inside)
        assert not place.exists()
        with pytest.raises(KeyError), locked(tmp_path / "out", "", inside):
            raise KeyError
        assert not place.exists()


def test_the_folder_one_stands_in_can_be_held(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with locked(".", "", inside=True):
        assert (tmp_path / ".lock").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ImgturboError, match=r"x: cannot be written .*; choose another place"):
        take(tmp_path / "file" / "x")


@pytest.mark.parametrize("content", ["", "junk", '{"pid": 1}'])
def test_what_stands_in_a_lock_that_nobody_holds_means_nothing(tmp_path, content):
    (tmp_path / ".out.lock").write_text(content)
    take(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that has none."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)


def test_without_locks_of_the_system_what_stands_there_must_do(tmp_path, without_locks):
    with (
        locked(tmp_path / "out", ""),
        pytest.raises(ImgturboError, match=f"process {os.getpid()} "),
    ):
        take(tmp_path / "out")
    take(tmp_path / "out")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    me = locks.Holder.me()
    stale = me.model_copy(update={"pid": gone.pid}), me.model_copy(update={"begun": 1.0})
    for former in stale:
        (tmp_path / ".out.lock").write_text(former.model_dump_json())
        take(tmp_path / "out")
    (tmp_path / ".out.lock").write_text(me.model_copy(update={"host": "b"}).model_dump_json())
    with pytest.raises(ImgturboError, match=" on b, since "):
        take(tmp_path / "out")
