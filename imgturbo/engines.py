"""The three engines behind one door: networks and objectives by what a config asks for.

TURBO pairs (``imgturbo.turbo``), conditional flows (``imgturbo.flows``) and diffusion models
(``imgturbo.diffusion``) are trained by the same loop, saved in the same bundles and applied by the
same mosaic translator. This is the one place that chooses between them.
"""

from __future__ import annotations

from imgturbo.config import Config, DiffusionConfig, FlowConfig, GeneratorConfig
from imgturbo.diffusion import DiffusionDecoder, build_denoising
from imgturbo.errors import ImgturboError
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.flows.objective import build_likelihood
from imgturbo.losses import Trainable
from imgturbo.nets import Generator, build_generator
from imgturbo.turbo import build_objective

__all__ = ["build_network", "build_trainable"]


def build_network(
    config: GeneratorConfig | FlowConfig | DiffusionConfig, in_channels: int, out_channels: int
) -> Generator:
    """A fresh generator of any engine; its weights come from torch's own random generator.

    Raises:
        ImgturboError: a diffusion model without the package diffusers.
    """
    if isinstance(config, FlowConfig):
        return CINNDecoder(config, in_channels, out_channels)
    if isinstance(config, DiffusionConfig):
        return DiffusionDecoder(config, in_channels, out_channels)
    return build_generator(config, in_channels, out_channels)


def build_trainable(config: Config, source_channels: int, target_channels: int) -> Trainable:
    """Networks and loss that ``config`` describes, freshly initialised.

    Args:
        config: its ``model`` and ``objective`` sections are read.
        source_channels: channels of z.
        target_channels: channels of x.

    Raises:
        ImgturboError: networks and weights that make no objective; a diffusion model without the
            package diffusers.
    """
    objective = config.objective
    if objective.preset not in ("likelihood", "diffusion"):
        return build_objective(config, source_channels, target_channels)
    if objective.paired or objective.marginal or objective.identity:
        raise ImgturboError(
            f"objective: the preset {objective.preset} has no paired, marginal or identity "
            "weights; leave them out, or train another model.decoder"
        )
    if objective.preset == "likelihood":
        return build_likelihood(config, source_channels, target_channels)
    return build_denoising(config, source_channels, target_channels)
