"""Conditional diffusion: its denoiser, its schedule and its sampler."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from imgturbo.config.networks import DEEPEST, MOST_BLOCKS, WIDEST
from imgturbo.config.section import NetworkConfig

__all__ = [
    "DiffusionConfig",
]


class DiffusionConfig(NetworkConfig):
    """A conditional diffusion model: noise is taken away in steps, with the source beside it."""

    kind: Literal["diffusion"] = "diffusion"
    """Which kind of network this is; it decides which other keys there are."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Channels at the finest level; they double with every halving of the resolution."""
    depth: int = Field(3, ge=0, le=DEEPEST)
    """How often the resolution is halved."""
    blocks: int = Field(2, ge=1, le=MOST_BLOCKS)
    """Residual blocks a level, on the way down and again on the way up."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are set to zero at random in training; 0: none."""
    steps: int = Field(1000, ge=1, le=1_000_000)
    """Times t of the noise schedule, from which training draws."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the noise grows with t: the cosine of Nichol and Dhariwal, or β linear in t."""
    betas: tuple[float, float] = (1e-4, 0.02)
    """First and last variance β of the linear schedule; the cosine one does not read it."""
    prediction: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    """What the network learns to tell: the noise (epsilon), the clean image (sample), or the
    mixture of both that is well behaved at every t (v_prediction)."""
    sampler: Literal["ddim", "ddpm"] = "ddim"
    """How a draw is made: ddim has noise at the start alone, ddpm in every step."""
    sampling_steps: int = Field(50, ge=1)
    """Network passes a draw; must divide 'steps'. Fewer are faster and make draws that are too
    narrow, by 3 % at 50 and 17 % at 10 (ddim)."""
    center: float = 0.5
    """Stretched value that the network sees as 0: x₀ = (stretched target − center)/spread, which
    should lie around −1…1."""
    spread: float = Field(0.5, gt=0)
    """Stretched values that the network sees as 1; see 'center'."""
    clip: float | None = Field(None, gt=0)
    """Largest |x₀| allowed while sampling; None: no bound, since fluxes have none."""

    @model_validator(mode="after")
    def _can_be_sampled(self) -> DiffusionConfig:
        if self.steps % self.sampling_steps:
            raise ValueError(
                f"sampling_steps {self.sampling_steps} does not divide the {self.steps} steps; "
                f"use {_nearest_divisor(self.steps, self.sampling_steps)}"
            )
        first, last = self.betas
        if not 0 < first <= last < 1:
            raise ValueError(f"betas must rise between 0 and 1, not {first} to {last}")
        if (self.schedule, self.prediction, self.clip) == ("cosine", "epsilon", None):
            raise ValueError(
                "prediction epsilon magnifies errors without bound where a cosine schedule leaves "
                "noise alone; set clip (1 for pictures), or prediction: v_prediction"
            )
        return self


def _nearest_divisor(number: int, wanted: int) -> int:
    divisors = (divisor for divisor in range(1, number + 1) if number % divisor == 0)
    return min(divisors, key=lambda divisor: abs(divisor - wanted))
