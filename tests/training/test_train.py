"""One process, in memory: what the loop does besides surviving a kill."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from stopped import stop_at
from torch import nn
from training_standins import SIDES, contents, logged, make_tiles, same_ends, tiny

from imgturbo.bundle import load_bundle
from imgturbo.errors import ImgturboError
from imgturbo.training import best, checkpoint, loop, train
from imgturbo.training.checkpoint import Checkpoints


@pytest.fixture
def tiles(tmp_path):
    return make_tiles(tmp_path / "tiles.zarr")


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)


def test_a_run_leaves_what_it_promises(tmp_path, tiles):
    config = tiny(tmp_path, trackers=["jsonl", "tensorboard"])
    result = train(config)
    out = config.train.out
    assert result.finished
    assert result.step == 9
    assert set(result.scores) >= {"forward/psnr", "forward/ssim", "backward/l1"}
    assert "forward/psnr" in result.message
    assert {p.name for p in out.iterdir()} == {
        "bundle", "checkpoints", "config.yaml", "metrics.jsonl", "samples", "tensorboard",
    }  # fmt: skip
    samples = sorted(p.name for p in (out / "samples").iterdir())
    assert samples == [
        f"step-{step:08d}-{way}.png" for step in (4, 8, 9) for way in ("backward", "forward")
    ]
    lines = logged(out)
    assert [line["step"] for line in lines if "loss/generator" in line] == list(range(1, 10))
    assert {"term/L/x_tilde", "term/D/z_tilde", "gradient/critics"} <= set(lines[0])
    best = json.loads((out / "checkpoints" / "best.json").read_text())["step"]
    assert best == result.best_step
    bundle = load_bundle(result.bundle)
    assert bundle.record["step"] == best
    assert bundle.record["steps"] == 9
    assert bundle.source == SIDES["source"]
    saved = Checkpoints(out / "checkpoints").at(best).tensors("ema")
    for name, weight in bundle.decoder.state_dict().items():
        assert torch.equal(weight, saved[f"decoder.{name}"])


@pytest.mark.usefixtures("no_pictures")
def test_training_lowers_the_loss(tmp_path, tiles):
    config = tiny(tmp_path, steps=150, lr=0.01, validate_every=150, checkpoint_every=150)
    config.objective.preset = "custom"
    config.objective.paired = {"x_tilde": 1.0}
    result = train(config)
    losses = [line["loss/generator"] for line in logged(result.out) if "loss/generator" in line]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("optimizer", "width"), [("adamw", 3), ("muon", 16)])
def test_sigterm_saves_and_the_next_call_ends_as_if_nothing_had_happened(
    tmp_path, tiles, monkeypatch, optimizer, width
):
    config = tiny(tmp_path / "whole", tiles, optimizer=optimizer)
    config.model.decoder.width = width
    whole = train(config)
    moments = Checkpoints(whole.out / "checkpoints").at(9).tensors("optimizers")
    assert any(name.startswith("matrices/") for name in moments) is (optimizer == "muon")
    config = tiny(tmp_path / "parts", tiles, optimizer=optimizer, checkpoint_every=100)
    config.model.decoder.width = width
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        stopped = train(config)
    assert not stopped.finished
    assert stopped.step == 6
    assert stopped.message == "stopped at step 6; run the same command to continue"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    config.train.checkpoint_every = 2
    ended = train(config)
    assert ended.scores == whole.scores
    same_ends(whole, ended, 9)


@pytest.mark.usefixtures("no_pictures")
def test_consecutive_checkpoints_differ(tmp_path, tiles):
    """Without this the comparison of checkpoints could be one of empty files."""
    out = train(tiny(tmp_path, checkpoint_every=1)).out
    newest = [contents(c.path) for c in Checkpoints(out / "checkpoints").all()[:2]]
    for name in ("objective", "optimizers", "ema"):
        assert newest[0][f"{name}.safetensors"] != newest[1][f"{name}.safetensors"]


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_run_is_not_trained_again(tmp_path, tiles):
    config = tiny(tmp_path, steps=2)
    train(config)
    before = contents(Checkpoints(config.train.out / "checkpoints").at(2).path)
    again = train(config)
    assert again.finished
    assert contents(Checkpoints(config.train.out / "checkpoints").at(2).path) == before
    config.train.steps = 3
    assert train(config).step == 3


@pytest.mark.usefixtures("no_pictures")
def test_starting_anew_forgets_the_run_that_was_there(tmp_path, tiles):
    config = tiny(tmp_path, steps=3)
    train(config)
    (config.train.out / "notes.txt").write_text("mine")
    config.seed += 1
    with pytest.raises(ImgturboError, match=r"started with seed = 3, not 4"):
        train(config)
    result = train(config, resume=False)
    assert result.step == 3
    assert (config.train.out / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("no_pictures")
def test_another_config_is_refused_and_nothing_is_overwritten(tmp_path, tiles):
    config = tiny(tmp_path, steps=2)
    train(config)
    before = {p: p.read_bytes() for p in config.train.out.rglob("*") if p.is_file()}
    config.train.lr *= 2
    with pytest.raises(ImgturboError, match=r"train\.lr"):
        train(config)
    assert {p: p.read_bytes() for p in config.train.out.rglob("*") if p.is_file()} == before


@pytest.mark.usefixtures("no_pictures")
def test_other_tiles_are_refused(tmp_path, tiles):
    config = tiny(tmp_path, steps=2)
    train(config)
    other = replace(SIDES["source"], names=("F435W", "F814W"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIDES, "source", other)
        config.data.tiles = make_tiles(tmp_path / "other.zarr")
    with pytest.raises(ImgturboError, match="other tiles"):
        train(config)


@pytest.mark.usefixtures("no_pictures")
def test_a_corrupt_last_checkpoint_costs_only_its_own_steps(tmp_path, tiles, capsys):
    config = tiny(tmp_path)
    train(config)
    checkpoints = Checkpoints(config.train.out / "checkpoints")
    expected = contents(checkpoints.at(9).path)
    weights = checkpoints.at(9).path / "objective.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    train(config)
    assert "step-00000009 is passed over" in capsys.readouterr().err
    assert contents(checkpoints.at(9).path) == expected


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path, monkeypatch, accumulate):
    make_tiles(tmp_path / "tiles.zarr", bad_row=7)
    config = tiny(tmp_path, checkpoint_every=1, accumulate=accumulate, steps=30)
    states = []
    real = loop._update

    def update(state, batches, stop):
        before = {k: v.detach().clone() for k, v in state.objective.state_dict().items()}
        states[:] = [state, before]
        return real(state, batches, stop)

    monkeypatch.setattr(loop, "_update", update)
    with pytest.raises(ImgturboError, match=r"loss is not finite.*train row 7 \(field patch") as e:
        train(config)
    state, before = states
    assert f"step {state.progress.step + 1}:" in str(e.value)
    assert all(torch.equal(v, before[k]) for k, v in state.objective.state_dict().items())
    assert all(v.isfinite().all() for v in before.values() if v.is_floating_point())
    assert Checkpoints(config.train.out / "checkpoints").all()[0].step == state.progress.step


def test_a_gradient_that_is_not_finite_stops_too(tmp_path, tiles, monkeypatch):
    real = nn.utils.clip_grad_norm_

    def broken(parameters, limit):
        parameters[0].grad.fill_(torch.nan)
        return real(parameters, limit)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", broken)
    with pytest.raises(ImgturboError, match=r"step 1: the gradient is not finite.*train row"):
        train(tiny(tmp_path))


@pytest.mark.usefixtures("no_pictures")
def test_micro_batches_add_up_to_the_joint_batch(tmp_path):
    """Without holes, pools or dropout K micro-batches of B give the weights of one of K·B."""
    tiles = make_tiles(tmp_path / "tiles.zarr", holes=0.0)
    weights = []
    for size, parts in ((6, 1), (2, 3)):
        config = tiny(tmp_path / str(parts), tiles, steps=1, accumulate=parts, lr=1e-3, warmup=0)
        config.data.batch_size = size
        config.data.augment = "none"  # a micro-batch draws its own symmetries
        config.objective.pool = 0
        result = train(config)
        saved = Checkpoints(result.out / "checkpoints").at(1).tensors("optimizers")
        weights.append({k: v for k, v in saved.items() if k.endswith("exp_avg")})
    joint, micro = weights
    assert any(v.abs().max() > 1e-4 for v in joint.values())
    for name, value in joint.items():
        torch.testing.assert_close(micro[name], value, rtol=2e-4, atol=1e-6)


def test_without_pairs_the_latest_weights_are_the_best(tmp_path, capsys):
    tiles = make_tiles(tmp_path / "tiles.zarr", paired=False)
    config = tiny(tmp_path, tiles, steps=5, validate_every=2, checkpoint_every=5)
    config.objective.preset = "cyclegan"
    result = train(config)
    assert len(list((result.out / "samples").iterdir())) == 6
    # There are scores that need no pairs, and the one that selects is none of them.
    assert set(result.scores) == {"direct/psnr", "reverse/psnr", "forward/mmd", "backward/mmd"}
    assert result.best_step == 5
    assert "validation at step 5: direct/psnr" in capsys.readouterr().err
    assert result.bundle is not None


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("precision", "channels_last"), [("bf16", True), ("no", False)])
def test_precision_and_layout_are_options(tmp_path, tiles, precision, channels_last):
    result = train(tiny(tmp_path, steps=2, precision=precision, channels_last=channels_last))
    saved = Checkpoints(result.out / "checkpoints").at(2).tensors("objective")
    assert {v.dtype for v in saved.values() if v.is_floating_point()} == {torch.float32}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="fp16 is possible here")
def test_fp16_without_a_gpu_is_refused_in_one_line(tmp_path, tiles):
    with pytest.raises(ImgturboError, match=r"train\.precision = 'fp16'"):
        train(tiny(tmp_path, precision="fp16"))


@pytest.mark.usefixtures("no_pictures")
def test_a_full_disk_ends_the_run_with_the_last_checkpoint_intact(tmp_path, tiles, monkeypatch):
    config = tiny(tmp_path)
    real = checkpoint.write_durably

    def full(path, content):
        if "step-00000006" in str(path):
            raise OSError(28, "No space left on device")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_durably", full)
        with pytest.raises(ImgturboError, match=r"step-00000006.*No space left"):
            train(config)
    found = Checkpoints(config.train.out / "checkpoints").latest(pytest.fail)
    assert found is not None
    assert found.step == 4
    assert train(config).finished


def test_an_unwritable_folder_is_named(tmp_path, tiles):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImgturboError, match=r"file/run: cannot be written"):
        train(tiny(tmp_path, out=str(tmp_path / "file" / "run")))


def test_training_needs_no_astropy(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['astropy'] = None\n"
        "import imgturbo.training, imgturbo.bundle\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
