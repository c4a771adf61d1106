"""The engines behind one door: which network, loss, preset and score belong to a kind of decoder.

    kind  →  network (config section, channels) → Generator
             trainable (Config, channels of z, channels of x) → Trainable
             presets, and the one that is meant where none is named;  the score that selects

TURBO pairs (``imgturbo.turbo``), conditional flows (``imgturbo.flows``) and diffusion models
(``imgturbo.diffusion``) are trained by the same loop, saved in the same bundles and applied by the
same mosaic translator. This is the one place that knows which kinds there are (:mod:`.table`); what
goes with what is said in :mod:`.settling`.
"""

from __future__ import annotations

from imgturbo.config import Config, NetworkConfig
from imgturbo.engines.settling import complete, load_settled, settle
from imgturbo.engines.table import (
    EIGHT_TERMS,
    ENGINES,
    Engine,
    Kind,
    Space,
    by_likelihood,
    channels,
    eight_terms,
    register,
    unregister,
)
from imgturbo.losses import Trainable
from imgturbo.nets import Generator

__all__ = [
    "ENGINES",
    "Engine",
    "Kind",
    "Space",
    "bears_half_precision",
    "build_network",
    "build_trainable",
    "by_likelihood",
    "channels",
    "complete",
    "eight_terms",
    "load_settled",
    "register",
    "settle",
    "unregister",
]


def build_network(section: NetworkConfig, in_channels: int, out_channels: int) -> Generator:
    """A fresh generator of any engine; its weights come from torch's own random generator.

    Raises:
        ImgturboError: a diffusion model without the package diffusers.
    """
    engine = ENGINES.get(section.kind, EIGHT_TERMS)  # a physical encoder is no engine's decoder
    return engine.network(section, in_channels, out_channels)


def bears_half_precision(config: Config) -> bool:
    """Whether ``train.precision: auto`` may train what a config describes in bf16."""
    return ENGINES[config.model.decoder.kind].half


def build_trainable(config: Config, source: Space, target: Space) -> Trainable:
    """Networks and loss that ``config`` describes, freshly initialised.

    Args:
        config: its ``model`` and ``objective`` sections are read.
        source: what z is, or how many channels it has.
        target: the same of x.

    Raises:
        ImgturboError: what :func:`settle` refuses; weights that make no objective; a diffusion
            model without the package diffusers.
    """
    engine = ENGINES[config.model.decoder.kind]
    return engine.trainable(settle(config), source, target)
