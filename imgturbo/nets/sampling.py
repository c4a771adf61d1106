r"""Operators that measure some of the numbers that an orthogonal transform makes of an image.

    A = M T,   A Aᵀ = M        mask: T = 1;   compressive: T = H S;   fourier: T = H, M(k) = M(−k)

with random signs S and the Hartley transform H x = Re F x − Im F x, F the unitary Fourier one:
real, symmetric and its own inverse (Bracewell 1983, doi:10.1364/JOSA.73.001832). With M(k) = M(−k)
it does what F does, H M H = Fᴴ M F, and white noise stays white. Random signs before a fast
transform make a random projection (Do et al. 2012, doi:10.1109/TSP.2011.2170977).

**Learnt sampling** (LOUPE, Bahadir et al. 2020, arXiv:1901.01960). Each pair ±k has a weight w and
the probability P = sigmoid(s₁ w), brought to the budget α: with r = α/mean(P) it is P r, or where
r > 1, 1 − (1 − P)(1 − α)/(1 − mean P). In training M = [u < P] with u uniform, whose gradient is
taken of sigmoid(s₂ (P − u)); afterwards M are the pairs of the largest P that fit the budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.nets.operator import Operator

if TYPE_CHECKING:
    from imgturbo.config.operators import (
        CompressiveOperatorConfig,
        FourierOperatorConfig,
        MaskOperatorConfig,
    )

__all__ = ["Compressive", "Fourier", "Mask", "hartley", "opposite"]

_SLOPE_OF_WEIGHTS, _SLOPE_OF_DRAWS = 20.0, 12.0
"""Of both sigmoids. LOUPE has 5 and 12; with 20 the weights keep pace with the decoder's at its
learning rate, in hundreds of steps."""


class Sampled(Operator):
    """A = M T with T orthogonal and its own inverse but for signs, M a choice of its outputs."""

    def __init__(self, size: int, chosen: NDArray[np.bool_]) -> None:
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
        signs = random.choice(np.array([-1, 1], np.float32), shape)
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


def hartley(x: Tensor) -> Tensor:
    """H x = Re F x − Im F x over the last two axes, F unitary: real, symmetric, H H = 1."""
    found = torch.fft.fft2(x, norm="ortho")
    return found.real - found.imag


def opposite(size: int) -> NDArray[np.int64]:
    """Where −k stands for each k, of the flattened grid: (size², ) int64."""
    back = -np.arange(size) % size
    return (back[:, None] * size + back).reshape(-1)


def _largest(values: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """True at the largest ones, so many that they are this share of all, to within one."""
    count = round(share * values.size)
    order = np.argsort(-values, axis=None, kind="stable")
    chosen = np.zeros(values.size, bool)
    chosen[order[:count]] = True
    return chosen.reshape(values.shape)


def _largest_pairs(
    values: NDArray[np.float64], other: NDArray[np.int64], share: float
) -> NDArray[np.bool_]:
    """The same of pairs k, −k of equal values; as many as fit the budget, never more."""
    budget = int(share * values.size + 1e-9)
    first = np.flatnonzero(np.arange(values.size) <= other)  # one of each pair
    first = first[np.argsort(-values[first], kind="stable")]
    costs = np.cumsum(1 + (other[first] != first))
    chosen = np.zeros(values.size, bool)
    taken = first[costs <= budget]
    chosen[taken] = chosen[other[taken]] = True
    return chosen


def _refuse_nothing(chosen: Tensor, share: float) -> None:
    if chosen.device.type != "meta" and not chosen.any():
        raise ImgturboError(
            f"model.encoder.operator.share is {share:g}, which is nothing of {chosen.numel()} "
            "pixels; make it larger"
        )
