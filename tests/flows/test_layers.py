"""Every layer: inverse(forward(x)) = x, log|det| is autograd's, the caller's tensors stay."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.flows import (
    ActNorm,
    Additive,
    Affine,
    Chain,
    Clamp,
    ConvPredictor,
    Coupling,
    DensePredictor,
    Flatten,
    HaarDownsampling,
    HaarUpsampling,
    LUMixing,
    OrthogonalMixing,
    Permutation,
    PixelUnshuffle,
    RationalQuadratic,
    VolumePreserving,
)


def conv(condition=0, kernels=(3, 1)):
    def make(inputs, outputs):
        return ConvPredictor(
            inputs, outputs, width=5, condition_channels=condition, kernels=kernels
        )

    return make


def dense(condition=0):
    return lambda i, o: DensePredictor(i, o, width=6, condition_channels=condition)


LAWS = {
    "affine": Affine(),
    "affine-unscaled": Affine(Clamp(1.5, scaled=False)),
    "affine-tanh": Affine(Clamp(1.0, shape="tanh")),
    "nice": Additive(),
    "gin": VolumePreserving(),
    "spline": RationalQuadratic(bins=4, bound=2.0),
}

# name: (layer, shape of x, shape of the condition)
LAYERS = {
    **{
        f"{name}-{sides}-{channels}": (
            lambda law=law, sides=sides, channels=channels: Coupling(
                channels, conv(2), law, sides=sides
            ),
            (channels, 2, 3),
            (2, 2, 3),
        )
        for name, law in LAWS.items()
        for sides, channels in [(1, 3), (2, 2), (2, 5)]
    },
    "dense": (lambda: Coupling(7, dense(3)), (7,), (3,)),
    "dense-spline": (lambda: Coupling(5, dense(), RationalQuadratic(), sides=1), (5,), None),
    "haar": (lambda: HaarDownsampling("band", 0.5), (3, 4, 2), None),
    "haar-channel": (lambda: HaarDownsampling("channel", 2.0), (1, 2, 6), None),
    "haar-up": (lambda: HaarUpsampling("band", 0.7), (8, 1, 2), None),
    "haar-up-channel": (HaarUpsampling, (4, 3, 2), None),
    "unshuffle": (PixelUnshuffle, (3, 2, 4), None),
    "unshuffle-band": (lambda: PixelUnshuffle("band"), (3, 2, 4), None),
    "actnorm": (lambda: ActNorm(3), (3, 2, 3), None),
    "actnorm-table": (lambda: ActNorm(5), (5,), None),
    "orthogonal": (lambda: OrthogonalMixing(5, seed=3), (5, 2, 2), None),
    "orthogonal-table": (lambda: OrthogonalMixing(7), (7,), None),
    "lu": (lambda: LUMixing(5), (5, 2, 2), None),
    "lu-table": (lambda: LUMixing(6, seed=1), (6,), None),
    "permutation": (lambda: Permutation(7, seed=2), (7, 1, 2), None),
    "permutation-given": (lambda: Permutation([2, 0, 1]), (3,), None),
    "flatten": (lambda: Flatten((3, 2, 2)), (3, 2, 2), None),
    "chain": (
        lambda: Chain(
            OrthogonalMixing(3),
            Coupling(3, conv()),
            HaarDownsampling(rebalance=0.5),
            LUMixing(12),
            Coupling(12, conv(), LAWS["spline"]),
            Flatten((12, 1, 2)),
            Coupling(24, dense()),
        ),
        (3, 2, 4),
        None,
    ),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def shaken(module: nn.Module, size: float = 0.5, seed: int = 0) -> nn.Module:
    """Random parameters, so that no layer is the identity it starts as."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((size * noise).to(parameter.dtype))
    return module.eval()


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


def test_mixing_under_autocast_is_that_without():
    for layer in (OrthogonalMixing(6), LUMixing(6)):
        x = torch.randn(2, 6, 3, 3)
        expected = layer(x)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(x)[0], expected)


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


# ---------------------------------------------------------------------------------- couplings


@pytest.mark.parametrize("law", [VolumePreserving(), Additive()])
def test_volume_is_preserved_exactly(law):
    layer = shaken(Coupling(6, conv(), law))
    assert torch.equal(layer(torch.randn(3, 6, 4, 4))[1], torch.zeros(3))


def test_gin_moves_volume_between_channels():
    layer = shaken(Coupling(6, conv(), VolumePreserving()))
    x = torch.randn(1, 6, 2, 2)
    assert (layer(x)[0] - x).abs().max() > 0.1


