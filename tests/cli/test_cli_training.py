"""Training by the command line."""

from __future__ import annotations


def test_training_continues_and_says_so(run, job):
    status, out, _ = run("train", job.config)
    assert status == 0
    assert "trained 3 steps" in out
    assert str(job.bundle) in out
