"""Processes that share a folder make the archive of one process, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from imgturbo import leases
from imgturbo.leases import Lease
from imgturbo.locks import Busy, Holder, locked
from imgturbo.mosaic import ManifestSummary, translate_manifest
from imgturbo.mosaic.archive.summary import Outcome

SETTINGS = {"window": 48}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def plain(bundle, make_archive, tmp_path, dated):
    """An archive, and what one process makes of it."""
    manifest = make_archive(["a", "b", "c", "d", "e"], broken=["lost"])
    summary = translate_manifest(bundle, manifest, tmp_path / "plain", **SETTINGS)
    assert (len(summary.done), list(summary.failed)) == (5, ["lost"])
    return manifest, contents(tmp_path / "plain")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_make_the_archive_of_one_process(bundle, plain, tmp_path, count):
    manifest, made = plain
    done = []
    for number in range(1, count + 1):
        summary = translate_manifest(
            bundle,
            manifest,
            tmp_path / "out",
            share=f"{number}/{count}",
            only_share=True,
            **SETTINGS,
        )
        done += summary.done
    assert sorted(done) == ["a", "b", "c", "d", "e"]
    assert contents(tmp_path / "out") == made


def test_who_is_done_goes_on_with_what_others_have_not_begun(bundle, plain, tmp_path):
    manifest, made = plain
    for share in ("2/2", "1/2"):
        summary = translate_manifest(bundle, manifest, tmp_path / "out", share=share, **SETTINGS)
        assert list(summary.failed) == ["lost"]
        assert contents(tmp_path / "out") == made
    assert (summary.done, summary.skipped) == ([], ["a", "b", "d"])


def test_where_all_is_done_again_each_does_its_own(bundle, plain, tmp_path):
    manifest, made = plain
    options = {"share": "2/2", "overwrite": True, **SETTINGS}
    for _ in range(2):
        summary = translate_manifest(bundle, manifest, tmp_path / "out", **options)
        assert summary.done == ["c", "e"]
    assert contents(tmp_path / "out") == {name: made[name] for name in ("c.fits", "e.fits")}


# ------------------------------------------------------------------- what was there before


def test_a_second_run_never_keeps_the_output_of_another_job(
    bundle, make_bundle, make_archive, tmp_path
):
    manifest, out = make_archive(["a", "b", "c", "d", "e"]), tmp_path / "out"
    translate_manifest(bundle, manifest, out, **SETTINGS)
    before = contents(out)
    other = make_bundle(identity=True)
    for bundle_, settings, reason in (
        (other, SETTINGS, f"another model ({bundle.hash}, forward)"),
        (bundle, {**SETTINGS, "match_sky": True}, "other options or input files"),
        (bundle, {**SETTINGS, "bands": ["F814W", "F606W"]}, "other options or input files"),
    ):
        summary = translate_manifest(bundle_, manifest, out, **settings)
        assert (summary.done, summary.skipped, len(summary.failed)) == ([], [], 5)
        first, _ = str(summary).splitlines()
        assert first.startswith("a, b, c and 2 more: failed: there is an output of ")
        assert reason in first
        assert "--overwrite" in first
        assert contents(out) == before
    assert translate_manifest(bundle, manifest, out, window=40, batch=1).skipped == list("abcde")
    again = translate_manifest(other, manifest, out, overwrite=True, **SETTINGS)
    assert again.done == list("abcde")
    assert contents(out) != before


def test_a_file_that_is_no_translation_is_kept_and_named(bundle, make_archive, tmp_path):
    manifest, out = make_archive(), tmp_path / "out"
    out.mkdir()
    (out / "b2.fits").write_text("my notes")
    summary = translate_manifest(bundle, manifest, out, **SETTINGS)
    assert summary.done == ["a1", "c3"]
    assert "no translation has its name" in summary.failed["b2"]
    assert (out / "b2.fits").read_text() == "my notes"


def test_a_row_that_names_other_files_is_no_finished_field(bundle, make_archive, tmp_path):
    manifest, out = make_archive(), tmp_path / "out"
    translate_manifest(bundle, manifest, out, **SETTINGS)
    text = manifest.read_text()
    manifest.write_text(text.replace("c3,c3_F606W.fits,c3_F814W.fits", "c3,b2_F606W.fits,x.fits"))
    summary = translate_manifest(bundle, manifest, out, **SETTINGS)
    assert summary.skipped == ["a1", "b2"]
    assert "other options or input files" in summary.failed["c3"]


def test_outputs_of_the_release_before_are_known_by_their_model(
    bundle, make_archive, tmp_path, monkeypatch
):
    manifest, out = make_archive(), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("imgturbo.mosaic.recipe.Recipe.card", ("NOTE", "x", "as of 0.1.0"))
        translate_manifest(bundle, manifest, out, **SETTINGS)
    assert len(translate_manifest(bundle, manifest, out, **SETTINGS).skipped) == 3


# ------------------------------------------------------------------- others at work, or dead


def test_a_field_in_other_hands_is_left_there(bundle, plain, tmp_path):
    manifest, made = plain
    out = tmp_path / "out"
    out.mkdir()
    with locked(out / "b.fits", ""):  # a process that makes it by itself
        summary = translate_manifest(bundle, manifest, out, **SETTINGS)
    assert list(summary.busy) == ["b"]
    assert str(summary).endswith("4 translated, 0 finished before, 1 failed, 1 in other hands")
    assert translate_manifest(bundle, manifest, out, **SETTINGS).done == ["b"]
    assert contents(out) == made


def test_what_a_dead_machine_left_is_taken_over(bundle, plain, tmp_path, monkeypatch):
    manifest, made = plain
    monkeypatch.setattr(leases, "PATIENCE", 0.3)
    out = tmp_path / "out"
    out.mkdir()
    dead = Holder.me().model_copy(update={"host": "another"})
    (out / ".b.fits.lease").write_text(dead.model_dump_json())
    (out / ".b.fits.part").write_bytes(b"half of it")
    summary = translate_manifest(bundle, manifest, out, share="2/2", **SETTINGS)
    assert sorted(summary.done) == ["a", "b", "c", "d", "e"]
    assert contents(out) == made


def test_who_was_replaced_stops_and_what_it_did_counts(bundle, plain, tmp_path, monkeypatch):
    manifest, made = plain
    checks = []

    def check(lease):
        checks.append(lease)
        if len(checks) == 3:
            raise Busy("another process took it over")

    monkeypatch.setattr(Lease, "check", check)
    summary = translate_manifest(bundle, manifest, tmp_path / "out", **SETTINGS)
    assert sorted(summary.done) == ["a", "b", "c", "d", "e"], "it is tried again at the end"
    assert contents(tmp_path / "out") == made


@pytest.mark.slow
def test_a_process_killed_in_a_field_loses_nothing(bundle, make_archive, tmp_path, dated):
    manifest = make_archive(["a", "b", "c"], size=(131, 97))
    options = {"window": 32}
    translate_manifest(bundle, manifest, tmp_path / "plain", **options)
    out = tmp_path / "out"
    program = "import sys; from imgturbo.cli.main import main; main(sys.argv[1:])"
    words = ["translate", "--bundle", bundle.path, "--manifest", manifest, "--out-dir", out]
    command = [sys.executable, "-c", program, *words, "--window", 32, "--share", "1/2"]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        deadline = time.monotonic() + 120
        while not (out / ".a.fits.part").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    assert (out / ".a.fits.lease").exists()
    assert (out / ".a.fits.part").exists(), "it was killed in the field"
    summary = translate_manifest(bundle, manifest, out, share="2/2", **options)
    assert sorted(summary.done) == ["a", "b", "c"]
    assert contents(out) == contents(tmp_path / "plain")


# ------------------------------------------------------------------- the summary


def test_a_team_says_once_what_came_of_a_field():
    made, met = ManifestSummary(), ManifestSummary()
    for outcome in (Outcome("a", "done"), Outcome("bad", "failed", "why")):
        made.add(outcome)
    for outcome in (Outcome("a", "skipped"), Outcome("b", "skipped"), Outcome("a", "busy", "x")):
        met.add(outcome)
    total = ManifestSummary.joined([met, made])
    assert (total.done, total.skipped, total.busy) == (["a"], ["b"], {})
    assert str(total).splitlines() == [
        "bad: failed: why",
        "1 translated, 1 finished before, 1 failed",
    ]
