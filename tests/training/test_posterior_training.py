"""Networks of posteriors in the same loop: they learn, resume exactly, and come back."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from training_standins import contents, logged

from imgturbo.bundle import load_bundle
from imgturbo.config import Config, load_config
from imgturbo.errors import ImgturboError
from imgturbo.simulators import Linear
from imgturbo.training import train

SUMMARY = {"kind": "dense", "hidden": [16], "features": 8}
COUPLINGS = {"blocks": 2, "layers": 1, "width": 16}
KINDS = {
    "flow": ({"kind": "flow", **COUPLINGS, "actnorm": True, "condition": SUMMARY}, "bits"),
    "mdn": ({"kind": "mdn", "components": 2, "hidden": [16], "condition": SUMMARY}, "bits"),
    "zuko": ({"kind": "zuko", "transforms": 2, "hidden": [16], "condition": SUMMARY}, "bits"),
    "mixture_inn": ({"kind": "mixture_inn", **COUPLINGS, "condition": SUMMARY}, "bits"),
    "labels": ({"kind": "mixture_inn", **COUPLINGS, "labels": True, "spread": 1}, "bits"),
    "flow_matching": (
        {"kind": "flow_matching", "width": 16, "blocks": 1, "steps": 4, "condition": SUMMARY},
        "velocity",
    ),
    "augmented_inn": ({"kind": "augmented_inn", **COUPLINGS}, "mmd"),
}  # fmt: skip
every_kind = pytest.mark.parametrize("name", KINDS)


def config_of(name: str, folder: Path, **settings) -> Config:
    if name == "zuko" and importlib.util.find_spec("zuko") is None:
        pytest.skip("the package zuko is not installed")
    decoder, _ = KINDS[name]
    train_settings = {
        "steps": 8, "warmup": 1, "lr": 5e-3, "ema": 0, "validate_every": 4, "validate_tiles": 64,
        "checkpoint_every": 4, "log_every": 1, "keep": 9, "trackers": ["jsonl"],
        "out": str(folder / "run"),
    }  # fmt: skip
    objective = {"preset": "bottleneck", "noise": 0.01} if name == "labels" else {}
    return Config.model_validate(
        {
            "data": {
                "batch_size": 32,
                "source": {
                    "kind": "simulator", "name": "linear", "given": "observations",
                    "validation": 64,
                },
            },
            "model": {"decoder": decoder},
            "objective": objective,
            "train": train_settings | settings,
        }
    )  # fmt: skip


@every_kind
def test_its_score_gets_better_and_its_bundle_is_the_best(tmp_path, name):
    config = config_of(name, tmp_path, steps=60, validate_every=20, checkpoint_every=20)
    score = f"forward/{KINDS[name][1]}"
    result = train(config)
    found = [line[f"validation/{score}"] for line in logged(result.out)
             if f"validation/{score}" in line]  # fmt: skip
    assert len(found) == 3
    assert min(found) < found[0]
    assert result.scores[score] == min(found)
    bundle = load_bundle(result.bundle)
    assert bundle.record["validation"][score] == min(found)
    draws = bundle.decoder.posterior(torch.randn(3, len(bundle.source)), 5)
    assert draws.shape == (3, 5, len(bundle.target))


@every_kind
def test_stopped_and_resumed_is_not_stopped(tmp_path, name):
    whole = train(config_of(name, tmp_path / "whole"))
    half = tmp_path / "half"
    train(config_of(name, half))
    # As if killed between steps 4 and 8: the later checkpoint never came to be.
    shutil.rmtree(half / "run" / "checkpoints" / "step-00000008")
    train(config_of(name, half))
    last = "checkpoints/step-00000008"
    assert contents(whole.out / last) == contents(half / "run" / last)
    assert logged(whole.out) == logged(half / "run")


def test_the_score_is_the_density_of_the_bundle(tmp_path):
    result = train(config_of("flow", tmp_path))
    bundle = load_bundle(result.bundle)
    batch = next(iter(_source(tmp_path).validation(64)))
    nats = -bundle.decoder.log_prob(batch.x, batch.z).mean().detach() / batch.x.shape[1]
    assert result.scores["forward/bits"] == pytest.approx(float(nats) / math.log(2), rel=1e-5)


def _source(folder):
    from imgturbo.data.choice import open_source

    return open_source(config_of("flow", folder))


def test_images_are_refused_in_one_line(tmp_path):
    from training_standins import make_tiles

    tiles = make_tiles(tmp_path / "tiles.zarr")
    config = config_of("flow", tmp_path)
    config.data.source, config.data.tiles = None, tiles
    with pytest.raises(ImgturboError, match=r"DenseFlow reads tables.*kind: cinn") as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_linear_problem_is_learnt_to_its_closed_form(tmp_path):
    """NLL within 0.01 nat; posterior mean within 2 % of the prior's width, covariance of itself."""
    path = Path(__file__).parents[2] / "configs" / "vectors" / "linear.yaml"
    config = load_config(
        path,
        [f"train.out={tmp_path / 'run'}", "train.steps=1200", "data.batch_size=512",
         "train.validate_every=1200", "train.checkpoint_every=1200"],
    )  # fmt: skip
    network = load_bundle(train(config).bundle).decoder
    simulator, generator = Linear(), np.random.default_rng(5)
    parameters = simulator.prior(generator, 4000)
    observed = simulator.observe(generator, parameters)
    mean, covariance = simulator.posterior(observed)
    side = simulator.parameters.stretch
    x, z = (
        torch.tensor(stretch(rows.T).T, dtype=torch.float32)
        for stretch, rows in ((side, parameters), (simulator.observations.stretch, observed))
    )
    exact = torch.distributions.MultivariateNormal(
        torch.tensor(side(mean.T).T), torch.tensor(covariance / np.outer(side.scale, side.scale))
    )
    with torch.inference_mode():
        excess = exact.log_prob(x.double()).mean() - network.log_prob(x, z).double().mean()
        assert abs(float(excess)) < 0.01
        torch.manual_seed(0)
        draws = network.posterior(z[:100], 8000).double().numpy() * side.scale + side.offset
    assert np.sqrt(np.mean(((draws.mean(1) - mean[:100]) / side.scale) ** 2)) < 0.02
    found = np.mean([np.cov(rows.T) for rows in draws], axis=0)
    assert np.linalg.norm(found - covariance) < 0.02 * np.linalg.norm(covariance)


