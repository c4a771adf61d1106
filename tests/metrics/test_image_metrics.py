"""Laws of the pixel metrics: agreement with scikit-image, and blindness to masked pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.filters import gaussian_blur2d
from scipy.stats import chi2, norm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imgturbo.metrics import ms_ssim, mse, power_spectrum, psnr, spectrum_scores, ssim
from imgturbo.metrics.spectrum import darker_half, falling, outstanding

shapes = st.tuples(st.integers(1, 4), st.sampled_from([13, 31, 40, 53]), st.sampled_from([17, 47]))


def pair(shape, seed=0, noise=0.1):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    return target + noise * torch.randn(
        target.shape, generator=generator, dtype=torch.float64
    ), target


@given(shapes, st.sampled_from([1.0, 2.0, 255.0]))
def test_agrees_with_scikit_image(shape, data_range):
    pred, target = pair(shape)
    for i in range(2):
        p, t = pred[i].numpy(), target[i].numpy()
        expected = structural_similarity(
            t, p, data_range=data_range, channel_axis=0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert ssim(pred, target, data_range=data_range)[i].item() == pytest.approx(
            expected, abs=1e-9
        )
        expected = peak_signal_noise_ratio(t, p, data_range=data_range)
        assert psnr(pred, target, data_range=data_range)[i].item() == pytest.approx(
            expected, abs=1e-9
        )


@given(shapes, st.integers(0, 1000), st.sampled_from([0.0, 1e6, float("nan"), float("inf")]))
def test_masked_pixels_do_not_matter(shape, seed, garbage):
    pred, target = pair(shape, seed)
    valid = torch.ones(2, 1, *shape[1:], dtype=torch.bool)
    valid[:, :, : shape[1] // 3] = False
    spoiled = torch.where(valid, pred, torch.tensor(garbage, dtype=pred.dtype))

    def spectrum(*images):
        return torch.stack(spectrum_scores(*images))

    for metric in (mse, psnr, ssim, spectrum):
        torch.testing.assert_close(
            metric(spoiled, target, valid), metric(pred, target, valid), equal_nan=True
        )
    kept = slice(shape[1] // 3, None)
    torch.testing.assert_close(
        mse(pred, target, valid), mse(pred[..., kept, :], target[..., kept, :])
    )
    torch.testing.assert_close(
        ssim(pred, target, valid), ssim(pred[..., kept, :], target[..., kept, :]), equal_nan=True
    )


def test_identical_images_are_perfect():
    _, target = pair((3, 181, 193))
    assert torch.isinf(psnr(target, target)).all()
    for similarity in (ssim(target, target), ms_ssim(target, target)):
        torch.testing.assert_close(similarity, torch.ones(2, dtype=torch.float64))
    same = spectrum_scores(target, target)
    assert same.error.abs().max() == 0
    torch.testing.assert_close(same.coherence, torch.ones(2, dtype=torch.float64))


def test_ms_ssim_falls_with_noise_and_is_undefined_when_small():
    values = [ms_ssim(*pair((1, 180, 200), noise=n))[0].item() for n in (0.01, 0.1, 0.5)]
    assert 1 > values[0] > values[1] > values[2] > 0
    assert torch.isnan(ms_ssim(*pair((1, 175, 200)))).all()


@pytest.mark.parametrize(
    ("height", "width", "value"),
    [(176, 176, 0.968354042109077), (208, 192, 0.9685290144291512)],
)
def test_ms_ssim_agrees_with_pytorch_msssim(height, width, value):
    """Values of pytorch-msssim 1.0.0, ``ms_ssim(pred, target, data_range=1.0)``, in float64."""
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in (height, width)), indexing="ij")
    target = 0.5 + 0.4 * torch.sin(x / 5) * torch.cos(y / 7)
    pred = 0.5 + 0.35 * torch.sin((x + 0.8) / 5) * torch.cos(y / 7) + 0.05 * torch.sin(x * y)
    target, pred = target[None, None], pred[None, None]
    # (its window is in single precision)
    assert ms_ssim(pred, target).item() == pytest.approx(value, abs=2e-7)
    bytes_ = ms_ssim(255 * pred, 255 * target, data_range=255.0)
    torch.testing.assert_close(bytes_, ms_ssim(pred, target))


@pytest.mark.parametrize("garbage", [7.0, float("nan")])
def test_ms_ssim_sees_whole_windows_alone(garbage):
    """A mask over the first 32 columns is a cut there, at each of the five scales."""
    pred, target = pair((2, 181, 239))
    valid = torch.ones(2, 1, 181, 239, dtype=torch.bool)
    valid[..., :32] = False
    found = ms_ssim(pred.where(valid, garbage), target.where(valid, -garbage), valid)
    torch.testing.assert_close(found, ms_ssim(pred[..., 32:], target[..., 32:]))
    # One pixel takes the coarse one that holds it: a cut four pixels further tells of it.
    valid[..., 32:34] = False
    valid[..., 34] = False
    masked = ms_ssim(pred, target, valid)
    assert masked.isfinite().all()
    assert not torch.equal(masked, found)


def test_ssim_needs_a_window():
    for side, finite in ((10, False), (11, True)):
        pred, target = pair((2, side, 40))
        assert ssim(pred, target).isfinite().all() == finite
        assert ssim(pred, target).shape == (2,)
    same = (pred, target, None, 1.0)
    assert torch.equal(ssim(*same), ssim(pred, target))
    assert torch.equal(psnr(*same), psnr(pred, target))
    _, target = pair((1, 180, 177))
    assert torch.equal(ms_ssim(0.9 * target, target, None, 1.0), ms_ssim(0.9 * target, target))


@pytest.mark.parametrize(("height", "width", "bins"), [(37, 52, 9), (64, 31, 7), (13, 12, 3)])
def test_power_is_numpys_in_rings(height, width, bins):
    """Ring by ring, of an image with a hole, against NumPy's transform and window."""
    image, _ = pair((2, height, width), seed=3)
    valid = torch.rand(2, 1, height, width) > 0.2
    found = power_spectrum(image.masked_fill(~valid, torch.nan), valid, bins)
    plane = image.where(valid, 0).numpy()
    plane = plane - plane.mean((2, 3), keepdims=True)
    taper = np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.rfft2(plane * taper)) ** 2 / (height * width)
    k = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    for number in range(bins):
        ring = (k >= 0.5 * number / bins) & (k < 0.5 * (number + 1) / bins) & (k > 0)
        np.testing.assert_allclose(found[..., number], power[..., ring].mean(-1), rtol=1e-5)
    assert power_spectrum(image).shape == (2, 2, 32)


