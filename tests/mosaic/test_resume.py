"""Law 6: an output appears whole or not at all, and an interrupted one continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from small_skies import noise_sky, rotated_wcs

from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_file
from imgturbo.mosaic.journal import Journal, _Record
from imgturbo.sky import SkyWriter, read_sky

H, W = 151, 127
WAYS = pytest.mark.parametrize("settings", [{"window": 40}, {"window": 40, "overlap": 8}])


@pytest.fixture
def sky(make_fits):
    wcs = rotated_wcs(H, W)
    return [
        make_fits(f"{band}.fits", plane, band, wcs=wcs)
        for band, plane in zip(("F606W", "F814W"), noise_sky(2, H, W), strict=True)
    ]


def assert_same(one: Path, other: Path) -> None:
    """Equal to the last bit."""
    a, b = read_sky(one).data, read_sky(other).data
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.fixture
def commit_always(monkeypatch):
    plain = Journal.__init__

    def eager(self, out, fingerprint, part, rank=0, interval=0.0):
        plain(self, out, fingerprint, part, rank, interval)

    monkeypatch.setattr(Journal, "__init__", eager)


def fail_after(monkeypatch, writes: int, error: Exception) -> list[tuple[int, int]]:
    """Make the writer fail after so many windows; returns where windows were put."""
    put: list[tuple[int, int]] = []
    plain = SkyWriter.write

    def write(self, data, rows, cols, extension="SCI"):
        if len(put) == writes:
            raise error
        put.append((rows.start, cols.start))
        plain(self, data, rows, cols, extension)

    monkeypatch.setattr(SkyWriter, "write", write)
    return put


@WAYS
def test_a_failed_run_leaves_nothing_and_continues(
    bundle, sky, tmp_path, monkeypatch, commit_always, settings
):
    straight = translate_file(bundle, sky, tmp_path / "straight.fits", **settings)
    out = tmp_path / "out.fits"
    with monkeypatch.context() as patch:
        before = fail_after(patch, 9, ImgturboError("the disk is full"))
        with pytest.raises(ImgturboError, match="disk is full"):
            translate_file(bundle, sky, out, **settings)
    assert not out.exists()
    assert hidden(tmp_path) == [".out.fits.part", ".out.fits.part.json"]
    with monkeypatch.context() as patch:
        after = fail_after(patch, -1, AssertionError())
        translate_file(bundle, sky, out, **settings)
    assert hidden(tmp_path) == []
    assert after, "the second run had nothing to do"
    if "overlap" not in settings:
        assert not set(before) & set(after), "finished windows were done again"
    assert_same(straight, out)


def test_a_real_full_disk_is_named_and_survived(bundle, sky, tmp_path, monkeypatch, commit_always):
    """ENOSPC from the system itself, in the middle of the sweep."""
    out = tmp_path / "out.fits"
    plain, calls = os.pwrite, []

    def full(handle, content, place):
        calls.append(place)
        if len(calls) > 400:
            raise OSError(28, "No space left on device")
        return plain(handle, content, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(ImgturboError, match=r"disk is full\); free some space"):
            translate_file(bundle, sky, out, window=40)
    assert not out.exists()
    translate_file(bundle, sky, out, window=40)
    straight = translate_file(bundle, sky, tmp_path / "straight.fits", window=40)
    assert_same(out, straight)


def interrupt(bundle, sky, out, monkeypatch, **settings):
    with monkeypatch.context() as patch:
        fail_after(patch, 9, ImgturboError("interrupted"))
        with pytest.raises(ImgturboError, match="interrupted"):
            translate_file(bundle, sky, out, **settings)


@pytest.mark.parametrize("change", ["input", "window", "resume"])
def test_another_job_begins_anew(bundle, sky, tmp_path, monkeypatch, commit_always, change):
    out = tmp_path / "out.fits"
    interrupt(bundle, sky, out, monkeypatch, window=40)
    settings = {"window": 40}
    if change == "input":
        content = bytearray(sky[0].read_bytes())
        content[-4000] ^= 1
        sky[0].write_bytes(content)
    elif change == "window":
        settings["window"] = 48
    else:
        settings["resume"] = False
    put = fail_after(monkeypatch, -1, AssertionError())
    translate_file(bundle, sky, out, **settings)
    fresh = translate_file(bundle, sky, tmp_path / "fresh.fits", **settings)
    assert_same(out, fresh)
    assert len(put) % 2 == 0
    assert put[: len(put) // 2] == put[len(put) // 2 :]


def test_a_journal_without_its_file_is_worth_nothing(
    bundle, sky, tmp_path, monkeypatch, commit_always
):
    out = tmp_path / "out.fits"
    interrupt(bundle, sky, out, monkeypatch, window=40)
    (tmp_path / ".out.fits.part").unlink()
    (tmp_path / ".out.fits.part-1.json").write_text("{}")  # of a second process
    translate_file(bundle, sky, out, window=40)
    fresh = translate_file(bundle, sky, tmp_path / "fresh.fits", window=40)
    assert_same(out, fresh)
    assert hidden(tmp_path) == []


def test_what_fills_the_blocks_of_a_resumed_file_is_zero(
    bundle, sky, tmp_path, monkeypatch, commit_always
):
    """No unit has these bytes, so no journal tells that they were damaged."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    out, part = tmp_path / "out.fits", tmp_path / ".out.fits.part"
    interrupt(bundle, sky, out, monkeypatch, window=40)
    content = bytearray(part.read_bytes())
    with fits.open(part) as hdus:
        for hdu in hdus[1:]:
            place = hdu.fileinfo()
            content[place["datLoc"] + place["datSpan"] - 1] = 0x80
    part.write_bytes(content)
    translate_file(bundle, sky, out, window=40)
    again = out.rename(tmp_path / "again.fits")
    translate_file(bundle, sky, out, window=40)
    assert again.read_bytes() == out.read_bytes()


