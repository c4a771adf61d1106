r"""Whether the posteriors that a bundle draws are right, where a simulator knows the truth.

For M targets θ* ~ p(θ), y* ~ p(y | θ*) of a simulator the bundle draws θ_1 … θ_N ~ q(θ | y*), and
the scores of :mod:`imgturbo.metrics.posterior` are computed of them:

- *ranks, coverage, calibration error* of every parameter, TARP of all of them together;
- *what is learnt*: contraction, R², NRMSE;
- *re-simulation*: what the draws would give, against what was observed;
- *prediction*, where observations have noise: a second observation y° ~ p(y | θ*) among those that
  the draws would give has uniform ranks if q is right (y* itself has not: q has seen it);
- *likelihood* −log q(θ* | y*) in nats, of stretched parameters, where there is a density;
- *modes*, where the problem knows some: how often each is drawn, and how often it is true;
- *MMD²* between the draws and those of a ground truth, beside the noise floor of that.

Parameters are in physical units, but for TARP, whose distances are of stretched ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imgturbo.bundle import Bundle
from imgturbo.bundle.folder import Direction
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.metrics.calibration import calibration_error, coverage_of_ranks
from imgturbo.metrics.discrepancy import discrepancies
from imgturbo.metrics.posterior import (
    binned,
    calibration_error_100,
    contraction,
    rank_bands,
    rank_counts,
    recovery,
    resimulation,
    tarp_ranks,
    uniform_p_value,
    uniform_ranks,
)
from imgturbo.mosaic.apply import pick_device
from imgturbo.places import free_folder, free_place
from imgturbo.scoring.draws import (
    Drawn,
    draw_targets_and_posteriors,
    simulator_of,
    way_to_parameters,
)
from imgturbo.scoring.truth import GroundTruth
from imgturbo.simulators import Simulator

__all__ = ["BAND", "BINS", "posterior"]

Floats = NDArray[np.float64]

BINS = 20
"""Of the rank histograms."""

BAND = 0.99
"""Level of their bands."""

MARK = (b'"posterior"', b'"targets"')
"""Of a file of numbers that this made."""

_LEVELS = (0.5, 0.68, 0.9, 0.95)
_PRIOR = 50_000  # draws that its variance is taken from
_CURVE = tuple(np.linspace(0.05, 0.95, 19).round(2).tolist())


@torch.inference_mode()
def posterior(
    bundle: Bundle,
    *,
    problem: str | None = None,
    options: dict[str, Any] | None = None,
    targets: int = 1000,
    samples: int = 1000,
    truth: GroundTruth | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Score the posteriors of a bundle on fresh draws of a simulator.

    Args:
        bundle: translates observations into parameters, one way or the other.
        problem: name of the simulator; None: that of the truth, or the one it was trained on.
        options: of the simulator; None: likewise.
        targets: M; with a truth, at most so many of its targets.
        samples: N, draws a target, 2 or more.
        truth: of the same problem; without it there is no MMD².
        seed: of targets, draws and noise.
        device: None: the first CUDA device, else the CPU.
        out: folder for ``posterior.json`` and the figures; None: nothing is written.
        overwrite: replace files of these names that this did not make.
        progress: called with what is being done and the fraction done.

    Returns:
        What ``posterior.json`` holds: ``posterior`` (by parameter), ``ranks``, ``tarp``,
        ``resimulation``, ``prediction``, ``likelihood``, ``modes``, ``mmd`` (the last four may be
        None), ``notes``,
        and what was asked.

    Raises:
        ImgturboError: a bundle of other names, or one without noise; no such simulator; fewer than
            two samples.
    """
    began = time.monotonic()
    if samples < 2 or targets < 2:
        raise ImgturboError(f"{targets} targets, {samples} samples: 2 or more of each are needed")
    simulator = simulator_of(bundle, problem, options, truth)
    way = way_to_parameters(bundle, simulator)
    if out is not None:
        from imgturbo.report.posterior import FIGURES
        from imgturbo.report.preview import FIGURE

        free_folder(out, folders=[bundle.path])
        for name, mark in (("posterior.json", MARK), *((name, FIGURE) for name in FIGURES)):
            free_place(Path(out) / name, mark=mark, overwrite=overwrite)
    tell = progress or (lambda what, fraction: None)
    on = pick_device(device)
    drawn = draw_targets_and_posteriors(way, simulator, targets, samples, truth, seed, on, tell)
    result: dict[str, Any] = {
        "bundle": str(bundle.path),
        "hash": bundle.hash,
        "problem": simulator.name,
        "options": simulator.set_options,
        "targets": len(drawn.truth),
        "samples": samples,
        "seed": seed,
        **_ranked(drawn, simulator, seed),
        "tarp": _tarp(drawn, simulator, seed),
        "resimulation": _resimulated(drawn),
        "prediction": _predicted(drawn, seed),
        "likelihood": _likelihood(way, drawn, on),
        "modes": _modes(drawn, truth, simulator),
        "mmd": None if truth is None else _mmd(drawn, truth, on, tell),
        "notes": [way.generator.doubt] if way.generator.doubt else [],
    }
    result |= {"device": str(on), "seconds": round(time.monotonic() - began, 1)}
    if out is not None:
        from imgturbo.report.posterior import posterior_figures

        write_json(Path(out) / "posterior.json", result)
        posterior_figures(Path(out), result, drawn, simulator)
    return result


