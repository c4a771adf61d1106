"""The command line, in process: what a stranger types, what is printed, what is left on disk."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import imgturbo
from imgturbo.cli.main import main
from imgturbo.sky import read_sky

COMMANDS = ("simulate", "prepare", "train", "translate", "evaluate", "inspect", "demo")


@pytest.fixture
def run(capsys):
    """``run(words…)`` → (exit status, standard output, standard error)."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return ended.value.code, *capsys.readouterr()

    return run


# ------------------------------------------------------------------------------------- words


def test_without_words_the_commands_are_listed(run):
    status, out, err = run()
    assert (status, err) == (0, "")
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert f"imgturbo {command}" in out


def test_version(run):
    assert run("--version") == (0, f"imgturbo {imgturbo.__version__}\n", "")


def test_help_loads_nothing_heavy():
    """`imgturbo --help` must answer at once, wherever torch and astropy lie."""
    code = """
import sys
from imgturbo.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
print(sorted({"torch", "astropy", "zarr", "matplotlib", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tranlate"], ["'tranlate'", "'translate'", "imgturbo --help"]),
        (["translate"], ["'--bundle'", "imgturbo translate --help"]),
        (["translate", "--bundel", "b"], ["--bundel", "--bundle"]),
        (["translate", "--bundle", "b", "--direction", "up"], ["'up'", "forward", "backward"]),
        (["simulate", "--out", "x", "--size", "3"], ["--size", "64"]),
        (["simulate", "--out", "x", "--size", "many"], ["--size", "integer"]),
        (["train"], ["CONFIG", "imgturbo train --help"]),
        (["evaluate", "a.fits"], ["TARGET"]),
        (["prepare"], ["config", "--source", "--target"]),
        (["prepare", "c.yaml", "--source", "a.fits"], ["c.yaml", "--source"]),
        (["translate", "--bundle", "b", "a.fits"], ["--out"]),
        (["translate", "--bundle", "b", "--manifest", "m.csv"], ["--out-dir"]),
        (["translate", "--bundle", "b", "a.fits", "--manifest", "m", "--out-dir", "d"], ["--out"]),
    ],
    ids=" ".join,
)
def test_mistakes_in_the_words_are_one_line(run, words, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in told), err
    assert not list(tmp_path.iterdir())


def test_what_nobody_foresaw_is_one_line_too(run, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "thing"))

    monkeypatch.setattr("imgturbo.describe.describe", full)
    status, _, err = run("inspect", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {tmp_path / 'thing'}: No space left")


def test_interrupted_is_not_a_traceback(run, monkeypatch, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("imgturbo.describe.describe", stop)
    assert run("inspect", tmp_path)[0] == 130


# ----------------------------------------------------------------------------------- the job


def test_the_job_leaves_what_it_says(job):
    assert all(path.exists() for path in (*job.source, *job.target, job.tiles, job.prediction))
    assert (job.folder / "sky" / "truth.ecsv").exists()
    assert (job.bundle / "README.md").exists()


def test_the_prediction_lies_where_the_source_lies(job):
    made, given = read_sky(job.prediction), read_sky(job.aligned_source)
    assert made.bands == ("F150W", "F277W", "F444W")
    assert made.unit == "MJy/sr"
    assert made.shape[1:] == given.shape[1:]
    np.testing.assert_array_equal(made.valid, given.valid)
    assert made.wcs.pixel_to_world(7, 9).separation(given.wcs.pixel_to_world(7, 9)).arcsec < 1e-6


def test_scores_have_the_promised_form(job):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    scores = json.loads(job.scores.read_text(), parse_constant=refuse)
    rows = [scores["prediction"], scores["baselines"]["identity"], scores["baselines"]["affine"]]
    for row in rows:
        assert isinstance(row["psnr"], float)
        assert isinstance(row["ssim"], float)
        assert isinstance(row["spectrum_error"], float)
        assert row["psnr"] == pytest.approx(-10 * np.log10(row["mse"]), abs=1e-3)
    assert set(scores["baselines"]) == {"identity", "affine"}
    assert scores["stretch"]["from"] == "prediction header"
    assert 0.5 < scores["valid_fraction"] <= 1


def test_python_gives_what_the_command_line_gives(job):
    scores = imgturbo.evaluate(job.prediction, job.aligned_target, job.aligned_source)
    assert scores == json.loads(job.scores.read_text())

    bundle = imgturbo.load_bundle(job.bundle)
    sky = imgturbo.read_sky(job.aligned_source)
    made = imgturbo.read_sky(job.prediction)
    image = bundle.translate(sky).mean
    assert isinstance(image, imgturbo.SkyImage)
    assert image.bands == made.bands
    np.testing.assert_allclose(image.data, made.data, rtol=1e-4, atol=1e-6)
    array = bundle.translate(sky.data).mean
    assert isinstance(array, np.ndarray)
    np.testing.assert_allclose(array, made.data, rtol=1e-4, atol=1e-6)
    assert bundle.translate(image, direction="backward").mean.bands == sky.bands


def test_the_table_names_its_rows_and_scale(run, job):
    status, out, err = run("evaluate", job.prediction, job.aligned_target)
    assert (status, err) == (0, "")
    assert "PSNR" in out
    assert "prediction header" in out
    assert "no source given" in out
    status, out, _ = run(
        "evaluate", job.prediction, job.aligned_target, "--source", job.aligned_source
    )
    assert "input as it is" in out
    assert "affine colour" in out
    assert max(map(len, out.splitlines())) <= 160


def test_public_names_are_what_they_say():
    """Lazily loaded, and the same at every use: a module of that name must not hide a function."""
    for _ in range(2):
        for name in imgturbo.__all__:
            assert callable(getattr(imgturbo, name)), name


def test_single_band_files_in_any_order(run, job, tmp_path):
    """As a user has them: one band a file, each on its camera's grid."""
    out = tmp_path / "made.fits"
    status, told, err = run("translate", "--bundle", job.bundle, *job.source[::-1], "--out", out)
    assert (status, err) == (0, "")
    assert told == f"{out}\n"
    again = tmp_path / "again.fits"
    run("translate", "--bundle", job.bundle, *job.source, "--out", again)
    np.testing.assert_allclose(read_sky(out).data, read_sky(again).data, rtol=2e-3, atol=2e-5)
    scores = tmp_path / "deep" / "scores.json"
    status, _, err = run("evaluate", out, *job.target, "--json", scores, "--source", job.source[0])
    assert (status, err) == (0, "")
    assert json.loads(scores.read_text())["prediction"]["psnr"] > 0


