"""Scores and sample pictures of the averaged generators on the validation tiles.

Both directions, z → x̃ against x ("forward") and x → z̃ against z ("backward"), on the stretched
scale with data range 1, over pixels valid on both sides, pairs only. A score is the mean over
tiles; the processes share the batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imgturbo.metrics.image import psnr, ssim
from imgturbo.processes import Team
from imgturbo.tiles.batch import Batch
from imgturbo.tiles.loader import validation_batches
from imgturbo.tiles.store import TileStore

__all__ = ["HIGHER_IS_BETTER", "Samples", "validate", "write_samples"]

HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "l1": False}
_SHOWN = 4  # tiles in a sample picture


@dataclass(frozen=True)
class Samples:
    """Stretched tiles (B, C, T, T) for a picture, NaN where not valid; no pair, no truth."""

    input: NDArray[np.float32]
    prediction: NDArray[np.float32]
    truth: NDArray[np.float32]


@torch.inference_mode()
def validate(
    networks: Mapping[str, nn.Module],
    store: TileStore,
    batch_size: int,
    limit: int,
    team: Team,
) -> tuple[dict[str, float], dict[str, Samples]]:
    """Score ``decoder`` and, where there is one, ``encoder``. Every process calls this.

    Returns:
        Scores such as ``forward/psnr``, the same in all processes, NaN left out (no pairs, or
        tiles too small for SSIM's window); and in the first process some tiles by direction.
    """
    directions = {
        name: networks[network]
        for name, network in (("forward", "decoder"), ("backward", "encoder"))
        if network in networks
    }
    keys = [f"{name}/{score}" for name in directions for score in HIGHER_IS_BETTER]
    sums = torch.zeros(2, len(keys), dtype=torch.float64)
    samples: dict[str, Samples] = {}
    for number, batch in enumerate(validation_batches(store, batch_size, limit)):
        if number % team.size != team.rank:
            continue
        batch = batch.to(team.device)
        for name, network in directions.items():
            given, given_valid, truth, truth_valid = _sides(batch, name)
            predicted = network(given).float()  # a stochastic network in eval mode: without noise
            pairs, both = batch.paired, given_valid & truth_valid
            for score, values in _scores(predicted[pairs], truth[pairs], both[pairs]).items():
                column = keys.index(f"{name}/{score}")
                known = ~values.isnan()
                sums[0, column] += values[known].double().sum().cpu()
                sums[1, column] += int(known.sum())
            if number == 0 and given.ndim == 4:
                known_truth = truth_valid & pairs.view(-1, 1, 1, 1)
                images = ((given, given_valid), (predicted, given_valid), (truth, known_truth))
                samples[name] = Samples(*(_shown(*image) for image in images))
    if team.size > 1:
        sums = team.sum(sums.to(team.device)).cpu()
    means = (sums[0] / sums[1]).tolist()
    scores = dict(zip(keys, means, strict=True))
    return {key: mean for key, mean in scores.items() if not math.isnan(mean)}, samples


def _sides(batch: Batch, direction: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input and truth, each followed by where it is valid."""
    z, x = (batch.z, batch.z_valid), (batch.x, batch.x_valid)
    return (*z, *x) if direction == "forward" else (*x, *z)


def _scores(predicted: Tensor, truth: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Each score, one value a sample; a row of a table counts as an image of one pixel."""
    if predicted.ndim == 2:
        predicted, truth, valid = (u[..., None, None] for u in (predicted, truth, valid))
    count = valid.sum((1, 2, 3)) * truth.shape[1]
    l1 = ((predicted - truth).abs() * valid).sum((1, 2, 3)) / count
    return {"psnr": psnr(predicted, truth, valid), "ssim": ssim(predicted, truth, valid), "l1": l1}


def _shown(image: Tensor, valid: Tensor) -> NDArray[np.float32]:
    return image[:_SHOWN].where(valid[:_SHOWN], torch.nan).cpu().numpy()


def write_samples(path: Path, samples: Samples, pictures: bool, caption: str) -> None:
    """One PNG: a row a tile with input, prediction, truth and error.

    Args:
        pictures: the tiles are of RGB pictures, not of bands from blue to red.
    """
    from imgturbo.report.preview import comparison  # matplotlib, for one process only

    def column(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate(list(tiles), axis=1)  # one tile below the other

    panels = {
        "input": column(samples.input),
        "prediction": column(samples.prediction),
        "truth": column(samples.truth),
    }
    comparison(path, panels, pictures=pictures, caption=caption, crops=0)
