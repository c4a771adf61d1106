r"""How much noise there is at each time t: the forward process, on diffusers' scheduler.

    q(x_t|x₀) = N(√ᾱ_t x₀, 1 − ᾱ_t),      ᾱ_t = Π_{s ≤ t} (1 − β_s),      t = 0 … T − 1

linear: β from ``betas[0]`` to ``betas[1]`` (Ho et al. 2020, arXiv:2006.11239); cosine: ᾱ_t ∝ cos²
(Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17, β ≤ 0.999).

A sampler of S steps visits t = T − 1, T − 1 − T/S, …, T/S − 1 and from there x₀. It starts where
the noise is strongest, and S divides T (the config sees to it): with other S the scheduler would
step to other times than those that it visits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgturbo.config import DiffusionConfig
from imgturbo.errors import ImgturboError

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

__all__ = ["build_scheduler"]

_NAMES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


def build_scheduler(config: DiffusionConfig) -> DDIMScheduler:
    """The scheduler, set to ``config.sampling_steps``.

    Raises:
        ImgturboError: the package diffusers is not installed.
    """
    try:  # an optional package, and slow to import
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    except ImportError:
        raise ImgturboError(
            "model.decoder.kind diffusion needs the package diffusers: "
            "pip install 'imgturbo[diffusion]'"
        ) from None
    first, last = config.betas
    scheduler = DDIMScheduler(
        num_train_timesteps=config.steps,
        beta_start=first,
        beta_end=last,
        beta_schedule=_NAMES[config.schedule],
        prediction_type=config.prediction,
        clip_sample=config.clip is not None,
        clip_sample_range=config.clip or 1.0,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(config.sampling_steps)
    return scheduler
