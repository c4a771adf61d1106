"""A row from config to results, by the same functions as the real one; its table; its panels."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from smacs0723_standins import HEIGHT, WIDTH, make_tiles

from benchmarks.smacs0723 import field, objects, probe, run, table
from benchmarks.smacs0723.probe import VALIDATIONS, Speed, paced
from imgturbo.config import Config, load_config
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky
from imgturbo.training import best

CONFIG = """
data: {batch_size: 2, crop: 16}
model: {decoder: {kind: unet, width: 4, depth: 1, blocks: 1}}
objective: {preset: custom, paired: {x_tilde: 1}}
train: {warmup: 1, trackers: [jsonl], validate_tiles: 2, log_every: 1}
"""


@pytest.fixture
def small(work, tmp_path, monkeypatch):
    """A config, and tiles in the place of those that the preparation would make."""
    tiles = make_tiles(tmp_path / "tiles.zarr")
    monkeypatch.setattr(run, "prepare_field", lambda *_: tiles)
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)  # slower than all the rest
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG)
    return path


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["run", *map(str, words)])
    field.guarded(run.main)


def results(work):
    return json.loads((work / "results.json").read_text())["rows"]


# ------------------------------------------------------------------------------------ rows


def test_a_row_from_config_to_results_and_again_without_work(small, work, monkeypatch):
    words = (small, "--pictures", ".", "--work", work, "--steps", 3, "data.batch_size=1")
    command(monkeypatch, *words)
    row = results(work)["small-3steps"]
    assert (row["steps"], row["batch"], row["crop"], row["seed"]) == (3, 1, 16, 0)
    assert row["passes"] == 1
    assert row["parameters"] > 100
    assert row["train_seconds"] > 0
    assert row["scores"]["psnr"] == pytest.approx(_psnr(work / "rows" / "small-3steps"), abs=1e-3)
    assert row["command"].endswith("--steps 3 data.batch_size=1")
    log = work / "rows" / "small-3steps" / "run" / "metrics.jsonl"
    logged = log.read_bytes()
    command(monkeypatch, *words)
    assert log.read_bytes() == logged
    again = results(work)["small-3steps"]
    assert (again["steps"], again["bundle"]) == (3, row["bundle"])


def _psnr(folder):
    made = read_sky(folder / "prediction.fits")
    truth = read_sky(folder.parents[1] / "aligned" / "smacs0723_validation_target.fits")
    return -10 * np.log10(np.nanmean((made.data - truth.data) ** 2))


def test_a_row_begun_otherwise_is_refused_until_it_is_begun_anew(small, work, monkeypatch, capsys):
    words = (small, "--pictures", ".", "--work", work, "--name", "a", "--steps")
    command(monkeypatch, *words, 2)
    with pytest.raises(SystemExit):
        command(monkeypatch, *words, 3)
    assert "was begun with another config or budget; --fresh" in capsys.readouterr().err
    command(monkeypatch, *words, 3, "--fresh")
    assert results(work)["a"]["steps"] == 3


def test_what_a_row_starts_from_counts_as_its_own(small, work, monkeypatch, capsys):
    words = (small, "--pictures", ".", "--work", work, "--steps")
    later = (*words, 2, "--name", "later", "--after", "small-3steps", "train.lr=1e-12")
    with pytest.raises(SystemExit):
        command(monkeypatch, *later)
    assert "no trained row 'small-3steps' to start from" in capsys.readouterr().err
    command(monkeypatch, *words, 3)
    command(monkeypatch, *later)
    first, second = (results(work)[name] for name in ("small-3steps", "later"))
    assert second["steps"] == 5
    assert second["train_seconds"] > first["train_seconds"]
    psnr = [row["scores"]["psnr"] for row in (first, second)]
    assert psnr[0] == pytest.approx(psnr[1], abs=1e-3)  # it learnt nothing


def test_a_budget_of_minutes_becomes_steps_once(small, work, monkeypatch):
    speeds = iter([Speed(startup=1.0, step=0.5, validation=1.0)])
    monkeypatch.setattr(run, "probe", lambda *_: next(speeds))
    words = (small, "--pictures", ".", "--work", work, "--minutes", 14 / 60)
    for _ in range(2):  # the second time there is no speed left to be measured
        command(monkeypatch, *words)
    (row,) = results(work).values()
    assert row["steps"] == 10 + 2  # 14 s less 1 s and 12 validations, 0.5 s each
    assert row["probe"] == {"startup": 1.0, "step": 0.5, "validation": 1.0}


def test_the_probe_measures_and_leaves_nothing(small, tmp_path):
    config = load_config(small, [f"data.tiles={tmp_path / 'tiles.zarr'}"])
    speed = probe.probe(config, tmp_path / "probe")
    assert speed.step > 0
    assert speed.startup > speed.step
    assert speed.validation >= 0
    assert not (tmp_path / "probe").exists()


def test_every_run_is_validated_equally_often():
    for steps in (1, 11, 12, 1000, 3601):
        train = paced(Config(), steps).train
        assert (train.steps, train.checkpoint_every) == (steps, train.validate_every)
        assert steps // train.validate_every <= 2 * VALIDATIONS
    assert 1000 // paced(Config(), 1000).train.validate_every == VALIDATIONS


def test_published_networks_are_translated_as_published(small, work, monkeypatch):
    small.write_text(
        CONFIG.replace("unet, width: 4, depth: 1", "cyclegan_resnet, width: 4, norm: instance")
    )
    words = (small, "--pictures", ".", "--work", work, "--steps", 1)
    command(monkeypatch, *words)
    row = results(work)["small-1steps"]
    assert row["procedure"] == "published windows, stride 64"
    assert row["passes"] == round(256 * 256 / (HEIGHT * WIDTH), 3)  # one window, grown by zeros
    made = read_sky(work / "rows" / "small-1steps" / "prediction.fits")
    assert np.isnan(made.data).any(0).sum() == 5


def test_baselines_need_no_training(small, work, monkeypatch):
    for name in run.BASELINES:
        command(monkeypatch, name, "--pictures", ".", "--work", work)
    rows = results(work)
    psnr = {name: rows[name]["scores"]["psnr"] for name in run.BASELINES}
    assert psnr["identity"] < psnr["affine"] <= psnr["affine-best"]
    strip = field.load_strip(work)
    made = read_sky(work / "rows" / "identity" / "prediction.fits")
    np.testing.assert_array_equal(made.data, strip.source.data)


def test_the_affine_row_has_not_seen_the_strip(small, work, monkeypatch):
    def fitted():
        command(monkeypatch, "affine", "--pictures", ".", "--work", work)
        return read_sky(work / "rows" / "affine" / "prediction.fits").data

    before = fitted()
    real = field.load_strip(work)
    other = replace(real, target=replace(real.target, data=1 - real.target.data))
    monkeypatch.setattr(run, "load_strip", lambda _: other)
    np.testing.assert_array_equal(fitted(), before)


def test_a_budget_is_needed(small, work, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        command(monkeypatch, small, "--pictures", ".", "--work", work)
    assert "give --steps or --minutes" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- table


def row(psnr, config="configs/smacs0723.yaml", **scores):
    return {
        "config": str(field.ROOT / config), "command": f"python -m … {psnr}", "device": "a CPU",
        "steps": 3600, "passes": 1.0, "train_seconds": 1252.04, "notes": ["LPIPS skipped: why"],
        "scores": {"psnr": psnr, "spectrum_error": 1 / psnr, "lpips": None, **scores},
    }  # fmt: skip


def test_the_table_marks_the_best_and_lists_what_was_not_run():
    rows = {"a": row(27.0, frechet=5.04, frechet_crops=301), "b": row(29.5)}
    missing = table.not_run(rows, field.ROOT / "configs")
    assert "configs/published/turbo.yaml" in missing
    assert "configs/smacs0723.yaml" not in missing
    lines = table.tables(rows, missing).splitlines()
    assert "| row | PSNR dB ↑ | spectrum dex ↓ | Fréchet ↓ |" in lines
    assert "| a | 27.00 | 0.037 | **5.0** |" in lines
    assert "| b | **29.50** | **0.034** | – |" in lines
    assert "| `configs/published/turbo.yaml` | not run |  |  |" in lines
    assert "Fréchet: EfficientNet-Lite0 features of 301 crops of 128 pixels a side." in lines
    assert any(line.startswith("| a | a CPU | 3,600 |") and "| 1252 |" in line for line in lines)
    assert "- b: `python -m … 29.5`" in lines
    assert any(line.startswith("Not measured: MSE, SSIM, ") and "LPIPS" in line for line in lines)


def test_results_of_several_places_are_joined(tmp_path):
    for name, rows in (("1.json", {"a": row(1.0), "b": row(2.0)}), ("2.json", {"b": row(3.0)})):
        (tmp_path / name).write_text(json.dumps({"format": 1, "rows": rows}))
    rows = table.read_rows([tmp_path / "1.json", tmp_path / "2.json"])
    assert [rows[name]["scores"]["psnr"] for name in "ab"] == [1.0, 3.0]
    with pytest.raises(ImgturboError, match=r"none\.json: no results there"):
        table.read_rows([tmp_path / "none.json"])


def test_rows_are_chosen_by_name():
    rows = {name: row(27.0) for name in ("mine-1", "theirs-1", "mine-2")}
    assert [*table.chosen(rows, ["theirs-*", "mine-*"])] == ["theirs-1", "mine-1", "mine-2"]
    with pytest.raises(ImgturboError, match=r"like ours-\*; there are .*mine-1"):
        table.chosen(rows, ["ours-*"])


# --------------------------------------------------------------------------------- objects


def test_ten_places_are_fixed_and_lie_in_the_real_strip():
    places = objects.read_places()
    assert len({place.name for place in places}) == 10
    for place in places:
        rows, cols = place.window
        assert rows.start >= 0
        assert rows.stop <= 2285 - 1828
        assert cols.start >= 0
        assert cols.stop <= 2798
        assert rows.stop - rows.start == cols.stop - cols.start == place.side
        assert place.what.endswith(".")


def test_panels_stand_side_by_side(strip, tmp_path):
    places = [objects.Place("red", 20, 30, 16, "One."), objects.Place("spot", 40, 41, 25, "Two.")]
    red = np.zeros((3, HEIGHT, WIDTH), np.float32)
    red[0] = 1
    out = tmp_path / "docs" / "panels.png"
    objects.render(out, strip, {"red": red}, places)
    with Image.open(out) as file:
        picture = np.asarray(file.convert("RGB")).astype(int)
    is_red = (picture[..., 0] > 250) & (picture[..., 1:].max(-1) < 5)
    columns = np.flatnonzero(is_red.any(0))
    assert picture.shape[1] / 3 < columns.min() + 9
    assert columns.max() - 9 < picture.shape[1] * 2 / 3
    assert list(out.parent.iterdir()) == [out]


def test_a_place_outside_is_named(strip, tmp_path):
    with pytest.raises(ImgturboError, match=f"high: reaches out of the strip of {HEIGHT}"):
        objects.render(tmp_path / "p.png", strip, {}, [objects.Place("high", 3, 30, 16, "No.")])


def test_panels_of_rows_and_files(strip, work, tmp_path, monkeypatch, capsys):
    run.run_baseline("identity", work)
    places = tmp_path / "places.json"
    entry = {"name": "spot", "row": 30, "column": 30, "side": 20, "what": "A spot."}
    places.write_text(json.dumps({"objects": [entry]}))
    monkeypatch.setattr(objects.read_places, "__defaults__", (places,))
    out, file = tmp_path / "p.png", work / "rows" / "identity" / "prediction.fits"
    words = ["--out", str(out), "--row", "identity", "--prediction", f"again={file}"]
    monkeypatch.setattr(sys, "argv", ["objects", *words, "--work", str(work)])
    field.guarded(objects.main)
    assert Path(capsys.readouterr().out.strip().splitlines()[-1]) == out
    with Image.open(out) as picture:
        assert picture.width > 3 * picture.height
