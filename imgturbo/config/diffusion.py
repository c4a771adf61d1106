"""Conditional diffusion: its denoiser, its schedule and its sampler."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from imgturbo.config.section import Section

__all__ = [
    "DiffusionConfig",
]


class DiffusionConfig(Section):
    """A conditional diffusion model: noise is taken away in steps, with the source beside it."""

    kind: Literal["diffusion"] = "diffusion"
    width: int = Field(64, ge=1)  # channels at the finest level
    depth: int = Field(3, ge=0)  # times the resolution is halved
    blocks: int = Field(2, ge=1)  # residual blocks a level, each way
    dropout: float = Field(0.0, ge=0, lt=1)
    steps: int = Field(1000, ge=1)  # times t that training draws from
    schedule: Literal["cosine", "linear"] = "cosine"
    betas: tuple[float, float] = (1e-4, 0.02)  # first and last of the linear schedule
    prediction: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    sampler: Literal["ddim", "ddpm"] = "ddim"
    sampling_steps: int = Field(50, ge=1)  # network passes a draw; divides 'steps'
    center: float = 0.5  # x₀ = (stretched target − center)/spread, which should lie around −1…1
    spread: float = Field(0.5, gt=0)
    clip: float | None = Field(None, gt=0)  # of |x₀| while sampling; None: fluxes have no bound

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
