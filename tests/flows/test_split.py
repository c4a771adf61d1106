"""Splits and pyramids: the latents' sizes, exact log-determinants, priors that are densities."""

from __future__ import annotations

import math

import pytest
import torch
from shaken import shaken

from imgturbo.errors import ImgturboError
from imgturbo.flows import (
    Chain,
    ConvPredictor,
    Coupling,
    DensePredictor,
    Flatten,
    HaarDownsampling,
    OrthogonalMixing,
    Pyramid,
    Split,
)


def conv(condition=0):
    return lambda i, o: ConvPredictor(i, o, width=5, condition_channels=condition, kernels=(3, 1))


def small_pyramid(condition=2, prior=True):
    """(3, 4, 4) → (12, 2, 2), 7 left behind → 5·2·2 dense."""
    return shaken(
        Pyramid(
            [
                Chain(Coupling(3, conv(condition)), HaarDownsampling("band", 0.5)),
                Chain(
                    OrthogonalMixing(5),
                    Flatten((5, 2, 2)),
                    Coupling(20, lambda i, o: DensePredictor(i, o, width=6)),
                ),
            ],
            [Split(12, 5, conv() if prior else None)],
        ),
        0.2,
    ).double()


def test_a_split_without_a_prior_is_a_cut():
    split = Split(5, 2)
    x = torch.randn(2, 5, 3, 3)
    kept, latent, log_det = split(x)
    assert torch.equal(torch.cat([kept, latent], 1), x)
    assert torch.equal(log_det, torch.zeros(2))
    assert torch.equal(split.inverse(kept, latent), x)


def test_a_fresh_prior_is_standard_normal():
    x = torch.randn(2, 5, 3, 3)
    kept, latent, log_det = Split(5, 2, conv())(x)
    assert torch.equal(latent, x[:, 2:])
    assert torch.equal(log_det, torch.zeros(2))
    assert torch.equal(kept, x[:, :2])


def test_a_prior_is_the_normal_density_that_its_network_names():
    split = shaken(Split(5, 2, conv(3)), 1.0).double()
    x, condition = torch.randn(4, 5, 3, 3).double(), torch.randn(4, 3, 3, 3).double()
    kept, latent, log_det = split(x, condition)
    s, t = split.predict(kept, condition).chunk(2, dim=1)
    deviation = torch.exp(-split.law.clamp(s))
    prior = torch.distributions.Normal(-t * deviation, deviation)
    expected = prior.log_prob(x[:, 2:]).flatten(1).sum(1)
    standard = -0.5 * (latent.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    assert torch.allclose(standard + log_det, expected, atol=1e-9)
    assert torch.allclose(split.inverse(kept, latent, condition), x, atol=1e-10)


def test_a_pyramids_latents_hold_every_number_once():
    flow = small_pyramid()
    latents, log_det = flow(
        torch.randn(2, 3, 4, 4).double(), [torch.randn(2, 2, 4, 4).double(), None]
    )
    assert [tuple(w.shape) for w in latents] == [(2, 7, 2, 2), (2, 20)]
    assert log_det.shape == (2,)
    assert flow.latents == 2


@pytest.mark.parametrize("prior", [True, False])
def test_a_pyramid_is_inverted_and_its_log_determinant_is_autograds(prior):
    flow = small_pyramid(prior=prior)
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    conditions = [torch.randn(1, 2, 4, 4, dtype=torch.float64), None]
    latents, log_det = flow(x, conditions)
    assert torch.allclose(flow.inverse(latents, conditions), x, atol=1e-10)
    copies = x.repeat(48, 1, 1, 1).requires_grad_()
    outputs = torch.cat([w.flatten(1) for w in flow(copies, conditions)[0]], 1)
    (jacobian,) = torch.autograd.grad(outputs.diagonal().sum(), copies)
    expected = torch.linalg.slogdet(jacobian.flatten(1)).logabsdet
    assert float(log_det.detach()) == pytest.approx(float(expected), abs=1e-6)


def test_wrong_latents_and_splits_are_named():
    flow = small_pyramid(condition=0)
    latents, _ = flow(torch.randn(2, 3, 4, 4).double())
    for call, words in [
        (lambda: flow.inverse(latents[:1]), "1 latents for a flow that has 2"),
        (lambda: flow.inverse([latents[0][:, :6], latents[1]]), "latent of shape (2, 6, 2, 2)"),
        (lambda: flow.inverse([latents[0], latents[1][:, :6]]), "20 channels"),
        (lambda: flow(torch.zeros(2, 3, 4, 4), [None]), "1 conditions for a flow of 2 stages"),
        (lambda: Split(4, 4), "cannot keep 4"),
        (lambda: Split(4, 2)(torch.zeros(1, 3, 2, 2)), "4 channels"),
        (lambda: Pyramid([Chain()], [None]), "0 splits"),
    ]:
        with pytest.raises(ImgturboError) as caught:
            call()
        assert words in str(caught.value)
