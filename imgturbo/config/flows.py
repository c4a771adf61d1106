"""Conditional invertible networks, stage by stage."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from imgturbo.config.networks import (
    DEEPEST,
    LARGEST_STEM,
    MOST_BLOCKS,
    WIDEST,
    WIDEST_KERNEL,
)
from imgturbo.config.section import NetworkConfig, Section

__all__ = [
    "ColorizationConditionConfig",
    "ConditionConfig",
    "FlowConfig",
    "FlowDenseConfig",
    "FlowStageConfig",
    "InvertibleConfig",
    "PyramidConditionConfig",
]

Kernel = Annotated[int, Field(ge=1, le=WIDEST_KERNEL)]


class FlowStageConfig(Section):
    """One resolution of a cINN: conditional couplings, then half the resolution, then a split."""

    injector: bool = False
    """Begin the stage with an affine map of all channels that the condition predicts."""
    blocks: int = Field(4, ge=0, le=MOST_BLOCKS)
    """Conditional couplings, each followed by a mixing of the channels."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Hidden channels of the couplings' networks, and channels of their condition."""
    kernels: list[Kernel] = Field([3, 3, 3], min_length=2, max_length=DEEPEST)
    """Sides in pixels of those networks' convolutions, one each, odd; 1 sees one pixel."""
    down: Literal["haar", "unshuffle"] = "haar"
    """How the resolution is halved: Haar wavelets, or four pixels become four channels."""
    order: Literal["channel", "band"] = "band"
    """Order of the channels after halving: 'band' puts the averages of all first, so that they are
    kept by a split; 'channel' leaves the four parts of each together."""
    rebalance: float = Field(1.0, gt=0)
    """Factor on all that the wavelets give; 1 keeps volumes as they are."""
    coarse_blocks: int = Field(2, ge=0, le=MOST_BLOCKS)
    """Unconditional couplings of single pixels (1×1) after halving."""
    coarse_width: int = Field(128, ge=1, le=WIDEST)
    """Hidden channels of those couplings' networks."""
    keep: float = Field(1.0, gt=0, le=1)
    """Share of the channels that go on to the next stage; the rest are latents."""

    @model_validator(mode="after")
    def _kernels_have_a_centre(self) -> FlowStageConfig:
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd, like [3, 1, 3], not {self.kernels}")
        return self


class FlowDenseConfig(Section):
    """The dense backend behind the last stage, which fixes the image size."""

    size: int = Field(64, ge=2, le=WIDEST)
    """Side in pixels of the only images that such a flow reads."""
    blocks: int = Field(8, ge=1, le=MOST_BLOCKS)
    """Dense conditional couplings, each after a permutation of the numbers."""
    layers: int = Field(3, ge=1, le=DEEPEST)
    """Hidden layers of their networks."""
    width: int = Field(512, ge=1, le=WIDEST)
    """Numbers in a hidden layer, and in the condition."""


class PyramidConditionConfig(Section):
    """Features of the condition at every stage's resolution: a shared trunk, a head a stage."""

    a_head_a_coupling: ClassVar[Literal[False]] = False

    kind: Literal["vgg", "convnext"] = "convnext"
    """The blocks that the network is made of: after VGG or after ConvNeXt."""
    scale: int = Field(1, ge=1, le=LARGEST_STEM)
    """Pixels of the condition along one pixel of the target."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Features at the finest stage; doubled with every halving."""
    max_width: int = Field(512, ge=1, le=WIDEST)
    """Most features that a stage may have."""
    blocks: int = Field(2, ge=1, le=MOST_BLOCKS)
    """Blocks a stage."""
    frozen: bool = False
    """Train only the heads of the condition network, and leave its trunk as it was at first."""

    def narrowed(self) -> PyramidConditionConfig:
        """The same kernels at the same resolutions with one channel everywhere they are free."""
        return self.model_copy(update={"width": 1, "max_width": 1})


class ColorizationConditionConfig(Section):
    """The network of Zhang et al. 2016 at one resolution, and a head for every coupling."""

    a_head_a_coupling: ClassVar[Literal[True]] = True

    kind: Literal["zhang"] = "zhang"
    """The network of Zhang et al. 2016, as published."""
    scale: Literal[4] = 4
    """Pixels of the condition along one pixel of the target; this network has 4."""
    frozen: bool = False
    """Train only the heads of the condition network, and leave its trunk as it was at first."""

    def narrowed(self) -> ColorizationConditionConfig:
        """Itself: its channels are those of the paper."""
        return self


ConditionConfig = Annotated[
    PyramidConditionConfig | ColorizationConditionConfig, Field(discriminator="kind")
]


class InvertibleConfig(NetworkConfig):
    """One invertible network as encoder and, the other way round, as decoder, of tables (B, C)."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["invertible"] = "invertible"
    """Which kind of network this is; it decides which other keys there are."""
    blocks: int = Field(6, ge=1, le=MOST_BLOCKS)
    """Couplings, each after a learnt mixing of the columns."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Numbers in a hidden layer of the couplings' networks."""
    layers: int = Field(2, ge=1, le=DEEPEST)
    """Hidden layers of those networks."""
    turned: bool = False
    """Whether it leads from x to z, as the encoder does; training sets this by itself."""


class FlowConfig(NetworkConfig):
    """A multi-scale conditional invertible network, trained by maximum likelihood."""

    kind: Literal["cinn"] = "cinn"
    """Which kind of network this is; it decides which other keys there are."""
    stages: list[FlowStageConfig] = Field(
        [FlowStageConfig(keep=0.5), FlowStageConfig(keep=0.5), FlowStageConfig()],
        min_length=1,
        max_length=DEEPEST,
    )
    """The stages, finest first; each halves the resolution."""
    dense: FlowDenseConfig | None = None
    """Dense couplings behind the last stage, which fix the image size; None: convolutions to the
    end, so that images of any size are read."""
    law: Literal["affine", "additive", "gin", "spline"] = "affine"
    """What a coupling does to a number: scale and shift, shift alone, a scaling that preserves
    volume (gin), or a monotone rational-quadratic spline."""
    clamp: float = Field(1.5, gt=0)
    """α, the largest |log scale| of one coupling."""
    reach: float | None = Field(3.0, gt=0)
    """Bound of what the couplings' networks see of x, in stretched values, without which deep flows
    lose digits far from the data; None: no bound."""
    mixing: Literal["orthogonal", "lu", "permutation"] = "orthogonal"
    """How channels are mixed between couplings: a fixed random rotation, a learnt matrix (lu), or a
    fixed random permutation."""
    actnorm: bool = False
    """Put a learnt scale and shift of every channel before each coupling."""
    prior: bool = False
    """Let what is split off be normal with a mean and a width that are predicted from what is kept
    and the condition, instead of standard normal."""
    condition: ConditionConfig = PyramidConditionConfig()
    """The network that makes features of the source for the couplings."""
    memory_saving: bool = False
    """Recompute activations by inversion in the backward pass: less memory, more time."""

    @model_validator(mode="after")
    def _last_stage_keeps_all(self) -> FlowConfig:
        if self.dense is None and self.stages[-1].keep < 1:
            raise ValueError("without a dense backend nothing follows the last stage: keep 1 there")
        if self.condition.kind == "zhang" and any(stage.injector for stage in self.stages):
            raise ValueError("an injector reads a stage's condition, which kind zhang has not")
        return self
