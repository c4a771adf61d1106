"""What suits the processor is chosen once, and a run goes on with what it began with."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from training_standins import make_tiles, tiny

from imgturbo.config import Config
from imgturbo.data.choice import open_source
from imgturbo.engines import ENGINES, bears_half_precision
from imgturbo.errors import ImgturboError
from imgturbo.training import processor, train
from imgturbo.training.processor import channels_last, check_compiler, settle_precision

CPU = torch.device("cpu")


@pytest.fixture
def tiles(tmp_path):
    return make_tiles(tmp_path / "tiles.zarr")


def settled(config, monkeypatch, has: bool, resume: bool = False) -> str:
    monkeypatch.setattr(processor, "has_bf16", lambda device: has)
    return settle_precision(config, open_source(config), resume).train.precision


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_what_the_processor_has(tmp_path, tiles, monkeypatch, has):
    config = tiny(tmp_path, precision="auto")
    assert settled(config, monkeypatch, has) == ("bf16" if has else "no")
    assert settled(tiny(tmp_path, precision="no"), monkeypatch, has) == "no"
    assert settled(tiny(tmp_path, precision="bf16"), monkeypatch, has) == "bf16"


def test_the_processor_that_is_asked_is_one_that_is_there(tmp_path, tiles, monkeypatch):
    """torch names the GPU that it was built for, though there is none."""
    asked = []
    monkeypatch.setattr(processor, "has_bf16", lambda device: bool(asked.append(device)))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    for there in (False, True):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        config = tiny(tmp_path, precision="auto")
        settle_precision(config, open_source(config), resume=False)
    assert [device.type for device in asked] == ["cpu", "cuda"]


def test_densities_and_rows_stay_in_single_precision(tmp_path, tiles, monkeypatch):
    config = tiny(tmp_path, precision="auto")
    cinn = {"decoder": {"kind": "cinn"}, "critic": {}}
    density = Config.model_validate(config.model_dump(mode="json") | {"model": cinn})
    assert settled(density, monkeypatch, has=True) == "no"
    rows = open_source(config)
    rows.extent = None
    monkeypatch.setattr(processor, "has_bf16", lambda device: True)
    assert settle_precision(config, rows, resume=False).train.precision == "no"


def test_every_engine_with_a_density_is_kept_from_half_precision():
    likely = {kind for kind, engine in ENGINES.items() if engine.score == "bits"}
    assert likely <= {kind for kind, engine in ENGINES.items() if not engine.half}
    assert not bears_half_precision(Config.from_overrides(["model.decoder.kind=cinn"]))
    assert bears_half_precision(Config())


def test_a_run_goes_on_in_the_precision_that_it_began_with(tmp_path, tiles, monkeypatch):
    """Whatever the next processor has: the numbers of a run are of one precision."""
    monkeypatch.setattr(processor, "has_bf16", lambda device: False)
    out = train(tiny(tmp_path, precision="auto", steps=2)).out
    config = tiny(tmp_path, precision="auto", steps=4)
    assert settled(config, monkeypatch, has=True, resume=True) == "no"
    assert train(config).step == 4
    (newest, *_) = sorted((out / "checkpoints").glob("step-*"), reverse=True)
    saved = json.loads((newest / "state.json").read_text())["config"]["train"]
    assert saved["precision"] == "no"
    with pytest.raises(ImgturboError, match=r"train\.precision"):
        train(tiny(tmp_path, precision="bf16", steps=6))


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d, nn.GroupNorm])
def test_norms_over_images_on_a_cpu_are_contiguous(norm):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(norm(2, 2)))
    plain = norm is nn.GroupNorm
    assert channels_last("auto", network, CPU) == plain
    assert channels_last("auto", network, torch.device("cuda"))
    assert channels_last(True, network, CPU)
    assert not channels_last(False, network, CPU)


def test_a_missing_compiler_is_one_line(monkeypatch):
    def fail(function):
        raise RuntimeError("\nno g++ here\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ImgturboError, match=r"train\.compile.*no g\+\+ here\); install") as caught:
        check_compiler(CPU)
    assert "\n" not in str(caught.value)


def test_a_missing_compiler_stops_a_run_before_its_first_step(tmp_path, tiles, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: 1 / 0)
    with pytest.raises(ImgturboError, match=r"leave train\.compile out"):
        train(tiny(tmp_path, compile=True))
    assert not list((tmp_path / "run").glob("checkpoints/*"))
