"""Scores and sample pictures of the averaged generators on the validation tiles.

Both directions, z → x̃ against x ("forward") and x → z̃ against z ("backward"), on the stretched
scale with data range 1, over pixels valid on both sides, pairs only. PSNR and L1 are those of all
tiles' pixels together, as of one image: a mean of the tiles' own PSNRs would be ruled by empty sky.
SSIM is the mean over tiles. The processes share the batches.

A conditional flow is scored by its likelihood, in bits a dimension of the stretched target with the
training's noise added (the same noise at every validation), over the pairs whose target is whole;
its PSNR, SSIM and L1 are those of the image of ε = 0.
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
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.flows.objective import whole_pairs
from imgturbo.metrics.image import ssim
from imgturbo.nets import FreshNoise
from imgturbo.team import Team

__all__ = ["HIGHER_IS_BETTER", "Samples", "validate", "write_samples"]

HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "l1": False, "bits": False}
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
    noise: float = 0.0,
) -> tuple[dict[str, float], dict[str, Samples]]:
    """Score ``decoder`` and, where there is one, ``encoder``. Every process calls this.

    Args:
        networks: ``decoder`` and perhaps ``encoder``.
        source: its validation samples.
        batch_size, limit: samples at a time, and in all.
        team: the processes.
        noise: σ of a likelihood's training.

    Returns:
        Scores such as ``forward/psnr``, the same in all processes, NaN left out (no pairs, or
        tiles too small for SSIM's window); and in the first process some tiles by direction.
    """
    directions = {
        name: networks[network]
        for name, network in (("forward", "decoder"), ("backward", "encoder"))
        if network in networks
    }
    keys = [f"{name}/{score}" for name in directions for score in ("mse", "ssim", "l1", "bits")]
    sums = torch.zeros(2, len(keys), dtype=torch.float64)
    samples: dict[str, Samples] = {}
    for number, batch in enumerate(source.validation(batch_size, limit)):
        if number % team.size != team.rank:
            continue
        batch = batch.to(team.device)
        for name, network in directions.items():
            given, given_valid, truth, truth_valid = _sides(batch, name)
            predicted = network(given).float()  # a stochastic network in eval mode: without noise
            pairs, both = batch.paired, given_valid & truth_valid
            found = _sums(predicted[pairs], truth[pairs], both[pairs])
            if isinstance(network, CINNDecoder):
                found["bits"] = _bits(network, batch, noise, number)
            for score, (total, count) in found.items():
                column = keys.index(f"{name}/{score}")
                sums[0, column] += total.cpu()
                sums[1, column] += count.cpu()
            if number == 0 and given.ndim == 4:
                known_truth = truth_valid & pairs.view(-1, 1, 1, 1)
                draw = None
                if getattr(network, "stochastic", False):
                    noisy = network(given[:_SHOWN], FreshNoise()).float()
                    draw = _shown(noisy, given_valid)
                samples[name] = Samples(
                    _shown(given, given_valid),
                    _shown(predicted, given_valid),
                    draw,
                    _shown(truth, known_truth),
                )
    if team.size > 1:
        sums = team.sum(sums.to(team.device)).cpu()
    means = dict(zip(keys, (sums[0] / sums[1]).tolist(), strict=True))
    scores = {}
    for name in directions:
        mse = means[f"{name}/mse"]
        scores[f"{name}/psnr"] = -10 * math.log10(mse) if mse else math.inf
        scores |= {f"{name}/{score}": means[f"{name}/{score}"] for score in ("ssim", "l1", "bits")}
    return {key: score for key, score in scores.items() if not math.isnan(score)}, samples


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


def _bits(network: CINNDecoder, batch: Batch, noise: float, number: int) -> tuple[Tensor, Tensor]:
    """Sum over whole pairs of bits a dimension, and their count."""
    x = network.reduce(batch.x)
    same = torch.Generator().manual_seed(number)  # on the CPU: the same on every device
    x = x + noise * torch.randn(x.shape, generator=same).to(x)
    nats = -network.flow.log_prob(x, torch.where(batch.z_valid, batch.z, 0.0)).double()
    whole = whole_pairs(batch)
    return (nats[whole] / (x[0].numel() * math.log(2))).sum(), whole.sum()


def _shown(image: Tensor, valid: Tensor) -> NDArray[np.float32]:
    return image[:_SHOWN].where(valid[:_SHOWN], torch.nan).cpu().numpy()


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
