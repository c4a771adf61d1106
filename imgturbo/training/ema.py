r"""Exponential moving average of the generators' weights, in float32.

    θ̄_t = β_t θ̄_{t−1} + (1 − β_t) θ_t,      β_t = min(β, (1 + t)/(10 + t))

The ramp of β_t forgets the random initial weights within the first steps, so that the average is
of use early in a run; β = 0 makes θ̄ = θ. Critics are not averaged: nothing is translated with them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imgturbo.training.tensors import named_tensors

__all__ = ["EMA", "decay_at"]


def decay_at(step: int, decay: float) -> float:
    """β_t at step t = ``step``, counted from 0."""
    return min(decay, (1 + step) / (10 + step))


class EMA:
    """The averaged copy of some networks.

    With β = 0 weights are only copied when they are asked for: at every step that would take longer
    than the optimiser does.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        # Together, so that two networks which share weights share their averages too.
        self._networks = copy.deepcopy(nn.ModuleDict(dict(networks)))
        self._networks.float().eval().requires_grad_(False)
        live = named_tensors(nn.ModuleDict(dict(networks)))
        mean = named_tensors(self._networks)
        pairs = [(mean[name], live[name]) for name in mean]
        self._averaged = [(m, v) for m, v in pairs if m.is_floating_point()]
        self._copied = [(m, v) for m, v in pairs if not m.is_floating_point()]
        self._behind = False

    @property
    def networks(self) -> nn.ModuleDict:
        """The copies by name, in evaluation mode, float32, without gradients."""
        if self._behind:
            self.restart()
        return self._networks

    @torch.no_grad()
    def restart(self) -> None:
        """Forget the past: the average is the networks as they are now."""
        for mean, live in [*self._averaged, *self._copied]:
            mean.copy_(live)
        self._behind = False

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the networks' weights after the update of ``step``, counted from 0."""
        if self.decay == 0:
            self._behind = True
            return
        if self._averaged:
            mean: list[Tensor] = [m for m, _ in self._averaged]
            live = [v.detach().float() for _, v in self._averaged]
            torch._foreach_lerp_(mean, live, 1 - decay_at(step, self.decay))
        for mean_tensor, live_tensor in self._copied:
            mean_tensor.copy_(live_tensor)
