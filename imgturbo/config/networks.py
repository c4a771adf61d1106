"""Plain networks: generators of every kind, and critics."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from imgturbo.config.section import NetworkConfig, Section

__all__ = [
    "CoarsenConfig",
    "CodeToImageConfig",
    "CriticConfig",
    "CriticsConfig",
    "CycleGANResNetConfig",
    "GeneratorConfig",
    "ImageToCodeConfig",
    "InputNoiseConfig",
    "MLPConfig",
    "MomentaConfig",
    "MomentaFlowConfig",
    "NAFNetConfig",
    "Pix2PixUNetConfig",
    "ResNetConfig",
    "SRResNetConfig",
    "StochasticConfig",
    "UNetConfig",
]


# No network that fits a machine is beyond these; a damaged or careless number is.
WIDEST, DEEPEST, MOST_BLOCKS, LARGEST_STEM, WIDEST_KERNEL = 1 << 16, 16, 1024, 256, 4095
LARGEST_IMAGE, LARGEST_FACTOR = 4096, 16

Width = Annotated[int, Field(ge=1, le=WIDEST)]


class InputNoiseConfig(Section):
    """Noise that enters where a network reads, before anything else sees its input."""

    mode: Literal["additive", "concatenated", "multiplied"] = "concatenated"
    """How it enters: u + σε, (u, ε) side by side, or u · (1 + σε), with σ learnt, one a channel of
    the input, and ε standard normal at every pixel. A network whose input is so widened adds no
    correction to it (residual)."""
    channels: int = Field(1, ge=1, le=WIDEST)
    """Channels of noise, where it stands beside the input (concatenated); else it has those of the
    input."""


class StochasticConfig(NetworkConfig):
    """Base of the networks through which noise may go."""

    input_noise: InputNoiseConfig | None = None
    """Noise at the input, which makes the outputs draws; None: none there."""
    noise_channels: int = Field(0, ge=0, le=WIDEST)
    """Channels of noise that each layer reads; above 0 the outputs are draws, 0: one answer."""
    noise_basis: Literal["free", "orthogonal"] = "free"
    """Directions in which the layers' noise (noise_channels) moves features: free ones, or
    orthogonal ones with a length each, as in EigenGAN."""


class UNetConfig(StochasticConfig):
    """A U-Net without image statistics, the default."""

    kind: Literal["unet"] = "unet"
    """Which kind of network this is; it decides which other keys there are."""
    width: int = Field(32, ge=1, le=WIDEST)
    """Channels at the finest level, after the stem; they double with every halving."""
    depth: int = Field(3, ge=0, le=DEEPEST)
    """How often the resolution is halved."""
    blocks: int = Field(2, ge=1, le=MOST_BLOCKS)
    """Residual blocks a level, on the way down and again on the way up."""
    stem: int = Field(1, ge=1, le=LARGEST_STEM)
    """Side of the squares of pixels that the first layer reads as one; 2 or 4 makes the network
    fast on a CPU."""
    norm: Literal["none", "channel"] = "channel"
    """Norm of the features: each pixel over its channels, or none. Neither has statistics of the
    image, so windows of an image agree with the whole."""
    residual: bool = True
    """Let the network add a correction to its input, where the numbers of channels agree."""
    head: Literal["plain", "gaussian"] = "plain"
    """How outputs end: one answer (plain), or a mean and a spread of each number, of which draws
    are made (gaussian)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are set to zero at random in training; 0: none."""


class NAFNetConfig(NetworkConfig):
    """A U-Net of gated blocks on top of an affine map of the colours."""

    kind: Literal["nafnet"] = "nafnet"
    """Which kind of network this is; it decides which other keys there are."""
    width: int = Field(32, ge=1, le=WIDEST)
    """Channels at the finest level, after the stem; they double with every halving."""
    depth: int = Field(3, ge=0, le=DEEPEST)
    """How often the resolution is halved."""
    blocks: int = Field(1, ge=0, le=MOST_BLOCKS)
    """Gated blocks a level, on the way down and again on the way up."""
    middle: int = Field(4, ge=1, le=MOST_BLOCKS)
    """Gated blocks at the coarsest level."""
    stem: int = Field(2, ge=1, le=LARGEST_STEM)
    """Side of the squares of pixels that the first layer reads as one."""
    mixing: Literal["depthwise", "dense"] = "dense"
    """The 3×3 kernels of the blocks: one a channel (depthwise, as published), or from every channel
    to every other (dense)."""
    spread: int = Field(0, ge=0, le=WIDEST_KERNEL)
    """Side of the wide kernels that draw the spikes of stars, in the stem's pixels, odd; 0: no such
    kernels."""
    spread_maps: int = Field(8, ge=1, le=WIDEST)
    """Number of those kernels."""

    @field_validator("spread")
    @classmethod
    def _a_kernel_has_a_middle(cls, side: int) -> int:
        if side and side % 2 == 0:
            raise ValueError(f"a kernel needs a middle; set spread to {side + 1}, not {side}")
        return side


class ResNetConfig(StochasticConfig):
    """Residual blocks at a coarser resolution, without image statistics."""

    kind: Literal["resnet"] = "resnet"
    """Which kind of network this is; it decides which other keys there are."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Channels at full resolution; they double with every halving."""
    downs: int = Field(2, ge=0, le=DEEPEST)
    """How often the resolution is halved."""
    blocks: int = Field(9, ge=1, le=MOST_BLOCKS)
    """Residual blocks at the coarsest resolution."""
    norm: Literal["none", "channel"] = "channel"
    """Norm of the features: each pixel over its channels, or none. Neither has statistics of the
    image, so windows of an image agree with the whole."""
    residual: bool = True
    """Let the network add a correction to its input, where the numbers of channels agree."""
    head: Literal["plain", "gaussian"] = "plain"
    """How outputs end: one answer (plain), or a mean and a spread of each number, of which draws
    are made (gaussian)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are set to zero at random in training; 0: none."""


