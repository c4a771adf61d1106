"""The report by the command line: how its files are named."""

from __future__ import annotations

import pytest

from imgturbo.errors import ImgturboError


@pytest.fixture
def asked(monkeypatch):
    """What is to be measured; nothing is."""
    seen = []

    def look_at(pred, truth, source, **more):
        seen.append((pred, truth, source))
        raise ImgturboError("enough")

    monkeypatch.setattr("imgturbo.scoring.trust.report.look_at", look_at)
    return seen


def test_the_truth_is_named_as_evaluate_has_it_or_by_its_option(run, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["a.fits", "b.fits"], ["--truth", "a.fits", "--truth", "b.fits"]):
        status, _, err = run("report", "made.fits", *words, "--source", "seen.fits")
        assert (status, err) == (2, "error: enough\n")
    run("report", "made.fits")
    first, second, alone = asked
    assert first == second
    assert [path.name for path in first[1]] == ["a.fits", "b.fits"]
    assert alone[1:] == (None, None)


def test_a_truth_that_is_named_twice_is_refused(run, asked):
    status, _, err = run("report", "made.fits", "a.fits", "--truth", "b.fits")
    assert status == 2
    assert "the truth is named twice" in err
    assert not asked
