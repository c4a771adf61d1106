from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.listing import Entry
from imgturbo.team import Team
from imgturbo.training import checkpoint as module
from imgturbo.training.checkpoint import Checkpoints, differing_key
from imgturbo.training.tensors import (
    copy_tensors,
    load_optimizer_tensors,
    named_tensors,
    optimizer_tensors,
)


@pytest.fixture
def team():
    return Team()


def write(checkpoints: Checkpoints, team: Team, step: int, best: int | None = None) -> None:
    weights = {"w": torch.full((2, 3), float(step))}
    tensors = dict.fromkeys(("objective", "ema", "optimizers"), weights)
    state = {"step": step, "best": {"step": best}, "config": {}, "tiles": ""}
    checkpoints.write(step, tensors, {"count": torch.tensor(step)}, state, team)


def steps(checkpoints: Checkpoints) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints.all()]


def test_what_is_written_is_read(tmp_path, team):
    checkpoints = Checkpoints(tmp_path / "a" / "checkpoints", keep=1)
    write(checkpoints, team, 7)
    found = checkpoints.latest(pytest.fail)
    assert found is not None
    assert found.step == found.state.step == 7
    assert torch.equal(found.tensors("objective")["w"], torch.full((2, 3), 7.0))
    assert found.tensors("pools-0000")["count"] == 7
    assert found.tensors("pools-0001", optional=True) == {}
    assert json.loads((checkpoints.folder / "last.json").read_text())["step"] == 7


def test_the_newest_and_the_best_are_kept(tmp_path, team):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4, 5):
        write(checkpoints, team, step, best=min(step, 2))
    assert steps(checkpoints) == [5, 4, 2]
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "checkpoint": "step-00000002",
        "step": 2,
    }
    assert not list(tmp_path.glob("tmp-*"))


HARMS = [
    "flip a byte", "cut", "lose a file", "lose the manifest", "a folder", "a device",
    "another step's", "an unlisted file", '[]', '{"format": "1"}', '{"format": NaN}',
    '{"files": [0]}', '{"files": {}}', '{"files": {"../x": {"bytes": 1, "sha256": ""}}}',
    '{"files": {"state.json": 3}}', "[" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, team, harm):
    checkpoints = Checkpoints(tmp_path, keep=3)
    write(checkpoints, team, 1)
    write(checkpoints, team, 2)
    weights = checkpoints.at(2).path / "objective.safetensors"
    if harm == "flip a byte":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-3])
    elif harm == "lose a file":
        weights.unlink()
    elif harm == "lose the manifest":
        (checkpoints.at(2).path / "manifest.json").unlink()
    elif harm == "a folder":
        weights.unlink()
        weights.mkdir()
    elif harm == "a device":
        weights.unlink()
        weights.symlink_to("/dev/zero")
    elif harm == "another step's":
        shutil.rmtree(checkpoints.at(2).path)
        shutil.copytree(checkpoints.at(1).path, checkpoints.at(2).path)
    elif harm == "an unlisted file":
        (checkpoints.at(2).path / "pools-0001.safetensors").write_bytes(b"junk")
    else:
        listing(checkpoints.at(2).path, harm)
    warnings: list[str] = []
    found = checkpoints.latest(warnings.append)
    assert found is not None
    assert found.step == 1
    assert len(warnings) == 1
    assert "step-00000002" in warnings[0]
    write(checkpoints, team, 2)  # the course is run again over the damaged one
    found = checkpoints.latest(pytest.fail)
    assert found is not None
    assert found.step == 2


def listing(path: Path, change: str) -> None:
    """Edit the manifest: its keys are replaced, or all of it."""
    manifest = json.loads((path / "manifest.json").read_text())
    if change.startswith("{"):
        change = json.dumps(manifest | json.loads(change))
    (path / "manifest.json").write_text(change)


def test_a_state_that_agrees_with_its_hash_is_read_by_its_types_all_the_same(tmp_path, team):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, team, 1)
    path = checkpoints.at(1).path
    state = json.loads((path / "state.json").read_text())
    for change in ({"step": "1"}, {"best": None}, {"tiles": 3}, {"config": []}, {"seconds": -1}):
        (path / "state.json").write_text(json.dumps(state | change))
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["files"]["state.json"] = Entry.of(path / "state.json").model_dump()
        (path / "manifest.json").write_text(json.dumps(manifest))
        assert next(iter(change)) in checkpoints.at(1).damage()


@pytest.mark.parametrize("name", ["step-000000012", "step-٠٠٠٠٠٠١٢", "step-00000012-b", "step-1"])
def test_a_step_has_one_name(tmp_path, team, name):
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, team, 1)
    shutil.copytree(checkpoints.at(1).path, tmp_path / name)
    assert steps(checkpoints) == [1]