@pytest.mark.filterwarnings("default::UserWarning")
def test_backward_and_to_a_given_grid(run, job, tmp_path):
    out = tmp_path / "back.fits"
    words = ("--direction", "backward", "--grid", job.source[0], "--out", out)
    status, _, err = run("translate", "--bundle", job.bundle, *job.target, *words)
    assert status == 0
    # The grid is Hubble's own, coarser than that of the tiles: allowed, and said.
    assert [line.partition(":")[0] for line in err.splitlines()] == ["note"]
    image = read_sky(out)
    assert image.bands == ("F606W", "F814W")
    assert image.shape[1:] == read_sky(job.source[0]).shape[1:]


def test_a_manifest_names_what_failed_and_goes_on(run, job, tmp_path):
    manifest = tmp_path / "fields.csv"
    rows = ["field,F606W,F814W", "lost,nowhere.fits,nowhere.fits"]
    manifest.write_text("\n".join([*rows, "good," + ",".join(map(str, job.source))]) + "\n")
    words = ("--manifest", manifest, "--out-dir", tmp_path / "out")
    status, out, err = run("translate", "--bundle", job.bundle, *words)
    assert (status, err) == (1, "")
    assert "lost: failed: " in out
    assert "1 translated, 0 finished before, 1 failed" in out
    manifest.write_text(rows[0] + "\ngood," + ",".join(map(str, job.source)) + "\n")
    status, out, _ = run("translate", "--bundle", job.bundle, *words)
    assert (status, out) == (0, "0 translated, 1 finished before, 0 failed\n")


def test_training_continues_and_says_so(run, job):
    status, out, _ = run("train", job.config)
    assert status == 0
    assert "trained 3 steps" in out
    assert str(job.bundle) in out


# -------------------------------------------------------------------------------- inspecting


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