# ------------------------------------------------------------------------------------ scores


def _ranked(drawn: Drawn, simulator: Simulator, seed: int) -> dict[str, Any]:
    """``posterior``, by parameter, and ``ranks``, of all."""
    draws, truth = torch.from_numpy(drawn.draws), torch.from_numpy(drawn.truth).float()
    ranks, counts = uniform_ranks(draws, truth, seed), rank_counts(draws, truth, seed)
    bins = binned(ranks, BINS)
    targets = len(truth)
    each = rank_bands(targets, BINS, BAND, simultaneous=False)
    together = rank_bands(targets, BINS, BAND)
    prior = simulator.prior(np.random.default_rng([seed, 2, 2]), _PRIOR)
    learnt, found = contraction(draws, torch.from_numpy(prior.var(0))), recovery(draws, truth)
    rows = {}
    for k, name in enumerate(simulator.parameters.names):
        coverage = coverage_of_ranks(counts[k], _LEVELS).tolist()
        rows[name] = {
            "calibration_error": calibration_error(counts[k]),
            "calibration_error_100": calibration_error_100(counts[k]),
            "coverage": dict(zip(map(str, _LEVELS), coverage, strict=True)),
            "curve": coverage_of_ranks(counts[k], _CURVE).tolist(),
            "p_value": uniform_p_value(ranks[:, k]),
            "bins": bins[k].tolist(),
            "inside_band": bool(_inside(bins[k], together).all()),
            "contraction": float(learnt[k]),
            "r2": float(found.r2[k]),
            "nrmse": float(found.nrmse[k]),
        }
    return {
        "posterior": rows,
        "ranks": {
            "bins": BINS,
            "level": BAND,
            "pointwise": list(each),
            "simultaneous": list(together),
            "bins_outside_pointwise": int((~_inside(bins, each)).sum()),
            "expected_outside": round((1 - BAND) * bins.numel(), 2),
            "parameters_outside_simultaneous": sum(not row["inside_band"] for row in rows.values()),
            "curve_levels": list(_CURVE),
        },
    }


def _inside(bins: Tensor, band: tuple[int, int]) -> Tensor:
    return (band[0] <= bins) & (bins <= band[1])


def _tarp(drawn: Drawn, simulator: Simulator, seed: int) -> dict[str, Any]:
    stretch = simulator.parameters.stretch
    flat = drawn.draws.reshape(-1, drawn.draws.shape[2])
    with np.errstate(all="ignore"):
        draws = stretch(flat.T.astype(np.float64)).T.reshape(drawn.draws.shape)
        truth = stretch(drawn.truth.T).T
    # At the very end of a bounded parameter, and by a rounding beyond it, draws are infinitely far.
    limits = np.abs(truth).max() + 10
    near = torch.from_numpy(np.clip(np.where(np.isnan(draws), np.inf, draws), -limits, limits))
    true = torch.from_numpy(truth)
    u = tarp_ranks(near, true, true.roll(1, 0), seed)  # towards the truth of another target
    levels = np.array(_CURVE)
    coverage = (u.numpy()[:, None] < levels).mean(0)
    return {
        "p_value": uniform_p_value(u),
        "levels": list(_CURVE),
        "coverage": coverage.tolist(),
        "largest_gap": float(np.abs(coverage - levels).max()),
    }


def _resimulated(drawn: Drawn) -> dict[str, Any]:
    found = resimulation(drawn.seen, drawn.observed)
    return {
        "draws": drawn.seen.shape[1],
        "squared": _summary(found.squared),
        "distance": _summary(found.distance),
        "best_of": {str(t): _summary(values) for t, values in found.best.items()},
        "missing": float(found.missing.mean()),
    }


def _predicted(drawn: Drawn, seed: int) -> dict[str, Any] | None:
    if drawn.second is None:
        return None
    seen, second = (torch.from_numpy(part) for part in (drawn.seen, drawn.second))
    fine = np.isfinite(drawn.seen).all((1, 2)) & np.isfinite(drawn.second).all(1)
    keep = torch.from_numpy(fine)
    if fine.sum() < 2:
        return None
    counts = rank_counts(seen[keep], second[keep], seed).sum(0)
    coverage = coverage_of_ranks(counts, _LEVELS).tolist()
    return {
        "coverage": dict(zip(map(str, _LEVELS), coverage, strict=True)),
        "calibration_error": calibration_error(counts),
        "numbers": int(counts.sum()),
    }


