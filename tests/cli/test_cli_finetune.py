"""Fine-tuning by the command line, on files."""

from __future__ import annotations

import json

import pytest

from imgturbo.bundle import load_bundle
from imgturbo.errors import ImgturboError
from imgturbo.training import best


def test_units_that_headers_lack_are_given_at_the_command_line(run, job, tmp_path, monkeypatch):
    seen = []

    def stop(asked, **_):
        seen.extend(asked.fields)
        raise ImgturboError("enough")

    monkeypatch.setattr("imgturbo.finetuning.run.prepare", stop)
    monkeypatch.setattr("data_prep.prepare.prepare", stop)
    units = ("--source-unit", "electron/s", "--target-unit", "MJy/sr")
    sides = [f"--source={p}" for p in job.source] + [f"--target={p}" for p in job.target]
    for words in (("finetune", "--bundle", job.bundle), ("prepare",)):
        status, _, err = run(*words, *sides, *units, "--out", tmp_path / "out")
        assert (status, err) == (2, "error: enough\n")
    assert [(f.source_unit, f.target_unit) for f in seen] == [("electron/s", "MJy/sr")] * 2
    status, _, err = run("prepare", job.config, *units)
    assert status == 2
    assert "put source_bands, target_bands, source_unit and target_unit there" in err


@pytest.mark.slow
def test_the_command_tunes_on_fits_files(run, job, tmp_path, monkeypatch):
    """From files on other grids, at the bundle's pixels; the answer is JSON, and on disk."""
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)
    words = [f"--source={p}" for p in job.source] + [f"--target={p}" for p in job.target]
    small = ["prepare.tile.size=32", "prepare.tile.min_valid=0.5", "prepare.split.guard=0"]
    out = tmp_path / "out"
    status, said, _ = run(
        "finetune", "--bundle", job.bundle, *words, "--out", out, "--json", *small,
        "train.steps=2", "train.validate_every=1", "train.checkpoint_every=1",
    )  # fmt: skip
    assert status == 0
    content = json.loads(said)
    assert content == json.loads((out / "finetune.json").read_text())
    assert {"forward/psnr", "forward/flux_bias/F277W"} <= set(content["before"])
    assert set(content["before"]) == set(content["after"])
    made, start = load_bundle(out / "bundle"), load_bundle(job.bundle)
    assert (made.source, made.target) == (start.source, start.target)