def test_moments_of_another_network_are_refused():
    net = nn.Linear(2, 3)
    names = {p: name for name, p in net.named_parameters()}
    optimizer = torch.optim.AdamW(net.parameters())
    for saved in ({"weight.exp_avg": torch.ones(3, 3)}, {"other.exp_avg": torch.ones(3, 2)}):
        with pytest.raises(ImgturboError, match="fits no weight"):
            load_optimizer_tensors(optimizer, names, saved, Path("here"))


def test_later_checkpoints_of_an_abandoned_course_do_not_crowd_out_good_ones(tmp_path, team):
    checkpoints = Checkpoints(tmp_path, keep=1)
    write(checkpoints, team, 10)
    (checkpoints.at(10).path / "state.json").unlink()
    write(checkpoints, team, 5)
    assert steps(checkpoints) == [5]


@pytest.mark.parametrize("nth", range(6))
def test_a_full_disk_leaves_the_previous_checkpoint_as_it_was(tmp_path, team, monkeypatch, nth):
    checkpoints = Checkpoints(tmp_path, keep=1)
    write(checkpoints, team, 1)
    before = {p.name: p.read_bytes() for p in checkpoints.at(1).path.iterdir()}
    real, calls = module.write_durably, 0

    def full(path: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > nth:
            path.write_bytes(content[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    monkeypatch.setattr(module, "write_durably", full)
    with pytest.raises(ImgturboError, match=r"step-00000002.*No space left on device"):
        write(checkpoints, team, 2)
    assert steps(checkpoints) == [1]
    assert {p.name: p.read_bytes() for p in checkpoints.at(1).path.iterdir()} == before
    assert not list(tmp_path.glob("tmp-*"))


def test_a_newer_format_is_refused(tmp_path, team):
    checkpoints = Checkpoints(tmp_path, keep=1)
    write(checkpoints, team, 1)
    manifest = checkpoints.at(1).path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ImgturboError, match="format 2"):
        checkpoints.latest(pytest.fail)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"model": {"decoder": {"kind": "unet", "width": 5}}}, "model.decoder.width"),
        ({"objective": {"paired": {"x_tilde": 2.0}}}, "objective.paired.x_tilde"),
        ({"train": {"lr": 1e-3}}, "train.lr"),
        ({"seed": 1}, "seed"),
    ],
)
def test_the_first_differing_key_is_named(change, key):
    saved, asked = (Config.model_validate(c).model_dump(mode="json") for c in ({}, change))
    found = differing_key(json.loads(json.dumps(saved)), asked)
    assert found is not None
    assert found[0] == key


def test_lengths_and_places_may_differ():
    change = {
        "name": "b",
        "prepare": {"out": "elsewhere.zarr"},
        "data": {"tiles": "moved.zarr", "workers": 3},
        "train": {"steps": 7, "out": "b", "log_every": 1, "keep": 9, "checkpoint_every": 1},
    }
    saved, asked = (Config.model_validate(c).model_dump(mode="json") for c in ({}, change))
    assert differing_key(saved, asked) is None


def test_a_tensor_shared_by_two_modules_is_saved_once():
    layer = nn.Linear(2, 2)
    pair = nn.ModuleDict({"a": layer, "b": layer})
    assert sorted(named_tensors(pair)) == ["a.bias", "a.weight"]


def test_weights_of_another_network_are_refused(tmp_path):
    narrow, wide = nn.Linear(2, 2), nn.Linear(3, 2)
    with pytest.raises(ImgturboError, match="'weight' does not fit"):
        copy_tensors(named_tensors(narrow), named_tensors(wide), tmp_path)


@pytest.mark.parametrize("fused", [False, True])
def test_a_restored_optimiser_goes_on_bit_for_bit(fused):
    def start() -> tuple[nn.Module, torch.optim.Optimizer, dict]:
        torch.manual_seed(0)
        net = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=fused)
        return net, optimizer, {p: name for name, p in net.named_parameters()}

    def advance(net: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        torch.manual_seed(step)
        net(torch.randn(1, 2, 7, 5)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    net, optimizer, names = start()
    for step in range(3):
        advance(net, optimizer, step)
    saved = {k: v.clone() for k, v in optimizer_tensors(optimizer, names).items()}
    weights = {k: v.detach().clone() for k, v in named_tensors(net).items()}
    assert sorted(saved) == sorted(
        f"{p}.{k}" for p in ("weight", "bias") for k in ("step", "exp_avg", "exp_avg_sq")
    )
    other, other_optimizer, other_names = start()
    copy_tensors(named_tensors(other), weights, Path("here"))
    load_optimizer_tensors(other_optimizer, other_names, saved, Path("here"))
    for step in range(3, 6):
        advance(net, optimizer, step)
        advance(other, other_optimizer, step)
    for name, tensor in named_tensors(net).items():
        assert torch.equal(tensor, named_tensors(other)[name])