class Pix2PixUNetConfig(NetworkConfig):
    """The generator of pix2pix as published, for comparisons."""

    kind: Literal["pix2pix_unet"] = "pix2pix_unet"
    """Which kind of network this is; it decides which other keys there are."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Channels at the first level; they double with every halving, up to eight times as many."""
    depth: int = Field(8, ge=2, le=DEEPEST)
    """How often the resolution is halved: images grow to multiples of 2**depth pixels."""
    norm: Literal["batch", "instance"] = "batch"
    """Statistics that features are normalised by: the batch's, or each image's."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the features that are set to zero at random in training; 0: none."""
    output: Literal["linear", "tanh"] = "tanh"
    """How outputs end: unbounded (linear), or stretched values bounded to 0…1 (tanh)."""


class CycleGANResNetConfig(NetworkConfig):
    """The generator of CycleGAN as published, for comparisons."""

    kind: Literal["cyclegan_resnet"] = "cyclegan_resnet"
    """Which kind of network this is; it decides which other keys there are."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Channels at full resolution; they double with every halving."""
    downs: int = Field(2, ge=1, le=DEEPEST)
    """How often the resolution is halved."""
    blocks: int = Field(9, ge=1, le=MOST_BLOCKS)
    """Residual blocks at the coarsest resolution."""
    norm: Literal["batch", "instance"] = "instance"
    """Statistics that features are normalised by: the batch's, or each image's."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are set to zero at random in training; 0: none."""
    output: Literal["linear", "tanh"] = "tanh"
    """How outputs end: unbounded (linear), or stretched values bounded to 0…1 (tanh)."""


class MLPConfig(StochasticConfig):
    """Dense network for tables of numbers, (B, C)."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["mlp"] = "mlp"
    """Which kind of network this is; it decides which other keys there are."""
    hidden: list[Width] = Field([256, 128, 64], max_length=MOST_BLOCKS)
    """Numbers in each hidden layer."""
    head: Literal["plain", "gaussian"] = "plain"
    """How outputs end: one answer (plain), or a mean and a spread of each number, of which draws
    are made (gaussian)."""
    residual: bool = False
    """Let the network add a correction to its input, where the numbers of columns agree."""


class _CodesConfig(StochasticConfig):
    """What the two ways between a code and an image have in common."""

    size: int = Field(64, ge=1, le=LARGEST_IMAGE)
    """Side of the images in pixels, any number: that of the tiles, or of data.crop."""
    width: int = Field(32, ge=1, le=WIDEST)
    """Channels at full resolution; they double with every halving, up to eight times as many."""
    depth: int = Field(3, ge=0, le=DEEPEST)
    """How often the resolution is halved on the way to a code, or doubled on the way from it."""
    blocks: int = Field(1, ge=1, le=MOST_BLOCKS)
    """Residual blocks a level."""
    norm: Literal["none", "channel"] = "channel"
    """Norm of the features: each pixel over its channels, or none. Neither has statistics of the
    image or the batch."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are set to zero at random in training; 0: none."""


class CodeToImageConfig(_CodesConfig):
    """An image of one size, made of a code: a row of numbers, such as a prior draws."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["code_to_image"] = "code_to_image"
    """Which kind of network this is; it decides which other keys there are."""


class ImageToCodeConfig(_CodesConfig):
    """The way back: a code, a row of numbers, of an image of one size."""

    kind: Literal["image_to_code"] = "image_to_code"
    """Which kind of network this is; it decides which other keys there are."""


class _OtherGridConfig(StochasticConfig):
    """What the two ways between a coarse grid of pixels and a fine one have in common."""

    other_grid: ClassVar[bool] = True

    factor: int = Field(2, ge=2, le=LARGEST_FACTOR)
    """Pixels of the target across one of the source: what prepare.factor says."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Channels of the features."""
    blocks: int = Field(16, ge=1, le=MOST_BLOCKS)
    """Residual blocks, on the coarse grid."""
    norm: Literal["none", "channel"] = "channel"
    """Norm of the features: each pixel over its channels, or none. Neither has statistics of the
    image or the batch."""
    residual: bool = True
    """Let the network add a correction to its input brought to the other grid, by cubic
    convolution to a finer and by means to a coarser one, where the numbers of channels agree."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that are set to zero at random in training; 0: none."""


