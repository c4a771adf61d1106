"""Progress without a terminal: silent while it is short, then a line now and then."""

from __future__ import annotations

import pytest

from imgturbo.report import progress


@pytest.fixture
def clock(monkeypatch):
    """``clock.now = seconds``."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_what_ends_at_once_says_nothing(capsys):
    with progress.task("preparing") as report:
        report("reading headers", 0.0)
        report("tiles", 1.0)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_long_work_says_a_line_now_and_then(capsys, clock):
    with progress.task("preparing") as report:
        for second in range(31):
            clock.now = 100.0 + second
            report(f"tile {second}", second / 100)
    assert capsys.readouterr().err.splitlines() == [
        "preparing: tile 2 (2%)",
        "preparing: tile 12 (12%)",
        "preparing: tile 22 (22%)",
    ]
