"""Law 4 for configs/published: each gives the paper's loss, of values on −1…1, in a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from turbo_standins import make_batch

from imgturbo.config import Config, load_config
from imgturbo.turbo import build_objective

CONFIGS = Path(__file__).parents[2] / "configs" / "published"
TINY = ["model.decoder.width=3", "model.decoder.dropout=0"]


def published(name: str, *overrides: str) -> Config:
    return load_config(CONFIGS / f"{name}.yaml", [*TINY, *overrides])


def step(config: Config, size: int = 24):
    """The objective, its losses, and the batch's two images on −1…1."""
    torch.manual_seed(0)
    objective = build_objective(config, 3, 3).train()
    batch = make_batch(n=2, c=3, c2=3, size=(size, size), full=True, pairs=[True, True])
    batch.z.sigmoid_()
    batch.x.sigmoid_()
    return objective, objective(batch), signed(batch.z), signed(batch.x)


def signed(u: torch.Tensor) -> torch.Tensor:
    return 2 * u - 1


def on_signed(network):
    """A generator or critic of ours as one of values on −1…1."""

    def call(*images):
        made = network(*((v + 1) / 2 for v in images))
        return made[0] if isinstance(made, list) else signed(made)

    return call


def cross_entropy(scores, label):
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def squares(scores, label):
    return F.mse_loss(scores, torch.full_like(scores, label))


def agree(found, expected):
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "formula"),
    [
        ([], lambda fake, x: F.mse_loss(fake, x)),
        (
            ["objective.paired.x_tilde=2", "objective.distance.x_tilde={l1: 1}"],
            lambda fake, x: F.l1_loss(fake, x),
        ),
        (
            ["objective.paired.x_tilde=1", "objective.distance.x_tilde={l1: 1, l2: 2}"],
            lambda fake, x: 0.5 * F.l1_loss(fake, x) + 0.5 * F.mse_loss(fake, x),
        ),
    ],
    ids=["l2", "l1", "elastic net"],
)
def test_regression(overrides, formula):
    config = published("l2", "model.decoder.depth=3", *overrides)
    objective, losses, z, x = step(config)
    assert not objective.critics
    agree(losses.generator, formula(on_signed(objective.decoder)(z), x))


def test_pix2pix():
    config = published("pix2pix", "model.decoder.depth=3", "model.critic.width=3")
    objective, losses, z, x = step(config)
    critic = on_signed(objective.critics["x_tilde"])
    fake = on_signed(objective.decoder)(z)
    agree(losses.generator, cross_entropy(critic(fake, z), 1.0) + 100 * F.l1_loss(fake, x))
    real_loss, fake_loss = cross_entropy(critic(x, z), 1.0), cross_entropy(critic(fake, z), 0.0)
    agree(losses.critic, (real_loss + fake_loss) / 2)


def test_a_batch_normed_critic_sees_real_and_fake_in_calls_of_their_own():
    config = published("pix2pix", "model.decoder.depth=3", "model.critic.width=3")
    objective, losses, z, x = step(config)
    fake = on_signed(objective.decoder)(z)
    both = on_signed(objective.critics["x_tilde"])(torch.cat([x, fake]), torch.cat([z, z]))
    labels = torch.cat([torch.ones_like(both[:2]), torch.zeros_like(both[2:])])
    in_one_call = F.binary_cross_entropy_with_logits(both, labels)
    assert (losses.critic - in_one_call).abs() > 1e-4


@pytest.mark.parametrize(
    ("name", "overrides", "judged", "cycles", "paired"),
    [
        ("cyclegan", [], {"z_tilde", "x_tilde"}, {"x", "z"}, set()),
        ("turbo", [], {"z_tilde", "x_hat", "x_tilde", "z_hat"}, {"x", "z"}, set()),
        (
            "turbo",
            ["objective.paired.x_tilde=20", "objective.paired.z_tilde=20"],
            {"z_tilde", "x_hat", "x_tilde", "z_hat"},
            {"x", "z"},
            {"x", "z"},
        ),
        ("turbo_one_cycle", [], {"x_tilde", "z_hat"}, {"z"}, set()),
        ("turbo_one_cycle", ["objective.paired.x_tilde=20"], {"x_tilde", "z_hat"}, {"z"}, {"x"}),
    ],
)
def test_cycles(name, overrides, judged, cycles, paired):
    config = published(name, "model.decoder.blocks=1", "model.critic.width=3", *overrides)
    objective, losses, z, x = step(config)
    decoder, encoder = on_signed(objective.decoder), on_signed(objective.encoder)
    real = {"z": z, "x": x}
    outputs = {"x_tilde": decoder(z), "z_tilde": encoder(x)}
    outputs["z_hat"], outputs["x_hat"] = encoder(outputs["x_tilde"]), decoder(outputs["z_tilde"])
    assert set(objective.critics) == judged
    generator = 5 * F.l1_loss(decoder(x), x) + 5 * F.l1_loss(encoder(z), z)
    critics = torch.zeros(())
    for space in cycles:
        generator = generator + 10 * F.l1_loss(outputs[f"{space}_hat"], real[space])
    for space in paired:
        generator = generator + 10 * F.l1_loss(outputs[f"{space}_tilde"], real[space])
    for output in judged:
        critic = on_signed(objective.critics[output])
        generator = generator + squares(critic(outputs[output]), 1.0)
        truth = squares(critic(real[output[0]]), 1.0)
        critics = critics + (truth + squares(critic(outputs[output]), 0.0)) / 2
    agree(losses.generator, generator)
    agree(losses.critic, critics)
    critics = [mix["critic"] for mix in objective.divergences.values() if mix]
    assert critics
    assert all(critic.pool.size == 50 for critic in critics)
