"""A conditional diffusion model in the style of Palette, on diffusers' schedulers."""

from imgturbo.diffusion.decoder import DiffusionDecoder
from imgturbo.diffusion.denoiser import Denoiser
from imgturbo.diffusion.objective import Denoising
from imgturbo.diffusion.schedule import build_scheduler

__all__ = ["Denoiser", "Denoising", "DiffusionDecoder", "build_scheduler"]
