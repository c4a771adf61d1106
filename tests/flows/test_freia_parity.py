"""The same numbers as FrEIA 0.2 (github.com/vislearn/FrEIA) at the same weights and conventions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imgturbo.flows import (
    Additive,
    Affine,
    Chain,
    Clamp,
    ConvPredictor,
    Coupling,
    HaarDownsampling,
    HaarUpsampling,
    OrthogonalMixing,
    Permutation,
    PixelUnshuffle,
    VolumePreserving,
)

framework = pytest.importorskip("FrEIA.framework")
peers = pytest.importorskip("FrEIA.modules")

ALPHA = 1.7
CLAMP = Clamp(ALPHA, scaled=False, factor=0.636)  # the arctangent as FrEIA has it


def subnet(inputs, outputs):
    """The network of ``ours`` as one reads the concatenation [x, c], in FrEIA's manner."""
    return nn.Sequential(
        nn.Conv2d(inputs, 6, 3, padding=1), nn.LeakyReLU(0.05), nn.Conv2d(6, outputs, 3, padding=1)
    )


def ours(condition=0):
    return lambda i, o: ConvPredictor(
        i, o, width=6, condition_channels=condition, kernels=(3, 3), reach=None
    )


@torch.no_grad()
def copy_weights(sequential, predictor, size=0.3):
    """FrEIA's subnet, whose weights are made large enough to matter, into our predictor."""
    for parameter in sequential.parameters():
        parameter.copy_(size * torch.randn_like(parameter))
    first, last = sequential[0], sequential[2]
    inputs = predictor.layers[0].in_channels
    predictor.layers[0].weight.copy_(first.weight[:, :inputs])
    predictor.layers[0].bias.copy_(first.bias)
    if predictor.from_condition is not None:
        predictor.from_condition.weight.copy_(first.weight[:, inputs:])
    predictor.layers[1].load_state_dict(last.state_dict())


def assert_parity(peer, layer, x, condition=None, within=1e-10):
    """Values, log-determinants and inverses of one layer, in float64.

    Both libraries round at other places (x·e^s + t in one step or two, a division or a product),
    and a coupling's inverse by large weights makes a thousand ε of that; in float64 whatever is
    more than this is another formula.
    """
    peer, layer, x = peer.double(), layer.double(), x.double()
    condition = None if condition is None else condition.double()
    conditions = {} if condition is None else {"c": [condition]}
    # FrEIA's Haar synthesis multiplies its caller's tensor in place: hence the clones.
    (expected,), jacobian = peer([x.clone()], **conditions)
    z, log_det = layer(x, condition)
    assert torch.allclose(z, expected, rtol=within, atol=within)
    jacobian = torch.as_tensor(jacobian, dtype=x.dtype).expand(len(x))
    assert torch.allclose(log_det, jacobian, rtol=within, atol=within)
    (back,), _ = peer([z.detach().clone()], **conditions, rev=True)
    assert torch.allclose(layer.inverse(z, condition), back, rtol=within, atol=10 * within)


@pytest.mark.parametrize("order", ["channel", "band"])
@pytest.mark.parametrize("rebalance", [1.0, 0.5])
def test_haar(order, rebalance):
    options = {"order_by_wavelet": order == "band", "rebalance": rebalance}
    x = torch.randn(2, 3, 6, 4)
    peer = peers.HaarDownsampling([(3, 6, 4)], **options)
    assert_parity(peer, HaarDownsampling(order, rebalance), x)


@pytest.mark.parametrize("order", ["channel", "band"])
def test_haar_upsampling(order):
    peer = peers.HaarUpsampling([(8, 3, 2)], order_by_wavelet=order == "band")
    assert_parity(peer, HaarUpsampling(order), torch.randn(2, 8, 3, 2))


@pytest.mark.parametrize(("legacy", "order"), [(False, "channel"), (True, "band")])
def test_irevnet_downsampling(legacy, order):
    peer = peers.IRevNetDownsampling([(3, 4, 4)], legacy_backend=legacy)
    assert_parity(peer, PixelUnshuffle(order), torch.randn(2, 3, 4, 4))


