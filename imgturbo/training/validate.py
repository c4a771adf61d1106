"""Scores and sample pictures of the averaged generators on the validation tiles.

Both directions, z → x̃ against x ("forward") and x → z̃ against z ("backward"), on the stretched
scale with data range 1, over pixels valid on both sides, pairs only. PSNR and L1 are those of all
tiles' pixels together, as of one image: a mean of the tiles' own PSNRs would be ruled by empty sky.
SSIM is the mean over tiles. The processes share the batches.

Where nothing is paired there are other scores (:mod:`imgturbo.training.unpaired`).
What is trained may give scores of its own, such as a flow its likelihood in bits; the PSNR, SSIM
and L1 of a stochastic map are those of the image of ε = 0.
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

from imgturbo.data.batch import Batch
from imgturbo.data.source import Source
from imgturbo.losses import DIRECTIONS, Trainable
from imgturbo.metrics.image import ssim
from imgturbo.nets import FreshNoise
from imgturbo.nets.generator import carry
from imgturbo.team import Team
from imgturbo.training.unpaired import UnpairedScores

__all__ = ["Samples", "validate", "write_samples"]

_SHOWN = 4  # tiles in a sample picture


@dataclass(frozen=True)
class Samples:
    """Stretched tiles (B, C, T, T) for a picture, NaN where not valid; no pair, no truth."""

    input: NDArray[np.float32]
    prediction: NDArray[np.float32]
    draw: NDArray[np.float32] | None  # of a stochastic network, with noise
    truth: NDArray[np.float32]


@torch.inference_mode()
def validate(
    networks: Mapping[str, nn.Module],
    source: Source,
    batch_size: int,
    limit: int,
    team: Team,
    objective: Trainable,
    select: str | None = None,
) -> tuple[dict[str, float], dict[str, Samples]]:
    """Score ``decoder`` and ``encoder``, those that there are. Every process calls this.

    Args:
        networks: by these names.
        source: its validation samples.
        batch_size, limit: samples at a time, and in all.
        team: the processes.
        objective: what trains them, which may have scores of its own.
        select: the score that selects, which is computed whatever it costs.

    Returns:
        Scores such as ``forward/psnr``, the same in all processes, NaN left out (no pairs, or
        tiles too small for SSIM's window); and in the first process some tiles by direction.
    """
    directions = {way: networks[name] for way, name in DIRECTIONS.items() if name in networks}
    keys = [f"{name}/{score}" for name in directions for score in ("mse", "ssim", "l1")]
    keys += objective.own_scores
    sums = torch.zeros(2, len(keys), dtype=torch.float64)
    samples: dict[str, Samples] = {}
    unpaired = UnpairedScores(networks, select)
    for number, batch in enumerate(source.validation(batch_size, limit)):
        if number % team.size != team.rank:
            continue
        batch = objective.observe(batch.to(team.device), networks)
        for name, network in directions.items():
            given, given_valid, truth, truth_valid = _sides(batch, name)
            predicted = network(given).float()  # a stochastic network in eval mode: without noise
            made = getattr(network, "carry", carry)(given_valid, predicted)
            pairs = batch.paired
            if predicted.shape == truth.shape:
                both = made & truth_valid
                found = _sums(predicted[pairs], truth[pairs], both[pairs])
                _add(sums, keys, {f"{name}/{score}": sum_of for score, sum_of in found.items()})
            if number == 0 and given.ndim == predicted.ndim == truth.ndim == 4:
                known_truth = truth_valid & pairs.view(-1, 1, 1, 1)
                draw = None
                if getattr(network, "stochastic", False):
                    noisy = network(given[:_SHOWN], FreshNoise()).float()
                    draw = _shown(noisy, made)
                samples[name] = Samples(
                    _like(_shown(given, given_valid), predicted),
                    _shown(predicted, made),
                    draw,
                    _shown(truth, known_truth),
                )
        _add(sums, keys, objective.scores(networks, batch, number))
        unpaired.update(batch, number)
    if team.size > 1:
        sums = team.sum(sums.to(team.device)).cpu()
    means = dict(zip(keys, (sums[0] / sums[1]).tolist(), strict=True))
    scores = {}
    for name in directions:
        mse = means[f"{name}/mse"]
        scores[f"{name}/psnr"] = -10 * math.log10(mse) if mse else math.inf
        scores |= {f"{name}/{score}": means[f"{name}/{score}"] for score in ("ssim", "l1")}
    scores |= {name: means[name] for name in objective.own_scores} | unpaired.scores(team)
    return {key: score for key, score in scores.items() if not math.isnan(score)}, samples


def _add(sums: Tensor, keys: list[str], found: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Add each score's sum and count to its column of ``sums`` (2, K)."""
    for name, both in found.items():
        sums[:, keys.index(name)] += torch.stack([part.double() for part in both]).cpu()


def _sides(batch: Batch, direction: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input and truth, each followed by where it is valid."""
    z, x = (batch.z, batch.z_valid), (batch.x, batch.x_valid)
    return (*z, *x) if direction == "forward" else (*x, *z)


def _sums(predicted: Tensor, truth: Tensor, valid: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Sum and count of each score; a row of a table counts as an image of one pixel."""
    if predicted.ndim == 2:
        predicted, truth, valid = (u[..., None, None] for u in (predicted, truth, valid))
    error = torch.where(valid, predicted - truth, 0.0).double()
    entries = valid.sum() * truth.shape[1]
    similar = ssim(predicted, truth, valid)
    known = ~similar.isnan()
    return {
        "mse": (error.square().sum(), entries),
        "ssim": (similar[known].double().sum(), known.sum()),
        "l1": (error.abs().sum(), entries),
    }


def _shown(image: Tensor, valid: Tensor) -> NDArray[np.float32]:
    return image[:_SHOWN].where(valid[:_SHOWN], torch.nan).cpu().numpy()


def _like(image: NDArray[np.float32], other: Tensor) -> NDArray[np.float32]:
    """Pixels repeated, or left out, until there are as many as another image has."""
    for axis in (2, 3):
        places = np.arange(other.shape[axis]) * image.shape[axis] // other.shape[axis]
        image = image.take(places, axis)
    return image


def write_samples(path: Path, samples: Samples, unit: str, caption: str) -> None:
    """One PNG: a row a tile with input, prediction, perhaps a draw, truth and error.

    Args:
        unit: of the target; ``"display"`` for RGB pictures, else bands from blue to red.
    """
    from imgturbo.report.preview import comparison  # matplotlib, for one process only

    def column(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate(list(tiles), axis=1)  # one tile below the other

    panels = {
        "input": column(samples.input),
        "prediction": column(samples.prediction),
        **({} if samples.draw is None else {"one draw": column(samples.draw)}),
        "truth": column(samples.truth),
    }
    comparison(path, panels, pictures=unit == "display", caption=caption, crops=0)
