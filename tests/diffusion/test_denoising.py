"""The loss of a diffusion model: what it asks for, masks, and the configs it belongs to."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from refusals import in_one_line

from imgturbo.config import Config
from imgturbo.data.batch import Batch
from imgturbo.diffusion import Denoising, build_scheduler
from imgturbo.engines import build_trainable, load_settled, settle
from imgturbo.errors import ImgturboError

TINY = {"kind": "diffusion", "width": 3, "depth": 1, "blocks": 1, "steps": 20, "sampling_steps": 4}


def objective(silent: bool = False, **settings) -> Denoising:
    torch.manual_seed(0)
    config = {"model": {"decoder": TINY | settings}}
    made = build_trainable(Config.model_validate(config), 2, 1)
    assert isinstance(made, Denoising)
    if silent:
        torch.nn.init.zeros_(made.decoder.denoiser.last.weight)
        torch.nn.init.zeros_(made.decoder.denoiser.last.bias)
    return made


def batch(count=4, side=9, seed=1, holes=0.3) -> Batch:
    torch.manual_seed(seed)
    z, x = torch.rand(count, 2, side, side), torch.rand(count, 1, side, side)
    z_valid, x_valid = (torch.rand(count, 1, side, side) >= holes for _ in range(2))
    index = torch.arange(count)
    return Batch(z, x, z_valid, x_valid, torch.ones(count, dtype=torch.bool), index, index)


def loss(made: Denoising, data: Batch, seed: int = 5):
    torch.manual_seed(seed)
    return made(data)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_silent_network_pays_the_mean_square_of_what_is_asked_for(prediction, schedule):
    made = objective(True, prediction=prediction, schedule=schedule, clip=1.0, spread=0.25)
    data = batch(holes=0.0)
    torch.manual_seed(5)
    t = torch.randint(20, (4,))
    epsilon = torch.randn(4, 1, 9, 9)
    alpha = build_scheduler(made.decoder.config).alphas_cumprod[t].view(4, 1, 1, 1)
    x_0 = (data.x - 0.5) / 0.25
    wanted = {
        "epsilon": epsilon,
        "sample": x_0,
        "v_prediction": alpha.sqrt() * epsilon - (1 - alpha).sqrt() * x_0,
    }[prediction]
    losses = loss(made, data)
    torch.testing.assert_close(losses.generator, wanted.square().mean())
    torch.testing.assert_close(losses.terms["denoising"], wanted.square().mean())
    assert losses.critic == 0


def test_nothing_under_a_mask_reaches_the_loss_or_a_gradient():
    made, data = objective(), batch()
    data.paired[1] = False
    poisoned = replace(
        data,
        z=data.z.where(data.z_valid, torch.nan),
        x=data.x.where(data.x_valid & data.z_valid & data.paired.view(-1, 1, 1, 1), torch.inf),
    )
    gradients = []
    for one in (data, poisoned):
        made.zero_grad()
        found = loss(made, one).generator
        found.backward()
        gradients.append([found.detach(), *(p.grad.clone() for p in made.generator_parameters())])
    for clean, poison in zip(*gradients, strict=True):
        torch.testing.assert_close(clean, poison, rtol=0, atol=0)


def test_the_mean_is_over_pixels_that_both_sides_measured():
    made, data = objective(True, prediction="epsilon", clip=1.0), batch()
    data.paired[2] = False
    torch.manual_seed(5)
    torch.randint(20, (4,))
    epsilon = torch.randn(4, 1, 9, 9)
    counts = data.z_valid & data.x_valid & data.paired.view(-1, 1, 1, 1)
    torch.testing.assert_close(loss(made, data).generator, epsilon[counts].square().mean())
    data.paired[:] = False
    nothing = loss(made, data).generator
    nothing.backward()
    assert nothing == 0


def test_steps_draw_other_times_and_noise_and_repeat_with_their_seed():
    made, data = objective(), batch()
    one, again, other = (float(loss(made, data, seed).generator.detach()) for seed in (1, 1, 2))
    assert one == again != other


def test_what_the_loop_asks_for():
    made = objective()
    assert made.encoder is None
    assert made.critic_parameters() == []
    assert made.state_beside() == {}
    made.load_state_beside({})
    assert len(made.generator_parameters()) == len(list(made.parameters()))


def test_tables_are_refused():
    rows = torch.rand(3, 2)
    mask, index = torch.ones(3, 1, dtype=torch.bool), torch.arange(3)
    table = Batch(rows, rows[:, :1], mask, mask, mask[:, 0], index, index)
    with pytest.raises(ImgturboError, match="kind: mlp"):
        objective()(table)


def test_the_kind_alone_chooses_objective_and_score():
    config = Config.model_validate({"model": {"decoder": TINY}})
    config = settle(config)
    assert (config.objective.preset, config.train.select) == ("diffusion", "psnr")
    assert settle(Config()).objective.preset == "turbo"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective.preset=turbo"], ["turbo", "preset diffusion and kind diffusion go together"]),
        (["objective.preset=likelihood"], ["likelihood", "kind diffusion"]),
        (["model.decoder={kind: unet}", "objective.preset=diffusion"], ["kind unet", "diffusion"]),
        (["model.decoder={kind: cinn}", "objective.preset=diffusion"], ["kind cinn"]),
        (["model.encoder={kind: unet}"], ["kind diffusion has no encoder"]),
        (["train.select=bits"], ["only kind cinn"]),
        (["model.decoder.samplr=ddim"], ["model.decoder.samplr", "'sampler'"]),
        (["model.decoder.sampling_steps=3"], ["model.decoder: ", "does not divide", "use 2"]),
    ],
)
def test_mistakes_are_one_line(tmp_path, overrides, words):
    path = tmp_path / "c.yaml"
    path.write_text(f"model: {{decoder: {TINY}}}\n".replace("'", ""))
    with pytest.raises(ImgturboError, match=f"^{re.escape(str(path))}: ") as caught:
        load_settled(path, overrides)
    in_one_line(caught, *words)


@pytest.mark.parametrize(
    "weights", [{"paired": {"x_tilde": 1}}, {"marginal": {"x_hat": 1}}, {"identity": {"x": 1}}]
)
def test_weights_beside_it_are_refused(weights):
    config = Config.model_validate({"model": {"decoder": TINY}, "objective": weights})
    with pytest.raises(ImgturboError, match="preset diffusion has no paired"):
        build_trainable(config, 2, 1)