def _modes(drawn: Drawn, truth: GroundTruth | None, simulator: Simulator) -> dict[str, Any] | None:
    """How often each mode is drawn; per target where the truth has draws of each."""
    if not simulator.modes:
        return None
    ours = _shares(drawn.draws, simulator)
    if truth is None:
        theirs = _shares(drawn.truth[:, None], simulator)
    else:
        theirs = _shares(truth.draws[: len(ours)], simulator)
    known = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)
    if not known.any():
        return None
    ours, theirs = ours[known], theirs[known]
    mean, expected = ours.mean(0), theirs.mean(0)
    there = expected > 0
    found: dict[str, Any] = {
        "share": dict(zip(simulator.modes, mean.tolist(), strict=True)),
        "truth": dict(zip(simulator.modes, expected.tolist(), strict=True)),
        "largest_error": float(np.abs(mean[there] / expected[there] - 1).max()),
        "by_target": None,
    }
    if truth is not None:
        real = theirs >= _REAL
        found["by_target"] = {
            "distance": float(np.abs(ours - theirs).sum(1).mean() / 2),
            "several": float((real.sum(1) > 1).mean()),
            "lost": float((ours[real] < theirs[real] / 10).mean()),
        }
    return found


_REAL = 0.1  # of the truth's draws, from which on a mode may be lost


def _shares(draws: NDArray[Any], simulator: Simulator) -> Floats:
    """Of the draws (M, N, P) of each target, the share in each mode, (M, K); NaN without draws."""
    targets, _, columns = draws.shape
    rows = draws.reshape(-1, columns).astype(np.float64)
    fine = np.isfinite(rows).all(1)
    of = np.repeat(np.arange(targets), draws.shape[1])[fine]
    modes = len(simulator.modes)
    place = of * modes + simulator.mode(rows[fine])
    count = np.bincount(place, minlength=targets * modes).reshape(targets, modes)
    total = count.sum(1, keepdims=True)
    return np.divide(count, total, out=np.full(count.shape, np.nan), where=total > 0)


def _likelihood(way: Direction, drawn: Drawn, device: torch.device) -> dict[str, Any] | None:
    """Mean −log q(θ* | y*) in nats of the stretched parameters, with its standard error."""
    if not way.generator.has_density:
        return None
    network = way.generator.to(device).eval()
    x, z = (
        torch.from_numpy(side.stretch(rows.T).T.astype(np.float32)).to(device)
        for side, rows in ((way.output, drawn.truth), (way.input, drawn.observed))
    )
    parts = [network.log_prob(*pair) for pair in zip(x.split(4096), z.split(4096), strict=True)]
    values = -torch.cat(parts).double().cpu().numpy()
    return {"nats": float(values.mean()), "standard_error": _error(values)}


def _mmd(
    drawn: Drawn, truth: GroundTruth, device: torch.device, tell: Callable[[str, float], None]
) -> dict[str, Any]:
    rows: dict[str, dict[str, list[float]]] = {}
    used = np.flatnonzero(truth.complete[: len(drawn.truth)])
    for done, target in enumerate(used):
        own, wanted = (torch.from_numpy(p[target]).to(device) for p in (drawn.draws, truth.draws))
        for kernel, found in discrepancies(own, wanted).items():
            for estimate, value in found._asdict().items():
                rows.setdefault(kernel, {}).setdefault(estimate, []).append(value)
        tell(f"MMD² of {done + 1} targets", 0.7 + 0.3 * (done + 1) / len(used))
    floor = truth.floor()
    return {
        "truth": truth.asked,
        "reach": None if np.isnan(truth.reach).any() else float(truth.reach.mean()),
        "targets": len(used),
        "draws_of_truth": truth.draws.shape[1],
        "kernels": {
            kernel: {
                estimate: {
                    **_summary(np.array(values)),
                    "floor": floor.get(kernel, {}).get(estimate),
                }
                for estimate, values in estimates.items()
            }
            for kernel, estimates in rows.items()
        },
    }


def _summary(values: Floats) -> dict[str, float | None]:
    """Mean with its standard error, median and quartiles over targets; None where there is none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return dict.fromkeys(("mean", "standard_error", "median", "quartile_1", "quartile_3"))
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {
        "mean": float(values.mean()),
        "standard_error": _error(values),
        "median": middle,
        "quartile_1": low,
        "quartile_3": high,
    }


def _error(values: Floats) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
