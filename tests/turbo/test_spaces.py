"""Spaces of unlike shape: vectors here, images there; who is valid, who is compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from turbo_standins import Critic, make_batch

from imgturbo.config import Config
from imgturbo.data.batch import Batch
from imgturbo.errors import ImgturboError
from imgturbo.nets import DenseCritic, PatchGAN
from imgturbo.nets.generator import Generator, carry
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.turbo import PRESETS, build_objective
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.spaces import Output, Samples, carried, contest
from imgturbo.turbo.terms import SPACE

HEIGHT, WIDTH = 5, 4
OTHER = {"z": "x", "x": "z"}
DENSE = {"kind": "mlp", "hidden": [4]}
PATCH = {"kind": "patchgan", "width": 4, "layers": 1}


class ToImage(nn.Module):
    """(B, C) → (B, C', H, W), a plain module that says nothing about validity."""

    def __init__(self, numbers, bands):
        super().__init__()
        self.bands, self.net = bands, nn.Linear(numbers, bands * HEIGHT * WIDTH)

    def forward(self, u, noise=None):
        self.seen = u.detach()
        return self.net(u).view(-1, self.bands, HEIGHT, WIDTH)


class ToVector(Generator):
    """(B, C', H, W) → (B, C)."""

    def __init__(self, bands, numbers):
        super().__init__(bands, numbers)
        self.net = nn.Linear(bands * HEIGHT * WIDTH, numbers)

    def forward(self, u, noise=None):
        self.seen = u.detach()
        return self.net(u.flatten(1))


def mixed_batch(vector="z", seed=0, pairs=(True, True, False, True)):
    """Two numbers in one space, images of three bands in the other, with holes in both."""
    table = make_batch("dense", n=4, c=2, c2=2, seed=seed)
    image = make_batch("conv", n=4, c=3, c2=3, seed=seed + 1, size=(HEIGHT, WIDTH))
    parts = {OTHER[vector]: (image.x, image.x_valid), vector: (table.z, table.z_valid)}
    (z, z_valid), (x, x_valid) = parts["z"], parts["x"]
    index = torch.arange(4)
    return Batch(z, x, z_valid, x_valid, torch.tensor(pairs), index, index)


def mixed_objective(terms, vector="z"):
    torch.manual_seed(0)
    to_vector, to_image = ToVector(3, 2), ToImage(2, 3)
    encoder, decoder = (to_vector, to_image) if vector == "z" else (to_image, to_vector)
    critics = {
        name: Critic("dense", 2) if SPACE[output] == vector else Critic("conv", 3)
        for name, output in terms.critics.items()
    }
    return Objective(encoder, decoder, critics, terms)


# ------------------------------------------------------------------------- what becomes of validity


def test_validity_is_carried_by_the_grid_or_by_the_sample():
    valid = torch.rand(4, 1, 5, 4, generator=torch.Generator().manual_seed(0)) < 0.3
    valid[2] = False
    anything = torch.tensor([True, True, False, True])
    assert torch.equal(carry(valid, torch.zeros(4, 7, 5, 4)), valid)
    assert torch.equal(carry(valid, torch.zeros(4, 7)), anything[:, None])
    finer = carry(valid, torch.zeros(4, 7, 10, 8))
    assert torch.equal(finer, anything.view(4, 1, 1, 1).expand(4, 1, 10, 8))
    rows = anything[:, None]
    assert torch.equal(carry(rows, torch.zeros(4, 9)), rows)
    assert torch.equal(carry(rows, torch.zeros(4, 2, 3, 6)), finer[..., :3, :6])


def test_a_network_may_carry_validity_its_own_way():
    class Doubled(ToVector):
        def carry(self, valid, output):
            return ~super().carry(valid, output)

    valid, output = torch.ones(3, 1, HEIGHT, WIDTH, dtype=torch.bool), torch.zeros(3, 2)
    assert carried(ToVector(3, 2), valid, output).all()
    assert not carried(Doubled(3, 2), valid, output).any()
    assert carried(nn.Linear(3, 2), valid, output).all()


@pytest.mark.parametrize("vector", ["z", "x"])
def test_the_network_s_own_carry_decides_who_counts(vector):
    terms = PRESETS["turbo"].terms
    objective, batch = mixed_objective(terms, vector), mixed_batch(vector, pairs=[True] * 4)
    network = objective.encoder if vector == "z" else objective.decoder
    before = objective(batch).terms
    network.carry = lambda valid, output: torch.zeros(len(output), 1, dtype=torch.bool)
    after = objective(batch).terms
    for output in ("tilde", "hat"):
        name = f"L/{vector}_{output}"
        assert before[name] != 0
        assert after[name] == 0


# ------------------------------------------------------------------------------ the eight terms


@pytest.mark.parametrize("vector", ["z", "x"])
def test_turbo_between_vectors_and_images_is_its_means_over_what_is_valid(vector):
    objective, batch = mixed_objective(PRESETS["turbo"].terms, vector), mixed_batch(vector)
    found = objective(batch).terms
    z, x = (torch.where(v, u, 0.0) for u, v in ((batch.z, batch.z_valid), (batch.x, batch.x_valid)))

    def every(valid, like):  # a sample counts as a whole in the other space
        return valid.flatten(1).any(1).view(-1, *[1] * (like.ndim - 1)).expand_as(like)

    def mean(output, truth, valid):
        return (output - truth)[valid.expand_as(truth)].abs().mean()

    pairs = batch.paired
    z_tilde, x_tilde = objective.encoder(x), objective.decoder(z)
    z_tilde_valid, x_tilde_valid = every(batch.x_valid, z), every(batch.z_valid, x)
    x_hat = objective.decoder(torch.where(z_tilde_valid, z_tilde, 0.0))
    z_hat = objective.encoder(torch.where(x_tilde_valid, x_tilde, 0.0))

    def paired(valid):
        return valid & pairs.view(-1, *[1] * (valid.ndim - 1))

    for name, expected in {
        "L/z_tilde": mean(z_tilde, z, paired(z_tilde_valid & batch.z_valid)),
        "L/x_tilde": mean(x_tilde, x, paired(x_tilde_valid & batch.x_valid)),
        "L/z_hat": mean(z_hat, z, batch.z_valid),
        "L/x_hat": mean(x_hat, x, batch.x_valid),
    }.items():
        torch.testing.assert_close(found[name], expected.detach())


@pytest.mark.parametrize("vector", ["z", "x"])
@pytest.mark.parametrize("kind", ["critic", "mmd"])
def test_one_backward_trains_everybody_and_nothing_under_a_mask_is_felt(vector, kind):
    marginal = {name: {kind: 1.0} for name in SPACE}
    terms = replace(
        PRESETS["turbo"].terms, marginal=marginal, adversarial="wgan-gp", r1=1.0, pool=2
    )
    batch = mixed_batch(vector)
    dirty = replace(
        batch,
        z=torch.where(batch.z_valid, batch.z, torch.nan),
        x=torch.where(batch.x_valid, batch.x, torch.nan),
    )
    found = []
    for one in (batch, dirty):
        objective = mixed_objective(terms, vector)
        torch.manual_seed(3)
        losses = objective(one)
        (losses.generator + losses.critic).backward()
        found.append([p.grad for p in objective.parameters()])
    for clean, again in zip(*found, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, again)
    assert all((p.grad != 0).any() for p in objective.generator_parameters())


@pytest.mark.parametrize("vector", ["z", "x"])
def test_real_and_fake_wear_one_mask_in_their_own_space(vector):
    batch = mixed_batch(vector)
    z, x = Samples(batch.z, batch.z_valid).masked(), Samples(batch.x, batch.x_valid).masked()
    for name, own, other in (("x_tilde", x, z), ("x_hat", x, z), ("z_hat", z, x)):
        fake = Samples(torch.randn_like(own.data), carry(other.valid, own.data))
        judged = contest(name, Output(fake), own, other, batch.paired, conditional=False)
        assert judged.condition is None
        both = own.valid & fake.valid
        assert torch.equal(judged.real.valid, both)
        assert torch.equal(judged.fake.valid, both)
        for part in (judged.real, judged.fake):
            assert (part.data.masked_select(~part.valid) == 0).all()


def test_what_cannot_be_compared_is_named():
    batch = mixed_batch()
    terms = replace(PRESETS["turbo"].terms, conditional=True)
    with pytest.raises(ImgturboError, match=r"objective\.conditional: .*set it to false"):
        mixed_objective(terms)(batch)
    terms = replace(PRESETS["turbo"].terms, identity={"x": 0.0, "z": 1.0})
    objective = mixed_objective(terms)
    objective.encoder.forward = lambda u, noise=None: torch.zeros(len(u), 3, 2)
    with pytest.raises(ImgturboError, match="z_tilde is of shape"):
        objective(batch)


# ------------------------------------------------------------------- critics of each space


def side(kind, size):
    names = tuple(f"n{i}" for i in range(size))
    return Side(names, "", Stretch.linear(size), kind)


def config(objective=None, **model):
    model = {"decoder": {"kind": "unet", "width": 4, "depth": 1, "blocks": 1}, **model}
    return Config.model_validate({"objective": objective or {"preset": "turbo"}, "model": model})


@pytest.mark.parametrize("shared", [False, True])
def test_each_space_has_the_critic_that_suits_it(shared):
    section = {"preset": "turbo", "shared_critics": shared}
    asked = config(section, critic=PATCH, critics={"z": DENSE})
    critics = build_objective(asked, side("table", 2), side("image", 3)).critics
    assert critics
    for name, critic in critics.items():
        space = SPACE.get(name, name)
        assert isinstance(critic, DenseCritic if space == "z" else PatchGAN)
        assert critic.channels == {"z": 2, "x": 3}[space]


def test_spaces_without_critics_of_their_own_share_the_common_settings():
    asked = config(critic=PATCH, critics={"x": {**PATCH, "width": 8}})
    assert asked.model.critic_of("z") == asked.model.critic
    assert asked.model.critic_of("x").width == 8
    assert build_objective(asked, 1, 2).critics.keys() == SPACE.keys()
    latent = config(critic=PATCH, critics={"z": DENSE})
    critics = build_objective(latent, side("latent", 2), side("image", 3)).critics
    assert isinstance(critics["z_hat"], DenseCritic)


@pytest.mark.parametrize(
    ("model", "section", "ends", "message"),
    [
        ({}, {}, ("table", "image"), r"model\.critic\.kind.*set model\.critics\.z\.kind to 'mlp'"),
        ({"critics": {"x": DENSE}}, {}, ("image", "image"), r"critics\.x\.kind.*it to 'patchgan'"),
        ({}, {}, ("image", "table"), r"set model\.critics\.x\.kind to 'mlp'"),
        ({"critics": {"z": DENSE}}, {"conditional": True}, ("table", "image"), "beside rows of"),
        ({"critics": {"z": DENSE}}, {"identity": {"z": 1}}, ("table", "image"), "identity needs"),
    ],
)
def test_critics_that_do_not_suit_a_space_are_named(model, section, ends, message):
    asked = config({"preset": "turbo", **section}, **model)
    with pytest.raises(ImgturboError, match=message) as caught:
        build_objective(asked, *(side(kind, 2) for kind in ends))
    assert "\n" not in str(caught.value)


def test_the_preset_s_identity_goes_between_unlike_spaces():
    asked = config({"preset": "cyclegan"}, critics={"z": DENSE})
    terms = build_objective(asked, side("table", 2), side("image", 2)).terms
    assert not any(terms.identity.values())
    assert build_objective(asked, side("latent", 2), side("image", 2)).terms.identity["x"] == 5
