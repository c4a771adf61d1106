"""Plain networks: generators of every kind, and critics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from imgturbo.config.section import Section

__all__ = [
    "CriticConfig",
    "CriticsConfig",
    "CycleGANResNetConfig",
    "GeneratorConfig",
    "MLPConfig",
    "NAFNetConfig",
    "Pix2PixUNetConfig",
    "ResNetConfig",
    "UNetConfig",
]


class UNetConfig(Section):
    kind: Literal["unet"] = "unet"
    width: int = Field(32, ge=1)  # channels at the finest level after the stem
    depth: int = Field(3, ge=0)  # times the resolution is halved
    blocks: int = Field(2, ge=1)  # residual blocks a level, each way
    stem: int = Field(1, ge=1)  # pixel-unshuffle factor: 2 or 4 makes it fast on a CPU
    norm: Literal["none", "channel"] = "channel"  # per pixel over channels: no image statistics
    residual: bool = True  # adds the input where the channel counts agree
    noise_channels: int = Field(0, ge=0)  # a layer; > 0 makes the generator stochastic
    dropout: float = Field(0.0, ge=0, lt=1)


class NAFNetConfig(Section):
    """A U-Net of gated blocks on top of an affine map of the colours."""

    kind: Literal["nafnet"] = "nafnet"
    width: int = Field(32, ge=1)  # channels at the finest level after the stem
    depth: int = Field(3, ge=0)  # times the resolution is halved
    blocks: int = Field(1, ge=0)  # gated blocks a level, each way
    middle: int = Field(4, ge=1)  # gated blocks at the coarsest level
    stem: int = Field(2, ge=1)  # pixel-unshuffle factor
    mixing: Literal["depthwise", "dense"] = "dense"  # of 3×3 kernels; depthwise: as published
    spread: int = Field(0, ge=0)  # side of spikes' kernels, odd, in the stem's pixels; 0: none
    spread_maps: int = Field(8, ge=1)  # of such kernels

    @field_validator("spread")
    @classmethod
    def _a_kernel_has_a_middle(cls, side: int) -> int:
        if side and side % 2 == 0:
            raise ValueError(f"a kernel needs a middle; set spread to {side + 1}, not {side}")
        return side


class ResNetConfig(Section):
    kind: Literal["resnet"] = "resnet"
    width: int = Field(64, ge=1)
    downs: int = Field(2, ge=0)
    blocks: int = Field(9, ge=1)
    norm: Literal["none", "channel"] = "channel"
    residual: bool = True
    noise_channels: int = Field(0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class Pix2PixUNetConfig(Section):
    """The generator of pix2pix as published, for comparisons."""

    kind: Literal["pix2pix_unet"] = "pix2pix_unet"
    width: int = Field(64, ge=1)
    depth: int = Field(8, ge=2)  # halvings: images grow to multiples of 2**depth pixels
    norm: Literal["batch", "instance"] = "batch"
    dropout: float = Field(0.5, ge=0, lt=1)
    output: Literal["linear", "tanh"] = "tanh"  # tanh bounds stretched values to 0…1


class CycleGANResNetConfig(Section):
    """The generator of CycleGAN as published, for comparisons."""

    kind: Literal["cyclegan_resnet"] = "cyclegan_resnet"
    width: int = Field(64, ge=1)
    downs: int = Field(2, ge=1)
    blocks: int = Field(9, ge=1)
    norm: Literal["batch", "instance"] = "instance"
    dropout: float = Field(0.0, ge=0, lt=1)
    output: Literal["linear", "tanh"] = "tanh"  # tanh bounds stretched values to 0…1


class MLPConfig(Section):
    """Dense network for tables of numbers, (B, C)."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[int] = [256, 128, 64]
    noise_channels: int = Field(0, ge=0)
    residual: bool = False


GeneratorConfig = Annotated[
    UNetConfig | NAFNetConfig | ResNetConfig | MLPConfig | Pix2PixUNetConfig | CycleGANResNetConfig,
    Field(discriminator="kind"),
]


class CriticConfig(Section):
    kind: Literal["patchgan", "mlp"] = "patchgan"
    width: int = Field(64, ge=1)
    layers: int = Field(3, ge=0)  # stride-2 layers; 3 sees 70 pixels
    scales: int = Field(1, ge=1)  # the same critic on halved images too
    norm: Literal["none", "spectral", "batch", "instance"] = (
        "spectral"  # the last two: as published
    )
    hidden: list[int] = [256, 128, 64]  # of the dense critic

    @model_validator(mode="after")
    def _tables_have_no_image_statistics(self) -> CriticConfig:
        if self.kind == "mlp" and self.norm in ("batch", "instance"):
            raise ValueError("a dense critic has no image statistics; set its norm to spectral")
        return self


class CriticsConfig(Section):
    """A critic for each space where they differ, as dense critics of a table beside an image."""

    z: CriticConfig | None = None  # of z̃ and ẑ; None: model.critic
    x: CriticConfig | None = None  # of x̃ and x̂; None: model.critic
