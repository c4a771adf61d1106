r"""ActNorm: a learned scale and shift per channel, set from the first batch of training.

    z = (x − μ)·e^{−λ},      log|det| = −H·W · Σ_c λ_c

μ and λ start as the mean and the logarithm of the standard deviation of the first batch, of all
processes together, so that its z has mean 0 and variance 1, and are parameters from then on.
Kingma & Dhariwal 2018 (arXiv:1807.03039), section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from imgturbo.flows.transform import Condition, Transform, full_precision, require_channels

__all__ = ["ActNorm", "start_from"]


class ActNorm(Transform):
    """Per-channel affine map of (B, C, …); the identity until the first batch in training mode.

    Args:
        channels: C.
        floor: least standard deviation taken from the first batch, so that a channel that is
            constant there (a band that is masked everywhere) is not blown up.
    """

    initialised: Tensor

    def __init__(self, channels: int, floor: float = 1e-3) -> None:
        super().__init__()
        self.channels = channels
        self.floor = floor
        self.mean = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        # Spares the device a synchronisation at every step.
        self._known_initialised = False
        self.rows: Tensor | None = None  # of the batch, that count; None: all

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        require_channels(x, self.channels, "this ActNorm")
        x = full_precision(x)
        if self.training and self.waiting:
            self._initialise(x.detach() if self.rows is None else x.detach()[self.rows])
        mean, log_scale = self._shaped(x)
        pixels = x[0, 0].numel()
        log_det = -pixels * self.log_scale.to(x.dtype).sum()
        return (x - mean) * torch.exp(-log_scale), log_det.expand(len(x))

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        require_channels(z, self.channels, "this ActNorm")
        z = full_precision(z)
        mean, log_scale = self._shaped(z)
        return z * torch.exp(log_scale) + mean

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return self.mean.to(x.dtype).view(shape), self.log_scale.to(x.dtype).view(shape)

    @torch.no_grad()
    def _initialise(self, x: Tensor) -> None:
        values = x.transpose(0, 1).flatten(1).double()
        count = values.new_full((self.channels,), values.shape[1])
        sums = torch.stack([values.sum(1), values.square().sum(1), count])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)  # processes may have batches of different sizes
        if not sums[2, 0]:
            return  # nothing counts anywhere: the next batch is the first
        mean, square = sums[:2] / sums[2]
        scale = (square - mean.square()).clamp(min=0).sqrt().clamp(min=self.floor)
        self.mean.copy_(mean)
        self.log_scale.copy_(scale.log())
        self.initialised.fill_(True)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known_initialised = False

    @property
    def waiting(self) -> bool:
        """Whether it has had no batch yet."""
        if not self._known_initialised:
            self._known_initialised = bool(self.initialised)
        return not self._known_initialised

    def extra_repr(self) -> str:
        return f"{self.channels}"


def start_from(network: nn.Module, rows: Tensor) -> bool:
    """Let layers that have had no batch yet be set by those rows of the next one that count.

    Where no row of any process counts they go on waiting. The rows stay known, since a chain that
    saves memory computes the same batch once more in its backward pass.

    Args:
        network: which holds the layers.
        rows: (B,) bool, of the batch that comes next.

    Returns:
        Whether some layer waits.
    """
    waiting = [layer for layer in network.modules() if isinstance(layer, ActNorm) and layer.waiting]
    for layer in waiting:
        layer.rows = rows
    return bool(waiting)
