r"""What every generator has in common: z ↦ x̃, any height and width, windows that agree.

A window of the image, started at a multiple of ``stride`` and stripped of a halo as wide as the
receptive field, must hold the same pixels as the whole image (law 1). Three rules make it so, and
the networks here are built of nothing else:

1. no statistics over the image or the batch: normalisation is over the channels of one pixel;
2. zeros outside: every convolution sees zeros beyond the image, and at the window's edge beyond
   the window, which reaches no further than the receptive field;
3. sizes that are no multiple of the stride grow at the *right and bottom*, by repeating the last
   row and column, so that the grids of all the levels start at the window's first pixel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from imgturbo.errors import ImgturboError
from imgturbo.nets.answer import Answer
from imgturbo.nets.noise import Noise
from imgturbo.side import Side

__all__ = [
    "GROWTH",
    "Generator",
    "ImageGenerator",
    "TableGenerator",
    "carry",
    "on_grid",
    "pad_to_multiple",
]

GROWTH = 4
"""By how many times its side an image may have to grow to be read by a network."""


class Generator(nn.Module, ABC):
    """A network from one space to the other, with a linear, unbounded output.

    Attributes:
        in_channels, out_channels: bands (or numbers) read and written.
        stride: window origins must be multiples of this many pixels.
        stochastic: whether noise enters, so that one input has many outputs.
        size: the side of the only images it reads; None: any.
        whole_image: whether every output depends on all of the image that is given, by a statistic
            over it or in many passes, so that windows of a mosaic cannot agree.
        zoom: pixels of the output across one of the input: 1 on one grid, 2 on one twice as fine,
            1/2 on one twice as coarse. The first pixels of both grids begin at the same place.
        on_the_sky: whether pixels of its input have their place in its output, so that it can be
            applied to a mosaic by windows; not so between images and codes.
        has_density: whether it gives densities, :meth:`log_prob`, and not draws alone.
        doubt: what is to be known of its draws where their width is judged; empty: nothing.
        tells: what :meth:`answer` gives beside the output, ``posterior`` or ``log_det``.
    """

    tells: ClassVar[frozenset[str]] = frozenset()

    size: int | None = None
    whole_image: bool = False
    zoom: Fraction = Fraction(1)
    on_the_sky: bool = True
    has_density: bool = False
    doubt: str = ""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, stochastic: bool = False
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.stochastic = stochastic

    @abstractmethod
    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, C, …) → (B, C', …); ``noise`` is the source of ε, None meaning ε = 0."""

    def answer(self, u: Tensor, noise: Noise | None = None) -> Answer:
        """The output, beside what ``tells`` says is known of it, in one pass."""
        return Answer(self(u, noise))

    def carry(self, valid: Tensor, output: Tensor) -> Tensor:
        """Which entries of an output are valid, given which ones of the input were.

        Args:
            valid: (B, 1, …) bool, of the input.
            output: (B, C', …), what became of it.

        Returns:
            (B, 1, …) bool of the output's height and width, if it has them; see :func:`carry`.
        """
        return carry(valid, output)

    def narrow(self) -> Generator:
        """A network that sees as far and costs less to probe; itself unless a kind knows better."""
        return self

    def reach(self) -> int | None:
        """How far it sees in pixels, where it knows; None: that has to be measured."""
        return None

    def know(self, given: Side, wanted: Side) -> None:
        """Take up what the numbers of both sides mean, where the network needs that.

        Args:
            given: the side that it reads.
            wanted: the one that it writes.
        """
        return None

    def check(self, given: int | None, wanted: int | None) -> None:
        """Refuse training data that it cannot read or cannot make, before anything is computed.

        Args:
            given: side in pixels of the images that it reads; None: they are rows of numbers.
            wanted: the same of the images that it is to write.

        Raises:
            ImgturboError: naming the setting that does not fit, and what would.
        """

    def written(self, pixels: int) -> int:
        """How many pixels its output has along a side where its input has so many."""
        return math.ceil(pixels * self.zoom)

    def draws(self, u: Tensor, noises: Sequence[Noise | None]) -> Iterator[Tensor]:
        """One output for each source of noise; what they share is computed once where it can be."""
        for noise in noises:
            yield self(u, noise)

    def reduce(self, x: Tensor) -> Tensor:
        """The numbers that the density is of, y (B, C', …), of an output x (B, C', …)."""
        return x

    def dimensions(self, x: Tensor) -> int:
        """How many numbers that is for each row of x."""
        return self.reduce(x)[0].numel()

    def log_density(self, y: Tensor, z: Tensor) -> Tensor:
        """log p(y|z) (B,) in nats; y as of :meth:`reduce`, perhaps with noise added to it.

        Raises:
            NotImplementedError: it has no density, see ``has_density``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no density")

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(reduce(x)|z) (B,) in nats, of outputs x (B, C', …) given inputs z (B, C, …)."""
        return self.log_density(self.reduce(x), z)


