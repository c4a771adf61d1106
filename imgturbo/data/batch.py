"""A batch: B samples of z and of x, with what is known about each of them.

Where ``paired[b]`` holds, z[b] and x[b] are the same sky, pixel upon pixel; elsewhere they are two
independent draws from the marginals p(z) and p(x), and only marginal terms may use them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """B samples for one step of one process.

    Attributes:
        z: source (B, C, T, T) float32, stretched, 0 where not valid; (B, C) for tables.
        x: target (B, C', T, T) float32; (B, C').
        z_valid, x_valid: (B, 1, T, T) bool, True where measured; (B, 1).
        paired: (B,) bool, True where z and x are the same sky.
        z_index, x_index: (B,) int64, rows of the store's split.
        noise: white noise (B, C, T, T) for observing z, which then is the sky that is to be
            observed and no observation yet (see :mod:`imgturbo.data.observed`); None: z is one.
        labels: one line a sample that says which tiles it is made of.
    """

    z: Tensor
    x: Tensor
    z_valid: Tensor
    x_valid: Tensor
    paired: Tensor
    z_index: Tensor
    x_index: Tensor
    labels: tuple[str, ...] = ()
    noise: Tensor | None = None

    @classmethod
    def of(cls, labels: tuple[str, ...], **arrays: NDArray[Any]) -> Batch:
        """A batch of arrays, by the names of its attributes; their memory is shared."""
        return cls(**{k: torch.from_numpy(v) for k, v in arrays.items()}, labels=labels)

    def __len__(self) -> int:
        return len(self.paired)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        tensors = {
            f.name: value.to(device, non_blocking=non_blocking)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return Batch(**tensors, labels=self.labels)

    def names(self) -> list[str]:
        """Which tiles the samples are made of, one line a sample, for error messages."""
        return list(self.labels)
