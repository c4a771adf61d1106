"""Physical encoders are linear with an exact adjoint, lose nothing in z, and keep ε white."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imgturbo.config import OperatorConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, build_generator
from imgturbo.nets.sampling import hartley, opposite

OPERATORS = {
    "identity": {"kind": "identity"},
    "mask": {"kind": "mask", "share": 0.4, "hole": 3},
    "downsample": {"kind": "downsample", "factor": 3},
    "blur": {"kind": "blur", "fwhm": 2.5, "side": 7},
    "compressive": {"kind": "compressive", "share": 0.3},
    "fourier": {"kind": "fourier", "share": 0.3},
    "dense": {"kind": "fourier", "share": 0.3, "concentration": 3},
    "learnt": {"kind": "fourier", "share": 0.3, "learnable": True},
}
SIZED = {"mask", "compressive", "fourier"}


def section(name, size=15, noise=0.0, **more):
    operator = dict(OPERATORS[name]) | more
    if operator["kind"] in SIZED:
        operator["size"] = size
    return OperatorConfig.model_validate({"operator": operator, "noise": noise})


def encoder(name, channels=2, **more):
    return build_generator(section(name, **more), channels, channels).eval().double()


def images(n, channels=2, size=15, seed=0):
    return torch.randn(
        n, channels, size, size, generator=torch.Generator().manual_seed(seed)
    ).double()


@given(
    name=st.sampled_from(sorted(OPERATORS)),
    size=st.sampled_from([9, 12, 15]),
    seed=st.integers(0, 99),
)
def test_the_adjoint_is_exact(name, size, seed):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for any x and y."""
    operator = encoder(name, size=size).operator
    x = images(1, size=size, seed=seed)
    measured = operator.measure(x)
    y = torch.randn(measured.shape, generator=torch.Generator().manual_seed(seed + 1)).double()
    left, right = (measured * y).sum(), (x * operator.adjoint(y)).sum()
    assert torch.isclose(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_is_linear_and_z_loses_nothing(name):
    operator = encoder(name).operator
    a, b = images(1, seed=1), images(1, seed=2)
    both = operator.measure(2 * a - 3 * b)
    assert torch.allclose(both, 2 * operator.measure(a) - 3 * operator.measure(b), atol=1e-10)
    y = operator.measure(a)
    z = operator.lay_out(y)
    assert z.shape == a.shape
    assert torch.allclose(operator.measured_in(z), y, atol=1e-10)


@pytest.mark.parametrize("name", OPERATORS)
def test_noise_is_white_where_something_is_measured(name):
    """ε has the variance 1 in each measurement, none elsewhere, and no correlation."""
    operator = encoder(name, channels=1, size=9).operator
    n = images(4000, 1, 9)
    epsilon = operator.whiten(n).flatten(1)
    covariance = epsilon.T @ epsilon / len(n)
    measured = covariance.diagonal() > 0
    assert int(measured.sum()) == operator.measurements(operator.measure(n))
    error = covariance - torch.diag(measured.double())
    assert error.abs().max() < 0.12  # 5 standard deviations of a variance of 4000


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_truth_is_consistent_to_within_the_noise(name, noise):
    """‖A x − y‖² of the true x is σ² a measurement; that of another sky is not."""
    network = encoder(name, noise=noise)
    assert network.stochastic == (noise > 0)
    x, n = images(400), images(400, seed=1)
    squares, entries = network.residual(x, network.observe(x, n))
    ratio = squares.mean() / entries
    assert torch.isclose(ratio, torch.tensor(noise**2).double(), rtol=0.05, atol=1e-12)
    other, _ = network.residual(0 * x, network.observe(x, n))
    assert other.mean() > squares.mean() + 0.03 * entries


def test_draws_of_the_encoder_are_observations():
    network = encoder("blur", noise=0.2)
    x = images(200)
    torch.manual_seed(0)
    error = network(x, FreshNoise()) - network(x)
    assert torch.isclose(error.std(), torch.tensor(0.2).double(), rtol=0.02)
    assert torch.equal(network(x), network.operator.measure(x))


# ------------------------------------------------------------------------------- what each is


def test_hartley_is_its_own_inverse_and_holds_what_fourier_does():
    x = images(2)
    assert torch.allclose(hartley(hartley(x)), x, atol=1e-12)
    mask = encoder("fourier").operator.mask()
    fourier = torch.fft.ifft2(mask * torch.fft.fft2(x))
    assert fourier.imag.abs().max() < 1e-12  # k and −k are chosen together
    z = encoder("fourier")(x)
    assert torch.allclose(z, fourier.real, atol=1e-12)


@pytest.mark.parametrize("size", [8, 9])
def test_opposite_frequencies(size):
    found = opposite(size)
    k = np.fft.fftfreq(size)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    nyquist = 0.5 if size % 2 == 0 else np.inf
    for grid in (ky.ravel(), kx.ravel()):
        same = np.isclose(grid[found], -grid) | (np.abs(grid) == nyquist)
        assert same.all()


def test_downsampling_is_a_mean_and_repeats_it():
    x = images(1, size=6)
    z = encoder("downsample")(x)
    assert torch.allclose(
        z[..., :3, :3], x[..., :3, :3].mean((-1, -2), keepdim=True).expand(-1, -1, 3, 3)
    )


def test_blur_is_a_convolution_by_a_kernel_of_sum_one():
    from scipy.signal import convolve2d

    operator = encoder("blur", channels=1).operator
    with torch.no_grad():  # a kernel without symmetry tells convolution from correlation
        operator.kernel.copy_(torch.rand(7, 7).double())
    x = images(1, 1)
    expected = convolve2d(x[0, 0].numpy(), operator.kernel.numpy(), mode="same")
    np.testing.assert_allclose(operator.measure(x)[0, 0].numpy(), expected, atol=1e-10)
    kernel = encoder("blur", side=25, fwhm=6).operator.kernel.numpy()
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel[12, 12 + 3] == pytest.approx(kernel[12, 12] / 2, rel=1e-5)


def test_a_psf_is_read_from_a_file(tmp_path):
    image = np.zeros((11, 14), np.float32)
    image[4:7, 6:9] = [[1, 2, 1], [2, 8, 3], [1, 2, 1]]
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(tmp_path / "psf.fits")
    config = section("blur", fwhm=None, psf=str(tmp_path / "psf.fits"), side=5)
    network = build_generator(config, 1, 1)
    network.operator.read_files()
    expected = np.pad(image[4:7, 6:9], 1) / image.sum()
    np.testing.assert_allclose(network.operator.kernel.numpy(), expected, rtol=1e-6)
    image[4, 6] = -1
    fits.PrimaryHDU(image).writeto(tmp_path / "psf.fits", overwrite=True)
    with pytest.raises(ImgturboError, match="is no PSF: 1 of its pixels are below 0"):
        network.operator.read_files()
    (tmp_path / "psf.fits").unlink()
    with pytest.raises(ImgturboError, match=r"psf\.fits"):
        network.operator.read_files()


@pytest.mark.parametrize("name", ["mask", "compressive", "fourier", "dense", "learnt"])
@pytest.mark.parametrize("size", [15, 16])
def test_budgets_are_kept(name, size):
    operator = encoder(name, size=size).operator
    share = operator.mask().mean().item()
    asked = OPERATORS[name]["share"]
    if name == "mask":
        assert abs(share - asked) < 3**2 * 6 / size**2
    else:
        assert asked - 2 / size**2 <= share <= asked + 0.5 / size**2
    assert torch.equal(operator.mask(), encoder(name, size=size).operator.mask())
    if name in ("mask", "compressive", "fourier"):
        assert not torch.equal(operator.mask(), encoder(name, size=size, seed=1).operator.mask())


def test_concentrated_sampling_prefers_low_frequencies():
    k = np.hypot(*np.meshgrid(*[np.fft.fftfreq(32)] * 2))
    alike, dense = (
        encoder(n, size=32).operator.mask().bool().numpy() for n in ("fourier", "dense")
    )
    assert k[dense].mean() < 0.8 * k[alike].mean()


# ------------------------------------------------------------------------------- learnt sampling


def test_learnt_probabilities_keep_the_budget_and_symmetry():
    operator = build_generator(section("learnt"), 1, 1).operator
    with torch.no_grad():
        operator.weight.normal_(0, 1)
    for share in (0.05, 0.3, 0.9):
        operator.share = share
        p = operator.probabilities()
        assert p.mean().item() == pytest.approx(share, abs=1e-5)
        assert (p >= 0).all()
        assert (p <= 1 + 1e-6).all()
        assert torch.equal(p.flatten()[operator.opposite], p.flatten())


def test_draws_of_a_learnt_mask_follow_the_probabilities():
    operator = build_generator(section("learnt", size=9), 1, 1).train().operator
    with torch.no_grad():
        operator.weight.normal_(0, 0.5)
    torch.manual_seed(1)
    drawn = torch.stack([operator.mask().detach() for _ in range(1000)])
    masks = drawn.round()
    assert (masks - drawn).abs().max() < 1e-6
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(masks.flatten(1)[:, operator.opposite], masks.flatten(1))
    assert (masks.mean(0) - operator.probabilities()).abs().max() < 0.09


def test_a_learnt_mask_finds_where_the_signal_is():
    """What is lost of x̂ = z̃ has its gradient; the frequencies of a sky that is smooth win."""
    size = 9
    network = build_generator(section("learnt", size=size), 1, 1).train()
    k = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size)] * 2))
    power = torch.from_numpy((k < np.quantile(k, 0.3)).astype(np.float32))
    torch.manual_seed(0)
    for _ in range(80):
        x = hartley(power * torch.randn(16, 1, size, size))
        (slope,) = torch.autograd.grad((network(x) - x).square().mean(), network.parameters())
        with torch.no_grad():
            network.operator.weight -= 0.0125 * slope.sign()
    learnt = network.eval().operator.mask().bool()
    assert power[learnt].mean() > 0.9
    assert power[network.operator.chosen.bool()].mean() < 0.6  # what it began with


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("name", "options", "extent", "words"),
    [
        ("mask", {}, 16, r"operator.size is 15, but data.crop .* is 16; set it to 16"),
        ("fourier", {}, 16, r"operator.size is 15, but"),
        ("downsample", {}, 16, "factor is 3, which does not divide the 16 pixels"),
        ("blur", {"side": 17}, 16, "kernel is larger than the 16 pixels"),
        ("identity", {}, None, "table of numbers"),
    ],
)
def test_an_operator_that_does_not_fit_is_one_line(name, options, extent, words):
    network = encoder(name, **options)
    with pytest.raises(ImgturboError, match=words) as caught:
        network.check(extent, extent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["compressive", "fourier"])
