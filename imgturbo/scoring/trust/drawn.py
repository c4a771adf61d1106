r"""What the draws of a stochastic model say: which sources exist, and whether the truth is one of
them.

    existence   in what share of the draws each source of the prediction is found
    ranks       of the truth among the draws, a band each; flat where the spread is right
    CRPS        of single pixels, and the energy score of whole patches, on asinh(f/3σ)
    TARP        coverage of patches as points of many dimensions (Lemos et al. 2023, arXiv
                2302.03026): u is the share of draws nearer to a reference than the truth is, and
                P(u < α) = α for every α where the draws are right together, not only one by one

Draws are made one at a time and forgotten; of each, patches on a lattice are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.metrics.calibration import coverage_of_ranks, crps, energy_score, rank_histogram
from imgturbo.metrics.detection import mutual
from imgturbo.metrics.estimates import as_json, bootstrap
from imgturbo.metrics.posterior import tarp_ranks
from imgturbo.scoring.trust.scene import Scene
from imgturbo.scoring.trust.sources import Catalogue, look_for

__all__ = ["Drawn", "against_truth", "look_at_draws", "reliability"]

Array = NDArray[np.float64]

_PATCH = 8  # pixels a side
_MOST = 1024  # patches
_SOFT = 3.0  # σ at which asinh leaves the linear
_LEVELS = (0.5, 0.68, 0.9)
_BINS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01))


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is kept of N draws.

    Attributes:
        exists: (S,) in what share of them each source of the prediction is found.
        std: (C, H, W), their standard deviation; of one draw it is 0.
        patches: (M, N, C, P, P) on asinh(f/3σ), of patches that are valid throughout.
        places: (M, 2), first row and column of each patch.
    """

    exists: Array
    std: NDArray[np.float32]
    patches: NDArray[np.float32]
    places: NDArray[np.intp]


def look_at_draws(scene: Scene, found: Catalogue, draws: Iterable[NDArray[np.floating]]) -> Drawn:
    """Go through the draws once.

    Args:
        scene: of the prediction.
        found: its sources.
        draws: images (C, H, W) on the prediction's grid, in its unit.
    """
    where = np.column_stack([found.x, found.y])
    level = scene.level["prediction"][:, None, None].astype(np.float32)
    places, counts = _places(scene), np.zeros(len(found))
    kept: list[NDArray[np.float32]] = []
    mean = squares = np.zeros(1)
    number = 0
    for draw in draws:
        light = draw - level
        seen, _ = look_for(light, scene.noise, scene.valid)
        counts[mutual(where, seen)[:, 0]] += 1
        kept.append(_cut(scene, light, places))
        number += 1
        step = light - mean
        mean = mean + step / number
        squares = squares + step * (light - mean)
    std = np.sqrt(squares / max(number - 1, 1)).astype(np.float32)
    return Drawn(counts / max(number, 1), std, np.stack(kept, 1), places)


def _places(scene: Scene) -> NDArray[np.intp]:
    """First rows and columns (M, 2) of valid patches, spread over the image."""
    height, width = scene.valid.shape
    rows, cols = (np.arange(0, side - _PATCH + 1, _PATCH) for side in (height, width))
    if not len(rows) or not len(cols):
        return np.zeros((0, 2), np.intp)
    grid = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
    whole = [scene.valid[r : r + _PATCH, c : c + _PATCH].all() for r, c in grid]
    grid = grid[np.array(whole, bool)]
    return grid[np.linspace(0, len(grid), min(len(grid), _MOST), False).astype(int)]


def _cut(scene: Scene, light: NDArray[np.floating], places: NDArray[np.intp]) -> Any:
    y = np.arcsinh(light / (_SOFT * scene.noise[:, None, None])).astype(np.float32)
    parts = [y[:, r : r + _PATCH, c : c + _PATCH] for r, c in places]
    return np.stack(parts) if parts else np.zeros((0, len(light), _PATCH, _PATCH), np.float32)


def against_truth(scene: Scene, drawn: Drawn, seed: int = 0) -> dict[str, Any] | None:
    """Ranks, scores and joint coverage of the draws; None of fewer than two, or without a patch.

    Returns:
        ``{"samples", "patches", "bands": {band: {"ranks", "coverage": {level: share}, "crps":
        estimate}}, "energy_score": estimate, "tarp": {"level": […], "coverage": […]}}``.
    """
    patches, samples = drawn.patches.shape[:2]
    if samples < 2 or patches < 2:
        return None
    level = scene.level["prediction"][:, None, None]  # of one zero point: a wrong sky is an error
    truth = _cut(scene, scene.images["truth"].data - level, drawn.places)
    x, draws = torch.from_numpy(truth), torch.from_numpy(drawn.patches)
    ranks = rank_histogram(draws, x, seed=seed)
    bands = {}
    for k, band in enumerate(scene.bands):
        own = slice(k, k + 1)
        shares = coverage_of_ranks(ranks[k], _LEVELS).tolist()
        bands[band] = {
            "ranks": ranks[k].tolist(),
            "coverage": {f"{a:g}": share for a, share in zip(_LEVELS, shares, strict=True)},
            "crps": _mean(crps(draws[:, :, own], x[:, own])),
        }
    # Of a patch its mean and its quarters, in each band: what joint coverage can be seen in.
    points = draws.flatten(0, 1)
    pooled = _pooled(points).reshape(patches, samples, -1)
    true = _pooled(x)
    reference = true.roll(1, 0)  # towards what is true elsewhere
    u = tarp_ranks(pooled, true, reference, seed).numpy()
    levels = np.linspace(0, 1, 21)
    return {
        "samples": samples,
        "patches": patches,
        "bands": bands,
        "energy_score": _mean(energy_score(draws, x)),
        "tarp": {
            "level": levels.tolist(),
            "coverage": [float((u < level).mean()) for level in levels],
        },
    }


def _pooled(images: torch.Tensor) -> torch.Tensor:
    """(…, C · 4) of images (…, C, P, P): means of the four quarters."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def _mean(scores: torch.Tensor) -> dict[str, Any]:
    return as_json(bootstrap(lambda v: v.mean(-1), scores.double().numpy()))


def reliability(exists: Array, found: Catalogue) -> list[dict[str, Any]]:
    """Of the sources that so many of the draws have, what share is real, with its error.

    Returns:
        ``[{"from", "to", "n", "said", "real", "error"}, …]``, of the shares that there are.
    """
    rows = []
    for low, high in _BINS:
        chosen = (exists >= low) & (exists < high)
        n = int(chosen.sum())
        if n:
            real = float(found.matched[chosen].mean())
            p = (n * real + 0.5) / (n + 1)
            rows.append(
                {
                    "from": low,
                    "to": min(high, 1.0),
                    "n": n,
                    "said": float(exists[chosen].mean()),
                    "real": real,
                    "error": float(np.sqrt(p * (1 - p) / n)),
                }
            )
    return rows
