"""The forward process against its closed form, and the times that a sampler visits."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.config import DiffusionConfig
from imgturbo.diffusion import build_scheduler
from imgturbo.errors import ImgturboError

SCHEDULES = {
    "cosine": {"schedule": "cosine"},
    "linear": {"schedule": "linear"},
    "palette": {"schedule": "linear", "betas": (1e-6, 0.01), "steps": 2000},
}


def scheduler(name: str, **settings):
    return build_scheduler(DiffusionConfig(**{**SCHEDULES[name], **settings}))


def signal_left(name: str, steps: int) -> np.ndarray:
    """ᾱ_t by the papers' formulas."""
    if name == "cosine":

        def f(t):
            return np.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2

        t = np.arange(steps)
        betas = np.minimum(1 - f(t + 1.0) / f(t), 0.999)
    else:
        betas = np.linspace(*SCHEDULES[name].get("betas", (1e-4, 0.02)), steps)
    return np.cumprod(1 - betas)


@pytest.mark.parametrize("name", SCHEDULES)
def test_noise_takes_the_place_of_the_signal_steadily(name):
    found = scheduler(name).alphas_cumprod.numpy()
    expected = signal_left(name, len(found))
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    assert (np.diff(found) < 0).all()
    assert found[0] > 0.999
    assert found[-1] < 1e-4


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_moments_of_what_training_sees_are_the_closed_form(name, share):
    noisy = scheduler(name)
    t = math.ceil(share * noisy.config.num_train_timesteps) - 1
    alpha = signal_left(name, noisy.config.num_train_timesteps)[t]
    x_0 = torch.full((4, 1, 128, 128), 0.7)
    torch.manual_seed(t)
    x_t = noisy.add_noise(x_0, torch.randn_like(x_0), torch.full((4,), t))
    error = 5 / math.sqrt(x_t.numel())
    assert x_t.mean() == pytest.approx(0.7 * math.sqrt(alpha), abs=error)
    assert x_t.var() == pytest.approx(1 - alpha, rel=2 * error)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 40), st.integers(1, 50))
def test_a_sampler_starts_in_noise_and_steps_evenly_to_the_image(name, sampling_steps, each):
    steps = sampling_steps * each
    times = scheduler(name, steps=steps, sampling_steps=sampling_steps).timesteps.tolist()
    assert times == [steps - 1 - k * each for k in range(sampling_steps)]
    assert times[-1] - each == -1  # the step after the last leads to x₀


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampling_steps": 30}, ["30", "1000", "use 25"]),
        ({"steps": 7, "sampling_steps": 50}, ["50", "7 steps", "use 7"]),
        ({"betas": (0.02, 0.01)}, ["betas", "0.02"]),
        ({"prediction": "epsilon"}, ["set clip", "v_prediction"]),
    ],
)
def test_settings_that_cannot_be_sampled_are_refused(settings, words):
    with pytest.raises(ValueError, match=words[0]) as caught:
        DiffusionConfig(**settings)
    for word in words:
        assert word in str(caught.value)


def test_without_diffusers_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers.schedulers.scheduling_ddim", None)
    with pytest.raises(ImgturboError, match=r"pip install 'imgturbo\[diffusion\]'"):
        build_scheduler(DiffusionConfig())


def test_the_other_engines_do_not_load_diffusers():
    code = "import sys, imgturbo.training, imgturbo.diffusion; sys.exit('diffusers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
