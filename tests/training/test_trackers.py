"""Which trackers a run takes, what they are told, and what it says of those it cannot take."""

from __future__ import annotations

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType
from training_standins import make_tiles, tiny

from imgturbo.errors import ImgturboError
from imgturbo.training import best, train
from imgturbo.training import trackers as ours
from imgturbo.training.trackers import resolve_trackers


class Notebook(GeneralTracker):
    """Stands for a service: remembers what it is told."""

    name = "notebook"
    requires_logging_directory = True
    kept: dict

    def __init__(self, project, folder):
        super().__init__()
        Notebook.kept = {"project": project, "folder": folder, "lines": [], "finished": False}

    @property
    def tracker(self):
        return Notebook.kept

    def store_init_configuration(self, values):
        Notebook.kept["config"] = values

    def log(self, values, step=None, **_):
        Notebook.kept["lines"].append((step, values))

    def finish(self):
        Notebook.kept["finished"] = True


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    return Notebook


def test_a_registered_tracker_hears_what_the_lines_hold(tmp_path, monkeypatch, notebook):
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)
    make_tiles(tmp_path / "tiles.zarr")
    config = tiny(tmp_path, trackers=["notebook", "jsonl", "notebook"], steps=3)
    train(config)
    kept = notebook.kept
    assert (kept["project"], kept["folder"]) == ("tiny", str(config.train.out))
    assert kept["config"]["train.steps"] == 3
    assert kept["config"]["model.decoder.kind"] == "unet"
    assert [step for step, values in kept["lines"] if "loss/generator" in values] == [1, 2, 3]
    assert any("validation/forward/psnr" in values for _, values in kept["lines"])
    assert kept["finished"]
    assert (config.train.out / "metrics.jsonl").is_file()
    assert not (config.train.out / "tensorboard").exists()


def test_every_name_of_accelerate_is_known_and_all_means_those_here(monkeypatch):
    everyone = [kind for kind in LoggerType if kind.value != "all"]
    monkeypatch.setattr(ours, "get_available_trackers", lambda: everyone)
    names = [kind.value for kind in everyone]
    assert {"tensorboard", "wandb", "mlflow", "comet_ml", "aim", "clearml", "dvclive"} <= set(names)
    assert resolve_trackers(["jsonl", *names]) == ["jsonl", *names]
    assert resolve_trackers(["all", "jsonl", "tensorboard"]) == [*names, "jsonl"]
    assert resolve_trackers([]) == []


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("wandb", "pip install wandb"), ("weights", "choose from jsonl, .*tensorboard.*wandb")],
)
def test_a_tracker_that_is_not_here_is_one_line_before_anything_is_written(
    tmp_path, monkeypatch, name, remedy
):
    monkeypatch.setattr(ours, "get_available_trackers", lambda: [LoggerType.TENSORBOARD])
    make_tiles(tmp_path / "tiles.zarr")
    config = tiny(tmp_path, trackers=[name])
    with pytest.raises(ImgturboError, match=rf"^train\.trackers: .*{remedy}") as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert not config.train.out.exists()


def test_a_service_that_does_not_start_is_one_line(tmp_path, monkeypatch, notebook):
    def refuse(self, values):
        raise RuntimeError("no API key;\n log in")

    monkeypatch.setattr(notebook, "store_init_configuration", refuse)
    make_tiles(tmp_path / "tiles.zarr")
    with pytest.raises(ImgturboError, match=r"notebook does not start \(no API key; log in\)"):
        train(tiny(tmp_path, trackers=["jsonl", "notebook"]))
