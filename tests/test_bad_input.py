"""Law 7: every mistake is one line that names the file, the problem and a remedy; nothing is
overwritten, nothing is left behind."""

from __future__ import annotations

import errno
import os
import re
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.cli.main import main

REMEDY = re.compile(r"; |\?|: name ")  # what is wrong, then what to do


def contents(folder):
    """Every file below a folder, by name: its bytes."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def fails(capsys, tmp_path):
    """``fails(words…, told=[…])``: the command must end with one line that has all of ``told``."""

    def fails(*words, told, keeps=True):
        before = contents(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert ended.value.code == 2
        assert out == ""
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        for word in told:
            assert str(word) in err, err
        assert REMEDY.search(err), f"no remedy: {err}"
        if keeps:
            assert contents(tmp_path) == before
        return err

    return fails


def sky_wcs(ra=110.83, dec=-73.45, scale=0.04):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = 20, 20
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


@pytest.fixture
def write(tmp_path):
    """``write(name, data, band=…, wcs=…)`` → path of a FITS file with one image."""

    def write(name, data=None, band="F606W", wcs=None, unit="electron/s"):
        if data is None:
            data = np.random.default_rng(1).normal(size=(40, 48))
        header = fits.Header() if wcs is None else wcs.to_header()
        header["FILTER"], header["BUNIT"] = band, unit
        image = fits.ImageHDU(np.asarray(data, np.float32), header, name="SCI")
        path = tmp_path / name
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
        return path

    return write


@pytest.fixture
def bad_files(tmp_path, write):
    """Files that cannot be an image of the sky, by what is wrong with them."""
    whole = write("whole.fits")
    text, cut, table = (tmp_path / f"{name}.fits" for name in ("text", "cut", "table"))
    text.write_text("not an image\n" * 400)
    cut.write_bytes(whole.read_bytes()[:-4000])
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])]).writeto(table)
    return {
        "missing": (tmp_path / "missing.fits", "no such file"),
        "text": (text, "not a FITS file"),
        "cut": (cut, "truncated"),
        "table": (table, "no image"),
        "nan": (write("nan.fits", np.full((40, 48), np.nan)), "no measured pixel"),
        "folder": (tmp_path, "folder"),
    }


KINDS = ("missing", "text", "cut", "table", "nan", "folder")


# ------------------------------------------------------------------------------- bad images


@pytest.mark.parametrize("kind", KINDS)
def test_translate_names_a_bad_file(fails, job, bad_files, kind, tmp_path):
    path, problem = bad_files[kind]
    out = tmp_path / "out.fits"
    fails("translate", "--bundle", job.bundle, path, "--out", out, told=[path, problem])


@pytest.mark.parametrize("kind", KINDS)
def test_prepare_names_a_bad_file(fails, job, bad_files, kind, tmp_path):
    path, problem = bad_files[kind]
    sides = ["--source", path, "--target", job.target[0], "--out", tmp_path / "t.zarr"]
    fails("prepare", *sides, told=[path, problem])


@pytest.mark.parametrize("kind", KINDS)
def test_evaluate_names_a_bad_file(fails, job, bad_files, kind, tmp_path):
    path, problem = bad_files[kind]
    words = [job.prediction, job.aligned_target, "--source", path, "--json", tmp_path / "s.json"]
    fails("evaluate", *words, told=[path, problem])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("folder", "table")])
def test_inspect_names_a_bad_file(fails, bad_files, kind):
    path, problem = bad_files[kind]
    fails("inspect", path, told=[path, problem])


def test_a_folder_without_meaning_is_named(fails, tmp_path):
    fails("inspect", tmp_path, told=[tmp_path, "neither"])


# ------------------------------------------------------------------- images that do not agree


def test_a_pair_without_common_sky(fails, write, job, tmp_path):
    far = write("far.fits", wcs=sky_wcs(ra=20.0))
    words = ["--source", far, "--target", job.target[0], "--out", tmp_path / "t.zarr"]
    fails("prepare", *words, told=[far, job.target[0], "field"])
    fails("evaluate", job.prediction, far, told=[job.prediction.name])
    fails(
        "translate", "--bundle", job.bundle, *job.source, "--grid", far, "--out",
        tmp_path / "o.fits", told=[far.name],
    )  # fmt: skip


def test_other_numbers_of_bands(fails, write, job, tmp_path):
    one = write("one.fits", wcs=sky_wcs(), band="F150W", unit="MJy/sr")
    fails("evaluate", job.prediction, one, told=[one, "F150W", "F277W", "bands"])
    config = tmp_path / "two.yaml"
    fields = [{"name": "a", "source": [str(job.source[0])]}]
    fields += [{"name": "b", "source": [str(path) for path in job.source]}]
    config.write_text(f"prepare: {{fields: {fields}, out: {tmp_path / 't.zarr'}}}")
    fails("prepare", config, told=["F606W", "F814W", "every field"])


def test_a_bundle_of_other_bands(fails, job, tmp_path):
    out = tmp_path / "o.fits"
    told = ["F606W, F814W", "F150W", "--bands"]
    fails("translate", "--bundle", job.bundle, job.target[0], "--out", out, told=told)
    fails("translate", "--bundle", job.bundle, job.source[0], "--out", out, told=["F606W, F814W"])


def test_no_wcs_where_one_is_needed(fails, write, job, tmp_path):
    plain = write("plain.fits")
    fails("evaluate", job.source[0], plain, told=[plain, "WCS"])
    words = ["--source", plain, "--target", plain, "--out", tmp_path / "t.zarr"]
    fails("prepare", "prepare.pixel_scale=0.05", *words, told=[plain, "WCS", "leave it out"])
    out = tmp_path / "o.fits"
    words = [*job.source, "--grid", plain, "--out", out]
    fails("translate", "--bundle", job.bundle, *words, told=[plain, "WCS"])


def test_units_that_cannot_be_compared(fails, write, job):
    counts = write("counts.fits", wcs=sky_wcs(), band="F150W", unit="DN")
    flux = write("flux.fits", wcs=sky_wcs(), band="F150W", unit="MJy/sr")
    fails("evaluate", flux, counts, told=[flux, counts, "MJy/sr", "zero point"])


# --------------------------------------------------------------------------------- bundles


def test_not_a_bundle(fails, job, tmp_path):
    words = [*job.source, "--out", tmp_path / "o.fits"]
    fails("translate", "--bundle", tmp_path / "none", *words, told=["none", "no such bundle"])
    fails("translate", "--bundle", job.run, *words, told=[job.run, "did you mean", job.bundle])
    fails("translate", "--bundle", job.config, *words, told=[job.config, "bundle"])


def test_a_corrupt_bundle(fails, job, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(job.bundle, bundle)
    weights = bundle / "decoder.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-5] ^= 1
    weights.write_bytes(damaged)
    words = [*job.source, "--out", tmp_path / "o.fits"]
    fails("translate", "--bundle", bundle, *words, told=[bundle, "decoder", "corrupt"])
    fails("inspect", bundle, told=[bundle, "corrupt"])


# ----------------------------------------------------------------------------------- outputs


def test_an_output_that_exists_is_kept(fails, job, tmp_path):
    out = tmp_path / "o.fits"
    out.write_text("precious")
    words = ["translate", "--bundle", job.bundle, *job.source, "--out", out]
    fails(*words, told=[out, "exists", "--overwrite"])


def test_outputs_that_cannot_be(fails, job, tmp_path):
    """A folder that is missing, a file where a folder is wanted, a folder where a file is."""
    blocked = tmp_path / "file"
    blocked.write_text("precious")
    translate = ["translate", "--bundle", job.bundle, *job.source, "--out"]
    fails(*translate, tmp_path / "no" / "o.fits", told=[tmp_path / "no", "no such folder"])
    fails(*translate, tmp_path, told=[tmp_path, "folder"])
    fails(*translate, blocked / "o.fits", told=[blocked])
    scores = ["evaluate", job.prediction, job.aligned_target, "--json"]
    fails(*scores, blocked / "s.json", told=[blocked / "s.json", "cannot be written"])
    fails(*scores, tmp_path, told=[tmp_path, "is a folder"])
    fails("simulate", "--size", 64, "--out", blocked, told=[blocked])
    fails("demo", "--quick", "--out", blocked, told=[blocked])
    fails("train", job.config, f"train.out={blocked}", told=[blocked])
    sides = ["--source", job.source[0], "--target", job.target[0]]
    fails("prepare", *sides, "--out", blocked, told=[blocked])
    fails("prepare", *sides, "--out", blocked / "t.zarr", told=[blocked])


def test_prepare_overwrites_nothing_that_is_not_tiles(fails, job, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("precious")
    sides = ["--source", job.source[0], "--target", job.target[0]]
    fails("prepare", *sides, "--out", tmp_path / "photos", told=["photos", "not overwritten"])


@pytest.fixture
def full_disk(monkeypatch):
    """No file takes another byte."""

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill():
        monkeypatch.setattr(os, "pwrite", refuse)
        monkeypatch.setattr(os, "fsync", refuse)
        monkeypatch.setattr("pathlib.Path.write_text", refuse)
        monkeypatch.setattr("pathlib.Path.write_bytes", refuse)

    return fill


def test_a_disk_that_is_full(fails, job, tmp_path, full_disk):
    full_disk()
    out = tmp_path / "o.fits"
    words = ["translate", "--bundle", job.bundle, *job.source, "--out"]
    fails(*words, out, told=[out, "disk is full"])
    scores = tmp_path / "s.json"
    words = ["evaluate", job.prediction, job.aligned_target, "--json", scores]
    fails(*words, told=[scores, "No space left"])
    run = tmp_path / "run"
    fails("train", job.config, f"train.out={run}", told=[run, "No space left"], keeps=False)
    assert not list(run.glob("checkpoints/step-*"))
    assert not (run / "bundle").exists()


def test_a_disk_that_fills_up_halfway(fails, job, tmp_path, monkeypatch):
    """What is done stays aside for the next run; nothing bears the output's name."""
    put, calls = os.pwrite, []

    def fill(*words):
        calls.append(words)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return put(*words)

    monkeypatch.setattr(os, "pwrite", fill)
    out = tmp_path / "o.fits"
    words = ["translate", "--bundle", job.bundle, *job.source, "--out", out]
    fails(*words, "--window", 64, told=[out, "disk is full"], keeps=False)
    assert not out.exists()
    monkeypatch.undo()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in (*words, "--window", 64)])
    assert ended.value.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["o.fits"]


