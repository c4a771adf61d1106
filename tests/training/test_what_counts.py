"""What counts in a run that is begun, and critics that take several steps in one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from tiles_anywhere import anywhere
from training_standins import SIDES, contents, logged, make_tiles, tiny

from imgturbo.config import ObjectiveConfig
from imgturbo.data import Tiles, TileSpec, TileStore
from imgturbo.data.choice import open_source
from imgturbo.engines import build_trainable
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


SIDE = 18  # even: flows halve it


def masked_tiles(path, z_valid, x_valid):
    """Pairs whose two sides are measured in these places (T, T)."""
    side = len(z_valid)
    spec = TileSpec(side, SIDES["source"], SIDES["target"], ("patch",), {"inputs": ["a"]})
    with TileStore.create(path, spec) as writer:
        for split, n in (("train", 5), ("validation", 3)):
            z = np.random.default_rng(n).normal(size=(n, 2, side, side)).astype(np.float32)
            masks = [np.broadcast_to(mask, (n, side, side)) for mask in (z_valid, x_valid)]
            writer.append(split, Tiles(z, z[:, :1].copy(), *masks, **anywhere(n)))
    return path


LEFT, RIGHT, NOTHING = np.zeros((3, SIDE, SIDE), bool)
LEFT[:, :8] = RIGHT[:, 8:] = True
UNET = {"kind": "unet", "width": 2, "depth": 1, "blocks": 1}
FLOW = {
    "kind": "cinn",
    "stages": [{"blocks": 1, "width": 2, "coarse_blocks": 0, "injector": True}],
    "condition": {"kind": "vgg", "width": 2, "blocks": 1},
}


@pytest.mark.parametrize(
    ("masks", "decoder", "objective", "trains"),
    [
        ((NOTHING, NOTHING), UNET, {"preset": "turbo"}, False),
        ((NOTHING, NOTHING), UNET, {"preset": "custom", "paired": {"x_hat": 1}}, False),
        ((NOTHING, NOTHING), FLOW, {}, False),
        ((NOTHING, NOTHING), {"kind": "diffusion", "width": 8, "depth": 1}, {}, False),
        ((LEFT, RIGHT), UNET, {"preset": "pix2pix"}, False),
        ((LEFT, RIGHT), UNET, {"preset": "custom", "marginal": {"x_tilde": {"mmd": 1}}}, False),
        ((LEFT, RIGHT), {"kind": "diffusion", "width": 8, "depth": 1}, {}, False),
        ((LEFT, RIGHT), UNET, {"preset": "custom", "paired": {"x_hat": 1}}, True),
        ((LEFT, RIGHT), UNET, {"preset": "custom", "marginal": {"z_hat": {"mmd": 1}}}, True),
        ((LEFT, LEFT), UNET, {"preset": "pix2pix"}, True),
        ((NOTHING, RIGHT), FLOW, {}, True),  # holes of its source do not matter
        ((NOTHING, RIGHT), UNET, {"preset": "custom", "paired": {"z_hat": 1}}, False),
    ],
)
def test_masks_that_leave_nothing_are_refused_by_every_engine(
    tmp_path, masks, decoder, objective, trains
):
    config = tiny(tmp_path, masked_tiles(tmp_path / "tiles.zarr", *masks), steps=1)
    tree = config.model_dump(mode="json", by_alias=True) | {"objective": objective}
    tree["model"]["decoder"] = decoder
    config = type(config).model_validate(tree)
    if trains:
        source = open_source(config)
        trainable = build_trainable(config, source.source, source.target)
        trainable.check(source)
        assert trainable.idle_terms(source) == []
        return
    with pytest.raises(ImgturboError, match="so that nothing would be trained") as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(("scale", "trains"), [(1, True), (2, False)])
def test_a_flow_of_coarse_numbers_counts_them_and_not_pixels(tmp_path, scale, trains, capfd):
    """One pixel of nearly every 2 × 2 cell is missing: of pixels 3/4 are there, of cells one."""
    holes = np.ones((SIDE + 2, SIDE + 2), bool)
    holes[::2, ::2] = False
    holes[0, 0] = True
    tiles = masked_tiles(tmp_path / "tiles.zarr", np.ones_like(holes), holes)
    config = tiny(tmp_path, tiles, steps=1)
    tree = config.model_dump(mode="json", by_alias=True) | {"objective": {}}
    tree["model"]["decoder"] = FLOW | {"condition": FLOW["condition"] | {"scale": scale}}
    config = type(config).model_validate(tree)
    if trains:
        train(config)
        assert "5 of 5 pairs count in nll" in capfd.readouterr().err
        return
    with pytest.raises(ImgturboError, match=r"in 50% of their cells of 2 × 2 pixels or more"):
        train(config)


def test_a_weight_for_a_term_that_masks_leave_nothing_in_is_refused(tmp_path, capfd):
    tiles = masked_tiles(tmp_path / "tiles.zarr", LEFT, RIGHT)
    config = tiny(tmp_path, tiles, steps=1)
    config.objective = ObjectiveConfig(preset="cyclegan", identity={"x": 0, "z": 0})
    train(config)
    assert "5 pairs; none counts in D/z_tilde, D/x_tilde" in capfd.readouterr().err
    config.objective = ObjectiveConfig(preset="custom", paired={"x_tilde": 3, "x_hat": 1})
    with pytest.raises(ImgturboError, match=r"x_tilde is 3, but no training sample is measured on"):
        train(config, resume=False)
