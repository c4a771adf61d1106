"""Signals are one line and the shells' status; who works for another process ends with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from imgturbo.cli.main import main
from imgturbo.stopping import _FIRST, Stopped, going_on, signals_stop

GO_ON = "the same command goes on with the fields that are not finished"
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def stop_me(number):
    os.kill(os.getpid(), number)
    time.sleep(10)


@SIGNALS
def test_a_signal_is_an_end_that_says_how_to_go_on(number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with (
        pytest.raises(Stopped) as caught,
        signals_stop(),
        going_on("the same command continues"),
    ):
        stop_me(number)
    assert str(caught.value) == f"stopped by {number.name}; the same command continues"
    assert caught.value.status == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


@SIGNALS
def test_a_command_that_is_stopped_says_so_in_a_line(monkeypatch, capsys, number):
    monkeypatch.setattr("data_prep.prepare.prepare", lambda *_, **__: stop_me(number))
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "--source", "a.fits"])
    assert ended.value.code == 128 + number
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"stopped by {number.name}; {GO_ON}\n")


def test_a_signal_that_is_ignored_stays_so():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_stop():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


POOL = """
import time
from imgturbo.stopping import signals_stop, workers
if __name__ == "__main__":
    with signals_stop(), workers(2) as pool:
        jobs = [pool.submit(time.sleep, 300) for _ in range(2)]
        print("at work", flush=True)
        jobs[0].result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_process_they_work_for(tmp_path, number):
    (tmp_path / "pool.py").write_text(POOL)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "pool.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"at work\n"
        own = psutil.Process(parent.pid)
        deadline = time.monotonic() + 60
        while len(own.children()) < 3 and time.monotonic() < deadline:  # the tracker of resources
            time.sleep(0.05)
        children = own.children(recursive=True)
        parent.send_signal(number)
        parent.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


STARTING = """
import time
from imgturbo.stopping import workers
if __name__ == "__main__":
    with workers(2) as pool:
        jobs = [pool.submit(time.sleep, 300) for _ in range(2)]
        jobs[0].result()
else:  # what a worker loads before it is told anything: on a busy machine it takes long
    print("starting", flush=True)
    time.sleep(300)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they look once they have started")
def test_workers_that_are_still_starting_end_with_the_process_they_work_for(tmp_path):
    (tmp_path / "pool.py").write_text(STARTING)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "pool.py")], stdout=subprocess.PIPE
    ) as parent:
        for _ in range(2):
            assert parent.stdout.readline() == b"starting\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        for child in alive:
            child.kill()
    assert alive == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they look once they have started")
@pytest.mark.parametrize("alive", [True, False])
def test_a_worker_whose_parent_was_killed_before_its_first_line_ends(alive):
    program = _FIRST.format(parent=os.getpid() if alive else 0) + "print('on')"
    worker = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (worker.returncode, worker.stdout) == ((0, b"on\n") if alive else (1, b""))


RANK = """
import os, sys, time
from imgturbo.stopping import end_with_launcher
end_with_launcher()
print("at work", flush=True)
"""


@pytest.mark.parametrize("alive", [True, False])
def test_a_rank_whose_launcher_was_killed_before_it_began_ends(alive):
    """By then it is somebody else's child; but nobody listens where the job should meet."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        if alive:
            place.listen()
        met = {
            "TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_USE_AGENT_STORE": "True",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(place.getsockname()[1]),
        }  # fmt: skip
        rank = subprocess.run(
            [sys.executable, "-c", RANK], env=os.environ | met, capture_output=True, timeout=60
        )
    assert (rank.returncode, rank.stdout) == ((0, b"at work\n") if alive else (1, b""))