def test_a_torn_journal_only_costs_time(bundle, sky, tmp_path, monkeypatch, commit_always):
    out = tmp_path / "out.fits"
    interrupt(bundle, sky, out, monkeypatch, window=40)
    (tmp_path / ".out.fits.part.json").write_text('{"fingerprint": "')
    translate_file(bundle, sky, out, window=40)
    fresh = translate_file(bundle, sky, tmp_path / "fresh.fits", window=40)
    assert_same(out, fresh)


@pytest.mark.parametrize("damage", ["unit", "pixels", "beyond"])
def test_a_unit_whose_pixels_are_not_there_is_done_again(
    bundle, sky, tmp_path, monkeypatch, commit_always, damage
):
    out, journal = tmp_path / "out.fits", tmp_path / ".out.fits.part.json"
    interrupt(bundle, sky, out, monkeypatch, window=40)
    record = json.loads(journal.read_text())
    assert record["done"]
    if damage == "pixels":
        part = bytearray((tmp_path / ".out.fits.part").read_bytes())
        place = part.index(b"EXTNAME = 'SCI") // 2880 * 2880
        for start in range(place, len(part), 2880):
            part[start + 1000 : start + 1004] = b"\x00\x00\x00\x00"
        (tmp_path / ".out.fits.part").write_bytes(part)
    else:  # by someone who knows how it is sealed
        record["done"].append([{"unit": 15, "beyond": 10**6}[damage], 0])
        sealed = _Record.model_validate_json(json.dumps(record))
        record["seal"] = sealed.sealed()
    journal.write_text(json.dumps(record))
    translate_file(bundle, sky, out, window=40)
    fresh = translate_file(bundle, sky, tmp_path / "fresh.fits", window=40)
    assert_same(out, fresh)


def test_the_journal_names_only_what_is_on_disk(bundle, sky, tmp_path, monkeypatch, commit_always):
    """The part file is synchronised before the journal that speaks of it takes its place."""
    from imgturbo.mosaic import journal as journal_module

    events = []
    plain_sync, plain_write = journal_module.sync, journal_module.write_whole

    def sync(path):
        events.append("sync")
        plain_sync(path)

    def write(path, content):
        events.append("journal")
        plain_write(path, content)

    monkeypatch.setattr(journal_module, "sync", sync)
    monkeypatch.setattr(journal_module, "write_whole", write)
    translate_file(bundle, sky, tmp_path / "out.fits", window=40)
    assert len(events) > 6
    assert events[::2] == ["sync"] * (len(events) // 2)
    assert events[1::2] == ["journal"] * (len(events) // 2)


def test_progress_rises_to_one(bundle, sky, tmp_path):
    seen = []
    translate_file(
        bundle, sky, tmp_path / "out.fits", window=40, progress=lambda _, f: seen.append(f)
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 4


CHILD = textwrap.dedent(
    """
    import sys, time
    from imgturbo.bundle import load_bundle
    from imgturbo.mosaic import translate_file
    from imgturbo.mosaic.journal import Journal
    from imgturbo.sky import SkyWriter

    plain_init, plain_write = Journal.__init__, SkyWriter.write
    Journal.__init__ = lambda self, out, fp, part, rank=0, interval=0.0: plain_init(
        self, out, fp, part, rank, 0.0
    )

    def slow(self, *arguments):
        time.sleep(0.05)
        plain_write(self, *arguments)

    SkyWriter.write = slow
    translate_file(load_bundle(sys.argv[1]), sys.argv[3:], sys.argv[2], window=40)
    """
)


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_and_is_continued(bundle, sky, tmp_path, monkeypatch):
    out = tmp_path / "out.fits"
    journal = tmp_path / ".out.fits.part.json"
    command = [sys.executable, "-c", CHILD, str(bundle.path), str(out), *map(str, sky)]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if journal.exists() and len(json.loads(journal.read_text())["done"]) >= 5:
            break
        assert child.poll() is None, "the child ended before it could be killed"
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not out.exists()
    finished = {unit for unit, _ in json.loads(journal.read_text())["done"]}
    assert len(finished) >= 5

    put = fail_after(monkeypatch, -1, AssertionError())
    translate_file(bundle, sky, out, window=40)
    continued = len(put)
    straight = translate_file(bundle, sky, tmp_path / "straight.fits", window=40)
    assert continued == len(put) - continued - len(finished)
    assert_same(out, straight)
    assert hidden(tmp_path) == []