def test_a_budget_of_nothing_is_refused(name):
    with pytest.raises(ImgturboError, match=r"share is 0\.001, which is nothing of 225 pixels"):
        encoder(name, share=0.001)


def test_unlike_bands_are_refused():
    with pytest.raises(ImgturboError, match="x has 3 and z 2"):
        build_generator(section("identity"), 3, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "blur"}, "give either 'psf'"),
        ({"kind": "blur", "fwhm": 2, "side": 4}, "set side to 5"),
        ({"kind": "fourier", "size": 8, "share": 1.2}, "less than or equal to 1"),
    ],
)
def test_settings_that_make_no_operator_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        OperatorConfig.model_validate({"operator": options})


# --------------------------------------------------------------------------------------- deepinv


def deepinv(name, size=12, **settings):
    operator = {"kind": "deepinv", "name": name, "size": size, "settings": settings}
    return build_generator(OperatorConfig.model_validate({"operator": operator}), 1, 1)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv.physics", None)
    with pytest.raises(ImgturboError, match=r"needs the package deepinv .*imgturbo\[inverse\]"):
        deepinv("Blur")


def test_deepinvs_operators_are_operators():
    pytest.importorskip("deepinv")
    kernel = [[[[0.0, 0.1, 0.0], [0.2, 0.4, 0.1], [0.0, 0.2, 0.0]]]]
    network = deepinv("Blur", filter=kernel, padding="circular")
    network.check(12, 12)
    x, y = images(1, 1, 12).float(), images(1, 1, 12, seed=1).float()
    left = (network.operator.measure(x) * y).sum()
    assert torch.isclose(left, (x * network.operator.adjoint(y)).sum(), atol=1e-4)
    own = encoder("blur", channels=1, side=3).operator.float()
    with torch.no_grad():
        own.kernel.copy_(torch.tensor(kernel)[0, 0])
    inner = (..., slice(1, -1), slice(1, -1))  # at the edge theirs goes round
    assert torch.allclose(network(x)[inner], own.measure(x)[inner], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("Phantom", {}, "deepinv has no linear operator 'Phantom'"),
        ("Blur", {"nonsense": 1}, "deepinv's Blur does not take them"),
        (
            "Downsampling",
            {"img_size": [1, 12, 12], "factor": 2, "filter": None},
            "measurements are images like x",
        ),
    ],
)
def test_what_deepinv_cannot_do_is_one_line(name, settings, words):
    pytest.importorskip("deepinv")
    with pytest.raises(ImgturboError, match=words) as caught:
        deepinv(name, **settings).check(12, 12)
    assert "\n" not in str(caught.value)
