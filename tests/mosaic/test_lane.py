"""Order is kept, memory is bounded, failures surface."""

from __future__ import annotations

import threading

import pytest

from imgturbo.mosaic.lane import Lane, ahead


def test_jobs_run_in_order_and_are_done_at_the_end():
    seen = []
    with Lane() as lane:
        for k in range(20):
            lane.submit(seen.append, k)
    assert seen == list(range(20))


def test_no_more_than_its_depth_is_pending():
    gate, waiting = threading.Event(), []
    with Lane(depth=2) as lane:
        lane.submit(gate.wait, 60)
        lane.submit(waiting.append, 1)
        threading.Timer(0.1, gate.set).start()
        lane.submit(waiting.append, 2)  # has to wait for the gate
        assert gate.is_set()
    assert waiting == [1, 2]


def test_a_failure_is_raised_and_stops_the_rest():
    done = []

    def work():
        with Lane() as lane:
            lane.submit(lambda: 1 // 0)
            for k in range(5):
                lane.submit(done.append, k)

    with pytest.raises(ZeroDivisionError):
        work()
    assert len(done) < 5


def test_reading_runs_ahead_by_one():
    read = []

    def load(k):
        read.append(k)
        return 10 * k

    pairs = []
    for k, value in ahead(load, range(5)):
        assert len(read) <= k + 2
        pairs.append((k, value))
    assert pairs == [(k, 10 * k) for k in range(5)]


def test_a_failed_read_is_raised_in_its_place():
    reader = ahead(lambda k: 1 // (2 - k), range(5))
    assert [next(reader)[0], next(reader)[0]] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(reader)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    for k, _ in ahead(lambda k: k, range(100)):
        if k == 3:
            break
    assert threading.active_count() <= before + 1
