r"""Batch norm's running statistics, the same in all processes.

Batch norm normalises by mean μ and variance σ² of the process's own batch and averages what it
meets, μ̄ ← 0.9 μ̄ + 0.1 μ, for the time after training. With R processes these averages drift
apart. After every step they become

    μ̄ ← (1/R) Σ_r μ̄_r,      σ̄² ← (1/R) Σ_r σ̄²_r,

so that what is averaged, validated and saved is the same everywhere, and a resumed run, which reads
what the first process wrote, goes on as if it had not stopped (law 5). The normalisation itself
stays that of each process's batch, as in the published networks: there two processes are not one
with the joint batch (law 8).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imgturbo.team import Team

__all__ = ["running_statistics", "share_statistics"]


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Running means and variances of all batch norms within ``module``."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    found = (buffer for norm in norms for buffer in (norm.running_mean, norm.running_var))
    return [buffer for buffer in found if buffer is not None]


@torch.no_grad()
def share_statistics(module: nn.Module, team: Team) -> None:
    """Average them over the processes, in place; every process calls this."""
    statistics = running_statistics(module) if team.size > 1 else []
    if not statistics:
        return
    mean = team.sum(torch.cat([buffer.flatten() for buffer in statistics])) / team.size
    for buffer, part in zip(statistics, mean.split([b.numel() for b in statistics]), strict=True):
        buffer.copy_(part.view_as(buffer))
