r"""Operators whose measurements are images: noise alone, coarser pixels, a blur, and deepinv's.

identity      A = 1
downsample    A = mean of f × f pixels,      A⁺ repeats them,      g = f
blur          A x = p ∗ x,  p ≥ 0 with Σ p = 1, the sky beyond the image being 0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from imgturbo.errors import ImgturboError
from imgturbo.nets.operator import Operator

if TYPE_CHECKING:
    from imgturbo.config.operators import (
        BlurOperatorConfig,
        DeepinvOperatorConfig,
        DownsampleOperatorConfig,
        IdentityOperatorConfig,
    )

__all__ = ["Blur", "Deepinv", "Downsample", "Identity"]


class Identity(Operator):
    """A = 1."""

    gain = None
    reaches = 0

    def __init__(self, config: IdentityOperatorConfig) -> None:
        super().__init__()

    def measure(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


class Downsample(Operator):
    """A x = means of f × f pixels; A⁺ repeats them."""

    def __init__(self, config: DownsampleOperatorConfig) -> None:
        super().__init__()
        self.stride = self.factor = config.factor
        self.gain, self.reaches = float(config.factor), config.factor - 1

    def check(self, extent: int, channels: int) -> None:
        super().check(extent, channels)
        if extent % self.factor:
            raise ImgturboError(
                f"model.encoder.operator.factor is {self.factor}, which does not divide the "
                f"{extent} pixels of data.crop or prepare.tile.size; choose one that does"
            )

    def measure(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        wide = y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)
        return wide / self.factor**2


class Blur(Operator):
    """A x = p ∗ x, zeros beyond the image; p of a Gaussian, or of a PSF in a FITS file."""

    gain = None

    def __init__(self, config: BlurOperatorConfig) -> None:
        super().__init__()
        self.psf, self.side, self.reaches = config.psf, config.side, config.side // 2
        r = torch.arange(config.side, dtype=torch.float64) - config.side // 2
        # A PSF is read before training; of a bundle it is among the weights.
        line = torch.exp(-4 * np.log(2) * (r / (config.fwhm or 1.0)) ** 2)
        kernel = line[:, None] * line
        self.register_buffer("kernel", (kernel / kernel.sum()).float())

    kernel: Tensor

    def read_files(self) -> None:
        if self.psf is None:
            return
        from imgturbo.sky.psf import read_psf  # astropy, for those who have such a file

        kernel = torch.from_numpy(read_psf(self.psf, self.side))
        self.kernel.copy_(kernel)

    def check(self, extent: int, channels: int) -> None:
        super().check(extent, channels)
        if self.side > extent:
            raise ImgturboError(
                f"model.encoder.operator.side is {self.side}: the kernel is larger than the "
                f"{extent} pixels of data.crop or prepare.tile.size; make it smaller"
            )

    def _kernel(self, like: Tensor) -> Tensor:
        return self.kernel.to(like.dtype).flip(0, 1).expand(like.shape[1], 1, -1, -1)

    def measure(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._kernel(x), padding=self.side // 2, groups=x.shape[1])

    def adjoint(self, y: Tensor) -> Tensor:
        return F.conv_transpose2d(y, self._kernel(y), padding=self.side // 2, groups=y.shape[1])


class Deepinv(Operator):
    """A linear operator of deepinv from images to images, which says what A and Aᵀ are.

    Raises:
        ImgturboError: no such package or class, or settings that it does not take.
    """

    gain = None

    def __init__(self, config: DeepinvOperatorConfig) -> None:
        super().__init__()
        self.size, self.name = config.size, config.name
        try:
            physics = importlib.import_module("deepinv.physics")
        except ImportError as error:
            raise ImgturboError(
                f"model.encoder.operator: kind deepinv needs the package deepinv ({error}); "
                "pip install 'imgturbo[inverse]'"
            ) from None
        kind = getattr(physics, config.name, None)
        if not (isinstance(kind, type) and issubclass(kind, physics.LinearPhysics)):
            raise ImgturboError(
                f"model.encoder.operator.name: deepinv has no linear operator {config.name!r}; its "
                "documentation lists the classes of deepinv.physics"
            )
        try:
            self.physics: Any = kind(**{key: _as_tensor(v) for key, v in config.settings.items()})
        except Exception as error:
            raise ImgturboError(
                f"model.encoder.operator.settings: deepinv's {config.name} does not take them "
                f"({' '.join(str(error).split())[:200]}); see its documentation"
            ) from None

    def check(self, extent: int, channels: int) -> None:
        super().check(extent, channels)
        image = torch.zeros(1, channels, extent, extent)
        try:
            shape = tuple(self.physics.A(image).shape)
        except Exception as error:
            raise ImgturboError(
                f"model.encoder.operator: deepinv's {self.name} does not read images of shape "
                f"{tuple(image.shape[1:])} ({' '.join(str(error).split())[:200]}); mend them"
            ) from None
        if shape != tuple(image.shape):
            raise ImgturboError(
                f"model.encoder.operator.name: deepinv's {self.name} measures {shape[1:]} of "
                f"{tuple(image.shape[1:])} pixels; take one whose measurements are images like x"
            )

    def measure(self, x: Tensor) -> Tensor:
        y: Tensor = self.physics.A(x)
        return y

    def adjoint(self, y: Tensor) -> Tensor:
        x: Tensor = self.physics.A_adjoint(y)
        return x


def _as_tensor(value: Any) -> Any:
    """Lists of a config as deepinv wants its kernels and masks."""
    return torch.tensor(value, dtype=torch.float32) if isinstance(value, list) else value
