r"""A conditional diffusion model as a generator: z ↦ x̃ ~ p(x|z), one denoising step at a time.

    x_T = ε₀
    x̂₀  = what N(z, x_t, t) makes of x_t               (``prediction``: ε, v or x₀ itself)
    x_s = √ᾱ_s x̂₀ + √(1 − ᾱ_s − σ²) ε̂ + σ ε_k,         ε̂ = (x_t − √ᾱ_t x̂₀)/√(1 − ᾱ_t)
    x̃   = spread · x₀ + center

for s < t over S times (:mod:`imgturbo.diffusion.schedule`); k = 1 … S. With σ = 0 that is the
sampler *ddim*, a function of ε₀ alone; with σ² = (1 − ᾱ_s)/(1 − ᾱ_t) · (1 − ᾱ_t/ᾱ_s) it is *ddpm*,
the posterior of Ho et al. 2020 between the times visited (Song et al. 2021, arXiv:2010.02502,
equations 12 and 16). Conditioning by concatenation is that of Palette (Saharia et al. 2022,
arXiv:2111.05826).

ε_k comes from a source of noise, as its layer k: from the sky position and a seed, a draw repeats
and windows start from the same noise. ``noise`` None is ε = 0 throughout, as for every generator:
one deterministic image, of S passes too. It is no draw, and the mean of the draws only where x is
normal given z.

**Draws are too narrow, by what S steps leave out.** With an exact network (cosine schedule, one
normal distribution, σ = 0.2) they have σ = 0.166, 0.183, 0.193, 0.197, 0.1999 for S = 10, 20, 50,
100, 1000 by *ddim*, and 0.152, 0.170, 0.185, 0.191, 0.1995 by *ddpm*; ``calibrate`` says so.

**Windows do not agree exactly.** A pixel of a draw sees S times as far as one pass of the network,
thousands of pixels; no halo covers that, so ``whole_image`` is set, and windows of a mosaic are
blended over an overlap that has to be asked for. What each draw costs is S network passes a pixel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imgturbo.config import DiffusionConfig
from imgturbo.diffusion.denoiser import Denoiser
from imgturbo.diffusion.schedule import build_scheduler
from imgturbo.nets.generator import ImageGenerator, pad_to_multiple
from imgturbo.nets.noise import Noise

__all__ = ["DiffusionDecoder"]


class DiffusionDecoder(ImageGenerator):
    """Samples of p(x|z) as a generator (B, C, H, W) → (B, C', H, W), by S passes of a network.

    Args:
        config: of the model.
        in_channels: bands of z, the condition.
        out_channels: bands of x.

    Attributes:
        denoiser: the network.
        passes: S, passes of it in one output.

    Raises:
        ImgturboError: the package diffusers is not installed.
    """

    whole_image = True

    def __init__(self, config: DiffusionConfig, in_channels: int, out_channels: int) -> None:
        denoiser = Denoiser(config, in_channels + out_channels, out_channels)
        super().__init__(in_channels, out_channels, stride=denoiser.stride, stochastic=True)
        self.config = config
        self.denoiser = denoiser
        self.passes = config.sampling_steps
        self.doubt = (
            f"draws in {self.passes} steps of {config.sampler} are narrower than the network's own "
            "distribution; more model.decoder.sampling_steps widen them"
        )
        self._scheduler = build_scheduler(config)
        # In single precision 1 − ᾱ_s − σ² falls below zero where ᾱ_t is tiny, and its root is NaN.
        self._scheduler.alphas_cumprod = self._scheduler.alphas_cumprod.double()

    def predict(self, z: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """What the network makes of z (B, C, H, W) and x_t (B, C', H, W) at the times t (B,).

        Raises:
            ImgturboError: ``z`` is no image, or has another number of bands.
        """
        height, width = x_t.shape[-2:]
        u = torch.cat([self.padded(z), pad_to_multiple(x_t, self.stride)], dim=1)
        return self.denoiser(u, t)[..., :height, :width]

    def normalised(self, x: Tensor) -> Tensor:
        """x₀ of stretched values: −1 … 1 where the target is 0 … 1, unless the config differs."""
        return (x - self.config.center) / self.config.spread

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        shape = (len(u), self.out_channels, *u.shape[2:])

        def draw(k: int) -> Tensor:
            return u.new_zeros(shape) if noise is None else noise(k, shape, 1, u)

        x = draw(0)
        ancestral = self.config.sampler == "ddpm"
        for k, t in enumerate(self._scheduler.timesteps.tolist(), start=1):
            predicted = self.predict(u, x, torch.full((len(u),), t, device=u.device))
            x = self._scheduler.step(
                predicted.to(x.dtype),
                t,
                x,
                eta=float(ancestral),
                use_clipped_model_output=True,  # so that ddpm is Ho et al.'s after clipping too
                variance_noise=draw(k) if ancestral else None,
                return_dict=False,
            )[0]
        return self.config.spread * x + self.config.center

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the network, which training calls too, and not the loop around it."""
        self.denoiser.compile(*args, **kwargs)
