"""What counts in a run that is begun, and critics that take several steps in one."""

from __future__ import annotations

import shutil

import pytest
import torch
from training_standins import contents, logged, make_tiles, tiny

from imgturbo.config import ObjectiveConfig
from imgturbo.errors import ImgturboError
from imgturbo.training import best, loop, train


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)


def test_pix2pix_without_pairs_is_refused_before_training(tmp_path):
    tiles = make_tiles(tmp_path / "tiles.zarr", paired=False)
    config = tiny(tmp_path, tiles)
    config.objective = ObjectiveConfig(preset="pix2pix")
    with pytest.raises(ImgturboError, match=r"no training sample is a pair.*L/x_tilde, D/x_tilde"):
        train(config)
    config.objective = ObjectiveConfig(preset="cyclegan", paired={"x_tilde": 10})
    with pytest.raises(ImgturboError, match=r"objective\.paired\.x_tilde is 10.*never counts"):
        train(config)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_terms_of_the_preset_that_nothing_counts_in_are_named_in_the_log(tmp_path, capfd):
    tiles = make_tiles(tmp_path / "tiles.zarr", paired=False)
    train(tiny(tmp_path, tiles, steps=1))
    said = capfd.readouterr().err
    assert "training samples: 0 pairs; none counts in L/z_tilde, L/x_tilde" in said


def test_several_critic_steps_resume_exactly_and_read_batches_of_their_own(tmp_path):
    settings = {"steps": 6, "checkpoint_every": 3, "critic_steps": 3, "accumulate": 2}
    tiles = make_tiles(tmp_path / "tiles.zarr")
    whole = train(tiny(tmp_path / "whole", tiles, **settings))
    half = tmp_path / "half"
    train(tiny(half, tiles, **settings))
    shutil.rmtree(half / "run" / "checkpoints" / "step-00000006")
    train(tiny(half, tiles, **settings))
    last = "run/checkpoints/step-00000006"
    assert contents(tmp_path / "whole" / last) == contents(half / last)
    assert logged(whole.out) == logged(half / "run")


def test_critics_step_alone_first_and_generators_once(tmp_path, monkeypatch):
    tiles, seen = make_tiles(tmp_path / "tiles.zarr"), []
    real = loop._descend

    def descend(state, batches, chosen, factor, stop):
        before = [p.clone() for p in state.objective.generator_parameters()]
        critics = [p.clone() for p in state.objective.critic_parameters()]
        found = real(state, batches, chosen, factor, stop)
        moved = [
            any(not torch.equal(a, b) for a, b in zip(old, new, strict=True))
            for old, new in (
                (before, state.objective.generator_parameters()),
                (critics, state.objective.critic_parameters()),
            )
        ]
        seen.append((tuple(chosen), *moved))
        return found

    monkeypatch.setattr(loop, "_descend", descend)
    train(tiny(tmp_path, tiles, steps=2, critic_steps=3))
    one = [(("critics",), False, True)] * 2 + [(("generators", "critics"), True, True)]
    assert seen == one * 2


def test_critic_steps_without_a_critic_are_refused(tmp_path):
    config = tiny(tmp_path, make_tiles(tmp_path / "tiles.zarr"), critic_steps=5)
    config.objective = ObjectiveConfig(preset="custom", paired={"x_tilde": 1})
    with pytest.raises(ImgturboError, match=r"train\.critic_steps is 5.*no critic"):
        train(config)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"decoder": {"kind": "unet", "width": 1, "depth": 7}}, "multiples of 128 pixels"),
        ({"critic": {"width": 1, "layers": 6}}, r"critic \w+ judges images of 192 pixels and more"),
    ],
)
def test_networks_much_coarser_than_the_tiles_are_refused(tmp_path, model, named):
    """They would grow each tile of 17 pixels to many times its area, for nothing to be seen."""
    config = tiny(tmp_path, make_tiles(tmp_path / "tiles.zarr"))
    tree = config.model_dump(mode="json", by_alias=True)
    tree["model"].update({key: {**tree["model"][key], **value} for key, value in model.items()})
    with pytest.raises(ImgturboError, match=named) as caught:
        train(type(config).model_validate(tree))
    assert "\n" not in str(caught.value)