@pytest.mark.parametrize("alpha", [0.3, 1.5, 5.0])
@pytest.mark.parametrize("shape", ["atan", "tanh"])
@pytest.mark.parametrize("scaled", [True, False])
def test_clamps_are_odd_bounded_and_have_their_slope(alpha, shape, scaled):
    clamp = Clamp(alpha, shape, scaled)
    s = torch.tensor([-1e9, -1.0, 0.0, 1.0, 1e9], dtype=torch.float64, requires_grad=True)
    sigma = clamp(s)
    assert float(sigma[-1].detach()) == pytest.approx(alpha)
    assert torch.allclose(sigma, -sigma.flip(0))
    (slope,) = torch.autograd.grad(sigma[2], s)
    unit = 2 / math.pi if shape == "atan" else 1.0
    assert float(slope[2]) == pytest.approx(unit * (1 if scaled else alpha))


def test_a_one_sided_coupling_leaves_its_first_part():
    layer = shaken(Coupling(5, conv(), sides=1, first=2))
    x = torch.randn(2, 5, 3, 3)
    z = layer(x)[0]
    assert torch.equal(z[:, :2], x[:, :2])
    assert (z[:, 2:] != x[:, 2:]).any()


def test_one_condition_serves_many_samples():
    layer = shaken(Coupling(4, conv(2)))
    x, condition = torch.randn(6, 4, 3, 3), torch.randn(2, 2, 3, 3)
    z, _ = layer(x, condition)
    expected, _ = layer(x, condition.repeat_interleave(3, dim=0))
    assert torch.allclose(z, expected, atol=1e-6)
    assert torch.allclose(layer.inverse(z, condition), x, atol=1e-5)


@pytest.mark.parametrize("make_law", [Affine, RationalQuadratic])
def test_deep_chains_are_inverted_far_from_the_data(make_law):
    def errors(reach):
        torch.manual_seed(0)
        layers = []
        for seed in range(20):
            layers.append(
                Coupling(8, lambda i, o: DensePredictor(i, o, width=32, reach=reach), make_law())
            )
            layers.append(OrthogonalMixing(8, seed))
        chain = shaken(Chain(*layers), 0.05)
        x = 100 * torch.randn(64, 8)
        with torch.no_grad():
            there = (chain.inverse(chain(x)[0]) - x).abs().max() / 100
            back = (chain(chain.inverse(x))[0] - x).abs().max() / 100
        return float(there), float(back)

    assert max(errors(3.0)) < 1e-4
    if make_law is Affine:  # splines leave alone what is far away, with any network
        assert not max(errors(None)) < 1e-2


# ------------------------------------------------------------------------------------ splines


@given(seed=st.integers(0, 10**6), bins=st.integers(2, 9), bound=st.floats(0.5, 10))
def test_splines_are_monotone_with_identity_tails(seed, bins, bound):
    law = RationalQuadratic(bins, bound)
    generator = torch.Generator().manual_seed(seed)
    theta = 3 * torch.randn(1, law.numbers, 1, generator=generator, dtype=torch.float64)
    x = torch.linspace(-1.5 * bound, 1.5 * bound, 4001, dtype=torch.float64)[None, None]
    z, _ = law.forward(x, theta.expand(-1, -1, x.shape[-1]))
    assert (z.diff() > 0).all()
    outside = x.abs() >= bound
    assert torch.equal(z[outside], x[outside])
    # Continuous: no jump at knots or bounds larger than the steepest bin explains.
    assert z.diff().max() < 1.5 * bound
    back = law.inverse(z, theta.expand(-1, -1, x.shape[-1]))
    assert (back - x).abs().max() < 1e-10 * bound


def test_a_splines_slope_is_one_at_its_bounds():
    law = RationalQuadratic(5, 2.0)
    theta = torch.randn(1, law.numbers, 2, dtype=torch.float64)
    x = torch.tensor([[[-2.0, 2.0]]], dtype=torch.float64) * (1 - 1e-9)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(law.forward(x, theta)[0].sum(), x)
    assert torch.allclose(slope, torch.ones_like(slope), atol=1e-5)


# ------------------------------------------------------------------------------- Haar, mixing


