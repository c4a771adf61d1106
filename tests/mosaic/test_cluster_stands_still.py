"""Workers that never come, end, or stand still are said in a line, with what helps."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import pytest

from imgturbo.errors import ImgturboError
from imgturbo.mosaic.archive import tasks
from imgturbo.mosaic.archive.futures import _HOPELESS, _Driver
from imgturbo.mosaic.archive.summary import Outcome
from imgturbo.mosaic.archive.tasks import _LOST, Task, _Watch, handed_out
from imgturbo.mosaic.manifest import Field

pytest.importorskip("distributed")


class Client:
    """Whose workers are as a test wants them."""

    def __init__(self, *looks):
        self.looks, self.states = list(looks), {}
        self.scheduler = SimpleNamespace(address="tcp://nowhere")

    def nthreads(self):
        now = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return dict.fromkeys(now, 1)

    def scheduler_info(self, **_):
        return {"workers": self.states}


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(tasks, "_LOOK", 0.0)
    monkeypatch.setattr(tasks, "_SAY", 0.0)


def said(client, looks):
    lines = []
    watch = _Watch(client, lines.append)
    for _ in range(looks):
        watch.look()
    return lines


def test_a_cluster_without_workers_is_said():
    (line,) = said(Client([]), 1)
    assert line == "the cluster has no workers yet; the work begins when one comes"


def test_workers_that_end_before_anything_is_done_are_said():
    looks = [[f"w{k}"] for k in range(_LOST + 1)]
    lines = said(Client(*looks), len(looks))
    assert len(lines) == 1
    assert lines[0].startswith(f"{_LOST} workers have ended and nothing was done")
    assert "--memory-limit 0" in lines[0]


def test_workers_that_end_after_their_work_are_no_matter():
    lines = []
    looks = [[f"w{k}"] for k in range(4 * _LOST)]
    watch = _Watch(Client(*looks), lines.append)
    for _ in looks:
        watch.look()
        watch.moved()
    assert lines == []


def test_workers_that_are_paused_are_said_unless_one_moves():
    client = Client(["a", "b"])
    paused = {"status": "paused", "memory_limit": 1_000_000_000}
    client.states = {"a": paused, "b": {**paused, "status": "running"}}
    assert said(client, 1) == []
    client.states["b"] = paused
    (line,) = said(client, 1)
    assert line.startswith("all 2 workers stand still at their limit of memory (1.0 GB); give")


def test_what_stands_still_is_said_though_all_tasks_are_handed_out(monkeypatch):
    """Of a few fields all are on the way at once."""
    client, lines = Client([]), []
    future = SimpleNamespace(key="k", status="finished", result=lambda: "done")
    future.add_done_callback = lambda _: None
    client.submit, client.cancel = lambda *_, **__: future, lambda _: None

    class Ended(queue.SimpleQueue):
        def get(self, timeout):
            if not lines:
                raise queue.Empty
            return future

    monkeypatch.setattr(tasks, "queue", SimpleNamespace(SimpleQueue=Ended, Empty=queue.Empty))
    work = [Task("k", print, (), "x")]
    assert [result for _, result in handed_out(client, work, lines.append)] == ["done"]
    assert lines[0].startswith("the cluster has no workers yet")


def test_fields_at_each_of_which_the_workers_end_are_not_gone_through_by_thousands():
    from distributed import KilledWorker

    driver = _Driver(None, None, 9, None, None)
    dead = KilledWorker("t", None, None)
    fields = [Field(f"f{k}", (), None) for k in range(9)]
    for entry in fields[: _HOPELESS - 1]:
        driver.take(entry, dead)
    assert "--memory-limit 0" in driver.found.failed["f0"]
    driver.take(fields[_HOPELESS], Outcome("x", "done"))
    for entry in fields[: _HOPELESS - 1]:
        driver.take(entry, dead)
    with pytest.raises(ImgturboError, match=r"f8: every worker that took it ended.*continues"):
        driver.take(fields[8], dead)
