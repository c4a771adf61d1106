"""Of many processes one has an output; a dead one's is taken over, a living one's never."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from imgturbo import leases as module
from imgturbo.errors import ImgturboError
from imgturbo.leases import ATTEMPTS, Leases
from imgturbo.locks import Busy, Holder

GRAB = """
import sys
from pathlib import Path
from imgturbo.leases import Leases
leases = Leases()
for k in map(int, sys.argv[2:]):
    if leases.take(Path(sys.argv[1]) / f"{k}.fits") is not None:
        print(k)
"""
HOLD = """
import sys, time
from pathlib import Path
from imgturbo.leases import Leases
with Leases(beat=0.05).take(Path(sys.argv[1])) as lease:
    print("held", flush=True)
    time.sleep(300)
"""


def elsewhere(lease, **changes):
    """Make a lease that of a process on another machine."""
    holder = Holder.me().model_copy(update={"host": "another", **changes})
    lease.write_text(holder.model_dump_json())


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_output_has_one_holder_however_many_ask(tmp_path):
    numbers = list(map(str, range(60)))
    children = []
    for seed in range(3):
        order = random.Random(seed).sample(numbers, len(numbers))
        command = [sys.executable, "-c", GRAB, str(tmp_path), *order]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    taken = [child.communicate(timeout=60)[0].split() for child in children]
    # A process that has ended is dead, so its leases may have been taken over: each then stands
    # under the next number, and no number of an output was ever given twice.
    files = [path.name for path in tmp_path.iterdir()]
    assert sum(map(len, taken)) == len(files)
    assert {name.split(".lease")[0] for name in files} == {f".{k}.fits" for k in numbers}


def test_a_living_process_is_left_alone_and_a_killed_one_at_once_replaced(tmp_path):
    out = tmp_path / "a.fits"
    command = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "held\n"
        leases = Leases(beat=0.05, patience=0.5)
        began = time.monotonic()
        while time.monotonic() - began < 1.2:
            assert leases.take(out, wait=True) is None
        assert f"process {child.pid} on " in leases.holder(out)
        child.send_signal(signal.SIGKILL)
        child.wait()
        patient = Leases(patience=1e9)
        lease = patient.take(out)
        assert lease is not None
        assert left(tmp_path) == [".a.fits.lease", ".a.fits.lease-1"]
        with lease:
            lease.check()
    assert left(tmp_path) == []


def test_a_lease_ends_with_its_block_however_it_ends(tmp_path):
    def stopped(error):
        with Leases().take(tmp_path / "a.fits"):
            assert left(tmp_path) == [".a.fits.lease"]
            raise error

    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error):
            stopped(error)
        assert left(tmp_path) == []


@pytest.mark.parametrize("skew", [-1e9, 0.0, 1e9])
def test_another_machine_that_shows_life_is_never_replaced_whatever_its_clock(tmp_path, skew):
    out, over = tmp_path / "a.fits", threading.Event()
    lease = tmp_path / ".a.fits.lease"
    elsewhere(lease)

    def live():
        clock = time.time() + skew
        while not over.wait(0.02):
            clock += 0.001  # a slow one, too
            os.utime(lease, (clock, clock))

    thread = threading.Thread(target=live)
    thread.start()
    try:
        leases = Leases(beat=0.1, patience=0.6)
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            assert leases.take(out, wait=True) is None
    finally:
        over.set()
        thread.join()
    assert left(tmp_path) == [".a.fits.lease"]


@pytest.mark.parametrize("age", [0.0, 1e9, -1e9])
def test_another_machine_without_life_is_replaced_once_it_was_watched(tmp_path, age):
    out, lease = tmp_path / "a.fits", tmp_path / ".a.fits.lease"
    elsewhere(lease)
    os.utime(lease, (time.time() - age,) * 2)
    leases = Leases(beat=0.1, patience=0.4)
    began = time.monotonic()
    assert leases.take(out) is None  # an age by some clock means nothing
    with leases.take(out, wait=True):
        assert time.monotonic() - began >= 0.4
    assert left(tmp_path) == []


def test_numbers_of_processes_mean_nothing_in_another_container(tmp_path):
    elsewhere(tmp_path / ".a.fits.lease", host=Holder.me().host, space=1, pid=2**22 + 1)
    assert Leases(patience=1e9).take(tmp_path / "a.fits") is None


def test_who_was_asleep_learns_that_it_was_replaced(tmp_path):
    out = tmp_path / "a.fits"
    with Leases(beat=0.05).take(out) as sleeper:
        (tmp_path / ".a.fits.lease-1").write_text(Holder.me().model_dump_json())
        sleeper.check()
        sleeper._thread.join(30)  # it looks at every beat
        with pytest.raises(Busy, match="another process took it over"):
            sleeper.check()
    assert left(tmp_path) == [".a.fits.lease", ".a.fits.lease-1"]  # its follower's business


def test_of_two_that_find_a_lease_dead_one_takes_over(tmp_path):
    out = tmp_path / "a.fits"
    elsewhere(tmp_path / ".a.fits.lease")
    _, seen = module._youngest(out)
    first, second = Leases(), Leases()
    winner = first._make(out, 1, seen)
    assert winner is not None
    assert second._make(out, 1, seen) is None
    with winner:
        pass
    assert left(tmp_path) == []
    assert second._make(out, 1, seen) is None, "what it saw is gone"
    assert left(tmp_path) == []


def test_a_first_lease_gives_way_to_a_later_one(tmp_path):
    (tmp_path / ".a.fits.lease-2").write_text("")
    assert Leases()._make(tmp_path / "a.fits", 0) is None
    assert left(tmp_path) == [".a.fits.lease-2"]


def test_an_output_that_ends_every_process_is_given_up(tmp_path):
    out = tmp_path / "a.fits"
    gone = Holder.me().model_copy(update={"begun": 1.0})
    for number in range(ATTEMPTS):
        lease = Leases().take(out)
        assert lease is not None
        module._path(out, number).write_text(gone.model_dump_json())
    with pytest.raises(ImgturboError, match=r"a\.fits: 5 processes ended .* remove .*a\.fits\.le"):
        Leases().take(out)
    for path in tmp_path.iterdir():
        path.unlink()
    assert Leases().take(out) is not None


def test_a_folder_that_takes_no_lease_is_named(tmp_path):
    with pytest.raises(ImgturboError, match=r"gone: takes no lease .*; choose another folder"):
        Leases().take(tmp_path / "gone" / "a.fits")