# ----------------------------------------------------------------------- configs, checkpoints


def test_unknown_keys_get_the_nearest_name(fails, job, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("train: {stepz: 3}\n")
    fails("train", config, told=[config, "train.stepz", "'steps'"])
    fails("train", job.config, "model.decoder.widht=3", told=[job.config, "widht", "'width'"])
    words = ["--source", job.source[0], "--target", job.target[0]]
    fails("prepare", "prepare.tile.sice=9", *words, told=["prepare.tile.sice", "'size'"])


def test_configs_that_cannot_be_read(fails, tmp_path):
    config = tmp_path / "c.yaml"
    fails("train", config, told=[config, "no such config", "configs/"])
    config.write_text("name: a\ntrain: [")
    fails("train", config, told=[config, "YAML", "line 2"])
    fails("prepare", tmp_path, told=[tmp_path])


def test_a_checkpoint_of_another_config(fails, job, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(job.run, run)
    words = ["train", job.config, f"train.out={run}", "train.steps=4"]
    fails(*words, "model.decoder.width=12", told=[run, "model.decoder.width", "8", "12", "--fresh"])


def test_tiles_that_are_not_there(fails, job, tmp_path):
    tiles = tmp_path / "none.zarr"
    words = ["train", job.config, f"train.out={tmp_path / 'run'}"]
    fails(*words, f"data.tiles={tiles}", told=[tiles, "imgturbo prepare"])
    fails(*words, f"data.tiles={tmp_path}", told=[tmp_path, "not a tile store"])


def test_prepare_without_fields(fails, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("name: empty\n")
    fails("prepare", config, told=["prepare.fields", "empty"])


def test_too_few_sources_to_register(fails, write, tmp_path):
    flat = [write(f"{band}.fits", np.ones((64, 64)), band, sky_wcs()) for band in ("a", "b")]
    words = ["--source", flat[0], "--target", flat[1], "--out", tmp_path / "t.zarr"]
    fails("prepare", *words, told=[flat[0], flat[1], "register.method=none"])
