"""From a configuration to an objective on the project's own networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from turbo_standins import make_batch

from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.nets import DenseCritic, PatchGAN
from imgturbo.turbo import PRESETS, build_objective
from imgturbo.turbo.terms import OUTPUTS

UNET = {"kind": "unet", "width": 4, "depth": 1, "blocks": 1}
RESNET = {"kind": "resnet", "width": 4, "downs": 1, "blocks": 1}
MLP = {"kind": "mlp", "hidden": [8, 8]}
PATCHGAN = {"kind": "patchgan", "width": 4, "layers": 2}
DENSE = {"kind": "mlp", "hidden": [8, 8]}


def config(objective, decoder=UNET, critic=PATCHGAN, encoder=None):
    model = {"decoder": decoder, "encoder": encoder, "critic": critic}
    return Config.model_validate({"objective": objective, "model": model})


def of_one_answer(preset):
    """Whether plain networks will do."""
    terms = PRESETS[preset].terms
    return not any({"kl", "likelihood"} & set(terms.divergences(o)) for o in OUTPUTS)


# LPIPS needs weights that may not be there; a flow is one network, see tests/flows.
BUILT = sorted(set(PRESETS) - {"custom", "flow", "pix2pix_lpips", "one_cycle"})


@pytest.mark.parametrize("preset", BUILT)
@pytest.mark.parametrize("network", ["unet", "mlp"])
@pytest.mark.parametrize("channels", [(1, 3), (2, 2)])
def test_presets_train_every_parameter_of_every_network(preset, network, channels):
    trains_every_parameter(preset, network, channels)


@pytest.mark.parametrize("preset", ["turbo", "vae_gan"])
def test_so_do_they_of_a_resnet(preset):
    trains_every_parameter(preset, "resnet", (1, 3))


def trains_every_parameter(preset, network, channels):
    decoder, critic = {"unet": (UNET, PATCHGAN), "resnet": (RESNET, PATCHGAN), "mlp": (MLP, DENSE)}[
        network
    ]
    decoder = {**decoder, "noise_channels": 1}
    encoder = decoder if of_one_answer(preset) else {**decoder, "head": "gaussian"}
    whole = config({"preset": preset}, decoder, critic, encoder)
    objective = build_objective(whole, *channels)
    kind = "dense" if network == "mlp" else "conv"
    batch = make_batch(kind, c=channels[0], c2=channels[1], size=(19, 23))
    losses = objective(batch)
    (losses.generator + losses.critic).backward()
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("mode", ["hinge", "wgan-gp"])
def test_other_modes_on_multi_scale_critics(mode):
    section = {"preset": "turbo", "adversarial": mode, "r1": 1.0, "pool": 3}
    objective = build_objective(config(section, critic={**PATCHGAN, "scales": 2}), 1, 2)
    losses = objective(make_batch(c=1, c2=2, size=(37, 32)))
    (losses.generator + losses.critic).backward()
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters())


def test_pix2pix_makes_a_decoder_and_a_conditional_critic_only():
    objective = build_objective(config({"preset": "pix2pix"}), 2, 3)
    assert objective.encoder is None
    critic = objective.critics["x_tilde"]
    assert isinstance(critic, PatchGAN)
    assert (critic.channels, critic.condition_channels) == (3, 2)


def test_where_no_term_needs_the_decoder_the_encoder_is_made_alone():
    objective = build_objective(config({"preset": "custom", "paired": {"z_tilde": 1}}), 2, 3)
    assert objective.decoder is None
    assert list(objective.maps()) == ["encoder"]
    assert (objective.encoder.in_channels, objective.encoder.out_channels) == (3, 2)
    objective(make_batch(c=2, c2=3, size=(19, 23))).generator.backward()
    assert all(p.grad is not None for p in objective.parameters())


def test_networks_with_an_engine_of_their_own_are_refused():
    with pytest.raises(ImgturboError, match="kind cinn is not trained by the eight terms"):
        build_objective(config({"preset": "turbo"}, {"kind": "cinn"}), 2, 3)


def test_the_encoder_may_be_of_another_kind():
    objective = build_objective(config({"preset": "turbo"}, encoder=RESNET), 2, 3)
    assert type(objective.encoder).__name__ == "ResNet"
    assert (objective.encoder.in_channels, objective.encoder.out_channels) == (3, 2)
    assert (objective.decoder.in_channels, objective.decoder.out_channels) == (2, 3)


def test_dense_networks_get_dense_critics():
    objective = build_objective(config({"preset": "turbo"}, MLP, DENSE), 4, 5)
    assert all(isinstance(critic, DenseCritic) for critic in objective.critics.values())


def test_identity_of_the_preset_goes_where_it_cannot_be_and_the_users_is_an_error():
    assert build_objective(config({"preset": "cyclegan"}), 2, 2).terms.identity["x"] == 5
    unequal = build_objective(config({"preset": "cyclegan"}), 2, 3).terms
    assert unequal == replace(PRESETS["cyclegan"].terms, identity={"x": 0.0, "z": 0.0})
    with pytest.raises(ImgturboError, match="as many source bands as target bands"):
        build_objective(config({"preset": "turbo", "identity": {"x": 1}}), 2, 3)


@pytest.mark.parametrize(
    ("section", "decoder", "critic", "message"),
    [
        ({"preset": "turbo"}, MLP, PATCHGAN, "set it to 'mlp'"),
        ({"preset": "turbo"}, UNET, DENSE, "set it to 'patchgan'"),
    ],
)
def test_what_does_not_fit_is_named(section, decoder, critic, message):
    with pytest.raises(ImgturboError, match=message):
        build_objective(config(section, decoder, critic), 2, 3)


def test_a_few_steps_learn_a_linear_colour_map():
    """The whole objective, both optimisers."""
    torch.manual_seed(0)
    objective = build_objective(config({"preset": "turbo"}), 1, 1)
    generators = torch.optim.Adam(objective.generator_parameters(), 1e-2, (0.5, 0.99))
    critics = torch.optim.Adam(objective.critic_parameters(), 1e-3, (0.5, 0.99))
    found = []
    for step in range(50):
        batch = make_batch(c=1, c2=1, size=(12, 12), seed=step, pairs=[True] * 4)
        batch = replace(batch, x=0.5 + 0.5 * batch.z)
        losses = objective(batch)
        generators.zero_grad()
        critics.zero_grad()
        (losses.generator + losses.critic).backward()
        generators.step()
        critics.step()
        found.append(float(losses.terms["L/x_tilde"]))
    assert found[-1] < 0.6 * found[0]
