r"""Whether posteriors are right, where parameters θ* and observations y* ~ p(y | θ*) are simulated.

Of M targets (θ*, y*) a model draws θ_1 … θ_N ~ q(θ | y*) each. If q is the posterior, then θ* is
one draw more:

*Ranks* (simulation-based calibration, Talts et al. 2018, arXiv:1804.06788). Of every parameter

    u = (r + v)/(N + 1),    r = #{n : θ_n < θ*},    v ~ U(0, 1) (shared out among ties)

is uniform, exactly. Of M values B bins hold Binomial(M, 1/B) each; a *pointwise* band of level α
leaves 1 − α of the bins outside, a *simultaneous* one, of level α^{1/B} a bin, any bin in 1 − α of
the cases (Šidák; counts of bins are negatively associated, so that it is not too narrow).
Posteriors that are too narrow make a bowl, too wide ones a dome.

*Coverage and its error*: coverage at every level is that of the ranks counted (see
:mod:`imgturbo.metrics.calibration`); the calibration error is the median over levels of
|coverage − level|, over the 20 levels 0.005 … 0.995 of BayesFlow (``calibration_error``) or over
the 100 levels 0.01 … 1.00 of OutbreakFlow and of Ardizzone et al. 2018 (``calibration_error_100``).

*TARP* (Lemos et al. 2023, arXiv:2302.03026): with a reference point θ_r that knows nothing of θ*,
the share of draws nearer to θ_r than θ* is has uniform ranks too, if and only if all of the joint
posterior is right, correlations included, where that holds of any reference.

*Contraction* 1 − Var(θ | y)/Var(θ): 0 where nothing is learnt. *Recovery*: R² of the posterior mean
as a prediction of θ*, and NRMSE, its RMS error over max θ* − min θ*.

*Re-simulation*: y' = s(θ_n) ought to be y*: the mean of ‖y' − y*‖² (Kruse et al. 2021,
arXiv:2101.10763, eq. 11), the mean of ‖y' − y*‖ (what their script prints), and the mean over
targets of the smallest of T draws' ‖y' − y*‖² (Ren et al. 2020, arXiv:2009.12919). Draws of which
nothing is observed (NaN) are counted, and left out. It says nothing of the width of q: a single
right point has the error 0.

Shapes: draws (M, N, P), truth (M, P).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom, kstest
from torch import Tensor

from imgturbo.errors import ImgturboError
from imgturbo.metrics.calibration import coverage_of_ranks, rank_histogram

__all__ = [
    "Recovery",
    "Resimulation",
    "binned",
    "calibration_error_100",
    "contraction",
    "rank_bands",
    "rank_counts",
    "recovery",
    "resimulation",
    "tarp_ranks",
    "uniform_p_value",
    "uniform_ranks",
]

_LEVELS = [k / 100 for k in range(1, 101)]


# ------------------------------------------------------------------------------------- ranks


def uniform_ranks(draws: Tensor, truth: Tensor, seed: int = 0) -> Tensor:
    """u of every target and parameter, (M, P) float64 in [0, 1); uniform if the draws are right.

    Raises:
        ImgturboError: shapes that do not fit.
    """
    _require(draws, truth)
    below = (draws < truth[:, None]).sum(1)
    ties = (draws == truth[:, None]).sum(1)
    return _spread(below, ties, draws.shape[1], seed)


def rank_counts(draws: Tensor, truth: Tensor, seed: int = 0) -> Tensor:
    """How often each parameter's truth has each rank among the draws, (P, N + 1) int64."""
    _require(draws, truth)
    return rank_histogram(draws[..., None, None], truth[..., None, None], seed=seed)


def calibration_error_100(counts: Tensor) -> float:
    """Median over the levels 0.01 … 1.00 of |coverage − level|, of the ranks counted (N + 1,)."""
    levels = torch.tensor(_LEVELS, dtype=torch.float64)
    return float((coverage_of_ranks(counts, _LEVELS) - levels).abs().quantile(0.5))


def binned(ranks: Tensor, bins: int) -> Tensor:
    """How many u (M, P) are in each of ``bins`` equal parts of [0, 1): (P, bins) int64."""
    slots = (ranks * bins).long().clamp(0, bins - 1)
    return torch.stack([torch.bincount(column, minlength=bins) for column in slots.T])


