"""A flow in the same loop: it learns, resumes exactly, and comes back from its bundle."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from training_standins import contents, logged, make_tiles, tiny

from imgturbo.bundle import load_bundle
from imgturbo.config import Config
from imgturbo.data import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.training import train

CINN = {
    "kind": "cinn",
    "stages": [
        {"injector": True, "blocks": 1, "width": 4, "coarse_blocks": 1, "coarse_width": 4},
        {"blocks": 1, "width": 4, "coarse_blocks": 1, "coarse_width": 4},
    ],
    "actnorm": True,
    "condition": {"kind": "vgg", "width": 4, "blocks": 1},
}


def flow(folder, tiles, **train_settings) -> Config:
    tree = tiny(folder, tiles, **({"select": None} | train_settings)).model_dump(
        mode="json", by_alias=True
    )
    tree["model"] = {"decoder": CINN}
    tree["objective"] = {"noise": 0.05}
    return Config.model_validate(tree)


@pytest.fixture
def tiles(tmp_path):
    return make_tiles(tmp_path / "tiles.zarr", holes=0, tile=16)


def test_the_likelihood_rises_and_the_bundle_is_the_best(tmp_path, tiles):
    config = flow(tmp_path, tiles, steps=60, validate_every=20, lr=5e-3, warmup=5)
    result = train(config)
    bits = [line["validation/forward/bits"] for line in logged(result.out)
            if "validation/forward/bits" in line]  # fmt: skip
    assert len(bits) == 3
    assert bits[-1] < bits[0] - 0.1
    assert result.scores["forward/bits"] == min(bits)
    assert list(result.out.glob("samples/*-forward.png"))
    bundle = load_bundle(result.bundle)
    assert isinstance(bundle.decoder, CINNDecoder)
    assert bundle.record["validation"]["forward/bits"] == min(bits)
    # What the bundle computes is what was scored, noise and all.
    validation = TileStore.open(tiles).split("validation")
    x, z = (torch.from_numpy(np.array(u[:4])) for u in (validation.target, validation.source))
    total = 0.0
    for number in range(2):
        rows = slice(2 * number, 2 * number + 2)
        generator = torch.Generator().manual_seed(number)
        noisy = x[rows] + 0.05 * torch.randn(x[rows].shape, generator=generator)
        with torch.inference_mode():
            total += float(-bundle.decoder.log_prob(noisy, z[rows]).sum())
    assert total / (4 * x[0].numel() * math.log(2)) == pytest.approx(min(bits), rel=1e-4)


def test_a_stopped_run_of_a_flow_ends_with_the_same_bits(tmp_path, tiles):
    whole = train(flow(tmp_path / "whole", tiles, steps=8, checkpoint_every=4))
    half = tmp_path / "half"
    train(flow(half, tiles, steps=8, checkpoint_every=4))
    # As if killed between steps 4 and 8: the later checkpoint never came to be.
    shutil.rmtree(half / "run" / "checkpoints" / "step-00000008")
    train(flow(half, tiles, steps=8, checkpoint_every=4))
    last = "run/checkpoints/step-00000008"
    assert contents(tmp_path / "whole" / last) == contents(half / last)
    assert logged(whole.out) == logged(half / "run")


def test_tiles_that_a_flow_cannot_halve_are_refused_before_training(tmp_path):
    tiles = make_tiles(tmp_path / "odd.zarr", tile=18)
    with pytest.raises(ImgturboError, match=r"prepare.tile.size is 18.*multiples of 4"):
        train(flow(tmp_path, tiles))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_tiles_with_a_hole_in_each_train_and_the_log_says_how_many(tmp_path, capfd):
    tiles = make_tiles(tmp_path / "holes.zarr", holes=0.05, tile=16)
    valid = np.asarray(TileStore.open(tiles).split("train").target_valid)
    assert not valid.reshape(len(valid), -1).all(1).any()
    result = train(flow(tmp_path, tiles, steps=4, validate_every=4))
    assert all(line["term/nll"] > 0 for line in logged(result.out) if "term/nll" in line)
    said = capfd.readouterr().err
    assert "training samples: 11 of 11 pairs count in nll, 11 of them with holes" in said


@pytest.mark.parametrize(
    ("store", "named"),
    [
        ({"paired": False}, r"no training sample is a pair.*objective \(nll\).*cyclegan"),
        ({"holes": 0.7}, r"measured in 50% of their pixels.*min_valid"),
    ],
)
def test_data_of_which_nothing_counts_are_refused(tmp_path, store, named):
    tiles = make_tiles(tmp_path / "tiles.zarr", tile=16, **store)
    with pytest.raises(ImgturboError, match=named):
        train(flow(tmp_path, tiles))
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_two_processes_follow_the_loss_of_one_with_the_joint_batch(tmp_path):
    """Law 8, ActNorm's first batch among it: losses and weights agree to rounding."""
    tiles = make_tiles(tmp_path / "holes.zarr", holes=0.001, tile=16)
    program = """
        import sys
        from pathlib import Path
        sys.path[:0] = [sys.argv[2], str(Path(sys.argv[2]).parent)]
        import torch
        from accelerate import PartialState
        from imgturbo.config import Config
        from imgturbo.engines import build_trainable
        from imgturbo.data import TileStore
        from imgturbo.data.loader import validation_batches
        from imgturbo.data.batch import Batch
        from test_flow_training import CINN

        state = PartialState(cpu=True)
        torch.manual_seed(0)
        objective = build_trainable(Config.model_validate({"model": {"decoder": CINN}}), 2, 1)
        whole = next(iter(validation_batches(TileStore.open(sys.argv[1]), 4, 4)))
        rows = slice(2 * state.process_index, 2 * state.process_index + 2)
        if state.num_processes == 1:
            rows = slice(0, 4)
        names = ("z", "x", "z_valid", "x_valid", "paired", "z_index", "x_index")
        mine = Batch(*(getattr(whole, name)[rows] for name in names))
        model = objective
        if state.num_processes > 1:
            model = torch.nn.parallel.DistributedDataParallel(objective)
        whole_pairs = mine.x_valid.flatten(1).all(1)
        assert 0 < whole_pairs.sum() and (state.num_processes > 1 or whole_pairs.sum() < 4)
        losses = model(mine)
        losses.generator.backward()
        gradient = torch.cat([p.grad.flatten() for p in objective.parameters()])
        if state.process_index == 0:
            torch.save({"g": gradient, "nll": losses.terms["nll"]}, sys.argv[3])
        state.destroy_process_group()
    """
    found = []
    for count in (1, 2):
        out = tmp_path / f"gradient-{count}.pt"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                   f"--nproc-per-node={count}", "--no-python", sys.executable, "-c",
                   textwrap.dedent(program), str(tiles), str(Path(__file__).parent),
                   str(out)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        found.append(torch.load(out, weights_only=True))
    torch.testing.assert_close(found[0]["nll"], found[1]["nll"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[0]["g"], found[1]["g"], rtol=1e-4, atol=1e-6)
