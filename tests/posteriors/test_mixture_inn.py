"""The latent-mixture network: centres, its likelihood, and the information bottleneck's loss."""

from __future__ import annotations

import math

import pytest
import torch
from posterior_batches import rows
from posterior_networks import network, trainable
from torch.nn import functional as F

from imgturbo.config import MixtureINNConfig
from imgturbo.errors import ImgturboError
from imgturbo.posteriors import MixtureINN


@pytest.mark.parametrize("name", ["mixture_inn", "labels"])
def test_inverse_log_determinant_and_density(name):
    net = network(name, 3, 4, law="spline", mixing="lu").double()
    z, x = torch.randn(5, 3).double(), torch.randn(5, 4).double()
    (centre,) = net.conditions(z)
    w, log_det = net.latents(x)
    torch.testing.assert_close(net.push(w - centre, [centre]), x)
    jacobian = torch.autograd.functional.jacobian(lambda v: net.latents(v[None])[0][0], x[0])
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet)
    normal = torch.distributions.MultivariateNormal(centre[0], torch.eye(4).double())
    torch.testing.assert_close(net.log_prob(x, z)[0], normal.log_prob(w[0]) + log_det[0])


def test_a_class_is_the_largest_of_the_columns():
    net = network("labels", 3, 2)
    u = torch.tensor([[1.0, 0.0, 0.0], [-1.0, -0.3, -2.0], [0.0, 0.1, 5.0]])
    assert net.centres.shape == (3, 2)
    assert torch.equal(net.conditions(u)[0], net.centres)
    assert network("mixture_inn").centres is None


@pytest.mark.parametrize("beta", [0.0, 1.0, 7.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_information_bottlenecks(beta, smoothing):
    objective = trainable("labels", 3, 4, preset="bottleneck", noise=0.1,
                          bottleneck={"beta": beta, "smoothing": smoothing})  # fmt: skip
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    batch, net = rows(7, 3, 4), objective.decoder
    torch.manual_seed(2)
    losses = objective(batch)
    torch.manual_seed(2)
    counts = batch.paired & batch.z_valid[:, 0] & batch.x_valid[:, 0]
    x = (torch.where(counts[:, None], batch.x, 0) + 0.1 * torch.randn(7, 4))[counts]
    label = F.one_hot(batch.z[counts].argmax(1), 3) * (1 - smoothing) + smoothing / 3
    w, log_det = net.latents(x)
    v = objective.logits.log_softmax(0)
    near = -0.5 * torch.cdist(w, net.centres).square()
    l_x = ((-(near + v).logsumexp(1) - log_det) / 4).mean()
    l_y = (label * ((near + v.detach()).log_softmax(1) - v.detach())).sum(1).mean()
    expected = 2 / (1 + beta) * l_x - 2 * beta / (1 + beta) * l_y
    torch.testing.assert_close(losses.generator, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(losses.terms["nll"], l_x.detach())
    losses.generator.backward()
    # The weights of the classes learn from L_x alone.
    gradient = torch.autograd.grad(2 / (1 + beta) * l_x, objective.logits)[0]
    torch.testing.assert_close(objective.logits.grad, gradient, atol=1e-6, rtol=1e-4)
    assert any(p is objective.logits for p in objective.generator_parameters())


def test_the_likelihood_of_one_class_is_the_bottlenecks_without_a_choice():
    """With one class L_y = 0, and L_x is −log p(x|y)/D but for the constant ½ log 2π."""
    objective = trainable("labels", 1, 4, preset="bottleneck", bottleneck={"beta": 0})
    batch = rows(6, 1, 4, whole=True)
    found = objective(batch).terms
    expected = -objective.decoder.log_prob(batch.x, batch.z).mean() / 4
    torch.testing.assert_close(found["nll"] + 0.5 * math.log(2 * math.pi), expected.detach())
    assert float(found["classes"]) == pytest.approx(0, abs=1e-6)


def test_what_makes_no_sense_is_one_line():
    with pytest.raises(ImgturboError, match=r"labels: true") as caught:
        trainable("mixture_inn", 3, 4, preset="bottleneck")
    assert "\n" not in str(caught.value)
    with pytest.raises(ImgturboError, match=r"kind mixture_inn cannot split a single column"):
        MixtureINN(MixtureINNConfig(), 2, 1)