class TableGenerator(Generator):
    """A generator of rows: (B, C) → (B, C'), each by itself.

    Attributes:
        reads: what its rows are called in messages.
        instead: the kind of network that does for images what it does for rows.
    """

    reads: ClassVar[str] = "tables"
    instead: ClassVar[str] = "cinn"

    def reach(self) -> int:
        """0: rows have no neighbours."""
        return 0

    def check(self, given: int | None, wanted: int | None) -> None:
        """Refuse images.

        Raises:
            ImgturboError: one of the two ends holds them.
        """
        name = type(self).__name__
        if given is None and wanted is not None:
            raise ImgturboError(
                f"{name} writes {self.reads} of numbers, but the other side holds images; set the "
                "kind of this network (model.decoder or model.encoder) to code_to_image"
            )
        if given is not None:
            raise ImgturboError(
                f"{name} reads {self.reads} of numbers, but the data are images; set "
                f"model.decoder.kind: {self.instead} (and model.critic.kind: patchgan, where there "
                "are critics)"
            )

    def checked(self, u: Tensor) -> Tensor:
        """The input, if it is a table that this network reads.

        Raises:
            ImgturboError: it is no (B, C), or has another number of columns.
        """
        if u.ndim != 2 or u.shape[1] != self.in_channels:
            raise ImgturboError(
                f"{type(self).__name__} reads {self.reads} (B, {self.in_channels}), not an array "
                f"of shape {tuple(u.shape)}; for images set model.decoder.kind: {self.instead}"
            )
        return u


