"""Dense flows: inverse and log-determinant of every law and mixing, one column, FrEIA's numbers."""

from __future__ import annotations

import pytest
import torch
from posterior_networks import network
from torch import nn

from imgturbo.config import DenseFlowConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows import Affine, Clamp, Coupling, Permutation
from imgturbo.posteriors import DenseFlow

LAWS = ("affine", "additive", "gin", "spline")
MIXINGS = ("orthogonal", "lu", "permutation")


def log_determinant(f, x):
    """log|det ∂f/∂x| by autograd, a row."""
    jacobian = torch.autograd.functional.jacobian(lambda v: f(v[None])[0], x)
    return torch.linalg.slogdet(jacobian).logabsdet


@pytest.mark.parametrize("actnorm", [False, True])
@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("columns", [2, 3, 7])
def test_inverse_and_log_determinant(law, mixing, columns, actnorm):
    net = network("flow", 2, columns, law=law, mixing=mixing, actnorm=actnorm).double()
    z, x = torch.randn(4, 2).double(), 2 * torch.randn(4, columns).double()
    w, log_det = net.latents(x, z)
    assert (w - x).abs().max() > 1e-2
    torch.testing.assert_close(net.push(w, net.conditions(z)), x, atol=1e-9, rtol=1e-9)
    for row in range(2):
        condition = net.conditions(z[row : row + 1])
        expected = log_determinant(lambda v: net.latents(v, condition)[0], x[row])  # noqa: B023
        torch.testing.assert_close(log_det[row], expected, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("law", ["affine", "spline"])
def test_a_single_column_is_moved_by_the_condition_alone(law):
    net = network("flow", 2, 1, law=law, blocks=3).double()
    z, x = torch.randn(5, 2).double(), torch.randn(5, 1).double()
    w, log_det = net.latents(x, z)
    torch.testing.assert_close(net.push(w, net.conditions(z)), x, atol=1e-9, rtol=1e-9)
    expected = log_determinant(lambda v: net.latents(v, net.conditions(z[:1]))[0], x[0])
    torch.testing.assert_close(log_det[0], expected)


@pytest.mark.parametrize("law", ["additive", "gin"])
def test_a_single_column_without_a_width_is_refused(law):
    with pytest.raises(ImgturboError, match=rf"law {law} gives a single column no width") as caught:
        DenseFlow(DenseFlowConfig(law=law), 2, 1)
    assert "\n" not in str(caught.value)


def test_a_fresh_flow_is_a_mixing_of_its_input():
    torch.manual_seed(0)
    net = DenseFlow(DenseFlowConfig(mixing="permutation", law="spline"), 2, 5).double()
    x = torch.randn(3, 5).double()
    w, log_det = net.latents(x, torch.randn(3, 2).double())
    torch.testing.assert_close(w.sort().values, x.sort().values)
    assert log_det.abs().max() < 1e-9


def test_the_numbers_of_freia_for_dense_couplings():
    framework = pytest.importorskip("FrEIA.framework")
    peers = pytest.importorskip("FrEIA.modules")
    net = network("flow", 2, 5, mixing="permutation", injector=False, reach=None).double()
    peer = framework.SequenceINN(5)

    def subnet(predictor):
        def make(inputs, outputs):
            weight = torch.cat([predictor.layers[0].weight, predictor.from_condition.weight], 1)
            first, last = nn.Linear(inputs, len(weight)), predictor.layers[1]
            with torch.no_grad():
                first.weight.copy_(weight)
                first.bias.copy_(predictor.layers[0].bias)
            return nn.Sequential(first, nn.ReLU(), last)

        return make

    for layer in net.flow.transforms:
        if isinstance(layer, Coupling):
            layer.law = Affine(Clamp(1.5, scaled=False, factor=0.636))
            nets = iter([layer.predict_second, layer.predict_first])
            peer.append(
                peers.GLOWCouplingBlock,
                cond=0,
                cond_shape=(5,),
                subnet_constructor=lambda i, o, nets=nets: subnet(next(nets))(i, o),
                clamp=1.5,
            )
        else:
            assert isinstance(layer, Permutation)
            peer.append(peers.PermuteRandom)
            peer[-1].perm.data.copy_(layer.index)
            peer[-1].perm_inv.data.copy_(torch.argsort(layer.index))
    peer = peer.double()
    x, z = torch.randn(6, 5).double(), torch.randn(6, 2).double()
    (condition,) = net.conditions(z)
    w, log_det = net.latents(x, z)
    expected, jacobian = peer(x, c=[condition])
    torch.testing.assert_close(w, expected)
    torch.testing.assert_close(log_det, jacobian)
    back, _ = peer(w, c=[condition], rev=True)
    torch.testing.assert_close(net.push(w, [condition]), back)
