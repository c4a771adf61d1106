"""Distances: their formulas, and that nothing under a mask can be felt."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torchvision.transforms.functional import gaussian_blur

from imgturbo.errors import ImgturboError
from imgturbo.turbo import distances, entries
from imgturbo.turbo.distances import DISTANCES, Lpips, Mix
from imgturbo.turbo.fourier import _cells, _hann

POINTWISE = ("l1", "l2", "charbonnier")
shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 13), st.integers(2, 11))


def draw(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.randn(2, *shape, generator=generator, dtype=dtype)
    valid = torch.rand(shape[0], 1, *shape[2:], generator=generator) < 0.6
    return u, v, valid


def value_and_gradient(distance, u, v, valid):
    u = u.clone().requires_grad_()
    found = distance(u, v, valid)
    (gradient,) = torch.autograd.grad(found.total.sum(), u)
    return found, gradient


@pytest.mark.parametrize("name", DISTANCES)
@given(shape=shapes, seed=st.integers(0, 99), junk=st.sampled_from([7.0, 1e30, float("nan")]))
def test_masked_pixels_are_not_felt(name, shape, seed, junk):
    u, v, valid = draw(shape, seed)
    found, gradient = value_and_gradient(DISTANCES[name], u, v, valid)
    for which in ("prediction", "target", "both"):
        dirty_u = u if which == "target" else torch.where(valid, u, junk)
        dirty_v = v if which == "prediction" else torch.where(valid, v, junk)
        again, gradient_again = value_and_gradient(DISTANCES[name], dirty_u, dirty_v, valid)
        assert torch.equal(again.total, found.total)
        assert torch.equal(gradient_again, gradient)
    assert torch.isfinite(gradient).all()
    assert (gradient.masked_select(~valid) == 0).all()
    assert torch.equal(found.entries, valid.flatten(1).sum(1).double() * shape[1])


@pytest.mark.parametrize("name", DISTANCES)
def test_nothing_valid_is_zero(name):
    u, v, valid = draw((2, 3, 7, 5))
    found, gradient = value_and_gradient(DISTANCES[name], u, v, torch.zeros_like(valid))
    assert (found.total == 0).all()
    assert (found.entries == 0).all()
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", DISTANCES)
def test_zero_and_minimal_at_the_truth(name):
    u, v, valid = draw((2, 2, 11, 13))
    same, away = (DISTANCES[name](p, v, valid).total for p in (v, u))
    assert (away > 100 * same).all()
    if name != "charbonnier":
        assert (same == 0).all()


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 7, 5)])
def test_pointwise_formulas(shape):
    u, v, valid = draw(shape)
    keep = valid.expand(shape)
    d = (u - v)[keep]
    expected = {"l1": d.abs(), "l2": d**2, "charbonnier": (d**2 + 1e-6).sqrt()}
    for name in POINTWISE:
        found = DISTANCES[name](u, v, valid)
        mean = found.total.sum() / found.entries.sum()
        torch.testing.assert_close(mean, expected[name].mean())


def test_fourier_obeys_parseval_up_to_the_window():
    """|F| summed in squares is the windowed difference summed in squares; the ℓ1 is of |F|."""
    u, v, _ = draw((1, 1, 12, 9))
    valid = torch.ones(1, 1, 12, 9, dtype=torch.bool)
    window = _hann(12, 9, u.dtype, u.device)
    modes = torch.fft.fft2((u - v) * window) / (12 * 9) ** 0.5
    torch.testing.assert_close(modes.abs().square().sum(), ((u - v) * window).square().sum())
    torch.testing.assert_close(distances.fourier(u, v, valid).total[0], modes.abs().sum())
    torch.testing.assert_close(window.square().mean(), torch.ones((), dtype=u.dtype))
    assert window.min() > 0


def test_spectrum_ignores_where_and_feels_how_much():
    generator = torch.Generator().manual_seed(1)
    # So large that most cells have many modes: the powers of few differ by chance.
    u = torch.randn(1, 1, 128, 128, generator=generator)
    other = torch.randn(1, 1, 128, 128, generator=generator)
    valid = torch.ones(1, 1, 128, 128, dtype=torch.bool)

    def mean(p, t):
        found = distances.spectrum(p, t, valid)
        return found.total.sum() / found.entries.sum()

    shift, scale, texture = mean(u.roll((5, 9), (2, 3)), u), mean(3 * u, u), mean(other, u)
    assert shift < 0.5
    assert texture < 0.5
    torch.testing.assert_close(scale, torch.tensor(9.0).log(), atol=1e-3, rtol=0)


@given(height=st.integers(2, 17), width=st.integers(2, 17))
def test_cells_share_out_every_mode_and_keep_opposite_ones_together(height, width):
    index, modes = _cells(height, width, torch.device("cpu"))
    assert modes.sum() == height * width == len(index)
    assert (modes > 0).all()
    y, x = (torch.arange(size) for size in (height, width))
    plane = index.reshape(height, width)
    assert plane[0, 0] == 0
    assert modes[0] == 1 or height != width
    # The Nyquist frequencies of even sides have one sign only and no opposite.
    one_sign = (2 * y == height)[:, None] | (2 * x == width)[None, :]
    opposite = plane[(-y) % height][:, (-x) % width]
    assert torch.equal(plane, torch.where(one_sign, plane, opposite))


def test_a_grid_of_two_pixels_does_not_pass_for_detail():
    generator = torch.Generator().manual_seed(2)
    u = torch.randn(1, 1, 128, 128, generator=generator)
    valid = torch.ones(u.shape, dtype=torch.bool)

    # Bright spots with detail as fine as a telescope's; the same without it; a grid on the spots.
    spots = gaussian_blur((torch.rand(u.shape, generator=generator) < 0.01).float(), 25, 4.0)
    sky = gaussian_blur(u, 25, 0.8) * 15 * spots
    smooth = gaussian_blur(sky, 25, 1.0)
    checks = (-1.0) ** torch.arange(128)
    grid = checks[:, None] * checks * 5 * spots
    nearest = distances.spectrum(smooth, sky, valid).total
    for strength in (0.01, 0.03, 0.1, 0.3, 1):
        assert distances.spectrum(smooth + strength * grid, sky, valid).total > nearest


def test_fabricated_noise_earns_nothing_on_a_sky():
    """The truth beside its noisy target: adding noise to it must not pay, and on noise all is 0."""
    generator = torch.Generator().manual_seed(3)
    truth = gaussian_blur((torch.rand(4, 1, 96, 96, generator=generator) < 0.01).float(), 15, 1.5)
    truth = 3 * truth
    noise, other = 0.05 * torch.randn(2, 4, 1, 96, 96, generator=generator)
    target, valid = truth + noise, torch.ones(4, 1, 96, 96, dtype=torch.bool)

    def mean(prediction, image=target, **known):
        return distances.spectrum(prediction, image, valid, **known).total.sum().item()

    sky = {"noisy": [True]}
    assert mean(truth + other) < 0.2 * mean(truth)  # without knowing of the noise it pays well
    assert mean(truth + other, **sky) > mean(truth, **sky)
    for strength in (0.03, 0.1, 0.3):  # what chance leaves to be gained is little beside that
        gained = 1 - mean(truth + strength * other, **sky) / mean(truth, **sky)
        assert gained < 0.2 * (1 - mean(truth + strength * other) / mean(truth))
    assert mean(0.5 * truth, **sky) > 4 * mean(truth, **sky)
    assert mean(other, noise, **sky) == mean(0 * other, noise, **sky) == 0
    assert mean(truth, **sky) == mean(truth, noisy=[True]) != mean(truth, noisy=[False])
    assert mean(truth, noisy=[False]) == mean(truth)


def test_a_whole_is_the_sum_of_its_parts():
    """Joint mean = Σ totals / Σ counts of any split of the batch (law 8)."""
    u, v, valid = draw((5, 2, 9, 7))
    for distance in DISTANCES.values():
        whole = distance(u, v, valid)
        parts = [distance(u[s], v[s], valid[s]) for s in (slice(0, 2), slice(2, 5))]
        torch.testing.assert_close(torch.cat([p.total for p in parts]), whole.total)
        torch.testing.assert_close(torch.cat([p.entries for p in parts]), whole.entries)


@pytest.mark.parametrize("name", ["fourier", "spectrum"])
def test_tables_have_no_spectrum(name):
    u, v, valid = draw((3, 4))
    with pytest.raises(ImgturboError, match=f"'{name}' needs images"):
        DISTANCES[name](u, v, valid)


def test_mix_is_the_weighted_sum_and_refuses_nonsense():
    u, v, valid = draw((2, 3, 7, 5))
    mixed = Mix({"l1": 2.0, "l2": 0.5, "fourier": 0.0})(u, v, valid)
    one, two = DISTANCES["l1"](u, v, valid), DISTANCES["l2"](u, v, valid)
    torch.testing.assert_close(mixed.total, 2 * one.total + 0.5 * two.total)
    assert torch.equal(mixed.entries, one.entries)
    with pytest.raises(ImgturboError, match="no distance has a weight"):
        Mix({"l1": 0.0})
    with pytest.raises(ImgturboError, match="weights are ≥ 0"):
        Mix({"l1": -1.0})


# -------------------------------------------------------------------------------------- LPIPS


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lpips_masks_and_reaches_the_prediction(channels):
    torch.manual_seed(0)
    distance = Lpips("alex", random_backbone=True)
    u, v, valid = draw((2, channels, 37, 41), dtype=torch.float32)
    found, gradient = value_and_gradient(distance, u, v, valid)
    assert (found.total > 0).all()
    assert (gradient.masked_select(valid) != 0).float().mean() > 0.5
    assert (gradient.masked_select(~valid) == 0).all()
    nan = float("nan")
    dirty = (torch.where(valid, u, nan), torch.where(valid, v, nan))
    again, gradient_again = value_and_gradient(distance, *dirty, valid)
    torch.testing.assert_close(again.total, found.total)
    torch.testing.assert_close(gradient_again, gradient)


def test_lpips_is_the_packages_mean_over_samples():
    import lpips

    distance = Lpips("alex", random_backbone=True)
    u, v, _ = draw((3, 3, 40, 33), dtype=torch.float32)
    found = distance(u, v, torch.ones(3, 1, 40, 33, dtype=torch.bool))
    model = distances.load_lpips("alex", True, torch.device("cpu"))
    assert isinstance(model, lpips.LPIPS)
    expected = model(2 * u - 1, 2 * v - 1).mean()
    torch.testing.assert_close(found.total.sum() / found.entries.sum(), expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_lpips_without_weights_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ImgturboError, match=r"vgg16-397923af\.pth.*take lpips out"):
        Mix({"lpips": 1.0})


def test_lpips_refuses_tables_and_stamps():
    distance = Lpips("alex", random_backbone=True)
    for shape in ((2, 3), (2, 3, 31, 64)):
        with pytest.raises(ImgturboError, match="at least 32 pixels"):
            distance(*draw(shape))


def mean(name, p, t, valid=None):
    valid = torch.ones_like(t[:, :1], dtype=torch.bool) if valid is None else valid
    found = DISTANCES[name](p, t, valid)
    return found.total.sum() / found.entries.sum()


@given(
    dy=st.integers(-1, 1), dx=st.integers(-1, 1), bands=st.integers(1, 3), seed=st.integers(0, 99)
)
def test_a_shift_by_a_pixel_costs_nothing_in_shifted(dy, dx, bands, seed):
    u, other, _ = draw((2, bands, 19, 23), seed)
    valid = torch.zeros(2, 1, 19, 23, dtype=torch.bool)
    valid[..., 1:-1, 1:-1] = True  # what rolls over the border is under the mask
    moved = u.roll((dy, dx), (2, 3))
    # Beside the mask's edge a patch lies half in the dark: its valid pixels alone are compared.
    inside = valid & valid.roll((dy, dx), (2, 3))
    assert mean("shifted", moved, u, inside) < 1e-12
    assert mean("shifted", other, u, inside) > 0.3


def test_shifted_by_hand():
    """Bands move together, and a patch as one: no pixel finds an excuse of its own."""
    u, v, valid = draw((1, 2, 9, 8), seed=3)
    total = 0.0
    for y in range(9):
        for x in range(8):
            if not valid[0, 0, y, x]:
                continue
            errors = []
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    cells = [
                        (u[0, :, a, b] - v[0, :, a + dy, b + dx]).abs().mean()
                        for a in range(max(y - 3, 0), min(y + 4, 9))
                        for b in range(max(x - 3, 0), min(x + 4, 8))
                        if 0 <= a + dy < 9
                        and 0 <= b + dx < 8
                        and valid[0, 0, a, b]
                        and valid[0, 0, a + dy, b + dx]
                    ]
                    if cells:
                        errors.append(torch.stack(cells).mean())
            total += min(errors)
    found = distances.shifted(u, v, valid)
    torch.testing.assert_close(found.total[0], 2 * total)


def test_shifted_where_a_pixel_stands_alone():
    """Moved, a lone pixel meets nothing that was measured: that is unknown, and no error of 0."""
    u, v, valid = draw((1, 2, 17, 19), seed=4)
    valid[:] = False
    valid[..., 8, 9] = True
    found = distances.shifted(u, v, valid)
    torch.testing.assert_close(found.total[0], (u - v)[0, :, 8, 9].abs().sum())


def test_shifted_is_at_most_the_blurred_error():
    u, v, _ = draw((2, 3, 16, 15))
    valid = torch.ones(2, 1, 16, 15, dtype=torch.bool)
    error = entries.box((u - v).abs().mean(1, keepdim=True), 7)
    error = error / entries.box(valid.double(), 7)
    assert (distances.shifted(u, v, valid).total <= 3 * error.flatten(1).sum(1) + 1e-9).all()


def test_texture_feels_blur_and_not_signs():
    u, _, valid = draw((1, 2, 32, 30))
    negative, blurred = 1 - u, entries.box(u, 3)
    assert mean("texture", negative, u) < 1e-12
    assert mean("texture", blurred, u) > 0.2
    assert mean("texture", 3 * u, u) > mean("texture", 1.5 * u, u) > 0
    assert mean("texture", u + 5, u) < 1e-12  # of a level it knows nothing, as long as all is valid
    assert mean("texture", u + 5, u, valid) > 0.1


@given(shape=shapes, kappa=st.floats(0.1, 20), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", POINTWISE)
def test_signal_weights(name, shape, kappa, seed):
    u, v, valid = draw(shape, seed)
    plain, weighted = Mix({name: 1}), Mix({name: 1}, kappa)
    assert torch.equal(plain(u, v, valid).entries, weighted(u, v, valid).entries)
    dark = torch.zeros_like(v)
    assert torch.equal(plain(u, dark, valid).total, weighted(u, dark, valid).total)
    even = torch.full_like(v, 0.5)  # a level of 0.5 everywhere, whatever is masked
    expected = (1 + kappa / 2) * plain(u, even, valid).total
    torch.testing.assert_close(weighted(u, even, valid).total, expected, rtol=1e-4, atol=1e-9)
    dirty = torch.where(valid, v, float("nan"))
    assert torch.equal(weighted(u, dirty, valid).total, weighted(u, v, valid).total)


def test_signal_is_local_and_leaves_other_distances_alone():
    target = torch.zeros(1, 2, 40, 40)
    target[0, 1, 20, 20] = -81.0  # a box of 9 × 9 pixels sees a mean of 1 in one band
    valid = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    level = distances.signal(target, valid)
    assert level.shape == (1, 1, 40, 40)
    torch.testing.assert_close(level[..., 16:25, 16:25], torch.ones(1, 1, 9, 9))
    assert level.sum().item() == pytest.approx(81)
    u, v, valid = draw((1, 1, 9, 9))
    for name in set(DISTANCES) - set(POINTWISE):
        totals = [Mix({name: 1}, kappa)(u, v, valid).total for kappa in (0.0, 5.0)]
        assert torch.equal(*totals)
    table = torch.tensor([[1.0, -3.0]])
    assert distances.signal(table, torch.ones(1, 1, dtype=torch.bool)).tolist() == [[3.0]]


@pytest.mark.parametrize(("height", "width"), [(32, 48), (31, 19), (16, 5), (2, 3)])
def test_texture_by_hand(height, width):
    """Scale by scale in NumPy and SciPy: detail, its energy over 3 × 3 pixels, means over 2 × 2."""
    u, v, valid = draw((2, 3, height, width), seed=4)
    found = distances.texture(u, v, valid)

    def scales(image):
        while min(image.shape) > 1:
            rows, cols = (-(-side // 2) for side in image.shape)
            padded = np.full((2 * rows, 2 * cols), np.nan)
            padded[: image.shape[0], : image.shape[1]] = image
            coarse = np.nanmean(padded.reshape(rows, 2, cols, 2), (1, 3))
            whole = np.kron(coarse, np.ones((2, 2)))[: image.shape[0], : image.shape[1]]
            yield uniform_filter(np.abs(image - whole), 3, mode="constant")
            image = coarse

    for row in range(2):
        expected = 0.0
        for band in range(3):
            pair = (torch.where(valid, one, 0.0)[row, band].numpy() for one in (u, v))
            for energy, truth in itertools.islice(zip(*map(scales, pair), strict=True), 4):
                expected += np.abs(energy - truth).mean() / 3
        assert found.total[row].item() == pytest.approx(3 * height * width * expected, rel=1e-9)


def test_signal_by_hand():
    """Beside a border and a hole the mean is over what is there and known, of the largest band."""
    _, v, valid = draw((1, 2, 13, 11), seed=5)
    found = distances.signal(v, valid)
    for y, x in ((0, 0), (0, 10), (6, 5), (12, 3)):
        window = (slice(max(y - 4, 0), y + 5), slice(max(x - 4, 0), x + 5))
        known = valid[0, 0][window]
        means = [band[window][known].abs().mean() for band in v[0]]
        torch.testing.assert_close(found[0, 0, y, x], max(means), rtol=1e-6, atol=1e-9)


def test_smallest_images_and_plain_weights():
    u, v, valid = draw((2, 3, 2, 2))
    for name in ("texture", "spectrum", "shifted", "fourier"):
        assert DISTANCES[name](u, v, valid | True).total.isfinite().all()
    for name in ("texture", "spectrum"):
        with pytest.raises(ImgturboError, match="at least 2 pixels"):
            DISTANCES[name](u[..., :1, :], v[..., :1, :], valid[..., :1, :])
    assert DISTANCES["shifted"](u[..., :1, :], v[..., :1, :], valid[..., :1, :]).total.shape == (2,)
    distance = Lpips("alex", random_backbone=True)
    assert distance(*draw((1, 3, 32, 33), dtype=torch.float32)).total.isfinite().all()
    for name in POINTWISE:
        assert torch.equal(
            DISTANCES[name](u, v, valid, 0.0).total, DISTANCES[name](u, v, valid).total
        )
        assert torch.equal(Mix({name: 1})(u, v, valid).total, DISTANCES[name](u, v, valid).total)


def test_what_a_stretch_decides_goes_channel_by_channel():
    """The linear channel (scale 0) has no noise of its own: its spectrum is compared whole."""
    u, v, _ = draw((1, 2, 24, 24))
    valid = torch.ones(1, 1, 24, 24, dtype=torch.bool)
    for scale, noisy in (([2.0, 0.0], [True, False]), ([0.0, 0.0], None), (None, None)):
        found = Mix({"spectrum": 1.0}, scale=scale)(u, v, valid)
        assert torch.equal(found.total, distances.spectrum(u, v, valid, noisy).total)
    flux = Mix({"flux": 3.0}, scale=[0.0, 0.0])(u, v, valid)
    torch.testing.assert_close(flux.total, 1.5 * DISTANCES["l2"](u, v, valid).total)
