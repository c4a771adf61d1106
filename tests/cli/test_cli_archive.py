"""Words about shares and schedulers that do not go together are one line, before any work."""

from __future__ import annotations

import pytest

from imgturbo.cli.translate import _share
from imgturbo.mosaic.archive import Share


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.fits", "--out", "b.fits", "--share", "1/2"), "--share divides the fields of a --man"),
        (("a.fits", "--out", "b.fits", "--only-share"), "--share divides the fields of a --man"),
        (("a.fits", "--out", "b.fits", "--jobs", "2"), "--jobs and --slurm go with --scheduler"),
        (("a.fits", "--out", "b.fits", "--slurm", "cores=2"), "go with --scheduler"),
        (("--manifest", "m.csv", "--out-dir", "o", "--jobs", "0", "--scheduler", "local"), "jobs"),
    ],
)
def test_words_that_do_not_go_together_are_one_line(run, words, message):
    status, out, err = run("translate", "--bundle", "nowhere", *words)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert message in line


def test_a_slurm_array_gives_the_share_where_that_is_safe(monkeypatch):
    for name, value in (("ID", "3"), ("MIN", "1"), ("COUNT", "4")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert _share(None, overwrite=False, scheduler=None) == Share(3, 4)
    # Each task of an array may have a manifest of its own: where all is done again, a task would
    # do a share of that alone.
    assert _share(None, overwrite=True, scheduler=None) is None
    assert _share(None, overwrite=False, scheduler="local") is None
    assert _share("auto", overwrite=True, scheduler=None) == "auto"
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")  # --array=1,3: no place can be told
    assert _share(None, overwrite=False, scheduler=None) is None