@pytest.mark.parametrize(("side", "bins"), [(7, 2), (11, 2), (12, 3), (63, 15), (200, 32)])
def test_bins_of_the_scores_hold_four_pixels_of_the_short_side(side, bins):
    pred, target = pair((1, side, side + 9), noise=0.5)
    found = spectrum_scores(pred, target)
    ratio = power_spectrum(pred, None, bins) / power_spectrum(target, None, bins)
    torch.testing.assert_close(found.error, ratio.log10().abs().mean((1, 2)))


def test_nothing_valid_is_nan():
    pred, target = pair((1, 31, 31))
    valid = torch.zeros(2, 1, 31, 31, dtype=torch.bool)
    for metric in (mse, psnr, ssim):
        assert torch.isnan(metric(pred, target, valid)).all()


def test_power_spectrum_of_white_noise_is_flat_and_of_a_wave_is_a_line():
    noise = torch.randn(100, 1, 128, 96, generator=torch.Generator().manual_seed(1)).double()
    power = power_spectrum(noise, bins=8).mean((0, 1))
    assert (power / power.mean() - 1).abs().max() < 0.1
    x = torch.arange(128, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * 0.25 * x).expand(1, 1, 64, 128)
    assert power_spectrum(wave, bins=16).argmax().item() == 8  # 0.25 of 0.5, in 16 bins


