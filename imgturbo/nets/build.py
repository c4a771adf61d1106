"""From a config to a network, and how many numbers it learns."""

from __future__ import annotations

from torch import nn

from imgturbo.config import (
    CriticConfig,
    CycleGANResNetConfig,
    GeneratorConfig,
    MLPConfig,
    NAFNetConfig,
    Pix2PixUNetConfig,
    ResNetConfig,
    UNetConfig,
)
from imgturbo.nets.generator import Generator
from imgturbo.nets.mlp import MLP, DenseCritic
from imgturbo.nets.nafnet import NAFNet
from imgturbo.nets.patchgan import PatchGAN
from imgturbo.nets.published import CycleGANResNet, Pix2PixUNet
from imgturbo.nets.resnet import ResNet
from imgturbo.nets.unet import UNet

__all__ = ["build_critic", "build_generator", "count_parameters"]


def build_generator(config: GeneratorConfig, in_channels: int, out_channels: int) -> Generator:
    """A fresh generator; its weights come from torch's own random generator."""
    match config:
        case UNetConfig():
            return UNet(config, in_channels, out_channels)
        case NAFNetConfig():
            return NAFNet(config, in_channels, out_channels)
        case ResNetConfig():
            return ResNet(config, in_channels, out_channels)
        case MLPConfig():
            return MLP(config, in_channels, out_channels)
        case Pix2PixUNetConfig():
            return Pix2PixUNet(config, in_channels, out_channels)
        case CycleGANResNetConfig():
            return CycleGANResNet(config, in_channels, out_channels)


def build_critic(
    config: CriticConfig, channels: int, condition_channels: int = 0
) -> PatchGAN | DenseCritic:
    """A fresh critic of ``channels``, beside ``condition_channels`` if it is conditional."""
    kind = DenseCritic if config.kind == "mlp" else PatchGAN
    return kind(config, channels, condition_channels)


def count_parameters(module: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
