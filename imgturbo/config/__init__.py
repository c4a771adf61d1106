"""The typed schema of every YAML in ``configs/``.

A config file is read in four parts, each a section of its own and each optional where it is not
needed: ``prepare`` (which files, how to register and tile them), ``data`` (how tiles become
batches), ``model`` (networks) and ``objective`` (the eight weights, or a likelihood), ``train``
(the loop). The sections are in modules of their own; ``whole`` joins them and reads files.

Unknown keys are refused with the nearest valid name; values given on the command line as
``train.steps=1000`` are read as YAML and replace what the file says.
"""

from __future__ import annotations

from imgturbo.config.diffusion import (
    DiffusionConfig,
)
from imgturbo.config.flows import (
    ColorizationConditionConfig,
    ConditionConfig,
    FlowConfig,
    FlowDenseConfig,
    FlowStageConfig,
    PyramidConditionConfig,
)
from imgturbo.config.networks import (
    CoarsenConfig,
    CodeToImageConfig,
    CriticConfig,
    CriticsConfig,
    CycleGANResNetConfig,
    GeneratorConfig,
    ImageToCodeConfig,
    InputNoiseConfig,
    MLPConfig,
    NAFNetConfig,
    Pix2PixUNetConfig,
    ResNetConfig,
    SRResNetConfig,
    StochasticConfig,
    UNetConfig,
)
from imgturbo.config.preparation import (
    FieldConfig,
    PicturesConfig,
    PrepareConfig,
    RegisterConfig,
    SplitConfig,
    StretchConfig,
    TileConfig,
)
from imgturbo.config.section import NetworkConfig
from imgturbo.config.sources import (
    PriorConfig,
    SimulatorConfig,
)
from imgturbo.config.training import (
    DataConfig,
    ObjectiveConfig,
    TrainConfig,
)
from imgturbo.config.whole import (
    Config,
    ModelConfig,
    accept_decoder,
    forget_decoder,
    load_config,
)

__all__ = [
    "CoarsenConfig",
    "CodeToImageConfig",
    "ColorizationConditionConfig",
    "ConditionConfig",
    "Config",
    "CriticConfig",
    "CriticsConfig",
    "CycleGANResNetConfig",
    "DataConfig",
    "DiffusionConfig",
    "FieldConfig",
    "FlowConfig",
    "FlowDenseConfig",
    "FlowStageConfig",
    "GeneratorConfig",
    "ImageToCodeConfig",
    "InputNoiseConfig",
    "MLPConfig",
    "ModelConfig",
    "NetworkConfig",
    "NAFNetConfig",
    "ObjectiveConfig",
    "PicturesConfig",
    "Pix2PixUNetConfig",
    "PrepareConfig",
    "PriorConfig",
    "PyramidConditionConfig",
    "RegisterConfig",
    "ResNetConfig",
    "SRResNetConfig",
    "SimulatorConfig",
    "SplitConfig",
    "StochasticConfig",
    "StretchConfig",
    "TileConfig",
    "TrainConfig",
    "UNetConfig",
    "accept_decoder",
    "forget_decoder",
    "load_config",
]
