"""From a config to a network, and how many numbers it learns."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from imgturbo.config import CriticConfig, NetworkConfig, StochasticConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets.codes import CodeToImage, ImageToCode
from imgturbo.nets.gaussian import GaussianHead
from imgturbo.nets.generator import Generator
from imgturbo.nets.mlp import MLP, DenseCritic
from imgturbo.nets.momenta import MomentaNet
from imgturbo.nets.momenta_critic import MomentaCritic
from imgturbo.nets.nafnet import NAFNet
from imgturbo.nets.noisy_input import NoisyInput, beside_input
from imgturbo.nets.operators import PhysicalEncoder
from imgturbo.nets.patchgan import PatchGAN
from imgturbo.nets.published import CycleGANResNet, Pix2PixUNet
from imgturbo.nets.resnet import ResNet
from imgturbo.nets.super_resolution import Coarsen, SRResNet
from imgturbo.nets.unet import UNet

__all__ = [
    "accept_generator",
    "build_critic",
    "build_generator",
    "count_parameters",
    "forget_generator",
]

Maker = Callable[..., Generator]
"""Makes a network of its section, its input and its output channels."""

_PLAIN: dict[str, Maker] = {
    "unet": UNet,
    "nafnet": NAFNet,
    "resnet": ResNet,
    "mlp": MLP,
    "momenta": MomentaNet,
    "pix2pix_unet": Pix2PixUNet,
    "cyclegan_resnet": CycleGANResNet,
    "code_to_image": CodeToImage,
    "image_to_code": ImageToCode,
    "srresnet": SRResNet,
    "coarsen": Coarsen,
    "operator": PhysicalEncoder,
}
_OURS = frozenset(_PLAIN)

_CRITICS: dict[str, type[PatchGAN | DenseCritic | MomentaCritic]] = {
    "patchgan": PatchGAN,
    "mlp": DenseCritic,
    "momenta": MomentaCritic,
}


def build_generator(config: NetworkConfig, in_channels: int, out_channels: int) -> Generator:
    """A fresh plain generator; its weights come from torch's own random generator.

    Raises:
        ImgturboError: a kind of network that has an engine of its own.
    """
    if getattr(config, "head", "plain") == "gaussian":
        residual = getattr(config, "residual", False) and in_channels == out_channels
        bare = config.model_copy(update={"head": "plain", "residual": False})
        return GaussianHead(build_generator(bare, in_channels, 2 * out_channels), residual)
    if isinstance(config, StochasticConfig) and config.input_noise is not None:
        wide = in_channels + beside_input(config.input_noise)
        return NoisyInput(_plain(config, wide, out_channels), config.input_noise, in_channels)
    return _plain(config, in_channels, out_channels)


def _plain(config: NetworkConfig, in_channels: int, out_channels: int) -> Generator:
    """Without noise at its input."""
    make = _PLAIN.get(config.kind)
    if make is None:
        raise ImgturboError(
            f"model.decoder.kind {config.kind} is not trained by the eight terms; leave "
            "objective.preset out, which then is its own"
        )
    return make(config, in_channels, out_channels)


def accept_generator(kind: str, make: Maker) -> None:
    """Make networks of one kind more; those that there were stay as they are."""
    _PLAIN.setdefault(kind, make)


def forget_generator(kind: str) -> None:
    """Take back :func:`accept_generator`."""
    if kind not in _OURS:
        _PLAIN.pop(kind, None)


def build_critic(
    config: CriticConfig, channels: int, condition_channels: int = 0
) -> PatchGAN | DenseCritic | MomentaCritic:
    """A fresh critic of ``channels``, beside ``condition_channels`` if it is conditional."""
    return _CRITICS[config.kind](config, channels, condition_channels)


def count_parameters(module: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