def rank_bands(
    targets: int, bins: int, level: float = 0.99, simultaneous: bool = True
) -> tuple[int, int]:
    """Between which counts a bin lies if ranks are uniform: (least, most), both inclusive.

    Args:
        targets: M, how many were counted.
        bins: B.
        level: probability that all bins are inside, or each one.
        simultaneous: all of them, or each one by itself.

    Example:
        >>> rank_bands(1000, 20, 0.99, simultaneous=False), rank_bands(1000, 20, 0.99)
        ((33, 69), (28, 76))
    """
    each = level ** (1 / bins) if simultaneous else level
    low, high = binom(targets, 1 / bins).ppf([(1 - each) / 2, (1 + each) / 2])
    return int(low), int(high)


def uniform_p_value(ranks: Tensor) -> float:
    """Of Kolmogorov and Smirnov, that the values (M,) are uniform on [0, 1]."""
    return float(kstest(ranks.double().cpu().numpy(), "uniform").pvalue)


def tarp_ranks(draws: Tensor, truth: Tensor, references: Tensor, seed: int = 0) -> Tensor:
    """u of every target: how many draws are nearer to a reference than the truth is, (M,) float64.

    Args:
        draws: (M, N, P), in units in which a distance has a meaning, such as standardised ones.
        truth: (M, P).
        references: (M, P), which may depend on the observations but not on the truth.
        seed: of the sharing out within a rank.
    """
    _require(draws, truth)
    far = (truth - references).square().sum(1, keepdim=True)
    distances = (draws - references[:, None]).square().sum(2)
    below, ties = (distances < far).sum(1), (distances == far).sum(1)
    return _spread(below, ties, draws.shape[1], seed)


def _spread(below: Tensor, ties: Tensor, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(below.shape, generator=generator, dtype=torch.float64)
    return (below.cpu() + chance * (ties.cpu() + 1)) / (count + 1)


# ---------------------------------------------------------------------- what has been learnt


def contraction(draws: Tensor, prior_variance: Tensor) -> Tensor:
    """1 − mean Var(θ | y)/Var(θ) of every parameter, (P,) float64.

    Args:
        draws: (M, N, P).
        prior_variance: Var(θ), (P,).
    """
    return 1 - draws.double().var(1).mean(0) / prior_variance.double()


class Recovery(NamedTuple):
    """How well posterior means predict parameters.

    Attributes:
        r2: 1 − Σ(mean − θ*)²/Σ(θ* − their mean)², (P,).
        nrmse: RMS error over the range of θ*, (P,).
    """

    r2: Tensor
    nrmse: Tensor


def recovery(draws: Tensor, truth: Tensor) -> Recovery:
    """R² and NRMSE of the posterior means."""
    _require(draws, truth)
    error = (draws.double().mean(1) - truth).square().mean(0)
    spread = truth.double().var(0, correction=0)
    extent = truth.amax(0) - truth.amin(0)
    return Recovery(1 - error / spread, error.sqrt() / extent)


# ------------------------------------------------------------------------------ re-simulation


class Resimulation(NamedTuple):
    """How far what draws would give is from what was observed, a number a target (M,).

    Attributes:
        squared: mean of ‖y' − y*‖².
        distance: mean of ‖y' − y*‖.
        best: of the first T draws the least ‖y' − y*‖², by T.
        missing: share of the draws of which nothing is observed.
    """

    squared: NDArray[np.float64]
    distance: NDArray[np.float64]
    best: dict[int, NDArray[np.float64]]
    missing: NDArray[np.float64]


def resimulation(
    seen: NDArray[np.float64], observed: NDArray[np.float64], tries: Sequence[int] = (1, 10, 50)
) -> Resimulation:
    """Compare what draws give with what was observed.

    Args:
        seen: y', (M, N, O); NaN where there was nothing to observe.
        observed: y*, (M, O).
        tries: T; those above N are left out.

    Returns:
        NaN for a target of which no draw can be observed.
    """
    squares = ((seen - observed[:, None]) ** 2).sum(2)
    fine = ~np.isnan(squares)
    count = fine.sum(1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.where(fine, values, 0.0).sum(1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    filled = np.where(fine, squares, np.inf)
    best = {}
    for t in tries:
        if t <= filled.shape[1]:
            least = filled[:, :t].min(1)
            best[t] = np.where(np.isfinite(least), least, np.nan)
    return Resimulation(mean(squares), mean(np.sqrt(squares)), best, 1 - fine.mean(1))


def _require(draws: Tensor, truth: Tensor) -> None:
    if draws.ndim != 3 or truth.shape != (draws.shape[0], draws.shape[2]):
        raise ImgturboError(
            f"draws of shape {tuple(draws.shape)} and truths of shape {tuple(truth.shape)} do not "
            "fit; give (M, N, P) and (M, P)"
        )