def test_spectrum_error_measures_a_factor_in_decades():
    _, target = pair((2, 64, 81))
    scores = spectrum_scores(target * 10**0.5, target)
    torch.testing.assert_close(scores.error, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(scores.coherence, torch.ones(2, dtype=torch.float64))


def lights(seed: int, noise: float) -> torch.Tensor:
    """The same spots for every seed, with other noise: (1, 1, 128, 128)."""
    where = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(5)) < 0.004
    spots = gaussian_blur2d(20 * where.double(), 15, (1.5, 1.5))
    return spots + noise * torch.randn(
        spots.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def test_spectra_are_compared_above_the_noise_and_by_what_they_share():
    truth, target = lights(0, 0), lights(1, 0.1)
    honest = spectrum_scores(truth, target, noisy=True)
    assert honest.error < 0.05
    assert honest.coherence == pytest.approx(1, abs=0.03)
    # A second exposure has power that the light has not; half the light has a quarter of it.
    assert spectrum_scores(lights(2, 0.1), target, noisy=True).error > honest.error
    torch.testing.assert_close(
        spectrum_scores(truth / 2, target, noisy=True).error,
        torch.full((1,), math.log10(4), dtype=torch.float64),
        atol=0.05,
        rtol=0,
    )
    # The right power at every scale, made up: the error is content, the coherence is not.
    elsewhere = truth.roll((40, 53), (-2, -1))
    made_up = spectrum_scores(elsewhere, target, noisy=True)
    assert made_up.error < 0.3  # the taper weighs other spots
    assert made_up.coherence.abs() < 0.3


def test_on_noise_alone_nothing_is_to_be_compared():
    noise = torch.randn(2, 1, 96, 90, generator=torch.Generator().manual_seed(1)).double()
    scores = spectrum_scores(noise.flip(-1), noise, noisy=True)
    assert torch.isnan(scores.error).all()
    assert torch.isnan(scores.coherence).all()


def test_what_stands_out_is_a_quantile_of_chi_square():
    modes = torch.tensor([1.0, 2, 5, 20, 100, 1000])
    exact = chi2.isf(norm.sf(4), modes.numpy()) / modes.numpy()
    expected = np.maximum(exact, 2)
    np.testing.assert_allclose(outstanding(modes).numpy(), expected, rtol=0.15)


@given(st.integers(12, 60), st.integers(12, 60), st.integers(0, 1000))
def test_the_darker_half_leaves_out_what_is_bright(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 2, height, width, generator=generator)
    image[..., : height // 4, :] += 100
    valid = torch.rand(1, 1, height, width, generator=generator) > 0.1
    dark, share = darker_half(image.where(valid, 0), valid, torch.ones(height, width))
    assert (dark[..., : height // 4, :] == 0).all()
    assert (dark.where(~valid, 0) == 0).all()
    assert dark.abs().max() < 10
    assert ((share > 0.3) & (share < 0.7)).all()
    torch.testing.assert_close(dark.sum((-2, -1)), torch.zeros(1, 2), atol=1e-2, rtol=0)


@given(st.integers(1, 3), st.integers(1, 4))
def test_affine_baseline_is_exact_for_affine_images(sources, targets):
    from imgturbo.metrics.baselines import affine_colour

    rng = np.random.default_rng(sources * 7 + targets)
    source = rng.normal(size=(sources, 19, 23)).astype(np.float32)
    a, b = rng.normal(size=(targets, sources)), rng.normal(size=(targets, 1, 1))
    target = (np.tensordot(a, source, 1) + b).astype(np.float32)
    valid = rng.random((19, 23)) > 0.3
    spoiled = np.where(valid, target, 1e9).astype(np.float32)
    mapped = affine_colour(source, spoiled, valid)
    np.testing.assert_allclose(mapped[:, valid], target[:, valid], atol=1e-4)
    flat = np.concatenate([source, np.full_like(source[:1], 3)])  # a band that says nothing
    np.testing.assert_allclose(
        affine_colour(flat, spoiled, valid)[:, valid], target[:, valid], atol=1e-3
    )


def test_the_best_affine_map_is_scipys_least_squares():
    from scipy.linalg import lstsq

    from imgturbo.metrics import baselines

    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 31, 37)), rng.normal(size=(3, 31, 37))
    valid = rng.random((31, 37)) > 0.5
    design = np.column_stack([*source[:, valid], np.ones(valid.sum())])
    fit = lstsq(design, target[:, valid].T)[0]
    expected = np.tensordot(fit[:2].T, source, 1) + fit[2][:, None, None]
    single = source.astype(np.float32), target.astype(np.float32)
    np.testing.assert_allclose(baselines.affine_colour(*single, valid), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "wanted", "order"),
    [
        (2, 3, [0, 0, 1]),
        (3, 2, [0, 2]),
        (1, 4, [0] * 4),
        (3, 3, [0, 1, 2]),
        (2, 5, [0, 0, 0, 1, 1]),
    ],
)
def test_the_input_as_it_is_keeps_the_order_of_bands(given, wanted, order):
    from imgturbo.metrics.baselines import identity

    source = np.arange(given)[:, None, None] + np.zeros((given, 2, 3))
    assert identity(source, wanted)[:, 1, 2].tolist() == order


def test_powers_fall_with_scale_as_little_as_they_must():
    """Each is that of the largest behind it, in every band and image by itself."""
    power = torch.rand(3, 2, 9, generator=torch.Generator().manual_seed(1))
    behind = [power[..., k:].max(-1).values for k in range(9)]
    torch.testing.assert_close(falling(power), torch.stack(behind, -1), rtol=0, atol=0)


def test_spectra_of_blank_images_agree():
    """No power against no power is no difference, and no NaN."""
    blank = torch.zeros(1, 1, 32, 32)
    found = spectrum_scores(blank, blank)
    assert found.error.item() == 0