class SRResNetConfig(_OtherGridConfig):
    """Super-resolution: from a coarse grid of pixels to one several times as fine."""

    kind: Literal["srresnet"] = "srresnet"
    """Which kind of network this is; it decides which other keys there are."""


class CoarsenConfig(_OtherGridConfig):
    """The way back of super-resolution: from a fine grid of pixels to a coarse one."""

    kind: Literal["coarsen"] = "coarsen"
    """Which kind of network this is; it decides which other keys there are."""
    blocks: int = Field(4, ge=1, le=MOST_BLOCKS)
    """Residual blocks, on the coarse grid."""


class MomentaConfig(NetworkConfig):
    """Residual dense network for events: rows of four-momenta, px, py, pz, E of each particle."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["momenta"] = "momenta"
    """Which kind of network this is; it decides which other keys there are."""
    shell: list[Annotated[float, Field(ge=0)] | Literal["massive", "transverse", "free"]] = Field(
        ["free"] * 6, min_length=1, max_length=MOST_BLOCKS
    )
    """What the energy of each particle that it writes is: that of a mass in GeV; of a mass of its
    own (massive); of no mass, with pz = 0 (transverse); or a number like any other (free)."""
    arrange: Literal["none", "pt", "masses"] = "none"
    """What the network corrects: its input (none); the partons in the order of their pT, as they
    would be detected (pt); the jets as partons, by the masses of W and top (masses)."""
    turned: bool = True
    """Turn every event about the beam until its first particle has py = 0, and back again."""
    width: int = Field(128, ge=1, le=WIDEST)
    """Numbers in each hidden layer."""
    blocks: int = Field(3, ge=0, le=MOST_BLOCKS)
    """Residual blocks of two layers each."""
    noise_channels: int = Field(16, ge=0, le=WIDEST)
    """Channels of noise that each block reads; above 0 the outputs are draws, 0: one answer."""


class MomentaFlowConfig(NetworkConfig):
    """Conditional flow for events, trained by the likelihood of pairs, either way."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["momenta_flow"] = "momenta_flow"
    """Which kind of network this is; it decides which other keys there are."""
    shell: list[Annotated[float, Field(ge=0)] | Literal["massive", "transverse"]] = Field(
        ["massive"] * 6, min_length=6, max_length=6
    )
    """What the energy of each particle that it writes is: that of a mass in GeV; of a mass of its
    own (massive); of no mass, with pz = 0 (transverse)."""
    arrange: Literal["none", "pt", "masses"] = "none"
    """What is known of the output beforehand; as of kind momenta."""
    mirrored: bool = False
    """Mirror every event until its first particle has pz ≥ 0 and its second py ≥ 0, and back again:
    where the beams are alike and nothing tells left from right, four times the events."""
    width: int = Field(96, ge=1, le=WIDEST)
    """Numbers in each hidden layer, and in the condition."""
    couplings: int = Field(6, ge=2, le=MOST_BLOCKS)
    """Couplings, each after a permutation of the numbers."""


GeneratorConfig = Annotated[
    UNetConfig
    | NAFNetConfig
    | ResNetConfig
    | MLPConfig
    | MomentaConfig
    | MomentaFlowConfig
    | Pix2PixUNetConfig
    | CycleGANResNetConfig
    | CodeToImageConfig
    | ImageToCodeConfig
    | SRResNetConfig
    | CoarsenConfig,
    Field(discriminator="kind"),
]


class CriticConfig(Section):
    """A critic, which tells outputs from real data."""

    kind: Literal["patchgan", "mlp", "momenta"] = "patchgan"
    """patchgan judges patches of images, mlp tables of numbers, momenta events of four-momenta,
    of which it is shown the masses too."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Channels of the first layer; they double with every halving, up to eight times as many."""
    layers: int = Field(3, ge=0, le=DEEPEST)
    """Layers that halve the resolution; with 3 a score sees 70 pixels."""
    scales: int = Field(1, ge=1, le=DEEPEST)
    """Critics of the same make, each of which sees the image at half the resolution of the one
    before."""
    norm: Literal["none", "spectral", "batch", "instance"] = "spectral"
    """Norm of the critic: of its weights (spectral), or of its features over the batch or each
    image, as published; none."""
    hidden: list[Width] = Field([256, 128, 64], max_length=MOST_BLOCKS)
    """Numbers in each hidden layer of the critics of kind mlp and momenta."""

    @property
    def reads_rows(self) -> bool:
        """Whether it judges tables of numbers, (B, C), and no images."""
        return self.kind != "patchgan"

    @model_validator(mode="after")
    def _tables_have_no_image_statistics(self) -> CriticConfig:
        if self.reads_rows and self.norm in ("batch", "instance"):
            raise ValueError("a dense critic has no image statistics; set its norm to spectral")
        return self


class CriticsConfig(Section):
    """A critic for each space where they differ, as dense critics of a table beside an image."""

    z: CriticConfig | None = None
    """The critics of z̃ and ẑ; None: as model.critic says."""
    x: CriticConfig | None = None
    """The critics of x̃ and x̂; None: as model.critic says."""
