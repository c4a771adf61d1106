"""Conditional invertible networks, stage by stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imgturbo.config.section import Section

__all__ = [
    "ColorizationConditionConfig",
    "ConditionConfig",
    "FlowConfig",
    "FlowDenseConfig",
    "FlowStageConfig",
    "PyramidConditionConfig",
]


class FlowStageConfig(Section):
    """One resolution of a cINN: conditional couplings, then half the resolution, then a split."""

    injector: bool = False  # first an affine map of all channels that the condition predicts
    blocks: int = Field(4, ge=0)  # conditional couplings, each followed by a mixing
    width: int = Field(64, ge=1)  # hidden channels of their networks, and of their condition
    kernels: list[int] = Field([3, 3, 3], min_length=2)  # a convolution each; 1 sees one pixel
    down: Literal["haar", "unshuffle"] = "haar"
    order: Literal["channel", "band"] = "band"  # "band" puts the averages first, to be kept
    rebalance: float = Field(1.0, gt=0)  # scale of the wavelets
    coarse_blocks: int = Field(2, ge=0)  # unconditional 1×1 couplings after halving
    coarse_width: int = Field(128, ge=1)
    keep: float = Field(1.0, gt=0, le=1)  # share of the channels that go on; the rest are latents

    @model_validator(mode="after")
    def _kernels_have_a_centre(self) -> FlowStageConfig:
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd, like [3, 1, 3], not {self.kernels}")
        return self


class FlowDenseConfig(Section):
    """The dense backend behind the last stage, which fixes the image size."""

    size: int = Field(64, ge=2)  # side of the image in pixels
    blocks: int = Field(8, ge=1)
    layers: int = Field(3, ge=1)  # hidden layers of the networks
    width: int = Field(512, ge=1)  # of those, and of the condition


class PyramidConditionConfig(Section):
    """Features of the condition at every stage's resolution: a shared trunk, a head a stage."""

    kind: Literal["vgg", "convnext"] = "convnext"
    scale: int = Field(1, ge=1)  # pixels of the condition along one pixel of x
    width: int = Field(64, ge=1)  # features at the finest stage; doubled with every halving
    max_width: int = Field(512, ge=1)
    blocks: int = Field(2, ge=1)  # a stage
    frozen: bool = False  # whether only its heads are trained


class ColorizationConditionConfig(Section):
    """The network of Zhang et al. 2016 at one resolution, and a head for every coupling."""

    kind: Literal["zhang"] = "zhang"
    scale: Literal[4] = 4
    frozen: bool = False  # whether only its heads are trained


ConditionConfig = Annotated[
    PyramidConditionConfig | ColorizationConditionConfig, Field(discriminator="kind")
]


class FlowConfig(Section):
    """A multi-scale conditional invertible network, trained by maximum likelihood."""

    kind: Literal["cinn"] = "cinn"
    stages: list[FlowStageConfig] = Field(
        [FlowStageConfig(keep=0.5), FlowStageConfig(keep=0.5), FlowStageConfig()], min_length=1
    )
    dense: FlowDenseConfig | None = None  # None: convolutions to the end, any image size
    law: Literal["affine", "additive", "gin", "spline"] = "affine"
    clamp: float = Field(1.5, gt=0)  # α, the largest |log scale| of one coupling
    reach: float | None = Field(3.0, gt=0)  # what couplings see of x is bounded; None: not
    mixing: Literal["orthogonal", "lu", "permutation"] = "orthogonal"
    actnorm: bool = False  # before every coupling
    prior: bool = False  # what is split off is normal given what is kept and the condition
    condition: ConditionConfig = PyramidConditionConfig()
    memory_saving: bool = False  # recompute activations by inversion in the backward pass

    @model_validator(mode="after")
    def _last_stage_keeps_all(self) -> FlowConfig:
        if self.dense is None and self.stages[-1].keep < 1:
            raise ValueError("without a dense backend nothing follows the last stage: keep 1 there")
        if self.condition.kind == "zhang" and any(stage.injector for stage in self.stages):
            raise ValueError("an injector reads a stage's condition, which kind zhang has not")
        return self