@pytest.mark.parametrize("channels", [2, 5, 7])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("activation", ["ATAN", "TANH"])
def test_glow_coupling(channels, conditioned, activation):
    torch.manual_seed(0)
    width = 3 if conditioned else 0
    peer = peers.GLOWCouplingBlock(
        [(channels, 4, 5)],
        dims_c=[(width, 4, 5)] if conditioned else [],
        subnet_constructor=subnet,
        clamp=ALPHA,
        clamp_activation=activation,
    )
    clamp = CLAMP if activation == "ATAN" else Clamp(ALPHA, "tanh", scaled=False)
    # FrEIA rounds half of an odd number to the even one.
    layer = Coupling(channels, ours(width), Affine(clamp), first=round(channels / 2))
    copy_weights(peer.subnet1, layer.predict_second)
    copy_weights(peer.subnet2, layer.predict_first)
    condition = torch.randn(2, width, 4, 5) if conditioned else None
    assert_parity(peer, layer, torch.randn(2, channels, 4, 5), condition)


def test_nice_coupling():
    peer = peers.NICECouplingBlock([(4, 3, 3)], subnet_constructor=subnet)
    layer = Coupling(4, ours(), Additive())
    copy_weights(peer.F, layer.predict_first)
    copy_weights(peer.G, layer.predict_second)
    assert_parity(peer, layer, torch.randn(2, 4, 3, 3))


def test_gin_coupling():
    peer = peers.GINCouplingBlock([(6, 3, 3)], subnet_constructor=subnet, clamp=ALPHA)
    layer = Coupling(6, ours(), VolumePreserving(CLAMP))
    copy_weights(peer.subnet1, layer.predict_second)
    copy_weights(peer.subnet2, layer.predict_first)
    assert_parity(peer, layer, torch.randn(2, 6, 3, 3))


def test_fixed_1x1_convolution_applies_the_transpose():
    q = OrthogonalMixing(5, seed=4).matrix
    peer = peers.Fixed1x1Conv([(5, 3, 3)], M=q)
    x = torch.randn(2, 5, 3, 3)
    z, log_det = OrthogonalMixing(5, matrix=q.T)(x)
    (expected,), jacobian = peer([x])
    assert torch.allclose(z, expected, atol=1e-5)
    assert float(jacobian) == pytest.approx(float(log_det[0]), abs=1e-5)


def test_random_permutation_by_its_index():
    peer = peers.PermuteRandom([(7, 2, 2)], seed=5)
    assert_parity(peer, Permutation(peer.perm.data), torch.randn(2, 7, 2, 2))


def chains(depth=3, width=2):
    """A conditional chain of both libraries, with the same weights."""
    torch.manual_seed(1)
    inputs = framework.InputNode(3, 4, 4, name="x")
    condition = framework.ConditionNode(width, 2, 2, name="c")
    node = framework.Node(
        inputs, peers.HaarDownsampling, {"rebalance": 0.5, "order_by_wavelet": True}
    )
    nodes, layers = [inputs, condition, node], [HaarDownsampling("band", 0.5)]
    for seed in range(depth):
        node = framework.Node(node, peers.PermuteRandom, {"seed": seed})
        nodes.append(node)
        layers.append(Permutation(node.module.perm.data))
        options = {"subnet_constructor": subnet, "clamp": ALPHA}
        node = framework.Node(node, peers.GLOWCouplingBlock, options, conditions=condition)
        nodes.append(node)
        layer = Coupling(12, ours(width), Affine(CLAMP))
        # Smaller, so that roundings do not grow from layer to layer.
        copy_weights(node.module.subnet1, layer.predict_second, 0.1)
        copy_weights(node.module.subnet2, layer.predict_first, 0.1)
        layers.append(layer)
    return framework.GraphINN([*nodes, framework.OutputNode(node)]), Chain(*layers)


def test_a_small_chain_and_its_gradients():
    peer, chain = chains()
    x, condition = torch.randn(2, 3, 4, 4), torch.randn(2, 2, 2, 2)
    ours_x, peers_x = (x.clone().requires_grad_() for _ in range(2))
    z, log_det = chain(ours_x, [None, *[None, condition] * 3])
    expected, jacobian = peer(peers_x, c=[condition])
    assert torch.allclose(z, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(log_det, jacobian, rtol=1e-5, atol=1e-5)
    (z.square().sum() - log_det.sum()).backward()
    (expected.square().sum() - jacobian.sum()).backward()
    assert torch.allclose(ours_x.grad, peers_x.grad, rtol=1e-4, atol=1e-4)
    w = torch.randn_like(z)
    back, _ = peer(w.clone(), c=[condition], rev=True)
    inverse = chain.inverse(w, [None, *[None, condition] * 3])
    assert (inverse - back).abs().max() < 1e-5 * back.abs().max()
