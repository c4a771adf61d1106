"""Physical encoders: the map x → z is not learnt, or hardly, but what an instrument does."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from imgturbo.config.section import NetworkConfig, Section
from imgturbo.remote import Readable

__all__ = [
    "AnyOperator",
    "BlurOperatorConfig",
    "CompressiveOperatorConfig",
    "DeepinvOperatorConfig",
    "DownsampleOperatorConfig",
    "FourierOperatorConfig",
    "IdentityOperatorConfig",
    "MaskOperatorConfig",
    "OperatorConfig",
]

LARGEST_SIDE = 1 << 12

_Share = Annotated[float, Field(gt=0, le=1)]
_Side = Annotated[int, Field(ge=2, le=LARGEST_SIDE)]


class IdentityOperatorConfig(Section):
    """A x = x: with noise, the problem is denoising."""

    kind: Literal["identity"] = "identity"
    """Which operator this is; it decides which other keys there are."""


class MaskOperatorConfig(Section):
    """A x is x at some pixels: inpainting of the others."""

    kind: Literal["mask"] = "mask"
    """Which operator this is; it decides which other keys there are."""
    size: _Side
    """Side of the images in pixels: data.crop, else prepare.tile.size."""
    share: _Share = 0.5
    """Share of the pixels that are seen, up to a square of 'hole'."""
    hole: int = Field(1, ge=1, le=LARGEST_SIDE)
    """Side in pixels of the squares that are seen or not."""
    seed: int = Field(0, ge=0, le=2**32)
    """Which pixels are seen."""


class DownsampleOperatorConfig(Section):
    """A x is x averaged over squares of pixels: super-resolution."""

    kind: Literal["downsample"] = "downsample"
    """Which operator this is; it decides which other keys there are."""
    factor: int = Field(2, ge=2, le=64)
    """Side of the squares in pixels."""


class BlurOperatorConfig(Section):
    """A x is x convolved with a point spread function: deblurring."""

    kind: Literal["blur"] = "blur"
    """Which operator this is; it decides which other keys there are."""
    psf: Readable | None = None
    """FITS file of a point spread function, sampled as the tiles are; None: a Gaussian."""
    fwhm: float | None = Field(None, gt=0, le=LARGEST_SIDE)
    """Full width at half maximum of the Gaussian, in pixels."""
    side: int = Field(25, ge=1, le=LARGEST_SIDE)
    """Side of the kernel in pixels, odd; what of a PSF lies beyond is cut off."""

    @model_validator(mode="after")
    def _is_one_kernel(self) -> BlurOperatorConfig:
        if (self.psf is None) == (self.fwhm is None):
            raise ValueError("give either 'psf', a FITS file, or 'fwhm', of a Gaussian")
        if self.side % 2 == 0:
            raise ValueError(f"a kernel needs a middle; set side to {self.side + 1}")
        return self


class CompressiveOperatorConfig(Section):
    """A x are projections of x on random patterns, fewer than pixels: compressive sampling."""

    kind: Literal["compressive"] = "compressive"
    """Which operator this is; it decides which other keys there are."""
    size: _Side
    """Side of the images in pixels: data.crop, else prepare.tile.size."""
    share: _Share = 0.25
    """Measurements as a share of the pixels."""
    seed: int = Field(0, ge=0, le=2**32)
    """Which patterns they are."""


class FourierOperatorConfig(Section):
    """A x are some of the Fourier coefficients of x, as an interferometer sees them."""

    kind: Literal["fourier"] = "fourier"
    """Which operator this is; it decides which other keys there are."""
    size: _Side
    """Side of the images in pixels: data.crop, else prepare.tile.size."""
    share: _Share = 0.25
    """Budget: coefficients that are measured as a share of all; those of k and −k are one."""
    concentration: float = Field(0.0, ge=0, le=100)
    """p of the probability (1 + 4 k/k_Nyquist)^−p by which a coefficient is drawn; 0: all alike."""
    learnable: bool = False
    """Learn which coefficients are worth their place in the budget, together with the decoder."""
    seed: int = Field(0, ge=0, le=2**32)
    """Which coefficients, of those that are drawn."""


class DeepinvOperatorConfig(Section):
    """A linear operator of the package deepinv from images to images: the extra 'inverse'."""

    kind: Literal["deepinv"] = "deepinv"
    """Which operator this is; it decides which other keys there are."""
    name: str = Field(pattern=r"^[A-Z][A-Za-z0-9]*$")
    """Its class in deepinv.physics, such as Blur or Inpainting."""
    size: _Side
    """Side of the images in pixels: data.crop, else prepare.tile.size."""
    settings: dict[str, Any] = {}
    """What the class is made with; a list is a tensor, such as a filter (1, C, H, W)."""


AnyOperator = Annotated[
    IdentityOperatorConfig
    | MaskOperatorConfig
    | DownsampleOperatorConfig
    | BlurOperatorConfig
    | CompressiveOperatorConfig
    | FourierOperatorConfig
    | DeepinvOperatorConfig,
    Field(discriminator="kind"),
]


class OperatorConfig(NetworkConfig):
    """A physical encoder z = A x + ε, on the grid of x; for model.encoder alone."""

    physical: ClassVar[bool] = True

    kind: Literal["operator"] = "operator"
    """Which kind of network this is; it decides which other keys there are."""
    operator: AnyOperator
    """What A is."""
    noise: float = Field(0.0, ge=0)
    """σ of the Gaussian noise ε in each measurement, on the scale of stretched values."""

    @property
    def learns(self) -> bool:
        """Whether something of the operator is learnt."""
        return bool(getattr(self.operator, "learnable", False))
