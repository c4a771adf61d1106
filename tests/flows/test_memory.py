"""The memory-saving mode: the same values and gradients from a memory that depth does not move."""

from __future__ import annotations

import pytest
import torch

from imgturbo.flows import (
    ActNorm,
    Affine,
    Chain,
    Clamp,
    ConvPredictor,
    Coupling,
    HaarDownsampling,
    LUMixing,
    OrthogonalMixing,
    Permutation,
    RationalQuadratic,
)


def conv(condition=0):
    return lambda i, o: ConvPredictor(i, o, width=8, condition_channels=condition)


def published_like(depth=6, condition=3, memory_saving=False):
    """Couplings and mixings in turn, then a coarser part with the other layers."""
    torch.manual_seed(1)
    layers = []
    for index in range(depth):
        layers.append(Coupling(4, conv(condition), Affine(Clamp(1.5))))
        layers.append(OrthogonalMixing(4, seed=index))
    chain = Chain(*layers, ActNorm(4), LUMixing(4), memory_saving=memory_saving)
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return chain


def gradients(chain, x, condition, autocast=False):
    x = x.clone().requires_grad_()
    tensors = [condition] if isinstance(condition, torch.Tensor) else condition or []
    leaves = [c.clone().requires_grad_() for c in tensors]
    given = leaves[0] if isinstance(condition, torch.Tensor) else leaves or None
    chain.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        z, log_det = chain(x, given)
    loss = 0.5 * z.square().sum() - log_det.sum()
    loss.backward()
    grads = [x.grad, *(c.grad for c in leaves), *(p.grad for p in chain.parameters())]
    return float(loss.detach()), grads


def assert_same(first, second, within):
    assert first[0] == pytest.approx(second[0], rel=1e-6)
    for one, other in zip(first[1], second[1], strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert (one - other).abs().max() <= within * (1 + other.abs().max())


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_gradients_agree_with_ordinary_backpropagation(dtype, within):
    x, condition = torch.randn(3, 4, 6, 5, dtype=dtype), torch.randn(3, 3, 6, 5, dtype=dtype)
    results = [
        gradients(published_like(memory_saving=saving).to(dtype), x, condition)
        for saving in (False, True)
    ]
    assert_same(*results, within)


def test_gradients_agree_with_a_condition_for_each_layer():
    def build(saving):
        torch.manual_seed(2)
        spline = RationalQuadratic(4)
        layers = [
            Coupling(3, conv(2)),
            HaarDownsampling(),
            Coupling(12, conv(1), spline),
            Permutation(12),
            Coupling(12, conv()),
        ]
        chain = Chain(*layers, memory_saving=saving).double()
        with torch.no_grad():
            for parameter in chain.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return chain

    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    fine, coarse = torch.randn(2, 2, 4, 4).double(), torch.randn(2, 1, 2, 2).double()

    def run(saving):
        own = [fine.clone().requires_grad_(), coarse.clone().requires_grad_()]
        chain = build(saving)
        z, log_det = chain(x, [own[0], None, own[1], None, None])
        (z.square().sum() - log_det.sum()).backward()
        return [c.grad for c in own] + [p.grad for p in chain.parameters()]

    for one, other in zip(run(False), run(True), strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_it_works_where_neither_input_nor_condition_wants_a_gradient():
    chain = published_like(memory_saving=True)
    for parameter in chain.transforms[0].parameters():
        parameter.requires_grad_(False)
    z, log_det = chain(torch.randn(2, 4, 3, 3), torch.randn(2, 3, 3, 3))
    (z.square().sum() - log_det.sum()).backward()
    assert all(p.grad is None for p in chain.transforms[0].parameters())
    assert all(p.grad is not None for p in chain.transforms[2].parameters())


def test_only_the_log_determinant_or_only_the_value_may_be_used():
    for part in (0, 1):
        grads = []
        for saving in (False, True):
            chain = published_like(depth=2, memory_saving=saving).double()
            x, c = torch.randn(2, 4, 3, 3).double().fill_(0.3), torch.ones(2, 3, 3, 3).double()
            chain(x, c)[part].square().sum().backward()
            grads.append([p.grad for p in chain.parameters()])
        for one, other in zip(*grads, strict=True):
            # Ordinary backpropagation says None where a parameter does not matter.
            one, other = (torch.zeros(1).double() if g is None else g for g in (one, other))
            assert torch.allclose(one, other, atol=1e-10)


def test_shared_layers_get_the_sum_of_their_gradients():
    def run(saving):
        torch.manual_seed(0)
        layer = Coupling(4, conv())
        chain = Chain(layer, Permutation(4, seed=1), layer, memory_saving=saving).double()
        for parameter in chain.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        x = torch.linspace(-1, 1, 2 * 4 * 9, dtype=torch.float64).view(2, 4, 3, 3)
        z, log_det = chain(x)
        (z.square().sum() - log_det.sum()).backward()
        return [p.grad for p in chain.parameters()]

    for one, other in zip(run(False), run(True), strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_networks_are_recomputed_in_the_precision_of_the_forward_pass():
    chain, seen = published_like(depth=2, memory_saving=True), []
    for layer in chain.transforms[:4:2]:
        for predictor in (layer.predict_first, layer.predict_second):
            predictor.register_forward_hook(lambda _, __, theta: seen.append(theta.dtype))
    x, condition = torch.randn(3, 4, 6, 5), torch.randn(3, 3, 6, 5)
    loss, grads = gradients(chain, x, condition, autocast=True)
    assert len(seen) == 2 * 4  # forward, and once for both the inverse and the gradients
    assert set(seen) == {torch.bfloat16}
    ordinary, ordinary_grads = gradients(published_like(2), x, condition, autocast=True)
    assert loss == pytest.approx(ordinary, rel=1e-6)
    for one, other in zip(grads, ordinary_grads, strict=True):
        # bfloat16 has eight bits, and gradients of weights are sums over pixels.
        assert (one - other).norm() < 0.1 * (1 + other.norm())


def test_inference_keeps_nothing_and_agrees():
    x, condition = torch.randn(2, 4, 4, 4), torch.randn(2, 3, 4, 4)
    chain, ordinary = published_like(memory_saving=True), published_like()
    with torch.no_grad():
        z, log_det = chain.eval()(x, condition)
        expected, expected_log_det = ordinary.eval()(x, condition)
    assert torch.equal(z, expected)
    assert torch.equal(log_det, expected_log_det)
    assert (chain.inverse(z, condition) - x).abs().max() < 1e-4


def saved_bytes(depth, memory_saving):
    """Bytes of the distinct activations that autograd keeps for the backward pass."""
    chain = published_like(depth, memory_saving=memory_saving)
    known = {p.untyped_storage().data_ptr() for p in [*chain.parameters(), *chain.buffers()]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x, condition = torch.randn(2, 4, 16, 16), torch.randn(2, 3, 16, 16)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = chain(x, condition)
    assert outputs[0].requires_grad
    return sum(kept.values())


def test_memory_does_not_grow_with_depth():
    shallow, deep = saved_bytes(2, True), saved_bytes(10, True)
    assert deep == shallow
    assert saved_bytes(10, False) > 4 * saved_bytes(2, False) > 16 * deep
