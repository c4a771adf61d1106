r"""Physical encoders: what an instrument makes of the sky, z = A x + ε (seed of TURBO's z-space).

    y = A x + σ ε,   ε ~ N(0, 1) in each of the m measurements,      z = A⁺ y

A is linear and its adjoint exact, ⟨A x, y⟩ = ⟨x, Aᵀ y⟩. The encoder's output z lies on the grid of
x, so that any network of images leads back: it is the measurement laid out by the pseudo-inverse,
from which nothing is lost, y = A z. Of the operators here A Aᵀ = 1/g² (on what is measured), so

    A⁺ = g² Aᵀ,      ε = g A n  of white noise n on the pixels,

or y lives on the pixels itself and A⁺ is left away (denoising, blur).

    identity      A = 1
    mask          A = M              M sees some pixels                                      g = 1
    compressive   A = M H S          S random signs, H the Hartley transform                 g = 1
    fourier       A = M H            M(k) = M(−k): Fourier coefficients of k and −k          g = 1
    downsample    A = mean of f × f pixels                                                   g = f
    blur          A x = p ∗ x        p ≥ 0 with Σ p = 1, the sky beyond the image being 0

H x = Re F x − Im F x, F the unitary Fourier transform, is real, symmetric and its own inverse
(Bracewell 1983, doi:10.1364/JOSA.73.001832). With M(k) = M(−k) it does what F does, H M H = Fᴴ M F,
and white noise stays white. Random signs before a fast transform make a random projection (Do et
al. 2012, doi:10.1109/TSP.2011.2170977).

**Learnt sampling** (LOUPE, Bahadir et al. 2020, arXiv:1901.01960). Each pair ±k has a weight w and
the probability P = sigmoid(w); r = α/mean(P) makes P of the budget α: P r, or 1 − (1 − P)(1 − α)/(1
− mean P) where r > 1. In training M = [u < P] with u uniform, whose gradient is taken of
sigmoid(s (P − u)); afterwards M are the pairs of the largest P that fit the budget.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import OperatorConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.noise import Noise

if TYPE_CHECKING:
    from imgturbo.config.operators import (
        BlurOperatorConfig,
        CompressiveOperatorConfig,
        DeepinvOperatorConfig,
        DownsampleOperatorConfig,
        FourierOperatorConfig,
        IdentityOperatorConfig,
        MaskOperatorConfig,
    )

__all__ = ["OPERATORS", "Operator", "PhysicalEncoder", "hartley", "observer", "opposite"]

_SLOPE_OF_WEIGHTS, _SLOPE_OF_DRAWS = 5.0, 12.0
"""LOUPE's slopes of both sigmoids."""


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


class PhysicalEncoder(ImageGenerator):
    """The generator x ↦ z̃ = A⁺(A x + σ ε), of which nothing is learnt, or where to sample.

    Args:
        config: the operator, and σ.
        in_channels, out_channels: bands of x and of z, which are the same.

    Raises:
        ImgturboError: they are not.
    """

    def __init__(self, config: OperatorConfig, in_channels: int, out_channels: int) -> None:
        operator = OPERATORS[config.operator.kind](config.operator)
        super().__init__(
            in_channels, out_channels, stride=operator.stride, stochastic=config.noise > 0
        )
        if in_channels != out_channels:
            raise ImgturboError(
                f"model.encoder: an operator leaves bands as they are, but x has {in_channels} and "
                f"z {out_channels}; set data.source: {{kind: observation}}, which makes z of x"
            )
        self.operator = operator
        self.size = operator.size
        self.whole_image = operator.reaches is None
        self.register_buffer("sigma", torch.tensor(config.noise))

    sigma: Tensor

    def reach(self) -> int | None:
        """How far it sees in pixels."""
        return self.operator.reaches

    def check(self, extent: int | None) -> None:
        """Refuse rows of a table, and images that do not fit the operator."""
        super().check(extent)
        assert extent is not None  # refused above
        self.operator.check(extent, self.in_channels)

    def observe(self, x: Tensor, n: Tensor | None) -> Tensor:
        """z = A⁺(A x + σ ε) of white noise n on the pixels; None: without noise."""
        y = self.operator.measure(x)
        if n is not None:
            y = y + self.sigma * self.operator.whiten(n)
        return self.operator.lay_out(y)

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        n = noise(0, u.shape, 1, u) if noise is not None and self.stochastic else None
        return self.observe(u, n)

    def residual(self, x: Tensor, z: Tensor, inner: bool = False) -> tuple[Tensor, int]:
        """‖A x − y‖² of each sample (B,), with y of z; and the number of measurements in each.

        Args:
            x, z: (B, C, H, W).
            inner: leave out what sees beyond the edge, where the sky is not 0 in truth.
        """
        found = self.operator.measured_in(z)
        error = self.operator.measure(x) - found
        edge = self.operator.reaches if inner and self.operator.gain is None else None
        if edge:
            inside = slice(edge, -edge)
            error = error[..., inside, inside]
            return error.double().square().flatten(1).sum(1), error[0].numel()
        return error.double().square().flatten(1).sum(1), self.operator.measurements(found)


