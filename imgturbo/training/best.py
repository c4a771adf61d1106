"""Which weights are the best, and the bundle that is made of them.

The averaged generators are scored on the validation tiles. Whenever ``train.select`` improves they
become ``<out>/bundle``; where that score is not to be had (it needs pairs, and there are none) the
latest weights are the best, and with ``select: last`` they always are: no score of pixels rises
while a picture gets sharper.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from imgturbo.bundle import save_bundle
from imgturbo.training.checkpoint import Checkpoints
from imgturbo.training.state import RunState, device_name, versions
from imgturbo.training.tensors import copy_tensors, named_tensors
from imgturbo.training.validate import validate, write_samples

__all__ = ["consider", "write_best_bundle"]


def consider(state: RunState) -> tuple[dict[str, float], bool]:
    """Score the averaged weights, write sample pictures, and the bundle if they are the best.

    Every process calls this.

    Returns:
        The scores, and whether they are the best so far.
    """
    settings, progress, team = state.config.train, state.progress, state.team
    networks = dict(state.ema.networks.items())
    scores, samples = validate(
        networks,
        state.source,
        state.source.batch_size,
        settings.validate_tiles,
        team,
        state.objective,
        state.selection.score,
    )
    better = state.selection.prefers(scores, progress.best_scores)
    if better:
        progress.best_step, progress.best_scores = progress.step, scores
    with state.writing(), team.together():
        if team.first:
            for direction, tiles in samples.items():
                write_samples(
                    settings.out / "samples" / f"step-{progress.step:08d}-{direction}.png",
                    tiles,
                    unit=state.source.target.unit,
                    caption=f"{state.config.name}, {direction}, step {progress.step}",
                )
            if better:
                _write_bundle(state, networks)
    return scores, better


def write_best_bundle(state: RunState, checkpoints: Checkpoints) -> Path | None:
    """At the end: the best weights again, with the whole run in their record."""
    best = state.progress.best_step
    with state.team.together():
        if state.team.first and best is not None:
            checkpoint = checkpoints.at(best)
            if checkpoint.damage() is None:
                networks = copy.deepcopy(state.ema.networks)
                copy_tensors(named_tensors(networks), checkpoint.tensors("ema"), checkpoint.path)
                _write_bundle(state, dict(networks.items()))
    return bundle if (bundle := state.config.train.out / "bundle").exists() else None


def _write_bundle(state: RunState, networks: Mapping[str, nn.Module]) -> None:
    progress = state.progress
    save_bundle(
        state.config.train.out / "bundle",
        decoder=networks.get("decoder"),
        encoder=networks.get("encoder"),
        config=state.config,
        sides=state.source.sides,
        record={
            "step": progress.best_step,
            "steps": progress.step,
            "initial": progress.initial,
            "seconds": round(progress.seconds, 1),
            "device": device_name(state.team),
            "validation": progress.best_scores,
            "tiles": state.source.digest,
            "extent": state.source.extent,
            "versions": versions(),
        },
    )
