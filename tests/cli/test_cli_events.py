"""Commands of collision events, as far as their words and their mistakes go."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.parametrize("command", ["simulate-events", "evaluate-events", "demo-events"])
def test_each_says_what_it_does(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert "--out" in out


def test_what_is_missing_is_said_with_how_to_install_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    status, out, err = run("simulate-events", "--out", tmp_path / "events.h5", "--events", 3)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "pip install 'imgturbo[hep]'" in err


def test_a_bundle_of_images_is_refused(run, tmp_path, job):
    status, _, err = run("evaluate-events", tmp_path / "none.h5", "--bundle", job.bundle)
    assert status == 2
    assert "not events of 24" in err


def test_no_events_are_no_file(run, tmp_path):
    status, _, err = run("simulate-events", "--out", tmp_path / "a.h5", "--events", 0)
    assert status == 2
    assert "events" in err
