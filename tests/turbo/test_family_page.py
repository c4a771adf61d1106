"""What docs/family.md shows is run: its config is one, its divergence divides."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import yaml
from turbo_standins import make_batch, make_objective

from imgturbo.config import Config, ObjectiveConfig
from imgturbo.data import open_source
from imgturbo.engines import build_trainable, settle
from imgturbo.turbo.catalogue import as_text, rows
from imgturbo.turbo.divergences import DIVERGENCES
from imgturbo.turbo.presets import resolve

PAGE = (Path(__file__).parents[2] / "docs" / "family.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_new_model_is_one():
    config = settle(Config.model_validate(yaml.safe_load(block("yaml"))))
    source = open_source(config)
    trainable = build_trainable(config, source.source, source.target)
    losses = trainable(source.batch(0))
    assert set(losses.terms) == {"L/x_hat", "D/z_tilde/mmd"}
    losses.generator.backward()
    assert all((p.grad != 0).any() for p in trainable.parameters())


def test_the_new_divergence_is_one(monkeypatch):
    for name in DIVERGENCES:  # those that there are come back when the test ends
        monkeypatch.setitem(DIVERGENCES, name, DIVERGENCES[name])
    monkeypatch.delitem(DIVERGENCES, "means", raising=False)
    exec(block("python"), {"__name__": "page"})
    try:
        section = {"preset": "custom", "marginal": {"x_tilde": {"means": 2}}}
        objective = make_objective(resolve(ObjectiveConfig(**section)), "dense")
        batch = make_batch("dense", full=True)
        losses = objective(batch)
        expected = (objective.decoder(batch.z).mean(0) - batch.x.mean(0)).square().mean()
        torch.testing.assert_close(losses.generator, 2 * expected)
    finally:
        DIVERGENCES.pop("means")


def test_a_terminal_sees_every_preset_within_its_width():
    lines = as_text(60).splitlines()
    names = [line for line in lines if not line.startswith(" ")]
    assert names == [row.name for row in rows()]
    assert max(map(len, lines)) <= 60
    for heading in ("L:", "D:", "with:", "z:"):
        assert any(line.strip().startswith(heading) for line in lines)