class ImageGenerator(Generator):
    """A generator of images: (B, C, H, W) → (B, C', sH, sW) for any H, W ≥ 1, s its scale."""

    def check(self, given: int | None, wanted: int | None) -> None:
        """Refuse rows of numbers, images far smaller than the stride, and those of another grid.

        Raises:
            ImgturboError: one of the two ends is no image, images would have to grow many times to
                be read, or the other side has more or fewer pixels than it writes.
        """
        name = type(self).__name__
        if given is None and wanted is None:
            raise ImgturboError(
                f"{name} translates images, but the data are a table of numbers; "
                "set model.decoder.kind: mlp (and model.critic.kind: mlp, where there are critics)"
            )
        if given is None or wanted is None:
            kind = "code_to_image" if given is None else "image_to_code"
            raise ImgturboError(
                f"{name} leads from image to image, but one of the sides holds rows of numbers; "
                f"set the kind of this network (model.decoder or model.encoder) to {kind}"
            )
        if self.stride > GROWTH * given:
            raise ImgturboError(
                f"{name} reads images whose sides are multiples of {self.stride} "
                f"pixels, and data.crop or prepare.tile.size is {given}; halve the resolution "
                "less often (model.decoder: depth, downs, stem or the stages), or make larger tiles"
            )
        if self.written(given) != wanted:
            kind = "srresnet" if wanted > given else "coarsen"
            fine, coarse = max(given, wanted), min(given, wanted)
            remedy = f"a kind {kind} with factor: {fine // coarse}"
            if given == wanted:
                remedy = "a kind that keeps the grid, such as unet"
            elif fine % coarse:
                remedy = "sides whose numbers of pixels are multiples of each other"
            key = "model.decoder" if wanted >= given else "model.encoder"
            raise ImgturboError(
                f"{name} makes images of {self.written(given)} pixels of those of {given}, but the "
                f"other side's have {wanted}; give {key} {remedy}"
            )

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """Translate images.

        Args:
            u: (B, C, H, W), stretched values.
            noise: source of ε for a stochastic network; None: ε = 0, its mean. Other networks
                take no notice.

        Returns:
            (B, C', H, W), or as many pixels more or fewer as ``zoom`` says.

        Raises:
            ImgturboError: ``u`` is no image, or has another number of bands.
        """
        padded = self.padded(u)
        height, width = map(self.written, u.shape[2:])
        return self.translate(padded, noise)[..., :height, :width]

    def carry(self, valid: Tensor, output: Tensor) -> Tensor:
        """As of :func:`carry`; on another grid, what :func:`on_grid` makes of a mask."""
        return on_grid(valid, self.zoom) if self.zoom != 1 else super().carry(valid, output)

    def padded(self, u: Tensor) -> Tensor:
        """The input grown to multiples of ``stride``, if it is one that this network reads."""
        if u.ndim != 4:
            raise ImgturboError(
                f"{type(self).__name__} translates images (B, C, H, W), not an array of shape "
                f"{tuple(u.shape)}; for tables of numbers set model.decoder.kind: mlp"
            )
        if u.shape[1] != self.in_channels:
            raise ImgturboError(
                f"the network reads {self.in_channels} bands but the image has {u.shape[1]}; "
                "give it the bands it was trained on"
            )
        return pad_to_multiple(u, self.stride)

    @abstractmethod
    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        """(B, C, H, W) → (B, C', sH, sW), with H and W multiples of ``stride``."""


def on_grid(valid: Tensor, zoom: Fraction) -> Tensor:
    """A mask (…, H, W) on a grid of ``zoom`` times as many pixels a side.

    A finer pixel is valid where the one that it lies in is, a coarser one where all in it are.
    """
    fine, coarse = zoom.numerator, zoom.denominator
    if fine > 1:
        valid = valid.repeat_interleave(fine, -2).repeat_interleave(fine, -1)
    if coarse == 1:
        return valid
    bottom, right = (-side % coarse for side in valid.shape[-2:])
    whole = functional.pad(valid, (0, right, 0, bottom), value=True)
    cells = whole.unflatten(-1, (-1, coarse)).unflatten(-3, (-1, coarse))
    return cells.all(-1).all(-2)


def carry(valid: Tensor, output: Tensor) -> Tensor:
    """What becomes of validity under a map that does not say so itself.

    On the same grid an output is valid where its input is. From vector to image, from image to
    vector and to another grid no entry stands for another: all of a sample is valid if anything
    was in its input.

    Args:
        valid: (B, 1, H, W) or (B, 1) bool, of the input.
        output: (B, C, H', W') or (B, C).

    Returns:
        (B, 1, H', W') or (B, 1) bool.
    """
    if valid.shape[2:] == output.shape[2:]:
        return valid
    anything = valid.flatten(1).any(1).view(-1, *[1] * (output.ndim - 1))
    return anything.expand(-1, 1, *output.shape[2:])


def pad_to_multiple(u: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until H and W are multiples of ``multiple``.

    Written as a concatenation: the gradient of torch's replicate padding is not deterministic on
    CUDA.
    """
    bottom = -u.shape[2] % multiple
    right = -u.shape[3] % multiple
    if bottom:
        u = torch.cat([u, u[:, :, -1:].expand(-1, -1, bottom, -1)], dim=2)
    if right:
        u = torch.cat([u, u[:, :, :, -1:].expand(-1, -1, -1, right)], dim=3)
    return u
