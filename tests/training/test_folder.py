"""A run goes on in a folder of its own, and touches nothing else that lies there."""

from __future__ import annotations

import pytest
from training_standins import make_tiles, tiny

from imgturbo.errors import ImgturboError
from imgturbo.training.folder import check_folder, clear_folder, write_config

OWN = (
    "config.yaml",
    "metrics.jsonl",
    "samples/a.png",
    "checkpoints/a",
    "bundle/a",
    "tensorboard/a",
)


@pytest.fixture
def config(tmp_path):
    return tiny(tmp_path, make_tiles(tmp_path / "tiles.zarr"))


@pytest.mark.parametrize("name", OWN)
def test_what_a_run_would_write_over_is_named(config, name):
    path = config.train.out / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    (config.train.out / "notes.txt").write_text("mine")
    with pytest.raises(ImgturboError, match=r"run/[a-z.]+: exists.* choose another 'train.out'"):
        check_folder(config)


def test_a_run_s_own_folder_is_known_again(config):
    check_folder(config)
    write_config(config)
    (config.train.out / "metrics.jsonl").write_text("")
    check_folder(config)
    (config.train.out / "bundle").mkdir()
    (config.train.out / "bundle" / "mine.txt").write_text("mine")
    with pytest.raises(ImgturboError, match="bundle: exists and is no bundle"):
        check_folder(config)


def test_the_folder_of_a_run_of_0_1_0_is_known_by_its_checkpoints(config):
    step = config.train.out / "checkpoints" / "step-00000003"
    step.mkdir(parents=True)
    (step / "manifest.json").write_text("{}")
    (config.train.out / "config.yaml").write_text("seed: 3")
    check_folder(config)


def test_a_run_does_not_go_into_its_tiles(config):
    config.train.out = config.tiles
    with pytest.raises(ImgturboError, match="is one of the inputs"):
        check_folder(config)
    config.train.out = config.tiles / "run"
    with pytest.raises(ImgturboError, match="which is read"):
        check_folder(config)


def test_starting_anew_removes_a_run_s_own_names_alone(config):
    out = config.train.out
    write_config(config)
    own = ["checkpoints/step-00000001/state.json", "checkpoints/last.json", "metrics.jsonl",
           "samples/step-00000001-forward.png", "bundle/bundle.json",
           "tensorboard/deep/events.out.tfevents.1"]  # fmt: skip
    mine = ["notes.txt", "samples/mine.png", "checkpoints/mine/a"]
    for name in (*own, *mine):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("x")
    clear_folder(out)
    left = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert left == set(mine)
    assert not (out / "tensorboard").exists()
