r"""What every operator has in common: y = A x, linear, with an exact adjoint ⟨A x, y⟩ = ⟨x, Aᵀ y⟩.

With A Aᵀ = 1/g² on what is measured the pseudo-inverse is A⁺ = g² Aᵀ, and g A n of white noise n on
the pixels is white noise on the measurements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from imgturbo.errors import ImgturboError

__all__ = ["Operator"]


class Operator(nn.Module, ABC):
    """A linear map A of images (B, C, H, W) to measurements.

    Attributes:
        gain: g, with A Aᵀ = 1/g² on what is measured; None: measurements lie on the pixels, and
            the noise in them is white there.
        size: the side of the only images that it reads; None: any.
        stride: sides must be multiples of this.
        reaches: how far a measurement sees in pixels; None: over all of the image.
        learnable: whether the gradient reaches something in it.
    """

    gain: float | None = 1.0
    size: int | None = None
    stride: int = 1
    reaches: int | None = None
    learnable: bool = False

    def read_files(self) -> None:
        """Read what of the operator lies in files; its tensors go into the bundle."""

    def check(self, extent: int, channels: int) -> None:
        """Refuse images of a side that does not fit.

        Args:
            extent: side of the images in pixels.
            channels: of the images.

        Raises:
            ImgturboError: naming the setting, and what would fit.
        """
        if self.size not in (None, extent):
            raise ImgturboError(
                f"model.encoder.operator.size is {self.size}, but data.crop or prepare.tile.size "
                f"is {extent}; set it to {extent}"
            )

    @abstractmethod
    def measure(self, x: Tensor) -> Tensor:
        """A x of (B, C, H, W)."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y, (B, C, H, W)."""

    def lay_out(self, y: Tensor) -> Tensor:
        """z = A⁺ y, the measurement on the grid of x: (B, C, H, W)."""
        return y if self.gain is None else self.gain**2 * self.adjoint(y)

    def measured_in(self, z: Tensor) -> Tensor:
        """y of z = A⁺ y."""
        return z if self.gain is None else self.measure(z)

    def whiten(self, n: Tensor) -> Tensor:
        """ε, white where something is measured, of white noise on the pixels (B, C, H, W)."""
        return n if self.gain is None else self.gain * self.measure(n)

    def measurements(self, y: Tensor) -> int:
        """How many numbers of one sample of y are measured."""
        return y[0].numel()
