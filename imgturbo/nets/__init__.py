"""Plain networks: generators that leave no seams, critics, noise, and how far a network sees."""

from imgturbo.nets.answer import Answer, Posterior
from imgturbo.nets.build import (
    accept_generator,
    build_critic,
    build_generator,
    count_parameters,
    forget_generator,
)
from imgturbo.nets.ensemble import Ensemble
from imgturbo.nets.gaussian import GaussianHead
from imgturbo.nets.generator import Generator
from imgturbo.nets.mlp import MLP, DenseCritic
from imgturbo.nets.noise import FreshNoise, Noise, PositionalNoise, Tempered
from imgturbo.nets.patchgan import PatchGAN
from imgturbo.nets.receptive import patch_field, receptive_field
from imgturbo.nets.resnet import ResNet
from imgturbo.nets.unet import UNet

__all__ = [
    "Answer",
    "DenseCritic",
    "Ensemble",
    "FreshNoise",
    "GaussianHead",
    "Generator",
    "MLP",
    "Noise",
    "PatchGAN",
    "PositionalNoise",
    "Posterior",
    "ResNet",
    "Tempered",
    "UNet",
    "build_critic",
    "accept_generator",
    "build_generator",
    "count_parameters",
    "forget_generator",
    "patch_field",
    "receptive_field",
]
