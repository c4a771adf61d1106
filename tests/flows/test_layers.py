"""Every layer: inverse(forward(x)) = x, log|det| is autograd's, the caller's tensors stay."""

from __future__ import annotations

import pytest
import torch
from flow_layers import LAWS, LAYERS
from safetensors.torch import load_file, save_file
from shaken import shaken

every_layer = pytest.mark.parametrize("name", LAYERS)


def case(name: str, dtype=torch.float64, batch: int = 2, scale: float = 1.0, size: float = 0.5):
    make, shape, condition = LAYERS[name]
    torch.manual_seed(0)
    layer = shaken(make(), size).to(dtype)
    x = scale * torch.randn(batch, *shape, dtype=dtype)
    return layer, x, None if condition is None else torch.randn(batch, *condition, dtype=dtype)


@every_layer
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_the_inverse_undoes_it_on_and_off_the_data(name, dtype, within, scale):
    # Whole chains are held to what training leaves: small weights (their errors multiply).
    layer, x, condition = case(name, dtype, scale=scale, size=0.05 if name == "chain" else 0.2)
    z, log_det = layer(x, condition)
    assert log_det.shape == (2,)
    assert z.dtype == log_det.dtype == dtype
    assert (layer.inverse(z, condition) - x).abs().max() < within * scale
    # And the other way: latents that no x of the data would give.
    w = scale * torch.randn_like(z)
    assert (layer(layer.inverse(w, condition), condition)[0] - w).abs().max() < within * scale


@every_layer
def test_log_determinant_equals_autograds(name):
    layer, x, condition = case(name)
    log_det = layer(x, condition)[1].detach()
    for row in range(len(x)):
        # One copy of the row for each output: the gradient of its i-th output in copy i.
        copies = x[row : row + 1].repeat(x[0].numel(), *[1] * (x.ndim - 1)).requires_grad_()
        own = None if condition is None else condition[row : row + 1]
        outputs = layer(copies, own)[0].flatten(1).diagonal()
        (jacobian,) = torch.autograd.grad(outputs.sum(), copies)
        expected = torch.linalg.slogdet(jacobian.flatten(1)).logabsdet
        assert float(log_det[row]) == pytest.approx(float(expected), abs=1e-6)


@every_layer
def test_rows_do_not_depend_on_each_other(name):
    layer, x, condition = case(name, batch=3)
    z, log_det = layer(x, condition)
    alone, alone_log_det = layer(x[1:2], None if condition is None else condition[1:2])
    assert torch.allclose(z[1:2], alone, atol=1e-12)
    assert torch.allclose(log_det[1:2], alone_log_det, atol=1e-12)


@every_layer
def test_tensors_of_the_caller_are_not_changed(name):
    layer, x, condition = case(name)
    x.requires_grad_()  # an in-place operation on a leaf would raise
    kept = x.detach().clone(), None if condition is None else condition.clone()
    z, _ = layer(x, condition)
    w = z.detach().clone().requires_grad_()
    kept_w = w.detach().clone()
    layer.inverse(w, condition)
    assert torch.equal(x, kept[0])
    assert torch.equal(w, kept_w)
    assert condition is None or torch.equal(condition, kept[1])


@every_layer
def test_gradients_reach_every_parameter_and_the_input(name):
    layer, x, condition = case(name)
    x.requires_grad_()
    z, log_det = layer(x, condition)
    # Weights, so that no rotation cancels.
    (z.flatten() @ torch.randn(z.numel(), dtype=z.dtype) + log_det.sum()).backward()
    for leaf in (x, *layer.parameters()):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()


@every_layer
def test_transforms_stay_float32_under_bfloat16(name):
    layer, x, condition = case(name, torch.float32, size=0.2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, log_det = layer(x.bfloat16(), condition)
        back = layer.inverse(z, condition)
    assert z.dtype == log_det.dtype == back.dtype == torch.float32
    if name == "chain":
        return  # a later layer's input is rounded anew in bfloat16 networks; see the next test
    # One-sided layers hand the networks the same numbers both ways; two-sided ones do up to 1e-7,
    # which can move a bfloat16 rounding in the networks by 2⁻⁸.
    within = 0.05 if name.split("-")[-2:-1] == ["2"] or name == "dense" else 1e-5
    assert (back - x.bfloat16().float()).abs().max() < within


@every_layer
def test_weights_travel_through_safetensors(name, tmp_path):
    layer, x, condition = case(name, torch.float32)
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    fresh = LAYERS[name][0]().eval()
    fresh.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    z, log_det = layer(x, condition)
    again, log_det_again = fresh(x, condition)
    assert torch.equal(z, again)
    assert torch.equal(log_det, log_det_again)


@pytest.mark.parametrize("name", [name for name in LAYERS if name.split("-")[0] in LAWS])
def test_a_fresh_coupling_is_the_identity(name):
    make, shape, condition = LAYERS[name]
    layer, x = make().double(), 3 * torch.randn(2, *shape, dtype=torch.float64)
    z, log_det = layer(x, torch.randn(2, *condition, dtype=torch.float64))
    assert torch.allclose(z, x, atol=1e-12)
    assert log_det.abs().max() < 1e-10