@given(
    channels=st.integers(1, 5),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    order=st.sampled_from(["channel", "band"]),
)
def test_haar_is_orthonormal(channels, height, width, order):
    size = channels * 4 * height * width
    basis = torch.eye(size, dtype=torch.float64).view(size, channels, 2 * height, 2 * width)
    z, log_det = HaarDownsampling(order)(basis)
    matrix = z.flatten(1)
    assert torch.allclose(matrix @ matrix.T, torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert torch.equal(log_det, torch.zeros(size, dtype=torch.float64))


def test_haar_bands_are_named_right():
    block = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    x = torch.stack([block, 10 * block])[None]
    bands = torch.tensor([7.5, -2.5, -4.5, 1.5])  # a, left − right, top − bottom, diagonal
    by_channel = HaarDownsampling("channel")(x)[0].flatten()
    assert torch.allclose(by_channel, torch.cat([bands, 10 * bands]))
    by_band = HaarDownsampling("band")(x)[0].flatten()
    assert torch.allclose(by_band, torch.stack([bands, 10 * bands], 1).flatten())


@pytest.mark.parametrize("order", ["channel", "band"])
def test_upsampling_undoes_downsampling(order):
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    z, down = HaarDownsampling(order, 0.5)(x)
    back, up = HaarUpsampling(order, 2.0)(z)
    assert torch.allclose(back, x, atol=1e-12)
    assert torch.allclose(down + up, torch.zeros(2, dtype=torch.float64), atol=1e-12)


def test_an_orthogonal_matrix_born_in_float32_is_orthogonal_in_float64():
    layer = OrthogonalMixing(64)
    identity = torch.eye(64, dtype=torch.float64)
    state = copy.deepcopy(layer.state_dict())
    layer.double()
    assert (layer.matrix @ layer.matrix.T - identity).abs().max() < 1e-12
    layer.load_state_dict(state)
    assert (layer.matrix @ layer.matrix.T - identity).abs().max() < 1e-12


def test_seeds_choose_the_mixing():
    for make in (OrthogonalMixing, LUMixing, Permutation):
        x = torch.randn(1, 16, 2, 2)
        assert torch.equal(make(16, seed=1)(x)[0], make(16, seed=1)(x)[0])
        assert not torch.equal(make(16, seed=1)(x)[0], make(16, seed=2)(x)[0])


def test_learned_mixing_starts_as_a_rotation():
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    z, log_det = LUMixing(8).double()(x)
    assert torch.allclose(z.norm(dim=1), x.norm(dim=1), atol=1e-5)
    assert log_det.abs().max() < 1e-4


# ------------------------------------------------------------------------------------ ActNorm


def test_actnorm_standardises_its_first_batch_and_no_other():
    layer = ActNorm(3)
    x = 4 + 7 * torch.randn(5, 3, 8, 8)
    z = layer(x)[0].transpose(0, 1).flatten(1)
    assert torch.allclose(z.mean(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(z.var(1, correction=0), torch.ones(3), atol=1e-4)
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(5, 3, 8, 8))
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)


def test_actnorm_does_not_start_over_after_loading():
    trained = ActNorm(2)
    trained(3 + torch.randn(4, 2, 3, 3))
    layer = ActNorm(2)
    layer.load_state_dict(trained.state_dict())
    layer(100 + torch.randn(4, 2, 3, 3))
    assert torch.equal(layer.mean, trained.mean)


def test_actnorm_is_the_identity_before_training_and_survives_a_constant_band():
    layer = ActNorm(2).eval()
    x = torch.randn(4, 2, 3, 3)
    assert torch.equal(layer(x)[0], x)
    assert not layer.initialised
    z, log_det = layer.train()(torch.full((4, 2, 3, 3), 5.0))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()


# -------------------------------------------------------------------------------------- errors


def one_line(call, *words: str) -> None:
    with pytest.raises(ImgturboError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


def test_bad_input_is_named_in_one_line():
    one_line(lambda: Coupling(1, conv()), "cannot split 1 channels")
    one_line(lambda: Coupling(4, conv(), first=4), "4 and 0")
    one_line(lambda: Coupling(4, conv())(zeros(1, 3, 2, 2)), "4 channels", "(1, 3, 2, 2)")
    one_line(lambda: HaarDownsampling()(zeros(1, 3, 4, 5)), "even", "(1, 3, 4, 5)")
    one_line(lambda: HaarDownsampling().inverse(zeros(1, 3, 4, 4)), "fours")
    one_line(lambda: PixelUnshuffle()(zeros(1, 3, 3, 4)), "even")
    one_line(lambda: PixelUnshuffle().inverse(zeros(1, 3, 3, 4)), "fours")
    one_line(lambda: HaarDownsampling(rebalance=0), "rebalance")
    one_line(lambda: Flatten((3, 2, 2))(zeros(1, 3, 2, 4)), "(3, 2, 4)")
    one_line(lambda: Flatten((3, 2, 2)).inverse(zeros(1, 11)), "(1, 11)", "12")
    one_line(lambda: Permutation([0, 0, 1]), "once")
    one_line(lambda: OrthogonalMixing(2, matrix=torch.ones(2, 2)), "orthogonal")
    one_line(lambda: RationalQuadratic(bins=1), "bins")
    one_line(lambda: Clamp(alpha=0), "alpha")
    conditional = Coupling(4, conv(2))
    x = zeros(4, 4, 2, 2)
    one_line(lambda: conditional(x), "needs a condition of 2 channels")
    one_line(lambda: conditional(x, zeros(4, 3, 2, 2)), "2 channels", "(4, 3, 2, 2)")
    one_line(lambda: conditional(x, zeros(4, 2, 1, 2)), "does not fit")
    one_line(lambda: conditional(x, zeros(3, 2, 2, 2)), "does not fit")
    one_line(lambda: Chain(conditional)(x, [None, None]), "2 conditions for a chain of 1")
