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


def test_steps_say_their_numbers_and_other_processes_nothing(capsys):
    for shown in (True, False):
        with progress.WorkProgress("training", 20, shown=shown) as report:
            report.advance(9)
            report.values(10, {"generators": 0.12345, "samples/s": 3.0})
            report.scores(10, {"forward/psnr": 31.0})
            report.scores(20, {})
    assert capsys.readouterr().err.splitlines() == [
        "step 10/20  generators 0.1235  samples/s 3",
        "validation at step 10: forward/psnr 31",
        "validation at step 20: no pairs to score",
    ]


@pytest.mark.parametrize(("steps", "done"), [(None, "25%"), (200, "50/200")])
def test_a_terminal_has_one_bar_for_fractions_and_steps(capsys, monkeypatch, steps, done):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.WorkProgress("preparing", steps) as report:
        report("field [a]", 0.25)  # names are no markup
        report.line("a line that stays")
    shown = capsys.readouterr().err
    assert "preparing" in shown
    assert done in shown
    assert "field [a]" in shown
    assert "a line that stays" in shown


def test_another_process_says_no_fractions(capsys, clock):
    with progress.WorkProgress("preparing", shown=False) as report:
        clock.now += 60
        report("tile 1", 0.5)
    assert capsys.readouterr().err == ""