@pytest.mark.slow
def test_two_processes_follow_the_gradients_of_one_with_the_joint_batch(tmp_path):
    """Law 8, every kind; random numbers are made functions of what they are added to."""
    program = """
        import sys
        sys.path[:0] = sys.argv[1:]
        import torch
        from accelerate import PartialState
        from imgturbo.data.batch import Batch
        from imgturbo.engines import build_trainable, settle
        from posterior_batches import rows as make
        from test_posterior_training import KINDS, config_of
        from pathlib import Path

        state = PartialState(cpu=True)
        whole = make(8, 4, 3)
        first = 4 * state.process_index
        mine = slice(first, first + 4) if state.num_processes > 1 else slice(0, 8)
        names = ("z", "x", "z_valid", "x_valid", "paired", "z_index", "x_index")
        batch = Batch(*(getattr(whole, name)[mine] for name in names))
        for kind in KINDS:
            try:
                config = settle(config_of(kind, Path("nowhere")))
            except BaseException:
                continue
            torch.manual_seed(0)
            objective = build_trainable(config, 4, 3).double()
            like = lambda u: torch.sin(37 * torch.nan_to_num(u.double()) + 1)
            torch.randn_like, torch.rand_like = like, lambda u: like(u).abs()
            real, torch.randn = torch.randn, lambda size, **_: torch.zeros(*size).double()
            model = objective
            if state.num_processes > 1:
                model = torch.nn.parallel.DistributedDataParallel(objective)
            rest = (getattr(batch, name) for name in names[2:])
            losses = model(Batch(batch.z.double(), batch.x.double(), *rest))
            losses.generator.backward()
            torch.randn = real
            gradient = torch.cat([p.grad.flatten() for p in objective.parameters()])
            if state.is_main_process:
                total = sum(float(t) for t in losses.terms.values())
                print(kind, total, float(gradient.norm()), float(gradient.sum()))
    """
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    here = Path(__file__).parent
    folders = [str(here), str(here.parent / "posteriors"), str(here.parent)]

    def run(*launcher: str) -> list[list[str]]:
        words = [sys.executable, *launcher, str(script), *folders]
        done = subprocess.run(words, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return [line.split() for line in done.stdout.splitlines() if line.split()[0] in KINDS]

    one = run()
    two = run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert [line[0] for line in one] == [line[0] for line in two]
    assert len(one) >= len(KINDS) - 1
    for alone, together in zip(one, two, strict=True):
        numbers = [[float(word) for word in line[1:]] for line in (alone, together)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-6), alone[0]
