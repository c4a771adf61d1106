"""Data by the command line: what the job leaves, and what inspecting says of it."""

from __future__ import annotations

import json

import pytest


def test_the_job_leaves_what_it_says(job):
    assert all(path.exists() for path in (*job.source, *job.target, job.tiles, job.prediction))
    assert (job.folder / "sky" / "truth.ecsv").exists()
    assert (job.bundle / "README.md").exists()


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("prediction", ["F150W, F277W, F444W", "MJy/sr", "0.0400 arcsec", "valid"]),
        ("tiles", ["32 pixels", "F606W, F814W in electron/s", "registration residual"]),
        ("bundle", ["UNet", "receptive field", "2 → 3 bands", "forward/psnr"]),
        ("run", ["step", "3", "MiB"]),
    ],
)
def test_inspect_says_what_a_thing_is(run, job, thing, words):
    status, out, err = run("inspect", getattr(job, thing))
    assert (status, err) == (0, "")
    assert all(word in out for word in words), out
    status, text, _ = run("inspect", getattr(job, thing), "--json")
    assert {"what", "warnings"} <= set(json.loads(text))
    assert len(out.splitlines()) < 25  # a screenful