def observer(network: nn.Module | None) -> PhysicalEncoder | None:
    """The network, if it is an instrument that observes."""
    return network if isinstance(network, PhysicalEncoder) else None


# ------------------------------------------------------------------------------- the operators


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


class Sampled(Operator):
    """A = M T with T orthogonal and its own inverse but for signs, M a choice of its outputs."""

    def __init__(self, size: int, chosen: np.ndarray) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("chosen", torch.from_numpy(chosen.astype(np.float32)))

    chosen: Tensor

    def mask(self) -> Tensor:
        """M, (H, W)."""
        return self.chosen

    def turn(self, x: Tensor) -> Tensor:
        """T x."""
        return x

    def turn_back(self, y: Tensor) -> Tensor:
        """Tᵀ y."""
        return y

    def measure(self, x: Tensor) -> Tensor:
        return self.mask().to(x.dtype) * self.turn(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.turn_back(self.mask().to(y.dtype) * y)

    def measurements(self, y: Tensor) -> int:
        return y.shape[1] * int(self.mask().sum())


class Mask(Sampled):
    """Squares of pixels are seen, or not."""

    reaches = 0

    def __init__(self, config: MaskOperatorConfig) -> None:
        squares = -(-config.size // config.hole)
        seen = _largest(np.random.default_rng(config.seed).random((squares, squares)), config.share)
        wide = seen.repeat(config.hole, 0).repeat(config.hole, 1)
        super().__init__(config.size, wide[: config.size, : config.size])
        _refuse_nothing(self.chosen, config.share)


class Compressive(Sampled):
    """Projections on random patterns: A = M H S."""

    def __init__(self, config: CompressiveOperatorConfig) -> None:
        random = np.random.default_rng(config.seed)
        shape = (config.size, config.size)
        super().__init__(config.size, _largest(random.random(shape), config.share))
        _refuse_nothing(self.chosen, config.share)
        signs = random.choice(np.float32([-1, 1]), shape)
        self.register_buffer("signs", torch.from_numpy(signs))

    signs: Tensor

    def turn(self, x: Tensor) -> Tensor:
        return hartley(self.signs.to(x.dtype) * x)

    def turn_back(self, y: Tensor) -> Tensor:
        return self.signs.to(y.dtype) * hartley(y)


class Fourier(Sampled):
    """Fourier coefficients of chosen pairs ±k, drawn or learnt."""

    def __init__(self, config: FourierOperatorConfig) -> None:
        self_of = opposite(config.size)
        random = np.random.default_rng(config.seed)
        # The largest u^(1/p) are a draw without replacement by the weights p (Efraimidis 2006).
        k = np.hypot(*np.meshgrid(*[2 * np.fft.fftfreq(config.size)] * 2))
        weights = (1 + 4 * k) ** -config.concentration
        keys = np.log(random.random(k.size)[np.minimum(self_of, np.arange(k.size))]) / weights.flat
        super().__init__(config.size, _largest_pairs(keys, self_of, config.share).reshape(k.shape))
        _refuse_nothing(self.chosen, config.share)
        self.learnable, self.share = config.learnable, config.share
        self.register_buffer("opposite", torch.from_numpy(self_of), persistent=False)
        if self.learnable:
            start = torch.from_numpy(np.argsort(np.argsort(keys)) / k.size).float()
            # Near what was drawn, but undecided: P spreads over 0.4 … 0.6 before the budget.
            weight = torch.logit(0.4 + 0.2 * start).view(k.shape) / _SLOPE_OF_WEIGHTS
            self.weight = nn.Parameter(weight)

    opposite: Tensor

    def probabilities(self) -> Tensor:
        """P of each coefficient (H, W), of mean ``share``."""
        both = self.weight.flatten()
        both = (both + both[self.opposite]) / 2
        p = torch.sigmoid(_SLOPE_OF_WEIGHTS * both)
        mean, share = p.mean(), self.share
        p = torch.where(mean > share, p * share / mean, 1 - (1 - p) * (1 - share) / (1 - mean))
        return p.view(self.weight.shape)

    def mask(self) -> Tensor:
        """M: as drawn; learnt, a draw by P in training, and the best pairs afterwards."""
        if not self.learnable:
            return self.chosen
        p = self.probabilities()
        if not self.training:
            ranked = p.detach().double().cpu().numpy().reshape(-1)
            best = _largest_pairs(ranked, self.opposite.cpu().numpy(), self.share)
            return torch.from_numpy(best.reshape(p.shape)).to(p)
        u = torch.rand(p.numel(), device=p.device)
        u = u[torch.minimum(self.opposite, torch.arange(p.numel(), device=p.device))].view_as(p)
        soft = torch.sigmoid(_SLOPE_OF_DRAWS * (p - u))
        return (u < p).float() + soft - soft.detach()

    def turn(self, x: Tensor) -> Tensor:
        return hartley(x)

    def turn_back(self, y: Tensor) -> Tensor:
        return hartley(y)


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


OPERATORS: dict[str, Any] = {
    "identity": Identity,
    "mask": Mask,
    "downsample": Downsample,
    "blur": Blur,
    "compressive": Compressive,
    "fourier": Fourier,
    "deepinv": Deepinv,
}
"""Every operator, by the kind of its section of a config."""


# ---------------------------------------------------------------------------------- arithmetic


def hartley(x: Tensor) -> Tensor:
    """H x = Re F x − Im F x over the last two axes, F unitary: real, symmetric, H H = 1."""
    found = torch.fft.fft2(x, norm="ortho")
    return found.real - found.imag


def opposite(size: int) -> np.ndarray:
    """Where −k stands for each k, of the flattened grid: (size², ) int64."""
    back = -np.arange(size) % size
    return (back[:, None] * size + back).reshape(-1)


def _largest(values: np.ndarray, share: float) -> np.ndarray:
    """True at the largest ones, so many that they are this share of all, to within one."""
    count = round(share * values.size)
    order = np.argsort(-values, axis=None, kind="stable")
    chosen = np.zeros(values.size, bool)
    chosen[order[:count]] = True
    return chosen.reshape(values.shape)


def _largest_pairs(values: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """The same of pairs k, −k of equal values; as many as fit the budget, never more."""
    budget = int(share * values.size + 1e-9)
    first = np.flatnonzero(np.arange(values.size) <= other)  # one of each pair
    first = first[np.argsort(-values[first], kind="stable")]
    costs = np.cumsum(1 + (other[first] != first))
    chosen = np.zeros(values.size, bool)
    taken = first[costs <= budget]
    chosen[taken] = chosen[other[taken]] = True
    return chosen


def _as_tensor(value: Any) -> Any:
    """Lists of a config as deepinv wants its kernels and masks."""
    return torch.tensor(value, dtype=torch.float32) if isinstance(value, list) else value


def _refuse_nothing(chosen: Tensor, share: float) -> None:
    if chosen.device.type != "meta" and not chosen.any():
        raise ImgturboError(
            f"model.encoder.operator.share is {share:g}, which is nothing of {chosen.numel()} "
            "pixels; make it larger"
        )
