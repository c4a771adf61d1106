"""``train.compile`` acts on every engine, and changes no weight's name."""

from __future__ import annotations

import functools
import shutil

import pytest
import torch
from safetensors.torch import load_file
from training_standins import make_tiles, tiny

from imgturbo.config import Config
from imgturbo.data.batch import Batch
from imgturbo.engines import ENGINES, build_trainable, settle
from imgturbo.training import train

# Torch's own look at its inputs, which it hides unless warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")

IMAGES = {"pix2pix_unet": {"depth": 2, "width": 2}}
ROWS = {
    "invertible": {"blocks": 1, "width": 4, "layers": 1},
    "momenta_flow": {"couplings": 2, "width": 8},
    "augmented_inn": {"blocks": 1, "width": 4},
    "mixture_inn": {"blocks": 1, "width": 4},
}
ELSEWHERE = {"cinn", "diffusion", "flow", "flow_matching"}
"""Tested in the rooms of these networks."""


def settings(kind: str) -> Config:
    section = {"decoder": {"kind": kind} | (IMAGES | ROWS)[kind]}
    if kind in ("mlp", "invertible"):
        section["critic"] = {"kind": "mlp"}
    elif kind in IMAGES:
        section["critic"] = {"width": 2, "layers": 1}
    return settle(Config.model_validate({"model": section}))


def batch_for(kind: str) -> Batch:
    columns = 24 if kind == "momenta_flow" else 2
    shape = (3, columns, 16, 16) if kind in IMAGES else (3, columns)
    valid = torch.ones(3, 1, *shape[2:], dtype=torch.bool)
    index = torch.arange(3)
    z, x = torch.randn(shape), torch.randn(shape)
    return Batch(z, x, valid, valid, torch.ones(3, dtype=torch.bool), index, index)


def test_every_engine_is_looked_at():
    kinds = {*IMAGES, *ROWS, *ELSEWHERE}
    engines = [engine.trainable for kind, engine in ENGINES.items() if kind in kinds]
    others = {kind for kind, e in ENGINES.items() if e.trainable not in engines}
    assert others <= {"mdn", "zuko"}  # rows like flow's, and compiled by the same method


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*IMAGES, *ROWS])
def test_what_a_step_runs_is_compiled(kind):
    seen = []

    def backend(graph, _):
        seen.append(graph)
        return graph.forward

    outcomes = []
    for compiled in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(0)
        columns = 24 if kind == "momenta_flow" else 2
        objective = build_trainable(settings(kind), columns, columns)
        data = batch_for(kind)
        names = list(objective.state_dict())
        if compiled:
            objective.compile(backend=backend)
        assert list(objective.state_dict()) == names
        torch.manual_seed(1)
        losses = objective(data)
        (losses.generator + losses.critic).backward()
        gradients = [p.grad for p in objective.parameters() if p.grad is not None]
        outcomes.append([losses.generator.detach(), losses.critic.detach(), *gradients])
    assert seen
    torch.testing.assert_close(*outcomes, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_run_goes_on_from_a_checkpoint_that_was_not(tmp_path, monkeypatch):
    make_tiles(tmp_path / "tiles.zarr")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    cheap = {"steps": 3, "checkpoint_every": 1, "keep": 9, "validate_every": 9}
    plain = train(tiny(tmp_path, **cheap)).out
    shutil.copytree(plain, tmp_path / "mixed")
    mixed = tmp_path / "mixed"
    for step in (2, 3):
        shutil.rmtree(mixed / "checkpoints" / f"step-{step:08d}")
    train(tiny(tmp_path, compile=True, out=str(mixed), **cheap))
    one, other = (
        load_file(out / "checkpoints" / "step-00000003" / "objective.safetensors")
        for out in (plain, mixed)
    )
    assert one.keys() == other.keys()
    for name, weights in one.items():
        torch.testing.assert_close(other[name], weights, rtol=1e-5, atol=1e-6)
