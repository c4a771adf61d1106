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
    InvertibleConfig,
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
    MomentaConfig,
    MomentaFlowConfig,
    NAFNetConfig,
    Pix2PixUNetConfig,
    ResNetConfig,
    SRResNetConfig,
    StochasticConfig,
    UNetConfig,
)
from imgturbo.config.operators import OperatorConfig
from imgturbo.config.posteriors import (
    AugmentedINNConfig,
    AugmentedTermsConfig,
    BottleneckTermsConfig,
    CouplingsConfig,
    DeepSetConfig,
    DenseFlowConfig,
    DenseSummaryConfig,
    FlowMatchingConfig,
    MixtureDensityConfig,
    MixtureINNConfig,
    SeriesConfig,
    SetTransformerConfig,
    SummaryConfig,
    ZukoConfig,
)
from imgturbo.config.preparation import (
    FieldConfig,
    PicturesConfig,
    PrepareConfig,
    RegisterConfig,
    SplitConfig,
    StretchConfig,
    TablesConfig,
    TableSideConfig,
    TileConfig,
)
from imgturbo.config.section import NetworkConfig
from imgturbo.config.sources import (
    ObservationConfig,
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
    section_of,
)

__all__ = [
    "CoarsenConfig",
    "CodeToImageConfig",
    "AugmentedINNConfig",
    "AugmentedTermsConfig",
    "BottleneckTermsConfig",
    "ColorizationConditionConfig",
    "ConditionConfig",
    "Config",
    "CouplingsConfig",
    "CriticConfig",
    "CriticsConfig",
    "CycleGANResNetConfig",
    "DataConfig",
    "DeepSetConfig",
    "DenseFlowConfig",
    "DenseSummaryConfig",
    "DiffusionConfig",
    "FieldConfig",
    "FlowConfig",
    "FlowDenseConfig",
    "FlowMatchingConfig",
    "FlowStageConfig",
    "GeneratorConfig",
    "InvertibleConfig",
    "ImageToCodeConfig",
    "MixtureDensityConfig",
    "MixtureINNConfig",
    "InputNoiseConfig",
    "MLPConfig",
    "ModelConfig",
    "MomentaConfig",
    "MomentaFlowConfig",
    "NetworkConfig",
    "NAFNetConfig",
    "ObjectiveConfig",
    "ObservationConfig",
    "OperatorConfig",
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
    "TableSideConfig",
    "TablesConfig",
    "SeriesConfig",
    "SetTransformerConfig",
    "SummaryConfig",
    "TileConfig",
    "TrainConfig",
    "UNetConfig",
    "ZukoConfig",
    "accept_decoder",
    "forget_decoder",
    "load_config",
    "section_of",
]
