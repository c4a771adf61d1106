"""Samples as rows of numbers, of this process and of all of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from imgturbo.turbo.spaces import Samples

__all__ = ["Rows", "gathered", "rows_of", "the_first_process"]


class Rows(NamedTuple):
    """Samples as rows of numbers, of this process and of all.

    Attributes:
        own: (B, D), with gradient.
        counts: (B,), 1 where anything in the sample is valid, else 0.
        joint, joint_counts: the same of all processes (N, D), (N,), without gradient.
        first: the place of this process's first row among all.
    """

    own: Tensor
    counts: Tensor
    joint: Tensor
    joint_counts: Tensor
    first: int


def rows_of(samples: Samples) -> Rows:
    own = samples.data.flatten(1)
    counts = samples.valid.flatten(1).any(1).to(own.dtype)
    joint, first = gathered(torch.cat([own.detach(), counts[:, None]], 1))
    return Rows(own, counts, joint[:, :-1], joint[:, -1], first)


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """The rows of all processes, in order of rank, and the place of this one's first."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows, 0
    mine = torch.tensor([len(rows)], device=rows.device)
    lengths = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, mine)
    counts = [int(length) for length in lengths]
    padded = rows.new_zeros((max(counts), rows.shape[1]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    joint = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return joint, sum(counts[: dist.get_rank()])


def the_first_process(tensor: Tensor) -> Tensor:
    """What the first process has, in all of them."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.broadcast(tensor, 0)
    return tensor
