"""Commands read addresses as they read files, and write to none."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from web_server import serving

from imgturbo.data import TileStore
from imgturbo.sky import read_sky

NOWHERE = "s3://bucket/out"


@pytest.fixture(scope="module")
def web(job):
    with serving(job.folder) as running:
        yield running


def there(web, job, path):
    """The address of a file of the job, with a doubled slash, which is another address."""
    return web.url(f"/{path.relative_to(job.folder)}")


def assert_same_tiles(found, wanted):
    found, wanted = TileStore.open(found), TileStore.open(wanted)
    assert found.source == wanted.source
    for name in ("train", "validation"):
        one, other = found.split(name), wanted.split(name)
        rows = np.arange(len(other))
        assert len(one) == len(other)
        for side in ("source", "target"):
            np.testing.assert_array_equal(getattr(one, side)[rows], getattr(other, side)[rows])


TILE = "tile: {size: 32, min_valid: 0.5}, split: {guard: 0}"


def test_a_config_and_its_fields_at_addresses(run, web, job, tmp_path):
    source, target = ([there(web, job, p) for p in side] for side in (job.source, job.target))
    fields = f"[{{name: field, source: {source}, target: {target}}}]"
    config = job.folder / "far.yaml"
    config.write_text(f"prepare: {{fields: {fields}, {TILE}}}\n")
    out = tmp_path / "t.zarr"
    status, _, err = run("prepare", there(web, job, config), f"prepare.out={out}")
    assert status == 0, err
    assert_same_tiles(out, job.tiles)
    assert all(place in TileStore.open(out).recipe["inputs"] for place in (*source, *target))


def test_inspect(run, web, job):
    facts = [
        json.loads(run("inspect", path, "--json")[1])
        for path in (job.source[0], there(web, job, job.source[0]))
    ]
    assert facts[0] == facts[1]


def test_evaluate(run, web, job, tmp_path):
    far = [there(web, job, p) for p in (job.prediction, job.aligned_target, job.aligned_source)]
    words = ("evaluate", far[0], far[1], "--source", far[2], "--ceiling", far[1])
    status, _, err = run(*words, "--json", tmp_path / "s.json")
    assert status == 0, err
    found, wanted = (json.loads(p.read_text()) for p in (tmp_path / "s.json", job.scores))
    for name in ("prediction", "baselines", "calibration", "stretch"):
        assert found[name] == wanted[name]
    status, _, err = run(*words, "--json", far[0])
    assert (status, err.count("\n")) == (2, 1)
    assert "is an address, and outputs are written on this machine only" in err


@pytest.mark.slow
def test_report(run, web, job, tmp_path):
    pred, truth, source = (
        there(web, job, p) for p in (job.prediction, job.aligned_target, job.aligned_source)
    )
    catalogue = there(web, job, job.folder / "sky" / "truth.ecsv")
    far, near = tmp_path / "far", tmp_path / "near"
    for out, words in (
        (far, (pred, "--truth", truth, "--source", source, "--catalogue", catalogue)),
        (
            near,
            (job.prediction, "--truth", job.aligned_target, "--source", job.aligned_source,
             "--catalogue", job.folder / "sky" / "truth.ecsv"),
        ),
    ):  # fmt: skip
        status, _, err = run("report", *words, "--out", out)
        assert status == 0, err
    numbers = [json.loads((out / "report.json").read_text()) for out in (far, near)]
    assert numbers[0] == numbers[1]


def test_translate_by_manifest_grid_and_positions(run, web, job, tmp_path):
    far = [there(web, job, p) for p in job.source]
    table = tmp_path / "m.csv"
    table.write_text(f"field,F606W,F814W\nx,{far[0]},{far[1]}\n")
    bundle = ("translate", "--bundle", job.bundle)
    grid = there(web, job, job.target[0])
    status, _, err = run(*bundle, "--manifest", table, "--out-dir", tmp_path, "--grid", grid)
    assert status == 0, err
    status, _, err = run(
        *bundle, *job.source, "--out", tmp_path / "near.fits", "--grid", job.target[0]
    )
    assert status == 0, err
    near = read_sky(tmp_path / "near.fits")
    np.testing.assert_array_equal(read_sky(tmp_path / "x.fits").data, near.data)

    ra, dec = near.wcs.pixel_to_world_values(60, 70)
    (job.folder / "places.csv").write_text(f"id,ra,dec\na,{ra:.8f},{dec:.8f}\n")
    words = ("--positions", there(web, job, job.folder / "places.csv"), "--size", "16pix")
    status, said, err = run(*bundle, *far, *words, "--out", tmp_path / "cut.fits")
    assert status == 0, err
    assert "1 positions: 1 whole" in said


@pytest.mark.slow
def test_finetune_reads_addresses(run, web, job, tmp_path):
    sides = [f"--source={there(web, job, p)}" for p in job.source]
    sides += [f"--target={there(web, job, p)}" for p in job.target]
    settings = ("prepare.tile.size=32", "prepare.tile.min_valid=0.5", "prepare.split.guard=0")
    steps = ("train.steps=1", "train.validate_every=1", "train.checkpoint_every=1")
    words = ("--bundle", job.bundle, *sides, "--out", tmp_path / "tuned", "train.warmup=0")
    status, _, err = run("finetune", *words, *settings, *steps)
    assert status == 0, err
    assert (tmp_path / "tuned" / "bundle" / "bundle.json").exists()


WRITING = [
    ("simulate", "--out", NOWHERE),
    ("simulate", "--problem", "arm", "--out", f"{NOWHERE}.csv"),
    ("simulate-events", "--out", f"{NOWHERE}.h5"),
    ("prepare", "--source", "SOURCE", "--target", "TARGET", "--out", NOWHERE),
    ("prepare", "--source", "SOURCE", "--target", "TARGET", "--aligned", NOWHERE),
    ("prepare", "CONFIG", f"prepare.out={NOWHERE}"),
    ("train", "CONFIG", f"train.out={NOWHERE}"),
    ("translate", "--bundle", "BUNDLE", "SOURCE", "--out", f"{NOWHERE}.fits"),
    ("translate", "--bundle", "BUNDLE", "--manifest", "m.csv", "--out-dir", NOWHERE),
    ("evaluate", "PREDICTION", "TARGET", "--json", f"{NOWHERE}.json"),
    ("evaluate", "PREDICTION", "TARGET", "--out", NOWHERE),
    ("evaluate-events", "x.h5", "--bundle", "BUNDLE", "--out", NOWHERE),
    ("calibrate", "--bundle", "BUNDLE", "TILES", "--out", NOWHERE),
    ("report", "PREDICTION", "--out", NOWHERE),
    ("truth", "--problem", "arm", "--out", f"{NOWHERE}.safetensors"),
    ("posterior", "--bundle", "BUNDLE", "--out", NOWHERE),
    ("sample", "--bundle", "BUNDLE", "--out", f"{NOWHERE}.fits"),
    ("colorize", "--bundle", "BUNDLE", "SOURCE", "--out", NOWHERE),
    ("latent", "scales", "--bundle", "BUNDLE", "SOURCE", "--out", f"{NOWHERE}.png"),
    ("finetune", "--bundle", "BUNDLE", "--source", "SOURCE", "--out", NOWHERE),
    ("export", "BUNDLE", NOWHERE),
    ("demo", "--out", NOWHERE),
]


def of_job(job, words):
    named = {
        "SOURCE": job.source[0], "TARGET": job.target[0], "BUNDLE": job.bundle,
        "PREDICTION": job.prediction, "TILES": job.tiles, "CONFIG": job.config,
    }  # fmt: skip
    return [named.get(word, word) for word in words]


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_nothing_is_written_to_an_address(run, job, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*of_job(job, words))
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert NOWHERE in err
    assert "is an address, and outputs are written on this machine only" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "--bundle", "BUNDLE", "https://host/tiles.zarr"),
        ("finetune", "--bundle", "BUNDLE", "--tiles", "https://host/t.zarr", "--out", "x"),
        ("evaluate-events", "https://host/e.h5", "--bundle", "BUNDLE"),
        ("posterior", "--bundle", "BUNDLE", "--truth", "https://host/t.safetensors"),
        ("train", "CONFIG", "data.tiles=https://host/t.zarr"),
        ("train", "CONFIG", "train.init=https://host/bundle"),
        ("prepare", "CONFIG", "prepare.pictures.files=[https://host/a.png]"),
    ],
    ids=" ".join,
)
def test_what_is_read_from_this_machine_alone_says_so(run, job, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*of_job(job, words))
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert "https://host/" in err
    assert "read from this machine only" in err
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_not_at_its_address_is_one_line(run, web):
    status, _, err = run("train", web.url("none.yaml"))
    assert (status, err) == (2, f"error: {web.url('none.yaml')}: no such file there; check the "
                                "address\n")  # fmt: skip


def test_what_was_prepared_from_addresses_goes_on_without_them(run, web, job, tmp_path):
    """A copy of the run's config names the addresses as they were given."""
    source, target = ([there(web, job, p) for p in side] for side in (job.source, job.target))
    config = tmp_path / "c.yaml"
    shutil.copy(job.config, config)
    given = [f"prepare.fields=[{{name: x, source: {source}, target: {target}}}]"]
    status, said, _ = run("config", config, *given)
    assert status == 0
    for place in (*source, *target):
        assert place in said
